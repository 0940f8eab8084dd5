package place

import (
	"encoding/binary"
	"net/netip"
)

// A carrier is an IPv6 prefix whose addresses carry an IPv4 address at a fixed
// position.
type carrier struct {
	prefix   netip.Prefix
	offset   int  // byte where the IPv4 address begins
	inverted bool // whether its bits are inverted
}

var carriers = [...]carrier{
	// IPv4-mapped addresses, RFC 4291 section 2.5.5.2.
	{prefix: netip.MustParsePrefix("::ffff:0:0/96"), offset: 12},
	// NAT64's well-known prefix, RFC 6052 section 2.1. The local-use prefix
	// 64:ff9b:1::/48 (RFC 8215) is left alone: where in it the IPv4 address
	// is, and whether it is a public one, is its owner's choice.
	{prefix: netip.MustParsePrefix("64:ff9b::/96"), offset: 12},
	// Teredo, RFC 4380 section 4: the client's address comes last, with every
	// bit inverted. The server's address at byte 4 says nothing about where
	// the client is.
	{prefix: netip.MustParsePrefix("2001::/32"), offset: 12, inverted: true},
	// 6to4, RFC 3056 section 2.
	{prefix: netip.MustParsePrefix("2002::/16"), offset: 2},
}

// Unwrap returns the IPv4 address that an IPv6 address carries: IPv4-mapped
// (RFC 4291), NAT64 under 64:ff9b::/96 (RFC 6052), Teredo (RFC 4380) and 6to4
// (RFC 3056). It returns any other address as it is, without its zone.
func Unwrap(addr netip.Addr) netip.Addr {
	addr = addr.WithZone("")
	for _, c := range carriers {
		if c.prefix.Contains(addr) {
			return c.carried(addr)
		}
	}
	return addr
}

// UnwrapPrefix returns the IPv4 prefix that an IPv6 prefix stands for, by the
// rules of Unwrap. The prefix must reach at least one bit into the IPv4 address;
// a shorter one is returned as it is. Bits behind the IPv4 address (a 6to4
// site's own) are dropped. The result is masked.
func UnwrapPrefix(p netip.Prefix) netip.Prefix {
	for _, c := range carriers {
		if bits := p.Bits() - 8*c.offset; bits > 0 && c.prefix.Contains(p.Addr()) {
			return netip.PrefixFrom(c.carried(p.Addr()), min(bits, 32)).Masked()
		}
	}
	return p.Masked()
}

func (c carrier) carried(addr netip.Addr) netip.Addr {
	a16 := addr.As16()
	v4 := binary.BigEndian.Uint32(a16[c.offset:])
	if c.inverted {
		v4 = ^v4
	}
	var a4 [4]byte
	binary.BigEndian.PutUint32(a4[:], v4)
	return netip.AddrFrom4(a4)
}
