package mapper

import (
	"math"
	"net/netip"

	"edged/mapper/beacon"
	"edged/mapper/simulate"
)

// UnitDemand returns how much of a demand each unit has, in requests/s: what
// networks around it ask for lies evenly on them.
func UnitDemand(demand []simulate.Demand) func(beacon.Unit) float64 {
	lines := linesOf(demand)
	return func(u beacon.Unit) float64 {
		requests, _ := lines.of(u)
		return requests
	}
}

// lines are the lines of a demand as units see them.
type lines struct {
	finer   map[beacon.Unit]float64  // of the unit and of networks in it
	wider   map[netip.Prefix]float64 // of networks around units
	lengths []int                    // that these have, ascending
}

func linesOf(demand []simulate.Demand) lines {
	l := lines{map[beacon.Unit]float64{}, map[netip.Prefix]float64{}, nil}
	var has [129]bool
	for _, d := range demand {
		if unit := beacon.UnitOf(d.Prefix.Addr()); d.Prefix.Bits() >= unit.Prefix().Bits() {
			l.finer[unit] += d.Requests
		} else {
			l.wider[d.Prefix] += d.Requests
			has[d.Prefix.Bits()] = true
		}
	}
	for bits, ok := range has {
		if ok {
			l.lengths = append(l.lengths, bits)
		}
	}
	return l
}

// of returns the demand of a unit, and whether any line says something of it.
func (l *lines) of(u beacon.Unit) (requests float64, said bool) {
	requests, said = l.finer[u]
	prefix := u.Prefix()
	for _, bits := range l.lengths {
		if bits >= prefix.Bits() {
			break
		}
		around, err := prefix.Addr().Prefix(bits)
		if err != nil {
			continue
		}
		if wide, ok := l.wider[around]; ok {
			requests, said = requests+math.Ldexp(wide, bits-prefix.Bits()), true
		}
	}
	return requests, said
}

// Complete adds what no line of a demand says: that of units which have sessions all
// the same, as many requests/s for each session as units with lines make on average.
// A line of 0 says something, too. It returns how much it added; nothing where no
// unit has both. Demand that nobody knows, nil, stays so.
func Complete(demand []simulate.Demand, units []MeasuredUnit) (all []simulate.Demand, added float64) {
	if demand == nil || len(units) == 0 {
		return demand, 0
	}
	lines := linesOf(demand)
	var silent []MeasuredUnit
	requests, sessions := 0.0, 0.0
	for _, u := range units {
		if asks, said := lines.of(u.Unit); said {
			requests, sessions = requests+asks, sessions+float64(u.Sessions)
		} else {
			silent = append(silent, u)
		}
	}
	if requests == 0 || sessions == 0 || len(silent) == 0 {
		return demand, 0
	}
	all = append(make([]simulate.Demand, 0, len(demand)+len(silent)), demand...)
	for _, u := range silent {
		d := simulate.Demand{Prefix: u.Unit.Prefix(), Requests: float64(u.Sessions) * requests / sessions}
		all = append(all, d)
		added += d.Requests
	}
	return all, added
}
