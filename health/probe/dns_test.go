package probe

import (
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"edged/health"
)

// dnsServer runs a DNS server over UDP.
func dnsServer(t *testing.T, h dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan bool)
	s := &dns.Server{PacketConn: c, Handler: h, NotifyStartedFunc: func() { close(ready) }}
	go s.ActivateAndServe()
	<-ready
	t.Cleanup(func() { s.Shutdown() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func record(t *testing.T, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

func TestDNS(t *testing.T) {
	leakless(t)
	records := []dns.RR{
		record(t, "www.example.com. 60 IN CNAME Web.example.com."),
		record(t, "web.example.com. 60 IN A 192.0.2.1"),
		record(t, "web.example.com. 60 IN A 192.0.2.2"),
	}
	text := []dns.RR{record(t, `txt.example.com. 60 IN TXT "Serial 7" "b"`)}
	at := dnsServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		switch q.Question[0].Name {
		case "www.example.com.":
			m.Answer = records
		case "txt.example.com.":
			m.Answer = text
		case "cut.example.com.":
			m.Truncated = true
		case "fail.example.com.":
			m.Rcode = dns.RcodeServerFailure
		case "refused.example.com.":
			m.Rcode, m.Question = dns.RcodeRefused, nil
		case "odd.example.com.":
			m.Rcode = 14
		case "none.example.com.":
			m.Rcode, m.Answer = dns.RcodeNameError, records
		}
		w.WriteMsg(m)
	})
	for _, row := range []struct {
		name, kind, rcode, data string
		outcome                 health.Outcome
		reason                  string
	}{
		{"www.example.com.", "A", "", "", health.Passed, ""},
		{"www.example.com.", "A", "", "192.0.2.2", health.Passed, ""},
		{"www.example.com.", "A", "", "192.0.2.3", health.Wrong, "answer lacks A 192.0.2.3"},
		{"www.example.com.", "CNAME", "", "web.EXAMPLE.com.", health.Passed, ""},
		{"www.example.com.", "AAAA", "", "2001:db8::1", health.Wrong, "answer lacks AAAA 2001:db8::1"},
		{"txt.example.com.", "TXT", "", `"Serial 7" b`, health.Passed, ""},
		{"txt.example.com.", "TXT", "", `"serial 7" b`, health.Wrong, `answer lacks TXT "serial 7" b`},
		{"cut.example.com.", "A", "", "", health.Passed, ""},
		{"cut.example.com.", "A", "", "192.0.2.1", health.Wrong, "answer is truncated and lacks A 192.0.2.1"},
		{"fail.example.com.", "A", "", "", health.Wrong, "rcode SERVFAIL, want NOERROR"},
		{"fail.example.com.", "A", "", "192.0.2.1", health.Wrong, "rcode SERVFAIL"},
		{"fail.example.com.", "A", "SERVFAIL", "", health.Passed, ""},
		{"refused.example.com.", "A", "", "", health.Wrong, "rcode REFUSED, want NOERROR"},
		{"odd.example.com.", "A", "", "", health.Wrong, "rcode RCODE14, want NOERROR"},
		{"none.example.com.", "A", "NXDOMAIN", "", health.Passed, ""},
		{"none.example.com.", "A", "", "192.0.2.1", health.Passed, ""},
		{"none.example.com.", "A", "NOERROR", "192.0.2.1", health.Wrong, "rcode NXDOMAIN, want NOERROR"},
	} {
		c := health.Check{Kind: health.DNS, Name: row.name, Type: row.kind, Rcode: row.rcode, Data: row.data}
		t.Run(row.name+" "+row.kind+" "+row.data, func(t *testing.T) {
			expect(t, open(t, c, at, Options{}), row.outcome, row.reason)
		})
	}
}

// TestDNSHostile has servers that send what is no answer to the question, each
// with the answer after it or without.
func TestDNSHostile(t *testing.T) {
	leakless(t)
	for _, row := range []struct {
		name string
		send func(w dns.ResponseWriter, q *dns.Msg)
		// what a probe says when nothing else comes, and when the answer does
		outcome  health.Outcome
		reason   string
		answered bool // the answer comes after it and counts
	}{
		{"nothing", func(dns.ResponseWriter, *dns.Msg) {}, health.Silent, "no answer within 100ms", true},
		{"another id", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
			m.Id++
			w.WriteMsg(m)
		}, health.Silent, "no answer within 100ms", true},
		{"another name", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
			m.Question[0].Name = "example.org."
			w.WriteMsg(m)
		}, health.Silent, "no answer within 100ms", true},
		{"the query itself", func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(q) }, health.Silent, "no answer within 100ms", true},
		{"no question", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Question = nil
			w.WriteMsg(m)
		}, health.Silent, "no answer within 100ms", true},
		{"empty datagrams", func(w dns.ResponseWriter, _ *dns.Msg) {
			for range 10 {
				w.Write(nil)
			}
		}, health.Silent, "no answer within 100ms", true},
		{"garbage", func(w dns.ResponseWriter, _ *dns.Msg) { w.Write(make([]byte, 60000)) }, health.Silent, "no answer within 100ms", true},
		{"malformed records", func(w dns.ResponseWriter, q *dns.Msg) {
			b, _ := new(dns.Msg).SetReply(q).Pack()
			b[7] = 1 // a record of which there are two octets
			w.Write(append(b, 0, 0))
		}, health.Wrong, "malformed answer", false},
		{"larger than asked for", func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			for range 100 {
				m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: "www.example.com.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, 1)})
			}
			w.WriteMsg(m)
		}, health.Wrong, "malformed answer", false},
	} {
		c := health.Check{Kind: health.DNS, Name: "www.example.com.", Type: "A"}
		t.Run(row.name, func(t *testing.T) {
			answer := func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(new(dns.Msg).SetReply(q)) }
			c := c
			if row.outcome == health.Silent {
				c.Timeout = brief
			}
			expect(t, open(t, c, dnsServer(t, row.send), Options{}), row.outcome, row.reason)
			if row.answered {
				c.Timeout = 0
				at := dnsServer(t, func(w dns.ResponseWriter, q *dns.Msg) { row.send(w, q.Copy()); answer(w, q) })
				expect(t, open(t, c, at, Options{}), health.Passed, "")
			}
		})
	}
}

func TestDNSRefused(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := c.LocalAddr().(*net.UDPAddr).AddrPort()
	c.Close()
	expect(t, open(t, health.Check{Kind: health.DNS, Name: ".", Type: "SOA"}, at, Options{}), health.Silent, "connection refused")
}

// TestDNSAsksAnew sees that each query has its own ID and port.
func TestDNSAsksAnew(t *testing.T) {
	type asked struct {
		id   uint16
		from string
	}
	var mu sync.Mutex
	seen := map[asked]bool{}
	at := dnsServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		mu.Lock()
		seen[asked{q.Id, w.RemoteAddr().String()}] = true
		mu.Unlock()
		w.WriteMsg(new(dns.Msg).SetReply(q))
	})
	p := open(t, health.Check{Kind: health.DNS, Name: ".", Type: "SOA"}, at, Options{})
	for range 20 {
		expect(t, p, health.Passed, "")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 20 {
		t.Errorf("%d kinds of id and port in 20 queries, want 20", len(seen))
	}
}

// FuzzDNS reads datagrams of any octets.
func FuzzDNS(f *testing.F) {
	check := health.Check{Kind: health.DNS, Name: "www.example.com.", Type: "A", Data: "192.0.2.1"}
	w, err := newQuery(health.NewTarget(check, netip.MustParseAddr("192.0.2.53")), Options{})
	if err != nil {
		f.Fatal(err)
	}
	q := w.(*query)
	const id = 0x1234
	ask := new(dns.Msg).SetQuestion("www.example.com.", dns.TypeA)
	ask.Id = id
	good := new(dns.Msg).SetReply(ask)
	rr, _ := dns.NewRR("www.example.com. 60 IN A 192.0.2.1")
	good.Answer = []dns.RR{rr}
	for _, m := range []*dns.Msg{ask, good, new(dns.Msg).SetRcode(ask, dns.RcodeRefused)} {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(b[:12])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ours := q.parse(b, id)
		if !ours {
			if m != nil {
				t.Error("an answer that is not ours")
			}
			return
		}
		if len(b) < 12 || b[0] != 0x12 || b[1] != 0x34 || b[2]&0x80 == 0 {
			t.Errorf("took %x for an answer", b)
		}
		outcome, reason := judge(t.Context(), q.judge(m), ample)
		if outcome != health.Passed && outcome != health.Wrong || (outcome == health.Passed) != (reason == "") {
			t.Errorf("outcome %d with reason %q", outcome, reason)
		}
	})
}
