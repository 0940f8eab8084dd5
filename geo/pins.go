package geo

import (
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"edged/maps"
)

// Pin has the clients of a prefix, and the resolvers in it, prefer one PoP to
// those that maps rank first there. Where pins lie within one another the
// longest goes; of two for one prefix, the first. Pools without the PoP ignore
// the pin.
type Pin struct {
	Prefix netip.Prefix // masked, at most MaxPin4 or MaxPin6 long, not within a block that carries IPv4 addresses
	PoP    string
	ID     string // of the override that made it, for explanations; may be empty
}

// Bounds of pins. Longer prefixes would make scopes that resolvers do not send.
const (
	MaxPin4 = 24
	MaxPin6 = 48
	MaxPins = 4096
)

// checkPins lists what is wrong with pins. A PoP that the fleet lacks is no
// fault: pins outlive changes of the fleet.
func checkPins(pins []Pin) (faults []string) {
	if len(pins) > MaxPins {
		return []string{fmt.Sprintf("%d pins: at most %d are supported", len(pins), MaxPins)}
	}
	for _, pin := range pins {
		if fault := pin.fault(); fault != "" {
			faults = append(faults, fmt.Sprintf("pin %s to %q: %s", pin.Prefix, pin.PoP, fault))
		}
	}
	return faults
}

func (p Pin) fault() string {
	longest := MaxPin4
	if p.Prefix.Addr().Is6() {
		longest = MaxPin6
	}
	switch {
	case !p.Prefix.IsValid():
		return "no valid prefix"
	case p.Prefix != p.Prefix.Masked():
		return fmt.Sprintf("bits beyond the prefix length are set; did you mean %s?", p.Prefix.Masked())
	case p.Prefix.Bits() > longest:
		return fmt.Sprintf("longer than /%d", longest)
	case p.Prefix.Addr().Is4():
		return ""
	}
	first := maps.Addr6From(p.Prefix.Addr())
	for _, c := range carriers {
		last := maps.Addr6{Hi: first.Hi | (1<<(64-p.Prefix.Bits()) - 1), Lo: 1<<64 - 1}
		if !first.Less(c.first) && last.Less(c.after) {
			return "clients in it are located by the IPv4 addresses that theirs carry; pin those"
		}
	}
	return ""
}

// coverPin is a pin whose PoP is in a cover's set.
type coverPin struct {
	Pin
	pop uint16
}

// String tells of a pin in explanations.
func (p *coverPin) String() string {
	s := fmt.Sprintf("%s to %s", p.Prefix, p.PoP)
	if p.ID != "" {
		s += " (override " + p.ID + ")"
	}
	return s
}

// pinsIn returns the pins to PoPs in set.
func (b *builder) pinsIn(set []bool) (pins []coverPin) {
	for _, p := range b.view.cfg.Pins {
		if pop, ok := b.popIndex[p.PoP]; ok && set[pop] {
			pins = append(pins, coverPin{p, pop})
		}
	}
	return pins
}

// pin returns the pin behind a class, or nil.
func (c *cover) pin(class uint32) *coverPin {
	if i := c.pinned[class]; i > 0 {
		return &c.pins[i-1]
	}
	return nil
}

// pinEdge is where a pin, or what is below it, begins: pin is one more than its
// index, or 0 for none.
type pinEdge struct {
	at  uint64 // an IPv4 address, or the top half of an IPv6 address
	pin uint16
}

// pinEdges divides a family's space, whose keys have width bits, into runs under
// one pin each. It is empty when there is no pin of the family.
func pinEdges(pins []coverPin, width int) []pinEdge {
	type block struct {
		first, after uint64 // after is 0 at the end of 64 bits
		bits         int
		pin          uint16
	}
	var blocks []block
	starts := []uint64{0}
	for i, p := range pins {
		if p.Prefix.Addr().Is4() != (width == 32) {
			continue
		}
		b := block{first: pinKey(p.Prefix.Addr()), bits: p.Prefix.Bits(), pin: uint16(i + 1)}
		b.after = b.first + 1<<(width-b.bits)
		blocks = append(blocks, b)
		starts = append(starts, b.first)
		if b.after != 0 && (width == 64 || b.after < 1<<width) {
			starts = append(starts, b.after)
		}
	}
	if len(blocks) == 0 {
		return nil
	}
	// Outer blocks first, and of equal ones the first last: it then covers.
	slices.SortStableFunc(blocks, func(a, b block) int {
		if a.bits != b.bits {
			return a.bits - b.bits
		}
		return int(b.pin) - int(a.pin)
	})
	slices.Sort(starts)
	var edges []pinEdge
	for _, at := range slices.Compact(starts) {
		e := pinEdge{at: at}
		for _, b := range blocks {
			if at >= b.first && at-b.first <= b.after-1-b.first {
				e.pin = b.pin
			}
		}
		edges = append(edges, e)
	}
	return edges
}

// pinKey is the part of an address that pins tell apart.
func pinKey(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		return uint64(binary.BigEndian.Uint32(b[:]))
	}
	return maps.Addr6From(a).Hi
}

// pinnedRow is a ranking of the map under a pin.
type pinnedRow struct {
	pin     uint16
	ranking uint32
}

// under returns the row that stands for a ranking of the map under a pin. Its
// ranking is beyond those of the map; its class is made here.
func (b *coverBuilder) under(pin uint16, row maps.Row) maps.Row {
	if pin == 0 {
		return row
	}
	key := pinnedRow{pin, row.Ranking()}
	pinned, ok := b.pinnedRows[key]
	if !ok {
		pinned = maps.MakeRow(uint32(len(b.classes)), false)
		b.classes = append(b.classes, b.class(b.cover.src.Map.Ranking(key.ranking), pin, 0))
		b.pinnedRows[key] = pinned
	}
	return pinned
}

// pinned4 lays the pins over the map's IPv4 ranges.
func (b *coverBuilder) pinned4(t *maps.Ranges4) *maps.Ranges4 {
	edges := pinEdges(b.cover.pins, 32)
	if len(edges) == 0 {
		return t
	}
	rows := func(yield func(maps.Addr6, maps.Row) bool) {
		for start, row := range t.All() {
			if !yield(maps.Addr6{Hi: uint64(start)}, row) {
				return
			}
		}
	}
	var over maps.Builder4
	for at, row := range b.overlay(rows, edges) {
		over.Add(uint32(at.Hi), row)
	}
	return over.Finish()
}

// pinned6 lays the pins over the map's IPv6 ranges.
func (b *coverBuilder) pinned6(t *maps.Ranges6) *maps.Ranges6 {
	edges := pinEdges(b.cover.pins, 64)
	if len(edges) == 0 {
		return t
	}
	var over maps.Builder6
	for at, row := range b.overlay(t.All(), edges) {
		over.Add(at.Hi, at.Lo, row)
	}
	return over.Finish()
}

// overlay splits rows at the edges of pins, and puts those under a pin in their
// place. Starts of rows have their key in the top half.
func (b *coverBuilder) overlay(rows iter.Seq2[maps.Addr6, maps.Row], edges []pinEdge) iter.Seq2[maps.Addr6, maps.Row] {
	return func(yield func(maps.Addr6, maps.Row) bool) {
		next, pin := 0, uint16(0)
		var last maps.Row // of the map, from the last start on
		// cross yields the edges before a start.
		cross := func(before func(at maps.Addr6) bool) bool {
			for ; next < len(edges) && before(maps.Addr6{Hi: edges[next].at}); next++ {
				pin = edges[next].pin
				if !yield(maps.Addr6{Hi: edges[next].at}, b.under(pin, last)) {
					return false
				}
			}
			return true
		}
		for start, row := range rows {
			if !cross(func(at maps.Addr6) bool { return at.Less(start) }) {
				return
			}
			if next < len(edges) && start == (maps.Addr6{Hi: edges[next].at}) {
				pin = edges[next].pin
				next++
			}
			last = row
			if !yield(start, b.under(pin, row)) {
				return
			}
		}
		cross(func(maps.Addr6) bool { return true })
	}
}
