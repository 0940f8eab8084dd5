package dnsserver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// beside returns another loopback address with the port of a server's first.
func beside(s *Server, addr string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(addr), s.Addrs()[0].Port())
}

func listen(t *testing.T, s *Server, addrs ...netip.AddrPort) {
	t.Helper()
	if err := s.Listen(t.Context(), addrs); err != nil {
		t.Fatal(err)
	}
}

func unlisten(t *testing.T, s *Server, addrs ...netip.AddrPort) {
	t.Helper()
	if err := s.Unlisten(addrs...); err != nil {
		t.Fatal(err)
	}
}

// anotherLoopback returns an address of this machine other than 127.0.0.1.
func anotherLoopback() string {
	if runtime.GOOS == "linux" {
		return "127.0.0.2"
	}
	return "::1"
}

func TestListenWhileServing(t *testing.T) {
	s := startServer(t, mustView(t, mustZone(t, "example.com.", smallZone)), nil)
	first := s.Addrs()[0]
	more := []netip.AddrPort{beside(s, anotherLoopback()), beside(s, "::1")}
	more = slices.Compact(more)
	listen(t, s, more...)
	listen(t, s, more...) // what is open stays as it is
	if want := append([]netip.AddrPort{first}, more...); !slices.Equal(s.Addrs(), want) {
		t.Errorf("addresses %v, want %v", s.Addrs(), want)
	}
	for _, addr := range more {
		for _, network := range []string{"udp", "udp", "tcp"} {
			if got := exchange(t, network, addr, question("www.example.com.", dns.TypeA)); len(got.Answer) != 1 {
				t.Errorf("%s %s: got\n%v", network, addr, got)
			}
		}
	}
	exchange(t, "udp", first, question("www.example.com.", dns.TypeA))
	for addr, want := range map[netip.AddrPort]uint64{first: 1, more[0]: 3, more[len(more)-1]: 3, beside(s, "127.0.0.9"): 0} {
		if n := s.Queries(addr); n != want {
			t.Errorf("%d queries on %s, want %d", n, addr, want)
		}
	}
	unlisten(t, s, append(more, beside(s, "127.0.0.9"))...)
	if want := []netip.AddrPort{first}; !slices.Equal(s.Addrs(), want) {
		t.Errorf("addresses %v, want %v", s.Addrs(), want)
	}
	for _, addr := range more {
		if err := refused(addr); err != nil {
			t.Errorf("%s after it was closed: %v", addr, err)
		}
		if n := s.Queries(addr); n != 0 {
			t.Errorf("%d queries on %s after it was closed", n, addr)
		}
	}
	if n := s.Stats().Events["received"]; n != uint64(3*len(more))+1 {
		t.Errorf("%d queries received in all, want %d", n, 3*len(more)+1)
	}
}

// refused errs unless both ports of an address are closed.
func refused(addr netip.AddrPort) error {
	if conn, err := net.Dial("tcp", addr.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		if err == nil {
			conn.Close()
		}
		return err
	}
	conn, err := net.Dial("udp", addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err = conn.Write(make([]byte, 12)); err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return errors.Join(errors.New("udp: not refused"), err)
	}
	return nil
}

func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", net.JoinHostPort(anotherLoopback(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := taken.Addr().(*net.TCPAddr).AddrPort()
	packets, err := net.ListenPacket("udp", net.JoinHostPort(anotherLoopback(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	busyUDP := packets.LocalAddr().(*net.UDPAddr).AddrPort()
	s := startServer(t, mustView(t), func(c *Config) {
		c.Listen = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("0.0.0.0:0")}
	})
	free := netip.AddrPortFrom(netip.IPv6Loopback(), s.Addrs()[0].Port())
	for _, tc := range []struct {
		addr netip.AddrPort
		want string
	}{
		{netip.MustParseAddrPort("192.0.2.1:5353"), "is the address on this machine?"},
		{busy, "is another DNS server running there?"},
		{busyUDP, "(udp)"},
		{s.Addrs()[0], "the server was started on " + s.Addrs()[0].String()},
		{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.7"), s.Addrs()[1].Port()), "the server was started on 0.0.0.0:"},
	} {
		err := s.Listen(t.Context(), []netip.AddrPort{free, tc.addr})
		if err == nil || !strings.HasPrefix(err.Error(), "listen on "+tc.addr.String()) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want %q on %s", err, tc.want, tc.addr)
		}
		if len(s.Addrs()) != 2 {
			t.Fatalf("after an error the server answers on %v too", s.Addrs()[2:])
		}
	}
	if err := refused(free); err != nil {
		t.Errorf("%s, opened beside one that failed: %v", free, err)
	}
	listen(t, s, free)
	if err := s.Unlisten(free, s.Addrs()[1]); err == nil || !strings.Contains(err.Error(), "the server was started on it") {
		t.Errorf("closing an address of the start: error %v", err)
	}
	if len(s.Addrs()) != 3 {
		t.Errorf("addresses %v after a refused Unlisten, want 3", s.Addrs())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Listen(ctx, []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want a cancelled context", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(t.Context(), []netip.AddrPort{free}); err == nil || !strings.Contains(err.Error(), "shut down") {
		t.Errorf("listen after the end: error %v", err)
	}
}

// TestUnlistenAnswersWhatIsQueued sends to a server that has not begun yet, and
// closes the address at the moment that it begins.
func TestUnlistenAnswersWhatIsQueued(t *testing.T) {
	s, err := New(Config{Listen: anyLoopback, Threads: 2, MaxUDP: 1232, TCPIdle: time.Minute, TCPMax: 10, TCPMaxPerClient: 10},
		mustView(t, mustZone(t, "example.com.", smallZone)))
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	addr := beside(s, anotherLoopback())
	listen(t, s, addr)
	pkt, err := question("www.example.com.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	const each = 50 // all of which fit into a queue
	var conns []net.Conn
	for range 4 {
		conn, err := net.Dial("udp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
		for range each {
			if _, err := conn.Write(pkt); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Start()
	unlisten(t, s, addr)
	for i, conn := range conns {
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		for n := range each {
			if _, err := conn.Read(make([]byte, 512)); err != nil {
				t.Fatalf("client %d: %d of %d answers, then %v", i, n, each, err)
			}
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestUnlistenEndsConnections closes an address with a silent connection, and
// one whose query is on its way.
func TestUnlistenEndsConnections(t *testing.T) {
	s := startServer(t, mustView(t, mustZone(t, "example.com.", smallZone)), nil)
	addr := beside(s, anotherLoopback())
	listen(t, s, addr)
	dial := func(to netip.AddrPort) *dns.Conn {
		conn, err := dns.Dial("tcp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		askOn(t, conn)
		return conn
	}
	silent, asking, other := dial(addr), dial(addr), dial(s.Addrs()[0])
	if err := asking.WriteMsg(question("www.example.com.", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	unlisten(t, s, addr)
	asking.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := asking.ReadMsg(); err != nil {
		t.Errorf("a query sent before: %v", err)
	}
	for what, conn := range map[string]*dns.Conn{"silent": silent, "asking": asking} {
		if err := closedByServer(conn.Conn); err != nil {
			t.Errorf("the %s connection: %v", what, err)
		}
	}
	askOn(t, other)
	if n := s.Stats().Events["tcp_closed_idle"]; n != 0 {
		t.Errorf("%d connections counted as idle", n)
	}
}

// TestListenLosesNothing opens and closes an address a hundred times, with
// clients on the address of the start and a scrape, all of whose queries are
// answered.
func TestListenLosesNothing(t *testing.T) {
	s := startServer(t, mustView(t, mustZone(t, "example.com.", smallZone)), nil)
	addr := beside(s, anotherLoopback())
	listen(t, s, addr) // what serves further addresses stays
	unlisten(t, s, addr)
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var asked [4]int
	for k := range asked {
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
				conn.SetDeadline(time.Now().Add(5 * time.Second))
				err := conn.WriteMsg(question("www.example.com.", dns.TypeA))
				if err == nil {
					_, err = conn.ReadMsg()
				}
				if err != nil {
					t.Errorf("%s: a query was lost: %v", network, err)
					return
				}
				asked[k]++
			}
		})
	}
	clients.Go(func() {
		for last := uint64(0); ; {
			select {
			case <-stop:
				return
			default:
			}
			n := s.Queries(s.Addrs()[0])
			if n < last {
				t.Errorf("%d queries on the address of the start after %d", n, last)
			}
			last = n
		}
	})
	for range 100 {
		listen(t, s, addr)
		for _, network := range []string{"udp", "tcp"} {
			exchange(t, network, addr, question("www.example.com.", dns.TypeA))
		}
		if n := s.Queries(addr); n != 2 {
			t.Fatalf("%d queries on %s since it was opened, want 2", n, addr)
		}
		unlisten(t, s, addr)
	}
	close(stop)
	clients.Wait()
	total := uint64(200)
	for k, n := range asked {
		if total += uint64(n); n == 0 {
			t.Errorf("client %d has asked nothing", k)
		}
	}
	if n := s.Stats().Events["received"]; n != total {
		t.Errorf("%d queries received, %d sent", n, total)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); runtime.Gosched() {
		if runtime.NumGoroutine() <= goroutines && openFiles(t) <= files { // the clients' connections have ended too
			return
		}
	}
	t.Errorf("%d goroutines and %d files, %d and %d before", runtime.NumGoroutine(), openFiles(t), goroutines, files)
}

// openFiles counts this process's files and sockets, where the system says.
func openFiles(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/dev/fd")
	if err != nil {
		return 0
	}
	return len(names)
}
