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
	finer, wider := map[beacon.Unit]float64{}, map[netip.Prefix]float64{}
	for _, d := range demand {
		if unit := beacon.UnitOf(d.Prefix.Addr()); d.Prefix.Bits() >= unit.Prefix().Bits() {
			finer[unit] += d.Requests
		} else {
			wider[d.Prefix] += d.Requests
		}
	}
	return func(u beacon.Unit) float64 {
		sum := finer[u]
		if len(wider) == 0 {
			return sum
		}
		prefix := u.Prefix()
		for bits := range prefix.Bits() {
			if around, err := prefix.Addr().Prefix(bits); err == nil {
				sum += math.Ldexp(wider[around], bits-prefix.Bits())
			}
		}
		return sum
	}
}
