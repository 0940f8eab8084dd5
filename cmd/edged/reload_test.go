package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestReloadsUnderLoad reloads a node a hundred times while clients ask. Each
// query must be answered, and each answer be that of the files before or after
// the reload that it overlaps: the zone's text says which files, and the pool's
// address must be of the same.
func TestReloadsUnderLoad(t *testing.T) {
	const reloads = 100
	d := newNodeDir(t)
	// Version v of the files: serial v, text "v", and the pool's address in
	// Europe ends in 1 or 2 by the map, which turns with v.
	turn := [2]string{string(testMap(t, testPoPs, 0)), string(testMap(t, testPoPs, 1))}
	write := func(v int) {
		d.write("more.inc", fmt.Sprintf("text TXT \"%d\"\n", v))
		d.write("default.edmap", turn[v%2])
	}
	write(0)
	r := serveDir(t, d)

	// begun is the newest version that an answer can be of, done the oldest.
	var begun, done atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var clients sync.WaitGroup
	var answered atomic.Int64
	for _, network := range []string{"udp", "udp", "tcp"} {
		clients.Go(func() {
			for ctx.Err() == nil {
				n, err := askBoth(network, r.dns, &begun, &done)
				if err != nil {
					t.Errorf("%s after %d answers: %v", network, answered.Load(), err)
					return
				}
				answered.Add(n)
			}
		})
	}
	for v := 1; v <= reloads; v++ {
		write(v)
		begun.Store(int64(v))
		if code, _, errs := command(t, "reload", "--node", r.socket); code != 0 {
			t.Fatal(errs)
		}
		done.Store(int64(v))
	}
	stop()
	clients.Wait()
	if n := answered.Load(); n < reloads {
		t.Errorf("only %d answers: no load", n)
	}
	if got := r.metric("edged_reloads_total"); got != fmt.Sprint(reloads) {
		t.Errorf("%s reloads, want %d", got, reloads)
	}
	t.Logf("%d answers during %d reloads", answered.Load(), reloads)
	r.stop()
}

// askBoth asks for the text and the pool's address over one connection, and
// returns how many right answers came.
func askBoth(network string, server netip.AddrPort, begun, done *atomic.Int64) (int64, error) {
	conn, err := dns.DialTimeout(network, server.String(), 5*time.Second)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var n int64
	for range 50 {
		oldest := done.Load()
		text, err := exchange(conn, "text.example.com.", dns.TypeTXT)
		if err != nil {
			return n, err
		}
		if v := parseVersion(text); v < oldest || v > begun.Load() {
			return n, fmt.Errorf("text of version %d, want %d to %d", v, oldest, begun.Load())
		}
		n++
		oldest = done.Load()
		address, err := exchange(conn, "www.example.com.", dns.TypeA)
		if err != nil {
			return n, err
		}
		newest := begun.Load()
		odd, even := newest > oldest || oldest%2 == 1, newest > oldest || oldest%2 == 0
		switch got := address.(*dns.A).A.String(); {
		case got == "198.51.100.1" && even, got == "198.51.100.2" && odd:
		default:
			return n, fmt.Errorf("address %s of neither version %d nor %d", got, oldest, newest)
		}
		n++
	}
	return n, nil
}

func parseVersion(rr dns.RR) (v int64) {
	fmt.Sscan(rr.(*dns.TXT).Txt[0], &v)
	return v
}

// exchange asks one question and returns the one record answered.
func exchange(conn *dns.Conn, name string, qtype uint16) (dns.RR, error) {
	m := new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, false)
	opt := m.IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(20, 0, 0, 0)})
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	if err := conn.WriteMsg(m); err != nil {
		return nil, err
	}
	in, err := conn.ReadMsg()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errors.New("a query is lost")
	case err != nil:
		return nil, err
	case in.Id != m.Id || in.Rcode != dns.RcodeSuccess || len(in.Answer) != 1:
		return nil, fmt.Errorf("wrong answer:\n%s", in)
	}
	return in.Answer[0], nil
}
