package dnsserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

var anyLoopback = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}

func startServer(t *testing.T, v *View, change func(*Config)) *Server {
	t.Helper()
	cfg := Config{
		Listen: anyLoopback, Threads: 2, MaxUDP: 1232,
		TCPIdle: 10 * time.Second, TCPMax: 100, TCPMaxPerClient: 100,
	}
	if change != nil {
		change(&cfg)
	}
	before := goleak.IgnoreCurrent()
	procs := runtime.GOMAXPROCS(0)
	s, err := New(cfg, v)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		runtime.GOMAXPROCS(procs)
		goleak.VerifyNone(t, before)
	})
	return s
}

func exchange(t *testing.T, network string, addr netip.AddrPort, m *dns.Msg) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: 5 * time.Second}
	out, _, err := c.Exchange(m, addr.String())
	if err != nil {
		t.Fatalf("%s %s: %v", network, addr, err)
	}
	return out
}

func TestServes(t *testing.T) {
	v := mustView(t, mustZone(t, "example.com.", smallZone))
	addrs := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0"), netip.MustParseAddrPort("0.0.0.0:0")}
	s := startServer(t, v, func(c *Config) { c.Listen = addrs })
	targets := append([]netip.AddrPort{}, s.Addrs()[:2]...)
	// The wildcard socket must answer from the address asked: a client that
	// has connected its socket hears nothing else.
	targets = append(targets, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), s.Addrs()[2].Port()))
	for _, addr := range targets {
		for _, network := range []string{"udp", "tcp"} {
			got := exchange(t, network, addr, question("WWW.example.com.", dns.TypeA))
			if len(got.Answer) != 1 || got.Question[0].Name != "WWW.example.com." {
				t.Errorf("%s %s: got\n%v", network, addr, got)
			}
		}
	}
	stats := s.Stats()
	key := ReplyKey{Zone: "example.com.", Type: "A", Rcode: "NOERROR", Transport: "udp"}
	if stats.Replies[key] != 3 || stats.Events["received"] != 6 || stats.Events["tcp_accepted"] != 3 {
		t.Errorf("stats %+v: want 3 for %v, 6 received, 3 TCP connections", stats, key)
	}
}

func TestPortTaken(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().(*net.TCPAddr).AddrPort()
	_, err = New(Config{Listen: []netip.AddrPort{addr}, Threads: 1, MaxUDP: 1232}, mustView(t))
	if err == nil || !strings.Contains(err.Error(), "listen on "+addr.String()) || !strings.Contains(err.Error(), "another DNS server") {
		t.Errorf("error %v: want the address and a hint", err)
	}
}

// TestTCPPipelining sends many queries in one write, cut at odd places, and
// holds that every reply comes, in order, before the connection is closed.
func TestTCPPipelining(t *testing.T) {
	s := startServer(t, mustView(t, mustZone(t, "example.com.", smallZone)), nil)
	conn, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const n = 500
	var stream []byte
	for i := range n {
		m := question(fmt.Sprintf("n%d.example.com.", i), dns.TypeA)
		if i%2 == 0 {
			m = question("www.example.com.", dns.TypeA)
		}
		m.Id = uint16(i)
		pkt, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		stream = append(binary.BigEndian.AppendUint16(stream, uint16(len(pkt))), pkt...)
	}
	go func() {
		for len(stream) > 0 {
			k := min(len(stream), 1+len(stream)%1777)
			conn.Write(stream[:k])
			stream = stream[k:]
		}
	}()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	dc := dns.Conn{Conn: conn}
	for i := range n {
		got, err := dc.ReadMsg()
		if err != nil {
			t.Fatalf("reply %d: %v", i, err)
		}
		if got.Id != uint16(i) || (got.Rcode == dns.RcodeSuccess) != (i%2 == 0) {
			t.Fatalf("reply %d: id %d, rcode %d", i, got.Id, got.Rcode)
		}
	}
}

func closedByServer(conn net.Conn) error {
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := conn.Read(make([]byte, 1))
	if n == 0 && err != nil && !isTimeout(err) {
		return nil
	}
	return fmt.Errorf("read %d octets, error %v: want the connection closed", n, err)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestTCPLimits(t *testing.T) {
	s := startServer(t, mustView(t, mustZone(t, "example.com.", smallZone)), func(c *Config) {
		c.TCPIdle, c.TCPMax, c.TCPMaxPerClient = 300*time.Millisecond, 3, 2
	})
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	// A third connection of one client is refused.
	one, two, three := dial("127.0.0.1"), dial("127.0.0.1"), dial("127.0.0.1")
	if err := closedByServer(three); err != nil {
		t.Errorf("third connection of one client: %v", err)
	}
	// Silent ones are closed, also when they send one octet now and then.
	stop := make(chan struct{})
	var dripping sync.WaitGroup
	dripping.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				two.Write([]byte{0})
			}
		}
	})
	for i, conn := range []net.Conn{one, two} {
		if err := closedByServer(conn); err != nil {
			t.Errorf("silent connection %d: %v", i+1, err)
		}
	}
	close(stop)
	dripping.Wait()
	// A reply to garbage ends the connection.
	garbage := dial("127.0.0.3")
	garbage.Write([]byte{0, 12, 0, 0, flagQR, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	if err := closedByServer(garbage); err != nil {
		t.Errorf("a reply instead of a query: %v", err)
	}
}

func TestTCPEvictsTheMostSilent(t *testing.T) {
	s := startServer(t, mustView(t, mustZone(t, "example.com.", smallZone)), func(c *Config) { c.TCPMax = 2 })
	var conns []*dns.Conn
	for range 2 {
		conn, err := dns.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
		askOn(t, conn)
	}
	askOn(t, conns[0]) // so the second is the most silent
	newest, err := dns.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer newest.Close()
	askOn(t, newest)
	if err := closedByServer(conns[1].Conn); err != nil {
		t.Errorf("the most silent connection: %v", err)
	}
	askOn(t, conns[0])
}

func askOn(t *testing.T, conn *dns.Conn) {
	t.Helper()
	if err := conn.WriteMsg(question("www.example.com.", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.ReadMsg(); err != nil {
		t.Fatal(err)
	}
}

// TestSwapLosesNothing swaps views a hundred times under load. Each view answers
// with its own address for two names; every query gets a reply, and never one
// older than the view that was current when it was sent.
func TestSwapLosesNothing(t *testing.T) {
	viewOf := func(n int) *View {
		return mustView(t, mustZone(t, "example.com.", strings.ReplaceAll(smallZone, "192.0.2.80", fmt.Sprintf("192.0.2.%d", n))))
	}
	s := startServer(t, viewOf(0), nil)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var mu sync.Mutex
	asked, current := 0, 0
	for k := range 4 {
		clients.Go(func() {
			network := [...]string{"udp", "tcp"}[k%2]
			conn, err := dns.Dial(network, s.Addrs()[0].String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				oldest := current
				mu.Unlock()
				conn.SetDeadline(time.Now().Add(5 * time.Second))
				err := conn.WriteMsg(question("www.example.com.", dns.TypeA))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := conn.ReadMsg()
				if err != nil {
					t.Errorf("%s: a query was lost: %v", network, err)
					return
				}
				if n := int(got.Answer[0].(*dns.A).A.To4()[3]); n < oldest {
					t.Errorf("%s: an answer of view %d after view %d was current", network, n, oldest)
					return
				}
				mu.Lock()
				asked++
				mu.Unlock()
			}
		})
	}
	for n := 1; n <= 100; n++ {
		s.Swap(viewOf(n))
		mu.Lock()
		current = n
		before := asked
		mu.Unlock()
		// Let some queries meet each view.
		for seen := before; seen < before+20 && !t.Failed(); {
			runtime.Gosched()
			mu.Lock()
			seen = asked
			mu.Unlock()
		}
	}
	close(stop)
	clients.Wait()
	if asked < 100 {
		t.Errorf("only %d queries were asked meanwhile", asked)
	}
}

// TestGarbageCollectionUnderBlockedWorkers forces collections while workers
// wait in the kernel: each must end, for the receive is interrupted.
func TestGarbageCollectionUnderBlockedWorkers(t *testing.T) {
	s := startServer(t, mustView(t, mustZone(t, "example.com.", smallZone)), func(c *Config) { c.Threads = 4 })
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50 {
			runtime.GC()
		}
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("50 collections have not ended in 30 s")
	}
	exchange(t, "udp", s.Addrs()[0], question("www.example.com.", dns.TypeA))
}
