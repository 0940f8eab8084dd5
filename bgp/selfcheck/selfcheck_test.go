package selfcheck

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"edged/bgp"
	"edged/dnsserver"
	"edged/zone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var questions = Questions{Node: "ams-1", Zones: []string{"example.com.", "example.net."}}

// long is a budget that no test comes near.
const long = 20 * time.Second

// vipAt returns a VIP of addresses on one port.
func vipAt(port uint16, addrs ...string) bgp.VIP {
	v := bgp.VIP{Name: "ns1", Port: port}
	for _, a := range addrs {
		addr := netip.MustParseAddr(a)
		v.Prefixes = append(v.Prefixes, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return v
}

// startServer starts a real server on 127.0.0.1 and ::1, and returns the port.
func startServer(t *testing.T, rrl dnsserver.RRL) (*dnsserver.Server, uint16) {
	t.Helper()
	var zones []*zone.Zone
	for _, origin := range questions.Zones {
		z, err := zone.Parse(origin, strings.NewReader("@ 3600 SOA ns host 1 7200 3600 1209600 300\n@ NS ns\nns A 192.0.2.53\n"), origin, zone.Options{})
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, z)
	}
	v, err := dnsserver.BuildView(dnsserver.ViewConfig{Zones: zones, NSID: "ams-1 ams default=1"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := dnsserver.New(dnsserver.Config{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Threads: 1, MaxUDP: 1232,
		TCPIdle: time.Second, TCPMax: 100, TCPMaxPerClient: 100, RRL: rrl,
	}, v)
	if err != nil {
		t.Fatal(err)
	}
	procs := runtime.GOMAXPROCS(0)
	s.Start()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		runtime.GOMAXPROCS(procs)
	})
	port := s.Addrs()[0].Port()
	if err := s.Listen(t.Context(), []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Loopback(), port)}); err != nil {
		t.Fatal(err)
	}
	return s, port
}

func TestRun(t *testing.T) {
	s, port := startServer(t, dnsserver.RRL{})
	v := vipAt(port, "127.0.0.1", "::1")
	asked, err := run(t.Context(), v, questions, long)
	if err != nil || asked != 8 {
		t.Errorf("asked %d (%v), want 8", asked, err)
	}
	if asked, err = run(t.Context(), v, Questions{Node: "ams-1"}, long); err != nil || asked != 4 {
		t.Errorf("without zones: asked %d (%v), want 4", asked, err)
	}
	if n := s.Queries(s.Addrs()[0]) + s.Queries(s.Addrs()[1]); n != 12 {
		t.Errorf("%d queries came, want 12", n)
	}
	for _, tc := range []struct {
		q    Questions
		want string
	}{
		{Questions{Node: "fra-1", Zones: questions.Zones}, `tcp 127.0.0.1: id.server. TXT: "ams-1" answered, not "fra-1"; udp 127.0.0.1: id.server. TXT: "ams-1" answered, not "fra-1"`},
		{Questions{Node: "ams-1", Zones: []string{"example.org"}}, "tcp 127.0.0.1: example.org. SOA: answered REFUSED; udp 127.0.0.1: example.org. SOA: answered REFUSED"},
	} {
		if _, err := run(t.Context(), vipAt(port, "127.0.0.1"), tc.q, long); err == nil || err.Error() != tc.want {
			t.Errorf("error %v\n want %s", err, tc.want)
		}
	}
	// Run itself, with its own budget.
	if _, err := Run(t.Context(), v, questions); err != nil {
		t.Error(err)
	}
}

// TestRunIsNotRateLimited asks while a neighbour of the VIP has used up what the
// server answers to their block.
func TestRunIsNotRateLimited(t *testing.T) {
	s, port := startServer(t, dnsserver.RRL{PerSecond: 1})
	var flood []net.Conn
	for range 2 {
		conn, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("udp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		flood = append(flood, conn)
	}
	for range 50 {
		for i, m := range (&round{zone: "example.com."}).questions() {
			m.IsEdns0().Option = nil
			pkt, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			flood[i].Write(pkt)
		}
	}
	q := Questions{Node: "ams-1", Zones: []string{"example.com."}}
	if asked, err := run(t.Context(), vipAt(port, "127.0.0.1"), q, long); err != nil || asked != 4 {
		t.Errorf("asked %d (%v), want 4", asked, err)
	}
	if s.Stats().Events["rate_limit_dropped"] == 0 {
		t.Error("nothing was rate limited: the test shows nothing")
	}
}

// fake answers as a test says, over UDP and TCP on one port of 127.0.0.1.
type fake struct {
	port uint16
	// answer changes the good answer to a query; nil: it is not sent.
	answer func(m *dns.Msg, network string) *dns.Msg
}

// startFake starts a fake; without a network, nothing listens there.
func startFake(t *testing.T, answer func(m *dns.Msg, network string) *dns.Msg, networks ...string) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{port: ln.Addr().(*net.TCPAddr).AddrPort().Port(), answer: answer}
	for _, network := range []string{"tcp", "udp"} {
		server := &dns.Server{Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { f.serve(w, q, network) })}
		switch {
		case network == "tcp" && slices.Contains(networks, network):
			server.Listener = ln
		case network == "udp" && slices.Contains(networks, network):
			server.PacketConn = pc
		case network == "tcp":
			ln.Close()
			continue
		default:
			pc.Close()
			continue
		}
		started, ended := make(chan struct{}), make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(ended)
			server.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() {
			server.Shutdown()
			<-ended
		})
	}
	return f
}

func (f *fake) serve(w dns.ResponseWriter, q *dns.Msg, network string) {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: hex.EncodeToString([]byte("ams-1 ams"))}}
	head := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: q.Question[0].Qclass, Ttl: 1}
	if head.Rrtype == dns.TypeTXT {
		m.Answer = []dns.RR{&dns.TXT{Hdr: head, Txt: []string{"ams-1 ams"}}}
	} else {
		m.Answer = []dns.RR{&dns.SOA{Hdr: head, Ns: "ns.", Mbox: "host."}}
	}
	if m = f.answer(m, network); m != nil {
		w.WriteMsg(m)
	}
}

func same(m *dns.Msg, _ string) *dns.Msg { return m }

// onSOA changes answers with an SOA alone.
func onSOA(change func(*dns.Msg)) func(*dns.Msg, string) *dns.Msg {
	return func(m *dns.Msg, _ string) *dns.Msg {
		if m.Question[0].Qtype == dns.TypeSOA {
			change(m)
		}
		return m
	}
}

func TestFaults(t *testing.T) {
	const both = "tcp 127.0.0.1: %[1]s; udp 127.0.0.1: %[1]s"
	zones := []string{"example.com."}
	for name, tc := range map[string]struct {
		answer   func(*dns.Msg, string) *dns.Msg
		networks []string
		want     string
	}{
		"good":       {same, []string{"tcp", "udp"}, ""},
		"no sockets": {same, nil, fmt.Sprintf(both, "connection refused")},
		"no tcp":     {same, []string{"udp"}, "tcp 127.0.0.1: connection refused"},
		"no udp":     {same, []string{"tcp"}, "udp 127.0.0.1: connection refused"},
		"servfail":   {onSOA(func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeServerFailure, nil }), []string{"tcp", "udp"}, fmt.Sprintf(both, "example.com. SOA: answered SERVFAIL")},
		"lame":       {onSOA(func(m *dns.Msg) { m.Authoritative = false }), []string{"tcp", "udp"}, fmt.Sprintf(both, "example.com. SOA: answered without authority")},
		"empty":      {onSOA(func(m *dns.Msg) { m.Answer = nil }), []string{"tcp", "udp"}, fmt.Sprintf(both, "example.com. SOA: answered without the SOA")},
		"other name": {onSOA(func(m *dns.Msg) { m.Answer[0].Header().Name = "example.org." }), []string{"tcp", "udp"}, fmt.Sprintf(both, "example.com. SOA: answered without the SOA")},
		"truncated":  {onSOA(func(m *dns.Msg) { m.Truncated = true }), []string{"tcp", "udp"}, fmt.Sprintf(both, "example.com. SOA: answered truncated")},
		"no nsid":    {onSOA(func(m *dns.Msg) { m.Extra = nil }), []string{"tcp", "udp"}, fmt.Sprintf(both, "example.com. SOA: nsid: the node does not say who it is")},
		"another node": {onSOA(func(m *dns.Msg) {
			m.IsEdns0().Option[0].(*dns.EDNS0_NSID).Nsid = hex.EncodeToString([]byte("fra-1 fra"))
		}), []string{"tcp", "udp"}, fmt.Sprintf(both, `example.com. SOA: nsid: "fra-1" answered, not "ams-1"`)},
		"a long name": {onSOA(func(m *dns.Msg) {
			m.IsEdns0().Option[0].(*dns.EDNS0_NSID).Nsid = hex.EncodeToString([]byte(strings.Repeat("x", 1000)))
		}), []string{"tcp", "udp"}, fmt.Sprintf(both, `example.com. SOA: nsid: "`+strings.Repeat("x", 64)+`" answered, not "ams-1"`)},
		"wrong over udp": {func(m *dns.Msg, network string) *dns.Msg {
			if network == "udp" && m.Question[0].Qtype == dns.TypeTXT {
				m.Rcode, m.Answer = dns.RcodeRefused, nil
			}
			return m
		}, []string{"tcp", "udp"}, "udp 127.0.0.1: id.server. TXT: answered REFUSED"},
		"other ids": {func(m *dns.Msg, network string) *dns.Msg { m.Id += 2; return m }, []string{"udp"}, "tcp 127.0.0.1: connection refused; udp 127.0.0.1: no answer in time"},
	} {
		f := startFake(t, tc.answer, tc.networks...)
		budget := long
		if strings.Contains(tc.want, "in time") {
			budget = 100 * time.Millisecond
		}
		got := ""
		if _, err := run(t.Context(), vipAt(f.port, "127.0.0.1"), Questions{Node: "ams-1", Zones: zones}, budget); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s: error %q\n want %q", name, got, tc.want)
		}
	}
}

// TestLostPackets has the first packets over UDP lost.
func TestLostPackets(t *testing.T) {
	var lost atomic.Int32
	f := startFake(t, func(m *dns.Msg, network string) *dns.Msg {
		if network == "udp" && lost.Add(1) <= 3 {
			return nil
		}
		return m
	}, "tcp", "udp")
	// The two questions over TCP, the two over UDP, both again, and the last one.
	asked, err := run(t.Context(), vipAt(f.port, "127.0.0.1"), questions, 3*time.Second)
	if err != nil || asked < 6 || asked > 7 {
		t.Errorf("asked %d (%v), want it answered after all", asked, err)
	}
}

// TestSilence has both sockets take everything and answer nothing.
func TestSilence(t *testing.T) {
	f := startFake(t, func(*dns.Msg, string) *dns.Msg { return nil }, "tcp", "udp")
	v := vipAt(f.port, "127.0.0.1")
	asked, err := run(t.Context(), v, questions, time.Second)
	if want := "tcp 127.0.0.1: no answer in time; udp 127.0.0.1: no answer in time"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if want := 2 + 2*sends; asked != want {
		t.Errorf("asked %d, want %d", asked, want)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the node stops"))
	if _, err := run(ctx, v, questions, long); err == nil || !strings.HasSuffix(err.Error(), "udp 127.0.0.1: given up: the node stops") {
		t.Errorf("error %v", err)
	}
	if _, err := run(t.Context(), vipAt(53, "192.0.2.1"), questions, long); err == nil || err.Error() != "tcp 192.0.2.1: the address is not on this machine; udp 192.0.2.1: the address is not on this machine" {
		t.Errorf("error %v", err)
	}
}

// TestHostileAnswers floods the questioner with what is no answer.
func TestHostileAnswers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	garbage := [][]byte{nil, {0}, make([]byte, 12), []byte(strings.Repeat("\xc0\x0c", 600)), []byte(strings.Repeat("\xff", 1200))}
	var servers sync.WaitGroup
	servers.Go(func() {
		buf := make([]byte, 4096)
		for {
			_, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			for i := range 2 * strays {
				pc.WriteTo(garbage[i%len(garbage)], from)
			}
		}
	})
	servers.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			for i := range 2 * strays {
				g := garbage[i%len(garbage)]
				conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(g))), g...))
			}
			conn.Close()
		}
	})
	_, err = run(t.Context(), vipAt(ln.Addr().(*net.TCPAddr).AddrPort().Port(), "127.0.0.1"), questions, 2*time.Second)
	ln.Close()
	pc.Close()
	servers.Wait()
	if err == nil || !strings.Contains(err.Error(), "tcp 127.0.0.1: ") || !strings.Contains(err.Error(), "udp 127.0.0.1: ") {
		t.Errorf("error %v, want faults of both", err)
	}
}

func TestQuestions(t *testing.T) {
	r := &round{zone: "example.com.", cookie: "00112233445566778899aabbccddeeff"}
	for range 1000 {
		all := r.questions()
		if len(all) != 2 || all[0].Id == all[1].Id {
			t.Fatalf("want two questions with IDs of their own, got %v", all)
		}
		for _, m := range all {
			if _, err := m.Pack(); err != nil || m.RecursionDesired || len(m.IsEdns0().Option) != 2 {
				t.Fatalf("question %v (%v)", m, err)
			}
		}
	}
}
