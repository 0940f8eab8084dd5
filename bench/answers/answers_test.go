//go:build linux

package main

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestWorldIsLongestMatch holds the painted table to a plain search for the
// longest prefix.
func TestWorldIsLongestMatch(t *testing.T) {
	d := makeData(1, 2000, lengthsMixed)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 20000 {
		block := d.asked[i%len(d.asked)]
		if i%2 == 0 {
			block = rng.Uint32() >> 8
		}
		best, want := -1, uint8(0)
		for _, n := range d.nets {
			if n.bits > best && block>>(24-n.bits) == n.addr>>(24-n.bits) {
				best, want = n.bits, uint8(n.pop+1)
			}
		}
		if d.world[block] != want {
			t.Fatalf("%s: got %d, want %d", blockAddr(block), d.world[block], want)
		}
	}
	if len(d.nets) != 2000 || len(d.asked) != 2000 || len(d.pops) != popCount {
		t.Errorf("%d nets, %d asked, %d pops", len(d.nets), len(d.asked), len(d.pops))
	}
}

func TestSameSeedSameData(t *testing.T) {
	a, b := makeData(3, 500, lengths24), makeData(3, 500, lengths24)
	for i := range a.nets {
		if a.nets[i] != b.nets[i] || a.asked[i] != b.asked[i] {
			t.Fatalf("net %d: %v and %v", i, a.nets[i], b.nets[i])
		}
		if a.nets[i].bits != 24 || !public(a.nets[i].addr) {
			t.Errorf("net %s", a.nets[i].prefix())
		}
	}
}

func TestJudgeScope(t *testing.T) {
	d := &data{world: make([]uint8, 1<<24)}
	for b := range uint32(8) { // 0.0.0.0/21 gets PoP 0, but for its last /24
		d.world[b] = 1
	}
	d.world[7] = 2
	d.world[8] = 1 // and beyond it one /24 beside holes
	for _, c := range []struct {
		block uint32
		scope int
		fault string
		ask   bool
	}{
		{0, 24, "", false},
		{0, 22, "", false},
		{0, 21, "scope /21 covers 0.0.7.0, which gets 198.51.100.2 and not 198.51.100.1", false},
		{0, 0, "scope /0 covers 0.0.7.0, which gets 198.51.100.2 and not 198.51.100.1", false},
		{7, 24, "", false},
		{7, 23, "scope /23 covers 0.0.6.0, which gets 198.51.100.1 and not 198.51.100.2", false},
		{8, 24, "", false},
		{8, 21, "", true},
		{8, 25, "scope /25 on a question for a /24", false},
	} {
		fault, hole, ask := d.judgeScope(c.block, c.scope)
		if fault != c.fault || ask != c.ask || ask && d.world[hole] != 0 {
			t.Errorf("%s scope /%d: got %q, hole %v; want %q, %v", blockAddr(c.block), c.scope, fault, ask, c.fault, c.ask)
		}
	}
}

// answer builds the reply that a right server sends to q.
func answer(t *testing.T, d *data, q query, change func(*dns.Msg)) []byte {
	t.Helper()
	var m dns.Msg
	if err := m.Unpack(q.wire); err != nil {
		t.Fatalf("our own query does not parse: %v", err)
	}
	o := m.IsEdns0()
	if o == nil || m.Question[0].Qtype != dns.TypeA {
		t.Fatalf("query: %s", m.String())
	}
	m.Response = true
	addr := staticAddress
	if q.ecs {
		addr = d.want(q.block)
		e := o.Option[0].(*dns.EDNS0_SUBNET)
		if got, _ := netip.AddrFromSlice(e.Address.To4()); got != blockAddr(q.block) || e.SourceNetmask != 24 {
			t.Fatalf("query for %s: %s", blockAddr(q.block), e)
		}
		e.SourceScope = 24
	}
	m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeA, Class: 1, Ttl: 300}, A: addr.AsSlice()}}
	if change != nil {
		change(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatalf("pack %s: %v", m.String(), err)
	}
	return b
}

func TestJudge(t *testing.T) {
	d := makeData(1, 100, lengths24)
	q := makeQueries(d, 1, 10, 1)[0]
	plain := makeQueries(d, 1, 0, 1)[0]
	s := &server{name: "x"}
	subnetOf := func(m *dns.Msg) *dns.EDNS0_SUBNET { return m.IsEdns0().Option[0].(*dns.EDNS0_SUBNET) }
	for name, c := range map[string]struct {
		q      query
		change func(*dns.Msg)
		fault  string
	}{
		"right":        {q, nil, ""},
		"right static": {plain, nil, ""},
		"id":           {q, func(m *dns.Msg) { m.Id++ }, "header"},
		"rcode":        {q, func(m *dns.Msg) { m.Rcode = dns.RcodeRefused }, "header"},
		"truncated":    {q, func(m *dns.Msg) { m.Truncated = true }, "header"},
		"case":         {q, func(m *dns.Msg) { m.Question[0].Name = strings.ToLower(m.Question[0].Name) }, "question"},
		"address":      {q, func(m *dns.Msg) { m.Answer[0].(*dns.A).A[3] ^= 1 }, "want"},
		"two answers":  {q, func(m *dns.Msg) { m.Answer = append(m.Answer, m.Answer[0]) }, "2 answers"},
		"no ecs":       {q, func(m *dns.Msg) { m.IsEdns0().Option = nil }, "no client subnet"},
		"scope":        {q, func(m *dns.Msg) { subnetOf(m).SourceScope = 32 }, "scope /32"},
		"scope 0":      {q, func(m *dns.Msg) { subnetOf(m).SourceScope = 0 }, "scope /0"},
		"other subnet": {q, func(m *dns.Msg) { a := subnetOf(m).Address; a[len(a)-2]++ }, "came back"},
		"unasked ecs": {plain, func(m *dns.Msg) {
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_SUBNET{Code: 8, Family: 1, SourceNetmask: 24, Address: []byte{1, 2, 3, 0}}}
		}, "not asked"},
	} {
		fault, _, _ := s.judge(d, c.q, answer(t, d, c.q, c.change))
		if (c.fault == "") != (fault == "") || !strings.Contains(fault, c.fault) {
			t.Errorf("%s: got %q, want %q", name, fault, c.fault)
		}
	}
	if fault, _, _ := s.judge(d, q, []byte("short")); fault == "" {
		t.Error("five octets pass for an answer")
	}
	echo := &server{echo: true}
	back := bytes.Clone(q.wire)
	if fault, _, _ := echo.judge(d, q, back); fault == "" {
		t.Error("the echo must set QR")
	}
}

// FuzzDecode feeds foreign octets to the reply reader.
func FuzzDecode(f *testing.F) {
	d := makeData(1, 100, lengths24)
	q := makeQueries(d, 1, 10, 1)[0]
	f.Add(q.wire)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if addr, scope, fault := decode(q, b); fault == "" && (!addr.Is4() || scope > 255) {
			t.Errorf("accepted with %v and %d", addr, scope)
		}
	})
}

func TestQueryFile(t *testing.T) {
	d := makeData(1, 50, lengths24)
	list := makeQueries(d, 200, 9, 5)
	path := filepath.Join(t.TempDir(), "q")
	if err := writeQueryFile(path, list); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	static := 0
	for i, q := range list {
		n := int(b[0])<<8 | int(b[1])
		if !bytes.Equal(b[2:2+n], q.wire) || int(q.wire[0])<<8|int(q.wire[1]) != i {
			t.Fatalf("question %d", i)
		}
		b = b[2+n:]
		if !q.ecs {
			static++
		}
	}
	if len(b) != 0 || static == 0 || static == len(list) {
		t.Errorf("%d octets left, %d static", len(b), static)
	}
}

func TestParseDnsperf(t *testing.T) {
	res, err := parseDnsperf("Statistics:\n\n  Queries sent:         1000\n  Queries completed:    990 (99.00%)\n  Queries lost:         10 (1.00%)\n\n  Response codes:       NOERROR 980 (98.99%), SERVFAIL 10 (1.01%)\n  Run time (s):         2.500000\n")
	if err != nil || res.Answered != 990 || res.Lost != 10 || res.Failed != 10 || res.Took.Seconds() != 2.5 {
		t.Errorf("%+v, %v", res, err)
	}
	if _, err := parseDnsperf("Error: no such file"); err == nil {
		t.Error("an error message passes for a result")
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in          []float64
		mid, spread float64
	}{{nil, 0, 0}, {[]float64{4}, 4, 0}, {[]float64{3, 1, 2}, 2, 1}, {[]float64{1, 2, 3, 6}, 2.5, 2}} {
		if mid, spread := median(c.in); mid != c.mid || spread != c.spread {
			t.Errorf("%v: got %v, %v", c.in, mid, spread)
		}
	}
}

func TestRotated(t *testing.T) {
	d := makeData(1, 300, lengthsMixed)
	next := rotated(d)
	for i, w := range d.world {
		if (w == 0) != (next.world[i] == 0) || w != 0 && next.world[i] == w {
			t.Fatalf("%s: %d becomes %d", blockAddr(uint32(i)), w, next.world[i])
		}
	}
	if next.nets[0].pop != (d.nets[0].pop+1)%popCount {
		t.Error("nets are not rotated")
	}
}

func TestBars(t *testing.T) {
	runs := func(regime, server string, cost float64) *row {
		return &row{Regime: regime, Server: server, Runs: []measurement{{PerQuery: cost, QPS: 1, Sent: 100}}}
	}
	r := &report{
		Nets: map[string]int{"A": 1, "D": 1},
		Rows: []*row{runs("A", "edged", 1.8), runs("A", "gdnsd", 2.0), runs("A", "echo", 1.7), runs("D", "edged", 1)},
	}
	r.judge()
	got := map[string]bool{}
	for _, b := range r.Bars {
		got[b.What] = b.Met
	}
	want := map[string]bool{
		"A: edged / gdnsd, CPU per query": false, "A: edged / echo, CPU per query": true,
		"D: edged / gdnsd, CPU per query": false, "A: edged's loss in percent, at most gdnsd's": true,
	}
	for what, met := range want {
		if m, ok := got[what]; !ok || m != met {
			t.Errorf("%s: got %v (there: %v), want %v", what, m, ok, met)
		}
	}
	if len(got) != len(want) || len(r.failures()) != 2 {
		t.Errorf("bars %v, failures %q", got, r.failures())
	}
	r.Rows[0].Verdict = verdict{Checked: 10, Wrong: 1, First: "bad"}
	r.Rows[2].Runs = append(r.Rows[2].Runs, measurement{PerQuery: 1.5, QPS: 1, Sent: 100})
	failures := strings.Join(r.failures(), "\n")
	for _, want := range []string{"A, edged: 1 of 10 replies are wrong: bad", "A: the echo's own cost varies by 12 %"} {
		if !strings.Contains(failures, want) {
			t.Errorf("want %q in %q", want, failures)
		}
	}
}
