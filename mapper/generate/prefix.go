package generate

import (
	"encoding/binary"
	"iter"
	"net/netip"
)

// special are the blocks of IPv4 that no client is in (RFC 6890), ascending.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/16"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
}

// unit4 returns the i-th /24 that is not special. Those of clients come first,
// up to MaxUnits, and then those of resolvers.
func unit4(i int) netip.Prefix {
	for _, s := range special {
		b := s.Addr().As4()
		if first := int(b[0])<<16 | int(b[1])<<8 | int(b[2]); i >= first {
			i += 1 << (24 - s.Bits())
		}
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i)}), 24)
}

// unit6 returns the i-th /48 of 2400::/16.
func unit6(i int) netip.Prefix {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], 0x2400<<48|uint64(i)<<16)
	return netip.PrefixFrom(netip.AddrFrom16(b), 48)
}

// unitsOf yields the units that lie in a network, or the one that the network
// lies in; of an IPv6 network, the first 256.
func unitsOf(p netip.Prefix) iter.Seq[netip.Prefix] {
	length, most := 24, 1<<24
	if p.Addr().Is6() {
		length, most = 48, 256
	}
	return func(yield func(netip.Prefix) bool) {
		count := 1
		if p.Bits() < length {
			count = min(most, 1<<min(30, length-p.Bits()))
		}
		first := netip.PrefixFrom(p.Addr(), length).Masked().Addr().AsSlice()
		for i := range count {
			b := first
			if length == 24 {
				n := binary.BigEndian.Uint32(first) + uint32(i)<<8
				b = binary.BigEndian.AppendUint32(nil, n)
			} else {
				b = binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(first)+uint64(i)<<16)
				b = append(b, make([]byte, 8)...)
			}
			addr, _ := netip.AddrFromSlice(b)
			if !yield(netip.PrefixFrom(addr, length)) {
				return
			}
		}
	}
}

// addressKey returns what is left of an address in 64 bits.
func addressKey(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		return uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8])
}
