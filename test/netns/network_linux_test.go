package netns

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// network makes one that ends with the test.
func network(t *testing.T, switches ...string) *Network {
	t.Helper()
	if err := Possible(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no namespace can be made here: %v", err)
		}
		t.Skipf("no namespace can be made here: %v", err)
	}
	n, err := NewNetwork(switches...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func plug(t *testing.T, n *Network, addresses ...string) *Host {
	t.Helper()
	l := Link{Name: "wire", Switch: "one"}
	for _, a := range addresses {
		l.Addresses = append(l.Addresses, netip.MustParsePrefix(a))
	}
	h, err := n.Plug(l)
	must(t, err)
	return h
}

// echo answers each packet with what it says.
func echo(t *testing.T, h *Host, address, says string) {
	t.Helper()
	var conn net.PacketConn
	must(t, h.Do(func() (err error) {
		conn, err = net.ListenPacket("udp", address)
		return err
	}))
	t.Cleanup(func() { conn.Close() })
	go func() {
		b := make([]byte, 100)
		for {
			_, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo([]byte(says), from)
		}
	}()
}

// ask returns what address says, "" when nothing comes within patience.
func ask(t *testing.T, h *Host, address string, patience time.Duration) string {
	t.Helper()
	var conn net.Conn
	must(t, h.Do(func() (err error) {
		conn, err = net.Dial("udp", address)
		return err
	}))
	defer conn.Close()
	end := time.Now().Add(patience)
	b := make([]byte, 100)
	for time.Now().Before(end) { // the first packets may be lost to a neighbour that is looked for
		if _, err := conn.Write([]byte("?")); err != nil {
			continue
		}
		must(t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		if n, err := conn.Read(b); err == nil {
			return string(b[:n])
		}
	}
	return ""
}

const (
	long  = 5 * time.Second
	short = 300 * time.Millisecond
)

// Hosts hear each other, over IPv4 and IPv6, unless a link is cut or moved away.
func TestLinks(t *testing.T) {
	n := network(t, "one", "two")
	a, b := plug(t, n, "192.0.2.1/24", "2001:db8::1/64"), plug(t, n, "192.0.2.2/24", "2001:db8::2/64")
	echo(t, b, "192.0.2.2:7", "four")
	echo(t, b, "[2001:db8::2]:7", "six")
	heard := func(when string, patience time.Duration, four, six string) {
		t.Helper()
		if got := ask(t, a, "192.0.2.2:7", patience); got != four {
			t.Errorf("%s: %q over IPv4, want %q", when, got, four)
		}
		if got := ask(t, a, "[2001:db8::2]:7", patience); got != six {
			t.Errorf("%s: %q over IPv6, want %q", when, got, six)
		}
	}
	heard("plugged in", long, "four", "six")
	must(t, b.Cut("wire"))
	heard("cut", short, "", "")
	must(t, b.Join("wire"))
	heard("joined", long, "four", "six")
	must(t, b.Move("wire", "two"))
	heard("moved", short, "", "")
	must(t, a.Move("wire", "two"))
	heard("both moved", long, "four", "six")
	must(t, errors.Join(a.Join("wire"), b.Join("wire")))
	heard("both back", long, "four", "six")
}

// A route over two hosts reaches both, one for each flow.
func TestMultipath(t *testing.T) {
	n := network(t, "one")
	client := plug(t, n, "192.0.2.1/24")
	for i, says := range []string{"left", "right"} {
		h := plug(t, n, []string{"192.0.2.2/24", "192.0.2.3/24"}[i])
		must(t, h.IP("address add 198.51.100.53/32 dev lo"))
		echo(t, h, "198.51.100.53:7", says)
	}
	must(t, client.Sysctl("net.ipv4.fib_multipath_hash_policy", "1"))
	must(t, client.IP("route add 198.51.100.53/32 nexthop via 192.0.2.2 nexthop via 192.0.2.3"))
	said := map[string]int{}
	for range 64 {
		said[ask(t, client, "198.51.100.53:7", long)]++
	}
	if said["left"] == 0 || said["right"] == 0 || said["left"]+said["right"] != 64 {
		t.Errorf("answers %v, want 64 from both", said)
	}
}

// A process sees what its namespace has, and ends with it.
func TestProcess(t *testing.T) {
	n := network(t, "one")
	h, err := n.Plug(Link{Name: "mine", Switch: "one"})
	must(t, err)
	out, err := h.Run("ip", "-brief", "link")
	if err != nil || !strings.Contains(out, "mine@") || strings.Contains(out, "wire") {
		t.Errorf("the links inside are %q, %v", out, err)
	}
	if _, err := h.Run("ip", "link", "show", "dev", "nothing"); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("a program that fails: %v", err)
	}
	if err := h.IP("link set dev nothing up"); err == nil || !strings.Contains(err.Error(), `"link set dev nothing up"`) {
		t.Errorf("a bad line: %v", err)
	}
	if _, err := n.Plug(Link{Name: "muchtoolongname", Switch: "one"}); err == nil || !strings.Contains(err.Error(), `"muchtoolongname"`) {
		t.Errorf("a long name: %v", err)
	}

	lone, err := New()
	must(t, err)
	sleeper := exec.Command("sleep", "1000")
	must(t, lone.Start(sleeper))
	lone.Close()
	if err := sleeper.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the process ended with %v, want it killed", err)
	}
}
