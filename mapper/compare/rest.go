package compare

import (
	"net/netip"
	"slices"

	"edged/mapper/simulate"
	"edged/maps"
)

// countRest counts the IPv4 addresses that no line of the demand holds.
func (c *comparison) countRest(demand []simulate.Demand) {
	var lines []netip.Prefix
	for _, d := range demand {
		if d.Prefix.Addr().Is4() {
			lines = append(lines, d.Prefix)
		}
	}
	slices.SortFunc(lines, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	from := netip.IPv4Unspecified()
	for _, p := range lines {
		if from.Less(p.Addr()) {
			c.rest(from, p.Addr().Prev())
		}
		if last := maps.LastOf(p); !last.Less(from) {
			from = last.Next()
		}
		if !from.IsValid() { // behind the last address
			return
		}
	}
	c.rest(from, netip.AddrFrom4([4]byte{255, 255, 255, 255}))
}

// rest counts the addresses from one to another, both with them.
func (c *comparison) rest(at, end netip.Addr) {
	for {
		oldRow, _, to := c.before.ECS().Lookup(at)
		newRow, _, newTo := c.after.ECS().Lookup(at)
		for _, other := range []netip.Addr{newTo, end} {
			if other.Less(to) {
				to = other
			}
		}
		if old, now := c.firsts(oldRow, newRow); old != none || now != none {
			blocks := maps.Span(at, to) / 256
			c.result.Uncounted.Total += blocks
			if old != now {
				c.result.Uncounted.Moved += blocks
			}
		}
		if to == end {
			return
		}
		at = to.Next()
	}
}
