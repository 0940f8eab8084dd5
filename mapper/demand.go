package mapper

import (
	"cmp"
	"net/netip"
	"slices"

	"edged/mapper/simulate"
	"edged/maps"
)

// density is demand that lies evenly over the addresses of a network. Networks of
// different lines are told apart also where their demand is alike, so that
// they can go to different PoPs.
type density struct {
	line       int // noLine: no demand
	perAddress float64
}

const noLine = -1

// flattenDemand returns the demand at each address of one family. Demand of
// networks that hold one another adds up.
func flattenDemand(list []simulate.Demand, bits int) segments[density] {
	flat := segments[density]{{value: density{line: noLine}}}
	var of []simulate.Demand
	for _, d := range list {
		if d.Prefix.Addr().BitLen() == bits && d.Requests > 0 {
			of = append(of, d)
		}
	}
	slices.SortStableFunc(of, func(a, b simulate.Demand) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
	type open struct {
		prefix  netip.Prefix
		after   maps.Addr6
		bounded bool
		density
	}
	var stack []open // the networks that hold the current address, with the demand of all around them
	closeTop := func() {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		under := density{line: noLine}
		if len(stack) > 0 {
			under = stack[len(stack)-1].density
		}
		if top.bounded {
			flat.set(top.after, under)
		}
	}
	for i, d := range of {
		first, after, bounded := bounds(d.Prefix)
		for len(stack) > 0 && !stack[len(stack)-1].prefix.Contains(d.Prefix.Addr()) {
			closeTop()
		}
		here := density{i, d.Requests / sizeOf(first, after, bounded, bits)}
		if len(stack) > 0 {
			here.perAddress += stack[len(stack)-1].perAddress
		}
		flat.set(first, here)
		stack = append(stack, open{d.Prefix, after, bounded, here})
	}
	for len(stack) > 0 {
		closeTop()
	}
	return flat
}

// DemandUnit says what demand is counted in.
type DemandUnit string

// The units. Only requests can be held against capacities.
const (
	Requests DemandUnit = "requests/s"
	Sessions DemandUnit = "sessions"
	Blocks   DemandUnit = "/24 blocks"
)

// Asked returns what clients ask for: the demand, completed by sessions, or, if nobody
// knows, the sessions of each measured unit; none where there is neither.
func (in Input) Asked() ([]simulate.Demand, DemandUnit) {
	list, unit, _ := in.demand()
	if unit == Blocks {
		return nil, unit
	}
	return list, unit
}

// demand returns what clients ask for: what Input says, completed by sessions, or in
// its place the sessions of each measured unit, or else every IPv4 address alike. Of
// the first, added is what was assumed.
func (in *Input) demand() (list []simulate.Demand, unit DemandUnit, added float64) {
	switch measured := in.Measured; {
	case in.Demand != nil && measured != nil:
		list, added = Complete(in.Demand, measured.units)
		return list, Requests, added
	case in.Demand != nil:
		return in.Demand, Requests, 0
	case measured != nil && len(measured.units) > 0:
		return measured.demand(), Sessions, 0
	}
	return []simulate.Demand{{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Requests: 1 << 24}}, Blocks, 0
}
