package dnsserver

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// TestTrains holds which replies leave together: "PEER:SIZE" each, and the
// messages they become.
func TestTrains(t *testing.T) {
	many := strings.TrimSpace(strings.Repeat("a:1200 ", 60))
	for _, tc := range []struct {
		replies, want string
		trains        bool
	}{
		{"a:50 b:50 a:50 b:50", "a[50 50] b[50 50]", true},
		{"a:50 b:50 a:50 b:50", "a[50] b[50] a[50] b[50]", false},
		{"a:50 a:50 a:40 a:50", "a[50 50 40] a[50]", true}, // a shorter one is the last
		{"a:40 a:50 a:50", "a[40] a[50 50]", true},
		{"a:1233 a:1233", "a[1233] a[1233]", true},                                                                   // too long for any path
		{"a:9 b:9 c:9 d:9 e:9 f:9 g:9 h:9 i:9 a:9 i:9", "a[9] b[9] c[9] d[9] e[9] f[9] g[9] h[9] i[9 9] a[9]", true}, // too far back
		{many, "a[" + strings.TrimSpace(strings.Repeat("1200 ", 54)) + "] a[" + strings.TrimSpace(strings.Repeat("1200 ", 6)) + "]", true},
	} {
		var d departures
		var slots [batch]byte
		var name [batch]unix.RawSockaddrInet6
		peers := map[int]string{}
		for i, word := range strings.Fields(tc.replies) {
			var peer rune
			var size uint32
			fmt.Sscanf(word, "%c:%d", &peer, &size)
			peers[i] = string(peer)
			d.add(departure{
				base: &slots[i], size: size, name: (*byte)(unsafe.Pointer(&name[i])), namelen: 16,
				to: netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(peer)),
			}, tc.trains)
		}
		var got []string
		for _, m := range d.messages() {
			var sizes []string
			peer := ""
			for _, part := range unsafe.Slice(m.hdr.Iov, m.hdr.Iovlen) {
				sizes = append(sizes, fmt.Sprint(part.Len))
				at := int(uintptr(unsafe.Pointer(part.Base)) - uintptr(unsafe.Pointer(&slots[0])))
				if peer += peers[at]; len(sizes) > 1 && peer[0] != peer[len(peer)-1] {
					t.Errorf("%s: one train for peers %s", tc.replies, peer)
				}
			}
			if (m.hdr.Control != nil) != (len(sizes) > 1) {
				t.Errorf("%s: a control message for %d parts", tc.replies, len(sizes))
			}
			got = append(got, peer[:1]+"["+strings.Join(sizes, " ")+"]")
		}
		if text := strings.Join(got, " "); text != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.replies, text, tc.want)
		}
	}
}

// TestBurstFromOneSocket sends queries whose answers have many lengths, all at
// once: each must get its own answer.
func TestBurstFromOneSocket(t *testing.T) {
	s := startServer(t, mustView(t, mustZone(t, "example.com.", smallZone)), func(c *Config) { c.Threads = 1 })
	conn, err := net.Dial("udp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const n = 150
	want := map[uint16]string{}
	for i := range uint16(n) {
		name := [...]string{"www.example.com.", "ns.example.com.", "alias.example.com.", "a.wild.example.com.", fmt.Sprintf("n%d.example.com.", i)}[i%5]
		m := question(name, dns.TypeA)
		m.Id = i
		pkt, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		want[i] = name
		if _, err := conn.Write(pkt); err != nil {
			t.Fatal(err)
		}
	}
	dc := dns.Conn{Conn: conn}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for len(want) > 0 {
		got, err := dc.ReadMsg()
		if err != nil {
			t.Fatalf("%d replies are missing: %v", len(want), err)
		}
		if name := got.Question[0].Name; want[got.Id] != name {
			t.Fatalf("reply %d is about %s, want %s", got.Id, name, want[got.Id])
		}
		delete(want, got.Id)
	}
	if failed := s.Stats().Events["send_failed"]; failed != 0 {
		t.Errorf("%d sends failed", failed)
	}
}

// TestRefusedTrainGoesSingly hands the kernel a train that it must refuse, and
// looks for the parts.
func TestRefusedTrainGoesSingly(t *testing.T) {
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	s := &Server{cfg: Config{MaxUDP: 1232, Threads: 1}, sum: newSum()}
	s.cookies.Store(newCookieJar(nil))
	w, err := s.newUDPWorker(&listener{addr: netip.MustParseAddrPort("127.0.0.1:0")})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(w.fd)
	to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	name := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: to.Port()<<8 | to.Port()>>8, Addr: to.Addr().As4()}
	parts := []string{strings.Repeat("1", 100), strings.Repeat("2", 100), strings.Repeat("3", 100)}
	for _, part := range parts {
		w.out.add(departure{base: unsafe.StringData(part), size: 100, to: to, name: (*byte)(unsafe.Pointer(&name)), namelen: unix.SizeofSockaddrInet4}, true)
	}
	w.out.trains[0].size = 1 // 300 segments are more than a train can have: EINVAL
	w.trains = true
	w.send()
	peer.SetReadDeadline(time.Now().Add(5 * time.Second))
	for _, part := range parts {
		buf := make([]byte, 1000)
		n, err := peer.Read(buf)
		if err != nil || string(buf[:n]) != part {
			t.Fatalf("received %q (%v), want %q", buf[:n], err, part)
		}
	}
	if w.trains || w.responder.stats.events[eventSendFailed] != 0 {
		t.Errorf("trains %v, %d sends failed: want no more trains, and nothing lost", w.trains, w.responder.stats.events[eventSendFailed])
	}
}
