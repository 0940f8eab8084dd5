package selfcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"edged/bgp"
)

// Budget is how long a round takes at most; TCP may use half of it.
const Budget = 800 * time.Millisecond

const (
	sends  = 3  // of a question over UDP that is not answered, evenly over the time
	strays = 64 // messages on one socket that are not the answer
)

// Questions are what a round asks.
type Questions struct {
	Node  string   // this node's name: the first word of id.server and NSID
	Zones []string // origins of the zones it serves; none: only id.server is asked
}

// Run asks one round of questions through all addresses of a VIP. It errs with
// what is wrong, such as "udp 198.51.100.53: no answer in time", all of it in one
// line. asked is how many queries were sent, whatever came of them.
func Run(ctx context.Context, vip bgp.VIP, q Questions) (asked int, err error) {
	return run(ctx, vip, q, Budget)
}

func run(ctx context.Context, vip bgp.VIP, q Questions, budget time.Duration) (asked int, err error) {
	end := time.Now().Add(budget)
	rounds := make([]round, len(vip.Prefixes))
	var wait sync.WaitGroup
	for i, p := range vip.Prefixes {
		r := &rounds[i]
		*r = round{at: netip.AddrPortFrom(p.Addr(), vip.Port), node: q.Node}
		if len(q.Zones) > 0 {
			r.zone = dns.Fqdn(q.Zones[rand.IntN(len(q.Zones))])
		}
		wait.Go(func() { r.run(ctx, end.Add(-budget/2), end) })
	}
	wait.Wait()
	var faults []string
	for i := range rounds {
		asked += rounds[i].asked
		faults = append(faults, rounds[i].faults...)
	}
	if len(faults) > 0 {
		err = errors.New(strings.Join(faults, "; "))
	}
	return asked, err
}

// round is a round at one address.
type round struct {
	at   netip.AddrPort
	node string
	zone string // empty: none

	cookie string // the server's, in hex
	asked  int
	faults []string
}

// run asks over TCP until one time, and over UDP until another.
func (r *round) run(ctx context.Context, endTCP, end time.Time) {
	for _, try := range []struct {
		network string
		end     time.Time
		sends   int
	}{{"tcp", endTCP, 1}, {"udp", end, sends}} {
		if err := r.ask(ctx, try.network, try.end, try.sends); err != nil {
			r.faults = append(r.faults, fmt.Sprintf("%s %s: %s", try.network, r.at.Addr(), inWords(ctx, err)))
		}
	}
}

// ask asks all questions on one socket, and again as often as it may while
// answers are missing.
func (r *round) ask(ctx context.Context, network string, end time.Time, sends int) error {
	var from net.Addr = &net.TCPAddr{IP: r.at.Addr().AsSlice()}
	if network == "udp" {
		from = &net.UDPAddr{IP: r.at.Addr().AsSlice()}
	}
	raw, err := (&net.Dialer{LocalAddr: from, Deadline: end}).DialContext(ctx, network, r.at.String())
	if err != nil {
		return err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	conn := &dns.Conn{Conn: raw, UDPSize: dns.MaxMsgSize}
	open := r.questions()
	begin := time.Now()
	for n := range sends {
		until := begin.Add(end.Sub(begin) * time.Duration(n+1) / time.Duration(sends))
		conn.SetDeadline(until)
		for _, q := range open {
			if err := conn.WriteMsg(q); err != nil {
				return err
			}
			r.asked++
		}
		open, err = r.receive(conn, open)
		if len(open) == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return err
}

// receive reads answers to open questions, and returns those that are still open
// when it errs.
func (r *round) receive(conn *dns.Conn, open []*dns.Msg) ([]*dns.Msg, error) {
	for range strays {
		m, err := conn.ReadMsg()
		var header *dns.Error
		switch {
		case errors.As(err, &header): // no DNS message
			continue
		case err != nil:
			return open, err
		}
		for i, q := range open {
			if !answers(m, q) {
				continue
			}
			if err := r.judge(m, q); err != nil {
				return open, err
			}
			if open = append(open[:i:i], open[i+1:]...); len(open) == 0 {
				return nil, nil
			}
			break
		}
	}
	return open, fmt.Errorf("%d messages that are not the answer", strays)
}

// inWords says what an error of a socket is, without the addresses.
func inWords(ctx context.Context, err error) string {
	var errno syscall.Errno
	var timed net.Error
	switch {
	case ctx.Err() != nil:
		return "given up: " + context.Cause(ctx).Error()
	case errors.As(err, &timed) && timed.Timeout():
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "the address is not on this machine"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}
