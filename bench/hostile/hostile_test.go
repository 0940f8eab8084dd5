package main

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestPacketsFit makes every kind many times: none may panic or be too long for
// a datagram, and the seeds of mutation must be good.
func TestPacketsFit(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, a := range attacks {
		for range 2000 {
			if n := len(a.make(rng)); n > 65507 {
				t.Fatalf("%s: %d octets", a.name, n)
			}
		}
	}
	for range 2000 {
		var m dns.Msg
		if err := m.Unpack(goodQuery(rng)); err != nil || len(m.Question) != 1 || m.Response {
			t.Fatalf("seed: %v\n%s", err, m.String())
		}
	}
	for _, s := range slows {
		for i := range 200 {
			if _, wait := s.next(rng, i); wait <= 0 {
				t.Errorf("%s: waits %v", s.name, wait)
			}
		}
	}
}

func TestGoodCaseJudge(t *testing.T) {
	c := goodCases[0]
	rng := rand.New(rand.NewPCG(1, 1))
	for name, spoil := range map[string]func(*dns.Msg){
		"":                 func(*dns.Msg) {},
		"want 198":         func(m *dns.Msg) { m.Answer[0].(*dns.A).A[3]++ },
		"got":              func(m *dns.Msg) { m.Rcode = dns.RcodeRefused },
		"scope /24":        func(m *dns.Msg) { m.IsEdns0().Option[0].(*dns.EDNS0_SUBNET).SourceScope = 24 },
		"no client subnet": func(m *dns.Msg) { m.IsEdns0().Option = nil },
	} {
		q := c.message(rng)
		r := q.Copy()
		r.Response, r.Authoritative = true, true
		r.IsEdns0().Option[0].(*dns.EDNS0_SUBNET).SourceScope = c.scope
		rr, err := dns.NewRR(q.Question[0].Name + " 30 IN A " + c.want)
		if err != nil {
			t.Fatal(err)
		}
		r.Answer = []dns.RR{rr}
		spoil(r)
		raw, err := r.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if got := c.judge(q, raw); (name == "") != (got == "") || !strings.Contains(got, name) {
			t.Errorf("%q: got %q", name, got)
		}
	}
	if c.judge(c.message(rng), []byte("x")) == "" {
		t.Error("one octet passes for an answer")
	}
}

func TestFaults(t *testing.T) {
	good := func() *watched {
		w := &watched{
			length: 100 * time.Second, limit: 10, lived: true, quiet: usage{10, 10, 10}, after: usage{12, 10, 10},
			packets: make([]atomic.Int64, len(attacks)), opened: make([]atomic.Int64, len(slows)),
		}
		w.see(usage{500, 500, 500}, time.Second)
		for i := range 80 {
			w.see(usage{100 + int64(i%3), 20, 20}, time.Duration(20+i)*time.Second)
		}
		for range 1000 {
			w.udp.add(1, time.Millisecond, "", true)
			w.tcp.add(1, time.Millisecond, "", true)
		}
		return w
	}
	for want, spoil := range map[string]func(*watched){
		"":                       func(*watched) {},
		"edged died":             func(w *watched) { w.lived = false },
		"did not end cleanly":    func(w *watched) { w.stopped = errors.New("exit status 2") },
		"1 wrong answers":        func(w *watched) { w.udp.add(1, 0, "bad", true) },
		"over tcp were answered": func(w *watched) { w.tcp.right -= 11 },
		"memory grew":            func(w *watched) { w.late = []int64{122, 122, 122} },
		"memory rose":            func(w *watched) { w.see(usage{203, 0, 0}, 60*time.Second) },
		"descriptors, 10":        func(w *watched) { w.see(usage{100, 60, 0}, 60*time.Second) },
		"goroutines, 10":         func(w *watched) { w.see(usage{100, 0, 90}, 60*time.Second) },
		"descriptors are left":   func(w *watched) { w.after.descriptors = 50 },
		"goroutines are left":    func(w *watched) { w.after.goroutines = 50 },
	} {
		w := good()
		spoil(w)
		got := w.faults()
		if want == "" && len(got) != 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0], want)) {
			t.Errorf("want one fault %q, got %q", want, got)
		}
		var out strings.Builder
		w.write(&out)
		if !strings.Contains(out.String(), "| descriptors | 10 |") {
			t.Errorf("table: %s", out.String())
		}
	}
}
