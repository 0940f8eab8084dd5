package edge

import "net/netip"

// special lists the blocks of the IANA special-purpose registries (RFC 6890 and
// its updates) from which no client can come over the Internet, and multicast.
var special = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("224.0.0.0/3"),
}

// maybeSpecial marks the first octets under which a special block lies, so that
// most addresses are judged by one load.
var maybeSpecial = func() (octets [256]bool) {
	for _, p := range special {
		first := int(p.Addr().As4()[0])
		for i := first; i < first+max(1, 1<<max(0, 8-p.Bits())); i++ {
			octets[i] = true
		}
	}
	return octets
}()

var (
	unicast6       = netip.MustParsePrefix("2000::/3")
	documentation6 = [...]netip.Prefix{netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("3fff::/20")} // RFC 3849, RFC 9637
)

// Routable says whether any address of a prefix can be a client's on the
// Internet. For IPv6 that is global unicast space (RFC 4291) less documentation.
func Routable(p netip.Prefix) bool {
	if p.Addr().Is4() {
		if !maybeSpecial[p.Addr().As4()[0]] {
			return true
		}
		for _, s := range special {
			if within(p, s) {
				return false
			}
		}
		return true
	}
	return p.Overlaps(unicast6) && !within(p, documentation6[0]) && !within(p, documentation6[1])
}

func within(p, outer netip.Prefix) bool { return p.Bits() >= outer.Bits() && outer.Contains(p.Addr()) }
