package mapper

import (
	"iter"
	"net/netip"

	"edged/geo/place"
	"edged/maps"
)

// A family's space is a list of segments: each one's value holds from its start
// to the start of the next, the last one's to the end. The first starts at 0.
// Both families use one number type; a v4 address is its low 32 bits.
type segment[T comparable] struct {
	start maps.Addr6
	value T
}

// segments is a space being filled in ascending order.
type segments[T comparable] []segment[T]

// set says that from start on the value holds. It overwrites what was said for
// the same start, and merges with an equal neighbour.
func (s *segments[T]) set(start maps.Addr6, value T) {
	list := *s
	if n := len(list); n > 0 && list[n-1].start == start {
		list = list[:n-1]
	}
	if n := len(list); n == 0 || list[n-1].value != value {
		list = append(list, segment[T]{start, value})
	}
	*s = list
}

// bounds returns a prefix's first address, and the first address after it; ok
// is false when the prefix ends the space and none follows.
func bounds(p netip.Prefix) (first, after maps.Addr6, ok bool) {
	if p.Addr().Is4() {
		b := p.Addr().As4()
		first.Lo = uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
		after.Lo = first.Lo + 1<<(32-p.Bits())
		return first, after, after.Lo < 1<<32
	}
	first = maps.Addr6From(p.Addr())
	switch bits := p.Bits(); {
	case bits == 0:
		return first, after, false
	case bits <= 64:
		after = maps.Addr6{Hi: first.Hi + 1<<(64-bits)}
		return first, after, after.Hi != 0
	default:
		after = maps.Addr6{Hi: first.Hi, Lo: first.Lo + 1<<(128-bits)}
		if after.Lo == 0 {
			after.Hi++
		}
		return first, after, after != maps.Addr6{}
	}
}

// noNet is the value where no network was measured.
const noNet = -1

// flattenNets returns, for sorted networks of one family, which one is the
// longest to hold each address: a position in nets, or noNet.
func flattenNets(nets []Net, table Tables) segments[int] {
	type open struct {
		net     int
		after   maps.Addr6
		bounded bool
	}
	flat := segments[int]{{value: noNet}}
	var stack []open // the networks that hold the current address, longest last
	closeTop := func() {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		under := noNet
		if len(stack) > 0 {
			under = stack[len(stack)-1].net
		}
		if top.bounded {
			flat.set(top.after, under)
		}
	}
	for i, net := range nets {
		if net.Tables&table == 0 {
			continue
		}
		first, after, bounded := bounds(net.Prefix)
		for len(stack) > 0 && !nets[stack[len(stack)-1].net].Prefix.Contains(net.Prefix.Addr()) {
			closeTop()
		}
		flat.set(first, i)
		stack = append(stack, open{i, after, bounded})
	}
	for len(stack) > 0 {
		closeTop()
	}
	return flat
}

// unknownPlace is the id of what is said where the place is not known.
const unknownPlace = 0

// flattenPlaces returns what is said about the place at each address of both
// families, by its id. The networks come disjoint and ascending, v4 first;
// between them the place is not known.
func flattenPlaces(networks iter.Seq2[netip.Prefix, place.Place], id func(place.Place) uint32) (v4, v6 segments[uint32]) {
	v4 = segments[uint32]{{value: unknownPlace}}
	v6 = segments[uint32]{{value: unknownPlace}}
	if networks == nil {
		return v4, v6
	}
	for prefix, at := range networks {
		space := &v6
		if prefix.Addr().Is4() {
			space = &v4
		}
		first, after, bounded := bounds(prefix)
		space.set(first, id(at))
		if bounded {
			space.set(after, unknownPlace)
		}
	}
	return v4, v6
}
