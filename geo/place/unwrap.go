package place

import (
	"encoding/binary"
	"net/netip"
)

// A carrier is an IPv6 prefix whose addresses hold an IPv4 address at a fixed
// place.
type carrier struct {
	prefix netip.Prefix
	offset int  // byte where the IPv4 address begins
	invert bool // whether its bits are stored inverted
}

var carriers = [...]carrier{
	// IPv4-mapped addresses, RFC 4291 section 2.5.5.2.
	{prefix: netip.MustParsePrefix("::ffff:0:0/96"), offset: 12},
	// NAT64's well-known prefix, RFC 6052 section 2.1. The local-use prefix
	// 64:ff9b:1::/48 (RFC 8215) is left alone: where the IPv4 address sits
	// inside it is its owner's choice.
	{prefix: netip.MustParsePrefix("64:ff9b::/96"), offset: 12},
	// Teredo, RFC 4380 section 4: the client's address ends the IPv6 address,
	// with each bit inverted. The server's address at byte 4 does not say
	// where the client is.
	{prefix: netip.MustParsePrefix("2001::/32"), offset: 12, invert: true},
	// 6to4, RFC 3056 section 2.
	{prefix: netip.MustParsePrefix("2002::/16"), offset: 2},
}

// Unwrap returns the IPv4 address that an IPv6 address carries: IPv4-mapped
// (RFC 4291), NAT64 under 64:ff9b::/96 (RFC 6052), Teredo (RFC 4380) and 6to4
// (RFC 3056). Any other address is returned as it is, without its zone.
func Unwrap(addr netip.Addr) netip.Addr {
	addr = addr.WithZone("")
	if !addr.Is6() {
		return addr
	}
	for _, c := range carriers {
		if c.holds(addr) {
			return c.carried(addr.As16())
		}
	}
	return addr
}

// UnwrapPrefix returns the IPv4 prefix that an IPv6 prefix stands for, by the
// rules of Unwrap, if it is long enough to reach into the carried address. A
// shorter one, and a Teredo prefix that stops before the client's address (the
// last 32 bits), is returned masked but otherwise as it is.
func UnwrapPrefix(p netip.Prefix) netip.Prefix {
	p = p.Masked()
	if !p.Addr().Is6() {
		return p
	}
	for _, c := range carriers {
		bits := p.Bits() - 8*c.offset
		if bits < 0 || p.Bits() < c.prefix.Bits() || !c.holds(p.Addr()) {
			continue
		}
		return netip.PrefixFrom(c.carried(p.Addr().As16()), min(bits, 32)).Masked()
	}
	return p
}

func (c carrier) carried(b [16]byte) netip.Addr {
	v4 := binary.BigEndian.Uint32(b[c.offset:])
	if c.invert {
		v4 = ^v4
	}
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, v4)))
}

// holds says whether an IPv6 address is under the carrier's prefix.
// netip.Prefix.Contains is of no use for IPv4-mapped addresses: it takes them
// for neither family.
func (c carrier) holds(addr netip.Addr) bool {
	masked := netip.PrefixFrom(addr, c.prefix.Bits()).Masked()
	return masked.Addr() == c.prefix.Addr()
}
