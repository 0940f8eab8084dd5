package edge

import (
	"net/netip"
	"slices"
	"testing"
)

func TestRoutable(t *testing.T) {
	for s, want := range map[string]bool{
		"8.8.8.8": true, "11.0.0.1": true, "10.1.1.1": false, "127.0.0.1": false, "100.64.0.1": false, "100.128.0.1": true,
		"172.15.0.1": true, "172.16.0.1": false, "192.168.0.1": false, "192.0.1.1": true, "203.0.113.9": false, "224.0.0.1": false,
		"255.255.255.255": false, "2a00::1": true, "2001:db8::1": false, "fd00::1": false, "fe80::1": false, "::1": false, "3fff:ffff::": true, "3fff:fff::": false,
	} {
		a := netip.MustParseAddr(s)
		if got := Routable(netip.PrefixFrom(a, a.BitLen())); got != want {
			t.Errorf("Routable(%s) = %v, want %v", s, got, want)
		}
	}
	for i := range 256 { // the shortcut against the plain loop
		a := netip.AddrFrom4([4]byte{byte(i), 168, 2, 1})
		plain := !slices.ContainsFunc(special[:], func(p netip.Prefix) bool { return p.Contains(a) })
		if got := Routable(netip.PrefixFrom(a, 32)); got != plain {
			t.Errorf("Routable(%v) = %v, want %v", a, got, plain)
		}
	}
}
