package estimate

import (
	"math"

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

// line is what distance says in a model, ms.
func (m *Model) line(p place.Place, pop uint16) float64 {
	if pop == accessPoP || !p.HasCoord {
		return 0
	}
	return m.slope * distance(p, m.pops[pop])
}

// size is what residuals at a distance are in proportion to: a path that is
// twice as long has about twice the detour.
func (m *Model) size(p place.Place, pop uint16) float64 {
	if pop == accessPoP || !p.HasCoord {
		return 1
	}
	return (distance(p, m.pops[pop]) + K["c"]) / 1000
}
