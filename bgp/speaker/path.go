package speaker

import (
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"edged/bgp"
)

// maxPrepend bounds how often the own AS may be prepended. Some networks drop
// paths that are much longer.
const maxPrepend = 10

var families = []gobgp.Family{gobgp.RF_IPv4_UC, gobgp.RF_IPv6_UC}

func familyOf(a netip.Addr) gobgp.Family {
	if a.Is4() {
		return gobgp.RF_IPv4_UC
	}
	return gobgp.RF_IPv6_UC
}

// encode turns a route into the path that GoBGP originates. The next hop is left
// open: each session puts its own address there, and its AS before the path.
func encode(asn uint32, r bgp.Route) *apiutil.Path {
	nlri, _ := gobgp.NewIPAddrPrefix(r.Prefix) // errs on an invalid prefix, which is never allowed
	family := familyOf(r.Prefix.Addr())
	attrs := []gobgp.PathAttributeInterface{gobgp.NewPathAttributeOrigin(gobgp.BGP_ORIGIN_ATTR_TYPE_IGP)}
	if family == gobgp.RF_IPv4_UC {
		hop, _ := gobgp.NewPathAttributeNextHop(netip.IPv4Unspecified())
		attrs = append(attrs, hop)
	} else {
		reach, _ := gobgp.NewPathAttributeMpReachNLRI(family, []gobgp.PathNLRI{{NLRI: nlri}}, netip.IPv6Unspecified())
		attrs = append(attrs, reach)
	}
	a := r.Attributes
	if a.Prepend > 0 {
		ases := slices.Repeat([]uint32{asn}, a.Prepend)
		sequence := gobgp.NewAs4PathParam(gobgp.BGP_ASPATH_ATTR_TYPE_SEQ, ases)
		attrs = append(attrs, gobgp.NewPathAttributeAsPath([]gobgp.AsPathParamInterface{sequence}))
	}
	if a.MED > 0 {
		attrs = append(attrs, gobgp.NewPathAttributeMultiExitDisc(a.MED))
	}
	if len(a.Communities) > 0 {
		values := make([]uint32, len(a.Communities))
		for i, c := range a.Communities {
			values[i] = uint32(c)
		}
		attrs = append(attrs, gobgp.NewPathAttributeCommunities(values))
	}
	return &apiutil.Path{Family: family, Nlri: nlri, Attrs: attrs, Age: time.Now().Unix()}
}

// decode is the inverse of encode, and gives the next hop too. Prepend is how
// often an AS stands in the path: on a path that was sent that is once more than
// it was prepended.
func decode(p *apiutil.Path) (a bgp.Attributes, nextHop netip.Addr) {
	for _, attr := range p.Attrs {
		switch attr := attr.(type) {
		case *gobgp.PathAttributeNextHop:
			nextHop = attr.Value
		case *gobgp.PathAttributeMpReachNLRI:
			nextHop = attr.Nexthop
		case *gobgp.PathAttributeAsPath:
			for _, part := range attr.Value {
				a.Prepend += len(part.GetAS())
			}
		case *gobgp.PathAttributeMultiExitDisc:
			a.MED = attr.Value
		case *gobgp.PathAttributeCommunities:
			for _, c := range attr.Value {
				a.Communities = append(a.Communities, bgp.Community(c))
			}
		}
	}
	return a, nextHop
}

func prefixOf(nlri gobgp.NLRI) (netip.Prefix, bool) {
	p, ok := nlri.(*gobgp.IPAddrPrefix)
	if !ok {
		return netip.Prefix{}, false
	}
	return p.Prefix, true
}
