package place

import (
	"math/bits"
	"net/netip"
	"slices"
)

// lastOf returns the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	a16 := p.Addr().As16()
	host := p.Addr().BitLen() - p.Bits()
	for i := len(a16) - 1; host > 0; i-- {
		a16[i] |= byte(1<<min(host, 8) - 1)
		host -= 8
	}
	last := netip.AddrFrom16(a16)
	if p.Addr().Is4() {
		last = last.Unmap()
	}
	return last
}

// common returns the number of leading bits that two addresses of one family
// have in common.
func common(a, b netip.Addr) int {
	a16, b16 := a.As16(), b.As16()
	for i := range a16 {
		if x := a16[i] ^ b16[i]; x != 0 {
			return 8*i + bits.LeadingZeros8(x) - (128 - a.BitLen())
		}
	}
	return a.BitLen()
}

// bitsWithin returns the length of the largest prefix around addr that stays
// between from and to, both included.
func bitsWithin(addr, from, to netip.Addr) int {
	n := 0
	if before := from.Prev(); before.IsValid() {
		n = max(n, common(addr, before)+1)
	}
	if after := to.Next(); after.IsValid() {
		n = max(n, common(addr, after)+1)
	}
	return n
}

// first is where a walk over the whole address space begins; after leads on.
var first = netip.IPv4Unspecified()

// compatible is where the MaxMind DB format keeps its IPv4 addresses. As IPv6
// addresses these are deprecated (RFC 4291 section 2.5.5.1) and unused.
var compatible = netip.MustParsePrefix("::/96")

// after returns the address that follows the block of the given length around
// addr: IPv4, then IPv6 without compatible and the prefixes of Unwrap. It is not
// valid at the end.
func after(addr netip.Addr, bits int) netip.Addr {
	next := lastOf(netip.PrefixFrom(addr, bits)).Next()
	if !next.IsValid() && addr.Is4() {
		next = netip.IPv6Unspecified()
	}
	if compatible.Contains(next) {
		next = lastOf(compatible).Next()
	}
	for _, c := range carriers {
		if c.prefix.Contains(next) {
			next = lastOf(c.prefix).Next()
		}
	}
	return next
}

// neverLookedUp says whether a prefix lies in compatible or in a prefix of
// Unwrap.
func neverLookedUp(p netip.Prefix) bool {
	inside := func(outer netip.Prefix) bool { return p.Bits() >= outer.Bits() && outer.Contains(p.Addr()) }
	return inside(compatible) || slices.ContainsFunc(carriers[:], func(c carrier) bool { return inside(c.prefix) })
}

// bitsClear returns the length of the largest prefix around an IPv6 address,
// itself outside of them, that touches neither compatible nor any prefix of
// Unwrap.
func bitsClear(addr netip.Addr) int {
	n := common(addr, compatible.Addr()) + 1
	for _, c := range carriers {
		n = max(n, common(addr, c.prefix.Addr())+1)
	}
	return n
}
