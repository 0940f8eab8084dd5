package dnsserver

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestManyAddresses: a hundred further addresses take as many threads as one, and
// each answers and counts for itself. What they cost is logged.
func TestManyAddresses(t *testing.T) {
	const threads = 2
	s := startServer(t, mustView(t, mustZone(t, "example.com.", smallZone)), func(c *Config) { c.Threads = threads })
	var addrs []netip.AddrPort
	procs := 0
	for _, n := range []int{1, 10, 100} {
		for len(addrs) < n {
			addrs = append(addrs, beside(s, fmt.Sprintf("127.0.1.%d", len(addrs)+1)))
		}
		listen(t, s, addrs...)
		for i, addr := range addrs {
			for range 2 {
				if got := exchange(t, "udp", addr, question("www.example.com.", dns.TypeA)); len(got.Answer) != 1 {
					t.Fatalf("%s: got\n%v", addr, got)
				}
			}
			asked := uint64(2) // in this round, and in those before
			for _, before := range []int{1, 10} {
				if before < n && i < before {
					asked += 2
				}
			}
			if got := s.Queries(addr); got != asked {
				t.Errorf("of %d: %s counts %d queries, want %d", n, addr, got, asked)
			}
		}
		if len(s.shared) != threads {
			t.Errorf("%d addresses have %d threads, want %d", n, len(s.shared), threads)
		}
		if procs == 0 {
			procs = runtime.GOMAXPROCS(0)
		}
		if got := runtime.GOMAXPROCS(0); got != procs {
			t.Errorf("with %d addresses GOMAXPROCS is %d, want %d as with one", n, got, procs)
		}
		t.Logf("%d addresses: %s", n, cost(t))
	}
	if got, want := s.Stats().Events["received"], uint64(2*(1+10+100)); got != want {
		t.Errorf("%d queries in all, want %d", got, want)
	}
	unlisten(t, s, addrs...)
	if got := len(s.Addrs()); got != 1 {
		t.Errorf("%d addresses are open, want 1", got)
	}
}

// cost is the memory and the threads of this process in words.
func cost(t *testing.T) string {
	t.Helper()
	runtime.GC()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "Threads") {
			words = append(words, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(words, ", ")
}
