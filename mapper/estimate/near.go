package estimate

import "math"

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
	return min(reachMost, reachBase+reachShare*distance(v.place, m.towns.where[column]))
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
	seen := make([]bool, accessColumn+1)
	for _, s := range m.spots {
		v := &vantage{place: s.place(), near: m.around[s.id]}
		var columns []uint16
		for _, n := range v.near {
			for _, c := range rows[n.id] {
				if !seen[c.column] {
					seen[c.column] = true
					columns = append(columns, c.column)
				}
			}
		}
		row := make([]correction, len(columns))
		for i, column := range columns {
			seen[column] = false
			row[i].column = column
			row[i].add, row[i].weight, row[i].units = m.nearby(v, in, column)
		}
		m.heard[in][s.id] = row
	}
}
