package estimate

import (
	"math"
	"slices"

	"edged/edge"
	"edged/geo/place"
)

// firstSlope is the line before anything is measured, ms per km: light in fibre
// takes 0.01, cables are not straight.
const firstSlope = 0.0166

// Line returns what distance alone says about the round trip from a place, in
// ms, without access.
func Line(pops []edge.PoP, p place.Place) func(pop uint16) float64 {
	return func(pop uint16) float64 {
		if !p.HasCoord {
			return 0
		}
		return firstSlope * distance(p, pops[pop])
	}
}

func distance(p place.Place, pop edge.PoP) float64 {
	return edge.DistanceKm(p.Lat, p.Lon, pop.Lat, pop.Lon)
}

// slope is the weighted median of ms per km between two PoPs of one unit, so
// that its access does not matter.
func slope(pops []edge.PoP, units []Unit) float64 {
	const apartKm = 300 // nearer ones say nothing about distance
	const least = 0.01
	var slopes []weighted
	for _, u := range units {
		if !u.Place.HasCoord {
			continue
		}
		for i, a := range u.Cells {
			for _, b := range u.Cells[:i] {
				if km := distance(u.Place, pops[a.PoP]) - distance(u.Place, pops[b.PoP]); math.Abs(km) > apartKm {
					slopes = append(slopes, weighted{(a.RTT - b.RTT) / km, math.Abs(km)})
				}
			}
		}
	}
	if len(slopes) == 0 {
		return firstSlope
	}
	return max(middle(slopes), least)
}

// lightPerKm is the least time that a round trip takes in fibre, ms per km.
const lightPerKm = 0.01

// doubted reports whether a unit measured anything faster than light: somebody
// lies, or the place is wrong, so it says nothing about other places.
func doubted(pops []edge.PoP, u Unit) bool {
	return u.Place.HasCoord && slices.ContainsFunc(u.Cells, func(c Cell) bool {
		return c.RTT < lightPerKm*distance(u.Place, pops[c.PoP])
	})
}

// line is what distance says in a model, ms.
func (m *Model) line(p place.Place, pop uint16) float64 {
	if pop == accessColumn || !p.HasCoord {
		return 0
	}
	return m.slope * distance(p, m.pops[pop])
}

// detourBase is how much longer every path counts as, km: the detours of short
// ones are larger in proportion.
const detourBase = 500

// size is what residuals at a distance are in proportion to: a path that is
// twice as long has about twice the detour. PoPs in a town are where it is.
func (m *Model) size(p place.Place, pop uint16) float64 {
	if pop == accessColumn || !p.HasCoord {
		return 1
	}
	return (distance(p, m.towns.where[m.towns.of[pop]]) + detourBase) / 1000
}
