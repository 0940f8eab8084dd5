package estimate

import (
	"math"
	"slices"

	"edged/edge"
)

// How far a neighbour's word carries: to 1/e over reachShare of the way to the
// PoP and reachBase more, at most reachMost. Paths to a far PoP are shared by a
// whole region, those to a near one are not.
const (
	reachShare = 0.4
	reachBase  = 120.0 // km
	reachMost  = 2000.0

	reachAccess = 800.0 // where there is no PoP to be far from
)

// nearPrior is the weight of neighbours at which half of what they say is
// believed; halfHeard is that of a metro's units.
const (
	nearPrior = 0.5
	halfHeard = 0.5
)

// reach is how far away words about a column count 1/e, km.
func (m *Model) reach(v *vantage, column uint16) float64 {
	if column == accessColumn {
		return reachAccess
	}
	to := &m.towns.where[column]
	return min(reachMost, reachBase+reachShare*edge.DistanceKm(v.place.Lat, v.place.Lon, to.Lat, to.Lon))
}

// nearby is what the neighbours say about a column, per size: their residuals,
// weighted by distance.
func (m *Model) nearby(v *vantage, in part, column uint16) (add, weight float64, units int) {
	reach := m.reach(v, column)
	for _, n := range v.near {
		if c := pick(m.rungs[in][Near].rows[n.id], column); c != nil {
			w := math.Exp(-n.km/reach) * c.weight / (c.weight + halfHeard)
			weight += w
			add += w * c.mean
			units += c.units
		}
	}
	return add / (weight + nearPrior), weight, units
}

// listen notes what the neighbours of each metro with units say, since it is the
// same all over it.
func (m *Model) listen(in part) {
	rows := m.rungs[in][Near].rows
	m.heard[in] = make([][]correction, len(rows))
	inParallel(len(m.spots), 16, func() func(int) {
		seen := make([]bool, accessColumn+1)
		var columns []uint16
		return func(i int) {
			s := m.spots[i]
			at := s.place()
			v := &vantage{place: &at, near: m.around[s.id]}
			columns = columns[:0]
			for _, n := range v.near {
				for k := range rows[n.id] {
					if c := rows[n.id][k].column; !seen[c] {
						seen[c] = true
						columns = append(columns, c)
					}
				}
			}
			slices.Sort(columns)
			row := make([]correction, len(columns))
			for k, column := range columns {
				seen[column] = false
				row[k].column = column
				row[k].add, row[k].weight, row[k].units = m.nearby(v, in, column)
			}
			m.heard[in][s.id] = row
		}
	})
}
