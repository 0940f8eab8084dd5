package estimate

import (
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

// lightPerKm is the least time that a round trip takes in fibre, ms per km.
const lightPerKm = 0.01

// doubted reports whether a unit measured anything faster than light: somebody
// lies, or the place is wrong, so it says nothing about other places.
func doubted(u *Unit, km []float64) bool {
	for k := range u.Cells {
		if u.Place.HasCoord && u.Cells[k].RTT < lightPerKm*km[k] {
			return true
		}
	}
	return false
}

// detourBase is how much longer every path counts as, km: the detours of short
// ones are larger in proportion.
const detourBase = 500

// kmAndSize returns how far it is from a place to a PoP, and what residuals there are
// in proportion to: a path that is twice as long has about twice the detour. PoPs
// in a town are where it is. Where the place is not known, it returns 0 and 1.
func (m *Model) kmAndSize(p *place.Place, pop uint16) (km, size float64) {
	if !p.HasCoord {
		return 0, 1
	}
	to := &m.pops[pop]
	km = edge.DistanceKm(p.Lat, p.Lon, to.Lat, to.Lon)
	size = km
	if town := m.towns.of[pop]; town != pop {
		to = &m.towns.where[town]
		size = edge.DistanceKm(p.Lat, p.Lon, to.Lat, to.Lon)
	}
	return km, (size + detourBase) / 1000
}
