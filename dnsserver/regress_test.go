package dnsserver

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"edged/edge"
)

// TestParentDataBelowAChildZone had names of the parent zone, and its
// wildcards, answer inside a zone that is served here too.
func TestParentDataBelowAChildZone(t *testing.T) {
	parent := mustZone(t, "example.com.", `
@ 3600 SOA ns host 1 7200 3600 1209600 300
@ NS ns
ns A 192.0.2.53
a.sub A 192.0.2.111
*.sub A 192.0.2.112
* A 192.0.2.113
`)
	child := mustZone(t, "sub.example.com.", `
@ 3600 SOA ns host 7 7200 3600 1209600 300
@ NS ns
ns A 192.0.2.54
`)
	v := mustView(t, parent, child)
	for _, name := range []string{"a.sub.example.com.", "nosuch.sub.example.com.", "x.a.sub.example.com."} {
		got := ask(t, v, question(name, dns.TypeA), false)
		if got.Rcode != dns.RcodeNameError || !strings.HasPrefix(section(got.Ns), "sub.example.com. ") {
			t.Errorf("%s: got\n%v\nwant NXDOMAIN from the child zone", name, got)
		}
	}
	if got := ask(t, v, question("other.example.com.", dns.TypeA), false); len(got.Answer) != 1 {
		t.Errorf("the parent's own wildcard is gone:\n%v", got)
	}
}

// TestRateLimitOfMadeUpNames gave each name under a wildcard or a cut, and each
// type, a bucket of its own.
func TestRateLimitOfMadeUpNames(t *testing.T) {
	z := mustZone(t, "example.com.", smallZone+"d DNAME example.net.\n")
	v := mustView(t, z)
	for what, name := range map[string]string{
		"wildcard": "x%d.wild.example.com.", "cut": "x%d.sub.example.com.", "nothing": "x%d.example.com.", "DNAME": "x%d.d.example.com.",
	} {
		if sent := countSent(t, v, func(i int) *dns.Msg { return question(fmt.Sprintf(name, i), dns.TypeTXT) }); sent != 10 {
			t.Errorf("names below a %s: %d of 100 replies sent, want 10", what, sent)
		}
	}
	for _, name := range []string{"www.example.com.", "alias.example.com."} {
		if sent := countSent(t, v, func(i int) *dns.Msg { return question(name, uint16(1000+i)) }); sent != 10 {
			t.Errorf("%s, many types: %d of 100 replies sent, want 10", name, sent)
		}
	}
}

// countSent asks 100 questions within a second under a limit of 5 a second, with
// a burst of two seconds' worth.
func countSent(t *testing.T, v *View, ask func(int) *dns.Msg) (sent int) {
	t.Helper()
	r := &responder{
		cfg: &Config{MaxUDP: 1232}, stats: &stats{sum: newSum()}, cookies: newCookieJar(nil),
		limiter: newLimiter(RRL{PerSecond: 5}), now: 1000,
	}
	r.stats.use(v)
	msg := make([]byte, maxUDPQuery)
	var q query
	for i := range 100 {
		pkt, err := ask(i).Pack()
		if err != nil {
			t.Fatal(err)
		}
		copy(msg, pkt)
		state := q.parse(msg[:len(pkt)])
		v.locate(&q, &r.client)
		if r.respond(v, msg, &q, state, testSource, overUDP) > 0 {
			sent++
		}
	}
	return sent
}

// TestMandatoryHints listed hints as mandatory in an answer that had none.
func TestMandatoryHints(t *testing.T) {
	zoneText := strings.ReplaceAll(poolZone, "www 3600 HTTPS 1 . alpn=h2 ech=AAAA ipv4hint=203.0.113.1 key667=x",
		"www 3600 HTTPS 1 . mandatory=ipv6hint,alpn alpn=h2 ipv6hint=2001:db8::7\nwww HTTPS 2 . mandatory=ipv6hint ipv6hint=2001:db8::7")
	v := poolView(t, failover(1, address("192.0.2.1")), edge.OK, zoneText, "www.example.com.")
	got := section(ask(t, v, question("www.example.com.", dns.TypeHTTPS), false).Answer)
	want := `www.example.com. 60 IN HTTPS 1 . mandatory="alpn" alpn="h2" ipv4hint="192.0.2.1"; www.example.com. 60 IN HTTPS 2 . ipv4hint="192.0.2.1"`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestDecisionsOfServiceRecords counted the decision for IPv6 where the hints
// were of IPv4.
func TestDecisionsOfServiceRecords(t *testing.T) {
	v := poolView(t, failover(1, address("192.0.2.1")), edge.OK, poolZone, "www.example.com.")
	r := &responder{cfg: &Config{MaxUDP: 1232}, stats: &stats{sum: newSum()}, cookies: newCookieJar(nil)}
	r.stats.use(v)
	pkt, err := question("www.example.com.", dns.TypeHTTPS).Pack()
	if err != nil {
		t.Fatal(err)
	}
	msg := append(pkt, make([]byte, maxUDPQuery)...)
	var q query
	state := q.parse(pkt)
	v.locate(&q, &r.client)
	r.respond(v, msg, &q, state, testSource, overUDP)
	r.stats.flush()
	if got := r.stats.sum.read().Decisions; got[DecisionKey{Pool: "www", PoP: "a", Source: "none"}] != 1 {
		t.Errorf("decisions %v: want one for PoP a", got)
	}
}

// TestRefusalsKeepOPT dropped the OPT record of queries refused by their header
// (RFC 6891 section 6.1.1), and took an IXFR, which has a record in its
// authority section, for malformed.
func TestRefusalsKeepOPT(t *testing.T) {
	v := mustView(t, mustZone(t, "example.com.", smallZone))
	soa := &dns.SOA{Hdr: dns.RR_Header{Name: "example.com.", Rrtype: dns.TypeSOA, Class: 1}, Ns: ".", Mbox: "."}
	for _, tc := range []struct {
		what   string
		change func(*dns.Msg)
		want   string
	}{
		{"NOTIFY", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, "NOTIMP qr rd an=0 opt v0 size=1232"},
		{"UPDATE", func(m *dns.Msg) { m.Opcode, m.Ns = dns.OpcodeUpdate, []dns.RR{soa} }, "NOTIMP qr rd an=0 opt v0 size=1232"},
		{"two questions", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, "FORMERR qr rd an=0 opt v0 size=1232"},
		{"an answer", func(m *dns.Msg) { m.Answer = []dns.RR{soa} }, "FORMERR qr rd an=0 opt v0 size=1232"},
		{"authority", func(m *dns.Msg) { m.Ns = []dns.RR{soa} }, "FORMERR qr rd an=0 opt v0 size=1232"},
		{"IXFR", func(m *dns.Msg) { m.Question[0].Qtype, m.Ns = dns.TypeIXFR, []dns.RR{soa} }, "REFUSED qr rd an=0 opt v0 size=1232 ede=21"},
	} {
		m := question("www.example.com.", dns.TypeA)
		m.SetEdns0(1232, false)
		tc.change(m)
		if got := summary(ask(t, v, m, false)); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.what, got, tc.want)
		}
	}
}

// TestLongQueryOverTCP had a query beyond 4 KiB end the connection.
func TestLongQueryOverTCP(t *testing.T) {
	s := startServer(t, mustView(t, mustZone(t, "example.com.", smallZone)), nil)
	conn, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	dc := dns.Conn{Conn: conn}
	for _, padding := range []int{5000, 60000, 10} {
		m := question("www.example.com.", dns.TypeA)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_PADDING{Padding: make([]byte, padding)}}
		pkt, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(pkt))), pkt...)); err != nil {
			t.Fatal(err)
		}
		got, err := dc.ReadMsg()
		if err != nil || len(got.Answer) != 1 {
			t.Fatalf("%d octets of padding: %v (%v)", padding, got, err)
		}
	}
}

// TestOldViewsGo swaps views on a server whose workers and shards have all
// answered from the first one: none may hold on to it.
func TestOldViewsGo(t *testing.T) {
	s := startServer(t, mustView(t, mustZone(t, "example.com.", smallZone)), nil)
	for range 8 {
		exchange(t, "udp", s.Addrs()[0], question("www.example.com.", dns.TypeA))
		exchange(t, "tcp", s.Addrs()[0], question("www.example.com.", dns.TypeA))
	}
	next := mustView(t, mustZone(t, "example.com.", smallZone))
	s.Swap(next)
	s.Stats() // each worker has been around its loop since
	s.Stats()
	for _, shard := range s.tcp.shards {
		shard.mu.Lock()
		if shard.responder.stats.view != next || shard.query.node != nil {
			t.Error("a TCP shard holds the old view")
		}
		shard.mu.Unlock()
	}
}
