package loopback

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edged/test/netns"
)

var possible = sync.OnceValue(netns.Possible)

// namespace returns a network namespace of the test's own, with lo up.
func namespace(t *testing.T) *netns.Namespace {
	t.Helper()
	if err := possible(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("skipped: %v", err)
	}
	n, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	if err := n.IP("link set lo up"); err != nil {
		t.Fatal(err)
	}
	return n
}

// inside runs a step in a namespace and fails on its error.
func inside(t *testing.T, n *netns.Namespace, f func() error) {
	t.Helper()
	if err := n.Do(f); err != nil {
		t.Error(err)
	}
}

// shown returns the lines of ip about lo that hold an address.
func shown(t *testing.T, n *netns.Namespace, address string) string {
	t.Helper()
	out, err := n.Run("ip", "-oneline", "address", "show", "dev", "lo")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, " "+address+" ") {
			found = append(found, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(found, "\n")
}

var (
	v4  = netip.MustParsePrefix("198.51.100.53/32")
	v6  = netip.MustParsePrefix("2001:db8::53/128")
	ns1 = []netip.Prefix{v4, v6}
)

func wantOwned(t *testing.T, n *netns.Namespace, want ...netip.Prefix) {
	t.Helper()
	inside(t, n, func() error {
		got, err := New(nil).Owned() // one that starts and knows nothing
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("ours are %v, want %v", got, want)
		}
		return err
	})
}

func TestEnsureAndRemove(t *testing.T) {
	n := namespace(t)
	a := New(nil)
	wantOwned(t, n)
	inside(t, n, func() error { return a.Ensure("ns1", ns1) })
	if line := shown(t, n, v4.String()); !strings.Contains(line, "scope global noprefixroute") || !strings.Contains(line, " lo:ns1") {
		t.Errorf("ip shows %q, want noprefixroute and the label lo:ns1", line)
	}
	if line := shown(t, n, v6.String()); !strings.Contains(line, "nodad noprefixroute") {
		t.Errorf("ip shows %q, want nodad and noprefixroute", line)
	}
	// They can be used at once.
	for _, p := range ns1 {
		inside(t, n, func() error {
			conn, err := net.ListenPacket("udp", netip.AddrPortFrom(p.Addr(), 53).String())
			if err == nil {
				conn.Close()
			}
			return err
		})
	}
	wantOwned(t, n, v4, v6)
	inside(t, n, func() error { return a.Ensure("ns1", ns1) })
	// What someone takes away comes back.
	if err := n.IP("address del 198.51.100.53/32 dev lo"); err != nil {
		t.Fatal(err)
	}
	wantOwned(t, n, v6)
	inside(t, n, func() error { return a.Ensure("ns1", ns1) })
	wantOwned(t, n, v4, v6)
	inside(t, n, func() error { return New(nil).Remove("ns1", ns1) })
	wantOwned(t, n)
	for _, p := range ns1 {
		if line := shown(t, n, p.String()); line != "" {
			t.Errorf("after Remove ip shows %q", line)
		}
	}
	inside(t, n, func() error { return a.Remove("ns1", ns1) })
	if shown(t, n, "127.0.0.1/8") == "" || shown(t, n, "::1/128") == "" {
		t.Error("the device's own addresses are gone")
	}
}

// TestOthersAreKept puts addresses there that are not ours: one beside a VIP's,
// one in its place, and one with another length.
func TestOthersAreKept(t *testing.T) {
	n := namespace(t)
	lines := []string{
		"address add 203.0.113.9/32 dev lo label lo:ns1",
		"address add 198.51.100.53/32 dev lo",
		"address add 2001:db8::53/128 dev lo",
		"address add 192.0.2.53/24 dev lo",
	}
	if err := n.IP(lines...); err != nil {
		t.Fatal(err)
	}
	third := netip.MustParsePrefix("192.0.2.53/32")
	all := append(slices.Clone(ns1), third)
	var log bytes.Buffer
	a := New(slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		inside(t, n, func() error { return a.Ensure("ns1", all) })
	}
	if got := strings.Count(log.String(), "already there, and not ours"); got != 2 {
		t.Errorf("said %d times that an address is not ours, want 2:\n%s", got, &log)
	}
	wantOwned(t, n, third)
	inside(t, n, func() error { return a.Remove("ns1", append(all, netip.MustParsePrefix("203.0.113.9/32"))) })
	wantOwned(t, n)
	for _, line := range lines {
		if address := strings.Fields(line)[2]; shown(t, n, address) == "" {
			t.Errorf("%s is gone", address)
		}
	}
	// Once the other one is gone, the address is ours.
	if err := n.IP("address del 198.51.100.53/32 dev lo"); err != nil {
		t.Fatal(err)
	}
	inside(t, n, func() error { return a.Ensure("ns1", ns1) })
	wantOwned(t, n, v4)
}

func TestErrors(t *testing.T) {
	n := namespace(t)
	a := New(nil)
	must := func(want string, f func() error) {
		t.Helper()
		if err := n.Do(f); err == nil || err.Error() != want {
			t.Errorf("error %v\n want %s", err, want)
		}
	}
	for _, p := range []string{"198.51.100.0/24", "2001:db8::/64", "::ffff:198.51.100.53/128"} {
		must(fmt.Sprintf(`address %s of vip "ns1": want a /32, or a /128 of IPv6`, p), func() error {
			return a.Ensure("ns1", []netip.Prefix{netip.MustParsePrefix(p)})
		})
	}
	if err := n.Sysctl("net.ipv6.conf.lo.disable_ipv6", "1"); err != nil {
		t.Fatal(err)
	}
	must(`address 2001:db8::53/128 of vip "ns1": cannot add it to lo: permission denied; is IPv6 off? see: sysctl net.ipv6.conf.lo.disable_ipv6`,
		func() error { return a.Ensure("ns1", ns1) })
	wantOwned(t, n, v4)
	if err := n.IP("link set lo down"); err != nil {
		t.Fatal(err)
	}
	must(`address 198.51.100.53/32 of vip "ns1": device lo is down; try: ip link set lo up`, func() error { return a.Ensure("ns1", ns1) })
	if err := n.IP("link set lo up"); err != nil {
		t.Fatal(err)
	}
	// Without the right. The thread ends with the namespace, and so does its lack.
	must(`address 192.0.2.53/32 of vip "ns1": cannot add it to lo: operation not permitted; it needs root or CAP_NET_ADMIN`, func() error {
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&head, &none[0]); err != nil {
			return err
		}
		return a.Ensure("ns1", []netip.Prefix{netip.MustParsePrefix("192.0.2.53/32")})
	})
	must(`address 198.51.100.53/32 of vip "ns1": cannot remove it from lo: operation not permitted; it needs root or CAP_NET_ADMIN`,
		func() error { return a.Remove("ns1", ns1) })
}

// TestManyAddresses has a thousand of them come and go, and logs how long it
// takes.
func TestManyAddresses(t *testing.T) {
	n := namespace(t)
	var all []netip.Prefix
	for i := range 1000 {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32))
	}
	a := New(nil)
	start := time.Now()
	inside(t, n, func() error { return a.Ensure("many", all) })
	t.Logf("%d addresses added in %v", len(all), time.Since(start))
	wantOwned(t, n, all...)
	start = time.Now()
	inside(t, n, func() error { return a.Remove("many", all) })
	t.Logf("and removed in %v", time.Since(start))
	wantOwned(t, n)
}

func TestLabel(t *testing.T) {
	for vip, want := range map[string]string{"ns1": "lo:ns1", "": "lo:", "a-long-name-of-a-vip": "lo:a-long-name-"} {
		if got := label(vip); got != want {
			t.Errorf("label of %q: %q, want %q", vip, got, want)
		}
	}
}

// TestParse reads messages as kernels send them.
func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		message string // in hex, little-endian
		want    entry
		ok      bool
	}{
		"ours":         {"02208000" + "01000000" + "08000100c6336435" + "08000200c6336435" + "05000b00ed000000", entry{v4, true}, true},
		"someone's":    {"02208000" + "01000000" + "08000100c6336435" + "08000200c6336435" + "05000b0003000000", entry{v4, false}, true},
		"older kernel": {"02208000" + "01000000" + "08000100c6336435" + "08000200c6336435", entry{v4, false}, true},
		"IPv6":         {"0a808000" + "01000000" + "14000100" + "20010db8000000000000000000000053" + "05000b00ed000000", entry{v6, true}, true},
		"cut":          {"02208000" + "01000000" + "0800", entry{}, false},
		"short":        {"0220", entry{}, false},
		"bad length":   {"02208000" + "01000000" + "ff000100c6336435", entry{}, false},
	} {
		m, err := hex.DecodeString(tc.message)
		if err != nil {
			t.Fatal(err)
		}
		got, index, ok := parse(m)
		if ok != tc.ok || ok && (got != tc.want || index != 1) {
			t.Errorf("%s: %v of device %d, %v; want %v, %v", name, got, index, ok, tc.want, tc.ok)
		}
	}
}
