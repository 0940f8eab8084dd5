package estimate

import (
	"slices"

	"edged/geo/place"
)

// mostJudges is how many units at most judge how far the levels are to be trusted.
const mostJudges = 20_000

// climb learns the rungs from the widest on, each from what the ones above
// leave. It is given what is above the line and the access, and takes from that.
func (m *Model) climb(f *fitting) {
	m.rungs = [parts][Own]*rung{}
	every := 1 + len(m.units)/mostJudges
	judges := func(unit int) bool { return unit%every == 0 }
	// apart is what others leave of what a judge measured.
	apart := make([]rest, (len(m.units)+every-1)/every)
	for i := range apart {
		apart[i] = rest{slices.Clone(f.of(f.left, i*every)), f.access[i*every]}
	}
	ofJudge := func(unit int) *rest {
		if !judges(unit) {
			return nil
		}
		return &apart[unit/every]
	}
	for level := World; level < Own; level++ {
		g := &m.groups[level]
		for in := range parts {
			b := f.ballots[in][level]
			hearings := b.hearings()
			limited := make([]map[uint32]bool, len(hearings))
			hear := func() func(int) []evidence {
				var all []evidence
				return func(h int) []evidence {
					all = all[:0]
					for row := hearings[h]; row < hearings[h+1]; row++ {
						all = m.testify(all, b, row, in, f, ofJudge)
					}
					if level == Country {
						limited[h] = limitNetworks(all, func(unit int) uint32 { return m.units[unit].Place.ASN })
					}
					return all
				}
			}
			m.rungs[in][level] = learn(len(g.id), len(hearings)-1, hear, judges)
			if level == Country && in == ofTown {
				m.limited = countAll(limited)
			}
			if level == Near {
				m.listen(in)
			}
			inParallel(len(m.units), unitsAtOnce, func() func(int) {
				return func(i int) {
					row := m.row(level, in, g.of[i])
					left := rest{f.of(f.left, i), f.access[i]}
					m.take(row, level, in, i, f, &left, nobody)
					f.access[i] = left.access
					if judges(i) {
						m.take(row, level, in, i, f, &apart[i/every], i)
					}
				}
			})
		}
	}
}

// countAll returns how many networks are in any of the sets.
func countAll(sets []map[uint32]bool) int {
	all := map[uint32]bool{}
	for _, set := range sets {
		for n := range set {
			all[n] = true
		}
	}
	return len(all)
}

// take takes what a row of a rung says from what is left of a unit.
func (m *Model) take(row []correction, level Level, in part, i int, f *fitting, left *rest, without int) {
	r, sizes := m.rungs[in][level], f.of(f.sizes, i)
	if len(row) == 0 {
		return
	}
	next := 0
	for k, pop := range f.popsOf(i) {
		column := m.towns.column(in, pop)
		if column == noColumn {
			continue
		}
		var c *correction
		if column == pop {
			c, next = pickNext(row, next, column)
		} else {
			c = pick(row, column)
		}
		add, _, _ := r.says(c, level, without)
		left.cells[k] -= add * sizes[k]
	}
	if in == ofTown {
		add, _, _ := r.says(pick(row, accessColumn), level, without)
		left.access -= add
	}
}

// vantage is a place as the ladder sees it.
type vantage struct {
	place *place.Place
	near  []neighbour              // where the metro has no units
	rows  [parts][Own][]correction // what the rungs know; of Near, what the neighbours were heard to say
	next  [parts][Own]int          // in rows, for pickNext
}

// pick returns the correction for a column, which is a PoP's own or not.
func (v *vantage) pick(level Level, in part, column uint16, own bool) (c *correction) {
	row := v.rows[in][level]
	if !own {
		return pick(row, column)
	}
	c, v.next[in][level] = pickNext(row, v.next[in][level], column)
	return c
}

// view returns the ladder's view from a place.
func (m *Model) view(p *place.Place) *vantage {
	v := &vantage{place: p}
	if p.HasCoord && m.groups[Near].at(Near, p) == noGroup {
		v.near = neighbours(m.spots, metroOf(p), p.Lat, p.Lon)
	}
	for level := range Own {
		group := m.groups[level].at(level, p)
		for in := range parts {
			v.rows[in][level] = m.row(level, in, group)
		}
	}
	return v
}

// viewOf is the view from a unit with measurements.
func (m *Model) viewOf(i int) *vantage {
	v := &vantage{place: &m.units[i].Place}
	for level := range Own {
		for in := range parts {
			v.rows[in][level] = m.row(level, in, m.groups[level].of[i])
		}
	}
	return v
}

// row returns what a rung knows of a group.
func (m *Model) row(level Level, in part, group int32) []correction {
	switch {
	case group == noGroup || m.rungs[in][level] == nil:
		return nil
	case level == Near:
		return m.heard[in][group]
	}
	return m.rungs[in][level].rows[group]
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
	return r.says(v.pick(level, in, column, column == pop && pop != accessColumn), level, without)
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

// ladder is the sum of all levels but Own, per size.
func (m *Model) ladder(v *vantage, pop uint16, without int) (sum float64) {
	for level := World; level < Own; level++ {
		add, _, _ := m.level(v, level, pop, without)
		sum += add
	}
	return sum
}

// accessAt is what the levels say that all round trips of a place have in common, ms.
func (m *Model) accessAt(v *vantage) float64 { return m.ladder(v, accessColumn, nobody) }
