package place

import (
	"net/netip"
	"testing"
)

func TestUnwrap(t *testing.T) {
	for _, tt := range []struct{ name, addr, want string }{
		{"IPv4", "192.0.2.1", "192.0.2.1"},
		{"mapped", "::ffff:192.0.2.1", "192.0.2.1"},
		{"6to4", "2002:c000:201::1", "192.0.2.1"},
		{"6to4, all host bits", "2002:c000:201:ffff:ffff:ffff:ffff:ffff", "192.0.2.1"},
		{"Teredo: the inverted client, not the server", "2001:0:4136:e378:8000:63bf:3fff:fdfe", "192.0.2.1"},
		{"NAT64", "64:ff9b::c000:201", "192.0.2.1"},
		{"NAT64 for local use", "64:ff9b:1::c000:201", "64:ff9b:1::c000:201"},
		{"behind the NAT64 prefix", "64:ff9b::1:c000:201", "64:ff9b::1:c000:201"},
		{"behind Teredo", "2001:1::1", "2001:1::1"},
		{"behind 6to4", "2003::1", "2003::1"},
		{"IPv4-compatible, deprecated", "::192.0.2.1", "::192.0.2.1"},
		{"native", "2001:db8::1", "2001:db8::1"},
		{"zone", "fe80::1%eth0", "fe80::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Unwrap(netip.MustParseAddr(tt.addr)); got != netip.MustParseAddr(tt.want) {
				t.Errorf("Unwrap(%s) = %s, want %s", tt.addr, got, tt.want)
			}
		})
	}
	if got := Unwrap(netip.Addr{}); got.IsValid() {
		t.Errorf("Unwrap(zero) = %s", got)
	}
}

func TestUnwrapPrefix(t *testing.T) {
	for _, tt := range []struct{ name, prefix, want string }{
		{"IPv4", "192.0.2.0/24", "192.0.2.0/24"},
		{"host bits go", "192.0.2.9/24", "192.0.2.0/24"},
		{"mapped", "::ffff:192.0.2.0/120", "192.0.2.0/24"},
		{"6to4", "2002:c000:200::/40", "192.0.2.0/24"},
		{"6to4, longer than the IPv4 address", "2002:c000:201:7::/64", "192.0.2.1/32"},
		{"6to4, one bit of it", "2002:8000::/17", "128.0.0.0/1"},
		{"6to4, none of it", "2002::/16", "2002::/16"},
		{"Teredo", "2001:0:4136:e378:8000:63bf:3fff:fd00/120", "192.0.2.0/24"},
		{"Teredo, only the server", "2001:0:4136:e378::/64", "2001:0:4136:e378::/64"},
		{"NAT64", "64:ff9b::c000:200/120", "192.0.2.0/24"},
		{"native", "2001:db8:1::/48", "2001:db8:1::/48"},
		{"everything", "::/0", "::/0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := UnwrapPrefix(netip.MustParsePrefix(tt.prefix)); got != netip.MustParsePrefix(tt.want) {
				t.Errorf("UnwrapPrefix(%s) = %s, want %s", tt.prefix, got, tt.want)
			}
		})
	}
	if got := UnwrapPrefix(netip.Prefix{}); got.IsValid() {
		t.Errorf("UnwrapPrefix(zero) = %s", got)
	}
}

// Every address inside a prefix must unwrap into what the prefix unwraps to.
func FuzzUnwrap(f *testing.F) {
	f.Add(netip.MustParseAddr("2002:c000:201::1").AsSlice(), uint8(40))
	f.Add(netip.MustParseAddr("2001:0:4136:e378:8000:63bf:3fff:fdfe").AsSlice(), uint8(120))
	f.Add(netip.MustParseAddr("::ffff:192.0.2.1").AsSlice(), uint8(97))
	f.Add(netip.MustParseAddr("192.0.2.1").AsSlice(), uint8(24))
	f.Fuzz(func(t *testing.T, raw []byte, bits uint8) {
		addr, ok := netip.AddrFromSlice(raw)
		if !ok || int(bits) > addr.BitLen() {
			return
		}
		p := UnwrapPrefix(netip.PrefixFrom(addr, int(bits)))
		if p != p.Masked() {
			t.Errorf("%s is not masked", p)
		}
		if got := Unwrap(addr); p.Addr().BitLen() == got.BitLen() && !p.Contains(got) {
			t.Errorf("%s/%d unwraps to %s, but the address to %s", addr, bits, p, got)
		}
		if again := Unwrap(Unwrap(addr)); again != Unwrap(addr) {
			t.Errorf("unwrapping %s twice gives %s", addr, again)
		}
	})
}
