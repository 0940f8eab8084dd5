package estimate

import (
	"slices"

	"edged/geo/place"
)

// rest is what of a unit's values is not explained yet.
type rest struct {
	sizes  []float64 // by cell (Model.size)
	cells  []float64 // ms, by cell
	access float64   // ms
}

func (r rest) clone() rest { return rest{r.sizes, slices.Clone(r.cells), r.access} }

// mostJudges is how many units at most judge how far the levels are to be trusted.
const mostJudges = 20_000

// climb learns the rungs from the widest on, each from what the ones above
// leave. It is given what is above the line and the access, and takes from that.
func (m *Model) climb(left []rest) {
	m.rungs = [parts][Own]*rung{}
	every := 1 + len(m.units)/mostJudges
	judges := func(unit int) bool { return unit%every == 0 }
	// apart is what others leave of what a judge measured.
	apart := make([]rest, len(left))
	for i := range left {
		if judges(i) {
			apart[i] = left[i].clone()
		}
	}
	views := make([]vantage, len(m.units))
	for i, u := range m.units {
		views[i].place = u.Place
	}
	var all, spare []evidence
	for level := World; level < Own; level++ {
		for in := range parts {
			all = all[:0]
			for i := range m.units {
				all = m.testify(all, level, in, i, left[i], apart[i])
			}
			all, spare = sortEvidence(all, spare, len(m.groups[level].id))
			if level == Country && in == ofTown {
				m.limited = len(limitNetworks(all, func(unit int) uint32 { return m.units[unit].Place.ASN }))
			} else if level == Country {
				limitNetworks(all, func(unit int) uint32 { return m.units[unit].Place.ASN })
			}
			m.rungs[in][level] = learn(all, len(m.groups[level].id), judges)
			if level == Near {
				m.listen(in)
			}
			for i := range m.units {
				v := &views[i]
				m.look(v, level, in, m.groups[level].of[i])
				m.take(v, level, in, i, &left[i], nobody)
				if judges(i) {
					m.take(v, level, in, i, &apart[i], i)
				}
			}
		}
	}
}

// testify appends what a unit says on a level.
func (m *Model) testify(all []evidence, level Level, in part, i int, left, apart rest) []evidence {
	u, g := &m.units[i], m.groups[level].of[i]
	if g == noGroup || m.mute[i] || u.Servers && level < NetCountry {
		return all
	}
	for k, c := range u.Cells {
		column := m.towns.column(in, c.PoP)
		if column == noColumn {
			continue
		}
		e := evidence{unit: i, group: g, column: column, weight: m.confidence(c), size: left.sizes[k]}
		e.residual = left.cells[k] / e.size
		if apart.cells != nil {
			e.apart = apart.cells[k] / e.size
		}
		if in == ofTown { // a unit has one voice on a town
			e.weight /= float64(m.towns.sharing(u.Cells, column))
		}
		all = append(all, e)
	}
	if in == ofTown {
		all = append(all, evidence{unit: i, group: g, column: accessColumn, residual: left.access, apart: apart.access, weight: 1, size: 1})
	}
	return all
}

// take takes what a rung says from what is left of a unit.
func (m *Model) take(v *vantage, level Level, in part, i int, left *rest, without int) {
	for k, c := range m.units[i].Cells {
		add, _, _ := m.rung(v, level, in, c.PoP, without)
		left.cells[k] -= add * left.sizes[k]
	}
	add, _, _ := m.rung(v, level, in, accessColumn, without)
	left.access -= add
}

// vantage is a place as the ladder sees it.
type vantage struct {
	place place.Place
	near  []neighbour              // where the metro has no units
	rows  [parts][Own][]correction // what the rungs know; of Near, what the neighbours were heard to say
}

// view returns the ladder's view from a place.
func (m *Model) view(p place.Place) *vantage {
	v := &vantage{place: p}
	if p.HasCoord && m.groups[Near].at(Near, p) == noGroup {
		v.near = neighbours(m.spots, metroOf(p), p.Lat, p.Lon)
	}
	for level := range Own {
		for in := range parts {
			m.look(v, level, in, m.groups[level].at(level, p))
		}
	}
	return v
}

// viewOf is the view from a unit with measurements.
func (m *Model) viewOf(i int) *vantage {
	v := &vantage{place: m.units[i].Place}
	for level := range Own {
		for in := range parts {
			m.look(v, level, in, m.groups[level].of[i])
		}
	}
	return v
}

// look fills in what a rung knows of a group.
func (m *Model) look(v *vantage, level Level, in part, group int32) {
	switch {
	case group == noGroup || m.rungs[in][level] == nil:
	case level == Near:
		v.rows[in][level] = m.heard[in][group]
	default:
		v.rows[in][level] = m.rungs[in][level].rows[group]
	}
}

// rung returns what a part of a level adds for a PoP, per size, how much of what is
// said there it believes, and of how many units it is. The word of one unit may be
// left out.
func (m *Model) rung(v *vantage, level Level, in part, pop uint16, without int) (add, trust float64, units int) {
	r, column := m.rungs[in][level], m.towns.column(in, pop)
	if r == nil || column == noColumn {
		return 0, 0, 0
	}
	if level == Near && v.near != nil {
		add, weight, units := m.nearby(v, in, column)
		return add, weight / (weight + nearPrior), units
	}
	c := pick(v.rows[in][level], column)
	switch {
	case c == nil:
		return 0, 0, 0
	case level == Near:
		return c.add, c.weight / (c.weight + nearPrior), c.units
	case without == nobody:
		return c.add, c.weight / (c.weight + r.prior), c.units
	}
	mean, weight, units := c.without(without)
	trust = weight / (weight + r.prior)
	return mean * trust, trust, units
}

// level returns what a level adds for a PoP, per size, as rung does: of its town, and of
// itself where it shares that.
func (m *Model) level(v *vantage, level Level, pop uint16, without int) (add, trust float64, units int) {
	add, trust, units = m.rung(v, level, ofTown, pop, without)
	more, ownTrust, ownUnits := m.rung(v, level, inTown, pop, without)
	if ownUnits == 0 {
		return add, trust, units
	}
	return add + more, ownTrust, ownUnits
}

// ladder is the sum of all levels but Own, ms.
func (m *Model) ladder(v *vantage, pop uint16, without int) (sum float64) {
	for level := World; level < Own; level++ {
		add, _, _ := m.level(v, level, pop, without)
		sum += add
	}
	return sum * m.size(v.place, pop)
}
