package mapper

import (
	"math"
	"net/netip"
	"testing"

	"edged/mapper/simulate"
	"edged/maps"
)

// A single address high in its /64 had no size, so its demand was no number, and a
// network around it was cut into billions of blocks.
func TestSizeOfSmallNetworks(t *testing.T) {
	for text, want := range map[string]float64{
		"2a00:ccd4:f75e:8f2:db00:6300:7c95:39a1/128":  1,
		"2a00::ffff:ffff:ffff:ffff/128":               1,
		"2a00::ffff:ffff:ffff:fffc/126":               4,
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128": 1,
		"2a00::/16": math.Ldexp(1, 112),
		"ff00::/8":  math.Ldexp(1, 120),
		"::/0":      math.Ldexp(1, 128),
	} {
		first, after, bounded := bounds(netip.MustParsePrefix(text))
		if got := sizeOf(first, after, bounded, 128); got != want {
			t.Errorf("%s has %g addresses, want %g", text, got, want)
		}
	}
	if got := sizeOf(maps.Addr6{Hi: 1, Lo: math.MaxUint64}, maps.Addr6{Hi: 2, Lo: 1}, true, 128); got != 2 {
		t.Errorf("over the end of a half: %g, want 2", got)
	}
	for text, want := range map[string]float64{"0.0.0.0/0": 1 << 32, "255.255.255.255/32": 1, "192.0.2.0/24": 256} {
		first, after, bounded := bounds(netip.MustParsePrefix(text))
		if got := sizeOf(first, after, bounded, 32); got != want {
			t.Errorf("%s has %g addresses, want %g", text, got, want)
		}
	}
	for _, d := range flattenDemand([]simulate.Demand{
		{Prefix: netip.MustParsePrefix("2a00::/16"), Requests: 40},
		{Prefix: netip.MustParsePrefix("2a00:ccd4:f75e:8f2:db00:6300:7c95:39a1/128"), Requests: 6},
	}, 128) {
		if p := d.value.perAddress; math.IsNaN(p) || math.IsInf(p, 0) {
			t.Errorf("%v each address", p)
		}
	}
}
