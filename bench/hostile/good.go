package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// tally counts what the good client saw.
type tally struct {
	mu       sync.Mutex
	asked    int
	firstTry int
	right    int
	wrong    int
	slowest  time.Duration // of the right answers
	fault    string        // the first wrong answer
}

func (t *tally) add(tries int, took time.Duration, fault string, answered bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked++
	switch {
	case !answered:
	case fault != "":
		if t.wrong++; t.wrong == 1 {
			t.fault = fault
		}
	default:
		t.right++
		t.slowest = max(t.slowest, took)
		if tries == 1 {
			t.firstTry++
		}
	}
}

func share(part, whole int) float64 { return 100 * float64(part) / float64(max(1, whole)) }

// A good question and the one right answer to it.
type goodCase struct {
	name   string
	subnet netip.Prefix // invalid: no client subnet
	want   string       // the address
	scope  uint8
}

// goodCases follow from the configuration in node.go. Its two nets are siblings,
// so that both hold for a /9 and for no more.
var goodCases = []goodCase{
	{"www.example.com.", netip.MustParsePrefix("20.1.2.0/24"), "198.51.100.1", 9},
	{"www.example.com.", netip.MustParsePrefix("20.200.2.0/24"), "198.51.100.2", 9},
	{"static.example.com.", netip.MustParsePrefix("20.1.2.0/24"), "192.0.2.80", 0},
	{"static.example.com.", netip.Prefix{}, "192.0.2.80", 0},
	{"a.wild.example.com.", netip.Prefix{}, "192.0.2.81", 0},
}

const (
	goodTries   = 3
	goodTimeout = 300 * time.Millisecond
	goodPause   = 2 * time.Millisecond
)

// message builds the question, its name in random case.
func (c goodCase) message(rng *rand.Rand) *dns.Msg {
	name := []byte(c.name)
	for i := range name {
		if name[i] >= 'a' && name[i] <= 'z' && rng.IntN(2) == 0 {
			name[i] -= 'a' - 'A'
		}
	}
	m := new(dns.Msg)
	m.SetQuestion(string(name), dns.TypeA)
	m.Id, m.RecursionDesired = uint16(rng.Uint32()), false
	m.SetEdns0(1232, false)
	if c.subnet.IsValid() {
		o := m.IsEdns0()
		o.Option = append(o.Option, &dns.EDNS0_SUBNET{
			Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(c.subnet.Bits()), Address: c.subnet.Addr().AsSlice(),
		})
	}
	return m
}

// judge returns what is wrong with a reply, or "".
func (c goodCase) judge(q *dns.Msg, raw []byte) string {
	var r dns.Msg
	if err := r.Unpack(raw); err != nil {
		return fmt.Sprintf("%s: the reply does not parse: %v", c.name, err)
	}
	if r.Rcode != dns.RcodeSuccess || !r.Authoritative || r.Truncated || len(r.Question) != 1 || r.Question[0] != q.Question[0] || len(r.Answer) != 1 {
		return fmt.Sprintf("%s: got %s", c.name, r.String())
	}
	a, ok := r.Answer[0].(*dns.A)
	if !ok || a.A.String() != c.want {
		return fmt.Sprintf("%s for %s: got %s, want %s", c.name, c.subnet, r.Answer[0], c.want)
	}
	if !c.subnet.IsValid() {
		return ""
	}
	for _, o := range r.IsEdns0().Option {
		if e, ok := o.(*dns.EDNS0_SUBNET); ok {
			if e.SourceScope != c.scope {
				return fmt.Sprintf("%s for %s: scope /%d, want /%d", c.name, c.subnet, e.SourceScope, c.scope)
			}
			return ""
		}
	}
	return fmt.Sprintf("%s for %s: no client subnet option", c.name, c.subnet)
}

// askUDP asks good questions one after the other until ctx ends.
func askUDP(ctx context.Context, server netip.AddrPort, from string, rng *rand.Rand, t *tally) error {
	conn, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}).DialContext(ctx, "udp", server.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	buf := make([]byte, 4096)
	for pause(ctx, goodPause) {
		c := pick(rng, goodCases)
		q := c.message(rng)
		raw, err := q.Pack()
		if err != nil {
			return err
		}
		begin := time.Now()
		tries, fault, answered := 0, "", false
		for tries < goodTries && !answered {
			tries++
			conn.Write(raw)
			conn.SetReadDeadline(time.Now().Add(goodTimeout))
			for !answered {
				n, err := conn.Read(buf)
				if err != nil {
					break
				}
				if n >= 2 && binary.BigEndian.Uint16(buf) == q.Id {
					answered, fault = true, c.judge(q, buf[:n])
				}
			}
		}
		t.add(tries, time.Since(begin), fault, answered)
	}
	return nil
}

// askTCP asks good questions, each on a connection of its own, until ctx ends.
func askTCP(ctx context.Context, server netip.AddrPort, from string, rng *rand.Rand, t *tally) {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: goodTimeout}
	for pause(ctx, 25*goodPause) {
		c := pick(rng, goodCases)
		q := c.message(rng)
		raw, err := q.Pack()
		if err != nil {
			continue
		}
		begin := time.Now()
		tries, fault, answered := 0, "", false
		for tries < goodTries && !answered {
			tries++
			reply, err := overTCP(ctx, d, server, raw)
			if err == nil {
				answered, fault = true, c.judge(q, reply)
			}
		}
		if ctx.Err() == nil {
			t.add(tries, time.Since(begin), fault, answered)
		}
	}
}

func overTCP(ctx context.Context, d *net.Dialer, server netip.AddrPort, query []byte) ([]byte, error) {
	conn, err := d.DialContext(ctx, "tcp", server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * goodTimeout))
	if _, err := conn.Write(frame(query)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err = io.ReadFull(conn, reply)
	return reply, err
}

// frame puts the two length octets before a message.
func frame(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// pause waits, and tells whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
