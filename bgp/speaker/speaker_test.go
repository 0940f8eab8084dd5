package speaker

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edged/bgp"
)

// leftOver lets pass what TestLeftOver bounds.
var leftOver = goleak.IgnoreTopFunction("github.com/eapache/channels.(*InfiniteChannel).infiniteBuffer")

// alone starts a speaker without a network around it.
func alone(t *testing.T, c Config) *Speaker {
	t.Helper()
	c.ASN, c.RouterID = 64512, netip.MustParseAddr("192.0.2.11")
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func end(t *testing.T, s *Speaker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	id := netip.MustParseAddr("192.0.2.11")
	for want, c := range map[string]Config{
		"BGP needs an AS number of our own; set bgp.asn":                   {RouterID: id},
		`BGP router ID "invalid IP": want an IPv4 address`:                 {ASN: 64512},
		`BGP router ID "2001:db8::1": want an IPv4 address`:                {ASN: 64512, RouterID: netip.MustParseAddr("2001:db8::1")},
		`BGP peer "x" (192.0.2.1): it has no AS number`:                    {ASN: 64512, RouterID: id, Peers: []Peer{{Name: "x", Address: netip.MustParseAddr("192.0.2.1")}}},
		`BGP peer "x" (invalid IP): want a unicast address without a zone`: {ASN: 64512, RouterID: id, Peers: []Peer{{Name: "x", ASN: 1}}},
	} {
		if _, err := New(c); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// A port that is taken is an error, and nothing stays behind.
func TestPortTaken(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), leftOver)
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	_, err = New(Config{ASN: 64512, RouterID: netip.MustParseAddr("192.0.2.11"), Listen: port})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("error %v, want one that says that the port is in use", err)
	}
}

// Nothing of GoBGP outlives Close, whatever was going on; and afterwards calls
// say so.
func TestClose(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), leftOver)
	s := alone(t, Config{Listen: 17900, Peers: []Peer{
		{Name: "refuses", Address: netip.MustParseAddr("127.0.0.2"), ASN: 64500, BFD: BFD{Interval: 100 * time.Millisecond}},
		{Name: "passive", Address: netip.MustParseAddr("127.0.0.3"), ASN: 64500, Passive: true, Password: "secret"},
		{Name: "v6", Address: netip.MustParseAddr("::1"), ASN: 64500, GTSM: true},
	}})
	prefix := netip.MustParsePrefix("198.51.100.53/32")
	if err := s.Allow([]netip.Prefix{prefix}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(t.Context(), []bgp.Route{{Prefix: prefix}}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Events():
	default:
		t.Error("a route was announced without an event")
	}
	if got := s.Sent(); got != nil {
		t.Errorf("sent %+v to peers without a session", got)
	}
	end(t, s)
	end(t, s) // twice does no harm
	if _, err := s.Apply(t.Context(), nil); !errors.Is(err, errClosed) {
		t.Errorf("Apply after Close: %v", err)
	}
	if err := s.Allow(nil); !errors.Is(err, errClosed) {
		t.Errorf("Allow after Close: %v", err)
	}
	if _, err := s.SetPeers(nil); !errors.Is(err, errClosed) {
		t.Errorf("SetPeers after Close: %v", err)
	}
	if s.Peers() != nil || s.Sent() != nil {
		t.Error("a closed speaker has peers")
	}
}

func TestAllowRefuses(t *testing.T) {
	s := alone(t, Config{})
	defer end(t, s)
	for _, p := range []string{"0.0.0.0/0", "198.51.100.0/24", "198.51.100.52/31", "127.0.0.1/32", "224.0.0.1/32", "::/0", "fe80::1/128", "::ffff:198.51.100.53/128"} {
		err := s.Allow([]netip.Prefix{netip.MustParsePrefix("198.51.100.53/32"), netip.MustParsePrefix(p)})
		if want := `prefix "` + p + `" may not be announced: want the host route of a VIP, as in 198.51.100.53/32`; err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if len(s.allowed) != 0 {
		t.Errorf("%v is allowed after refusals", s.allowed)
	}
}

func TestApplyRefuses(t *testing.T) {
	s := alone(t, Config{})
	defer end(t, s)
	prefix := netip.MustParsePrefix("198.51.100.53/32")
	if err := s.Allow([]netip.Prefix{prefix}); err != nil {
		t.Fatal(err)
	}
	for want, routes := range map[string][]bgp.Route{
		"route 0.0.0.0/0 is not one of the 1 VIP prefixes that may be announced": {{Prefix: prefix}, {Prefix: netip.MustParsePrefix("0.0.0.0/0")}},
		"route 198.51.100.53/32 is given twice":                                  {{Prefix: prefix}, {Prefix: prefix}},
		"route 198.51.100.53/32: AS prepended 11 times: want at most 10":         {{Prefix: prefix, Attributes: bgp.Attributes{Prepend: 11}}},
	} {
		if _, err := s.Apply(t.Context(), routes); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if have, err := s.table(); err != nil || len(have) != 0 {
		t.Errorf("the table holds %v, %v after refusals", have, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Apply(ended, []bgp.Route{{Prefix: prefix}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply in a context that ended: %v", err)
	}
}

// What decode reads is what encode wrote.
func TestPaths(t *testing.T) {
	for _, a := range []bgp.Attributes{
		{},
		{Prepend: 10},
		{MED: 1<<32 - 1},
		{Communities: []bgp.Community{0, bgp.GracefulShutdown, 1<<32 - 1}},
		{Communities: []bgp.Community{1<<16 | 1}, Prepend: 1, MED: 1},
	} {
		for prefix, hop := range map[string]string{"198.51.100.53/32": "0.0.0.0", "2001:db8::53/128": "::"} {
			p := encode(4_200_000_000, bgp.Route{Prefix: netip.MustParsePrefix(prefix), Attributes: a})
			got, nextHop := decode(p)
			if !reflect.DeepEqual(got, a) || nextHop.String() != hop {
				t.Errorf("%s %s: got %s with the next hop %s", prefix, a, got, nextHop)
			}
			if back, ok := prefixOf(p.Nlri); !ok || back.String() != prefix {
				t.Errorf("%s came back as %s", prefix, back)
			}
		}
	}
}
