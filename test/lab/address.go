package lab

import "net/netip"

// The wires, as hosts name their links to them.
const (
	Fabric     = "fabric"     // edges and router
	Management = "management" // the edges among themselves
	Clients    = "clients"    // router and client
)

// Island is where a management link is moved to split the edges in two.
const Island = "island"

// The AS numbers.
const (
	EdgeASN   = 64512
	RouterASN = 64500
)

// VIPs are the ranges that the router takes host routes from.
var VIPs = []netip.Prefix{
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("2001:db8::/64"),
}

// The addresses of the router on the fabric, and towards the client.
var (
	router4       = netip.MustParsePrefix("192.0.2.1/24")
	router6       = netip.MustParsePrefix("2001:db8:0:1::1/64")
	routerClient4 = netip.MustParsePrefix("203.0.113.1/24")
	routerClient6 = netip.MustParsePrefix("2001:db8:0:2::1/64")
	client4       = netip.MustParsePrefix("203.0.113.2/24")
	client6       = netip.MustParsePrefix("2001:db8:0:2::2/64")
)

// The addresses of an edge, whose number is from 1 on.
func fabric4(edge int) netip.Prefix    { return last(router4, byte(10+edge)) }
func fabric6(edge int) netip.Prefix    { return last(router6, byte(0x10+edge)) }
func management(edge int) netip.Prefix { return last(netip.MustParsePrefix("10.0.0.0/24"), byte(edge)) }

// last is a prefix with another last octet of its address.
func last(p netip.Prefix, octet byte) netip.Prefix {
	a := p.Addr().AsSlice()
	a[len(a)-1] = octet
	addr, _ := netip.AddrFromSlice(a) // it was one
	return netip.PrefixFrom(addr, p.Bits())
}
