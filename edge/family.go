package edge

import "net/netip"

// Family is an address family. The zero value is IPv4.
type Family uint8

// The two families.
const (
	IPv4 Family = iota
	IPv6
)

// String returns "v4" or "v6".
func (f Family) String() string {
	if f == IPv6 {
		return "v6"
	}
	return "v4"
}

// FamilyOf returns the family of an address; a v4-mapped v6 address is IPv4.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}
