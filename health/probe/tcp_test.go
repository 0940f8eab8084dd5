package probe

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"edged/health"
)

func TestTCP(t *testing.T) {
	leakless(t)
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.valid(t, "mail.example.com")}}
	banner := func(c net.Conn) {
		io.WriteString(c, "220 mail.example.com ")
		io.WriteString(c, "ESMTP\r\n")
		io.Copy(io.Discard, c)
	}
	echo := func(c net.Conn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		io.WriteString(c, "you said "+line)
	}
	mute := func(c net.Conn) { io.Copy(io.Discard, c) }
	endless := func(c net.Conn) {
		var err error
		for err == nil {
			_, err = io.WriteString(c, strings.Repeat("a", 1<<10))
		}
	}
	deaf := func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }
	for _, row := range []struct {
		name    string
		talk    func(net.Conn)
		check   health.Check
		outcome health.Outcome
		reason  string
	}{
		{"accepts", mute, health.Check{}, health.Passed, ""},
		{"banner", banner, health.Check{Expect: "220 "}, health.Passed, ""},
		{"banner in pieces", banner, health.Check{Expect: "com ESMTP"}, health.Passed, ""},
		{"send and expect", echo, health.Check{Send: "PING\n", Expect: "you said PING"}, health.Passed, ""},
		{"another answer", echo, health.Check{Send: "PING\n", Expect: "PONG"}, health.Wrong, `answer lacks "PONG"`},
		{"closes", func(net.Conn) {}, health.Check{Expect: "220"}, health.Wrong, "closed before the answer was whole"},
		{"resets", deaf, health.Check{Expect: "220"}, health.Wrong, "connection reset"},
		{"mute", mute, health.Check{Expect: "220", Timeout: brief}, health.Silent, "no answer within 100ms"},
		{"half", banner, health.Check{Expect: "221", Timeout: brief}, health.Silent, "no whole answer within 100ms"},
		{"endless", endless, health.Check{Expect: "b"}, health.Wrong, `answer lacks "b"`},
		{"tls", overTLS(config, mute), health.Check{TLS: true}, health.Passed, ""},
		{"tls banner", overTLS(config, banner), health.Check{TLS: true, Verify: true, SNI: "mail.example.com", Expect: "ESMTP"}, health.Passed, ""},
		{"tls wrong name", overTLS(config, banner), health.Check{TLS: true, Verify: true, SNI: "www.example.com"}, health.Wrong, "certificate: not for www.example.com, but for mail.example.com"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var y tally
			o := y.options()
			o.Roots = ca.roots
			row.check.Kind = health.TCP
			p := open(t, row.check, serve(t, row.talk), o)
			for range 2 {
				expect(t, p, row.outcome, row.reason)
			}
			if got := y.dials.Load(); got != 2 {
				t.Errorf("%d connections for 2 probes, want 2: that is what is checked", got)
			}
			if got := y.octets.Load(); !row.check.TLS && got > 2*maxExpect {
				t.Errorf("read %d octets, want at most %d", got, 2*maxExpect)
			}
		})
	}
}

// TestTCPSendBlocks has a peer that reads nothing of a long message.
func TestTCPSendBlocks(t *testing.T) {
	leakless(t)
	gone := make(chan bool)
	at := serve(t, func(net.Conn) { <-gone })
	t.Cleanup(func() { close(gone) })
	c := health.Check{Kind: health.TCP, Send: strings.Repeat("a", 16<<20), Timeout: 3 * brief}
	expect(t, open(t, c, at, Options{}), health.Silent, "no answer within 300ms")
}

func TestTCPRefused(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 loopback: %v", err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	expect(t, open(t, health.Check{Kind: health.TCP, Timeout: time.Minute}, at, Options{}), health.Silent, "connection refused")
}
