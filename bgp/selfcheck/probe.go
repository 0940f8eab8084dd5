package selfcheck

import (
	"cmp"
	"context"
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
// returns which nodes answered, by the names that they give (NSID, RFC 5001, or id.server), and how
// often. Addresses that this machine has itself are passed over: what is asked there
// leaves by no wire. It never takes longer than [Budget].
func Probe(ctx context.Context, vip bgp.VIP, n int) map[string]uint64 {
	ctx, cancel := context.WithTimeout(ctx, Budget)
	defer cancel()
	var mu sync.Mutex
	seen := map[string]uint64{}
	var all sync.WaitGroup
	for _, p := range vip.Prefixes {
		at := netip.AddrPortFrom(p.Addr(), vip.Port)
		for range n {
			all.Go(func() {
				if node := whoAnswers(ctx, at); node != "" {
					mu.Lock()
					defer mu.Unlock()
					seen[node]++
				}
			})
		}
	}
	all.Wait()
	return seen
}

// whoAnswers asks once, and returns the first word of the NSID; empty: nobody answers,
// or it is no wire that the question leaves by.
func whoAnswers(ctx context.Context, at netip.AddrPort) string {
	raw, err := (&net.Dialer{}).DialContext(ctx, "udp", at.String())
	if err != nil {
		return ""
	}
	defer raw.Close()
	if raw.LocalAddr().(*net.UDPAddr).AddrPort().Addr() == at.Addr() {
		return ""
	}
	if end, ok := ctx.Deadline(); ok {
		raw.SetDeadline(end)
	} else {
		raw.SetDeadline(time.Now().Add(Budget))
	}
	r := round{at: at}
	q := r.questions()[0]
	conn := &dns.Conn{Conn: raw, UDPSize: 1232}
	if conn.WriteMsg(q) != nil {
		return ""
	}
	for range strays {
		m, err := conn.ReadMsg()
		if err != nil {
			return ""
		}
		if answers(m, q) {
			node, _, _ := strings.Cut(cmp.Or(nsid(m), text(m)), " ")
			return node
		}
	}
	return ""
}
