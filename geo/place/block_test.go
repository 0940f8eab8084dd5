package place

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func TestLastOf(t *testing.T) {
	for prefix, want := range map[string]string{
		"0.0.0.0/0":        "255.255.255.255",
		"192.0.2.0/23":     "192.0.3.255",
		"192.0.2.1/32":     "192.0.2.1",
		"::/0":             "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		"2001:db8::/33":    "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff",
		"::ffff:0:0/96":    "::ffff:255.255.255.255",
		"2001:db8::1/128":  "2001:db8::1",
		"2001:db8:8::9/45": "2001:db8:f:ffff:ffff:ffff:ffff:ffff", // host bits do not matter
	} {
		if got := lastOf(netip.MustParsePrefix(prefix)); got != netip.MustParseAddr(want) {
			t.Errorf("lastOf(%s) = %s, want %s", prefix, got, want)
		}
	}
}

// slowBitsWithin tries one length after another.
func slowBitsWithin(addr, from, to netip.Addr) int {
	for bits := range addr.BitLen() {
		p := netip.PrefixFrom(addr, bits).Masked()
		if !p.Addr().Less(from) && !to.Less(lastOf(p)) {
			return bits
		}
	}
	return addr.BitLen()
}

func TestBitsWithinAgainstSlowTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		from, addr, to := randomAddr(rng), randomAddr(rng), randomAddr(rng)
		if from.BitLen() != addr.BitLen() || addr.BitLen() != to.BitLen() || addr.Less(from) || to.Less(addr) {
			continue
		}
		if got, want := bitsWithin(addr, from, to), slowBitsWithin(addr, from, to); got != want {
			t.Fatalf("bitsWithin(%s, %s, %s) = %d, want %d", addr, from, to, got, want)
		}
	}
}

// randomAddr gives addresses close to each other, so that they share prefixes
// and ranges are met at their very ends.
func randomAddr(rng *rand.Rand) netip.Addr {
	if rng.IntN(2) == 0 {
		a := [4]byte{192, 0, 2, byte(rng.IntN(256))}
		a[rng.IntN(4)] ^= byte(rng.IntN(4))
		return netip.AddrFrom4(a)
	}
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: byte(rng.IntN(256))}
	a[rng.IntN(16)] ^= byte(rng.IntN(4))
	return netip.AddrFrom16(a)
}

// A walk in whole families must leave out exactly what is looked up as IPv4.
func TestAfterSkipsCarriers(t *testing.T) {
	var got []string
	for addr := first; addr.IsValid(); {
		bits := 0
		if addr.Is6() {
			bits = bitsClear(addr)
		}
		p := netip.PrefixFrom(addr, bits).Masked()
		if p.Addr() != addr {
			t.Fatalf("block %s does not begin at %s", p, addr)
		}
		if p.Bits() <= 5 {
			got = append(got, p.String())
		}
		for _, c := range carriers {
			if p.Overlaps(c.prefix) {
				t.Errorf("%s overlaps %s", p, c.prefix)
			}
		}
		if p.Overlaps(compatible) {
			t.Errorf("%s overlaps %s", p, compatible)
		}
		addr = after(addr, bits)
	}
	want := []string{"0.0.0.0/0", "800::/5", "1000::/4", "2800::/5", "3000::/4", "4000::/2", "8000::/1"}
	if len(got) != len(want) {
		t.Fatalf("large blocks %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("large block %d is %s, want %s", i, got[i], want[i])
		}
	}
}
