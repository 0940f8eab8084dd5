package selfcheck

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"edged/bgp"
)

// Probe asks through a VIP as clients do, n times over UDP on each of its addresses,
// each time from a new port so that routers with several paths take them all. It
// returns for each prefix which nodes answered, by the names that they give (NSID,
// RFC 5001, or id.server), and how often. Addresses that this machine has itself are
// passed over and not returned: what is asked there leaves by no wire. It never takes
// longer than [Budget].
func Probe(ctx context.Context, vip bgp.VIP, n int) map[netip.Prefix]map[string]uint64 {
	ctx, cancel := context.WithTimeout(ctx, Budget)
	defer cancel()
	var mu sync.Mutex
	seen := map[netip.Prefix]map[string]uint64{}
	var all sync.WaitGroup
	for _, p := range vip.Prefixes {
		counts := map[string]uint64{}
		for range n {
			all.Go(func() {
				node, err := whoAnswers(ctx, netip.AddrPortFrom(p.Addr(), vip.Port))
				mu.Lock()
				defer mu.Unlock()
				if !errors.Is(err, errOwn) {
					seen[p] = counts
				}
				if node != "" {
					counts[node]++
				}
			})
		}
	}
	all.Wait()
	return seen
}

var errOwn = errors.New("this machine has that address")

// whoAnswers asks once, and returns the first word of the NSID; empty: whoever answers
// does not say. It errs when nobody answers, with errOwn when the question would leave
// by no wire.
func whoAnswers(ctx context.Context, at netip.AddrPort) (string, error) {
	raw, err := (&net.Dialer{}).DialContext(ctx, "udp", at.String())
	if err != nil {
		return "", err
	}
	defer raw.Close()
	if raw.LocalAddr().(*net.UDPAddr).AddrPort().Addr() == at.Addr() {
		return "", errOwn
	}
	if end, ok := ctx.Deadline(); ok {
		raw.SetDeadline(end)
	} else {
		raw.SetDeadline(time.Now().Add(Budget))
	}
	r := round{at: at}
	q := r.questions()[0]
	conn := &dns.Conn{Conn: raw, UDPSize: 1232}
	if err := conn.WriteMsg(q); err != nil {
		return "", err
	}
	for range strays {
		m, err := conn.ReadMsg()
		if err != nil {
			return "", err
		}
		if answers(m, q) {
			node, _, _ := strings.Cut(cmp.Or(nsid(m), text(m)), " ")
			return node, nil
		}
	}
	return "", errors.New("too many answers to other questions")
}
