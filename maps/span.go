package maps

import (
	"math"
	"math/bits"
	"net/netip"
)

// LastOf returns the last address of a prefix, which must be valid.
func LastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < 8*len(b); bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// Span returns how many addresses there are from one to another of its family,
// both counted.
func Span(from, to netip.Addr) float64 {
	a, b := Addr6From(from), Addr6From(to)
	lo, borrow := bits.Sub64(b.Lo, a.Lo, 0)
	hi, _ := bits.Sub64(b.Hi, a.Hi, borrow)
	return math.Ldexp(float64(hi), 64) + float64(lo) + 1
}
