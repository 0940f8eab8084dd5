package estimate

import (
	"cmp"
	"math"
	"slices"

	"edged/edge"
	"edged/geo/place"
)

// Unit is a client block with what its clients measured.
type Unit struct {
	Place place.Place
	Cells []Cell // by PoP

	// Servers says that no people are there: what was measured speaks for the unit
	// and its own network, and not for the places and countries around.
	Servers bool
}

// Model says how long round trips take, at units and at places.
type Model struct {
	pops       []edge.PoP
	directions [][3]float64 // of each PoP
	towns      towns
	units      []Unit
	mute       []bool    // units that teach nothing
	access     []float64 // of each unit: what all its round trips have in common, ms
	slope      float64   // ms per km
	usual      float64   // confidence before it is made relative
	groups     [Own]groups
	order      []int32 // of units: those of one site follow each other
	rungs      [parts][Own]*rung
	spots      []spot
	around     [][]neighbour         // of each metro with units
	heard      [parts][][]correction // from them
	nets       map[uint32]struct{}   // that measured anything
	own        float64               // prior of the level Own
	spread     float64               // usual one of a cell's samples, ms

	limited int // networks that would have spoken for a country
}

// passes of fitting: units' access and the ladder depend on each other.
const passes = 3

// Fit learns a model. Units keep their positions.
func Fit(pops []edge.PoP, units []Unit) *Model {
	m := &Model{
		pops: pops, towns: newTowns(pops), units: units, mute: make([]bool, len(units)),
		access: make([]float64, len(units)), usual: usualConfidence(units), nets: map[uint32]struct{}{},
	}
	for _, p := range pops {
		m.directions = append(m.directions, direction(p.Lat, p.Lon))
	}
	inParallel(int(Own), 1, func() func(int) {
		return func(level int) { m.groups[level] = numberGroups(Level(level), units) }
	})
	m.survey()
	m.order = m.bySite()
	f := m.newFitting()
	m.slope = m.slopeOf(f, fewPairs)
	for i := range units {
		u := &units[i]
		m.mute[i] = len(u.Cells) == 0 || !u.Place.HasCoord || doubted(u, f.of(f.km, i))
	}
	m.makeBallots(f)
	for range passes {
		m.fitAccess(f)
		m.climb(f)
	}
	m.fitOwn(f)
	return m
}

// fitAccess finds the units' access anew, and what is left of their cells by the line and
// that.
func (m *Model) fitAccess(f *fitting) {
	m.EachUnit(func(r *Ranker, i int) {
		u := &m.units[i]
		if len(u.Cells) == 0 {
			return
		}
		r.goTo(i)
		left, km, sizes, weight := f.of(f.left, i), f.of(f.km, i), f.of(f.sizes, i), f.of(f.weight, i)
		above := r.above[:0]
		for k := range u.Cells {
			c := &u.Cells[k]
			left[k] = c.RTT - m.slope*km[k]
			above = append(above, weighted{left[k] - r.ladder(c.PoP)*sizes[k], weight[k]})
		}
		r.above = above
		m.access[i] = r.middle(above)
		f.access[i] = m.access[i]
		for k := range left {
			left[k] -= m.access[i]
		}
	})
}

// survey gathers the networks and metros that have units.
func (m *Model) survey() {
	metros := &m.groups[Near]
	m.spots = make([]spot, len(metros.id))
	for i := range m.units {
		u := &m.units[i]
		if len(u.Cells) == 0 {
			continue
		}
		if u.Place.ASN != 0 {
			m.nets[u.Place.ASN] = struct{}{}
		}
		if id := metros.of[i]; id != noGroup {
			s := &m.spots[id]
			s.id, s.metro = id, metroOf(&u.Place)
			s.units++
			s.lat += u.Place.Lat
			s.lon += u.Place.Lon
		}
	}
	for i := range m.spots {
		s := &m.spots[i]
		s.lat /= float64(s.units)
		s.lon /= float64(s.units)
	}
	slices.SortFunc(m.spots, func(a, b spot) int { return cmp.Or(cmp.Compare(a.lat, b.lat), cmp.Compare(a.metro, b.metro)) })
	m.around = make([][]neighbour, len(m.spots))
	inParallel(len(m.spots), 16, func() func(int) {
		return func(i int) {
			s := &m.spots[i]
			m.around[s.id] = neighbours(m.spots, s.metro, s.lat, s.lon)
		}
	})
}

// confidence is a cell's weight among those of other units, where a usual cell
// has 1.
func (m *Model) confidence(c Cell) float64 { return c.Weight / (c.Weight + 1) / m.usual }

// usualConfidence is the mean of w/(w+1) over all cells' weights.
func usualConfidence(units []Unit) float64 {
	sum, n := 0.0, 0.0
	for _, u := range units {
		for _, c := range u.Cells {
			sum += c.Weight / (c.Weight + 1)
			n++
		}
	}
	if n == 0 {
		return 1
	}
	return sum / n
}

// fitOwn learns how much a unit's own samples weigh against the ladder.
func (m *Model) fitOwn(f *fitting) {
	inParallel(len(m.units), unitsAtOnce, func() func(int) {
		return func(i int) {
			u, v, left, km, sizes := &m.units[i], m.viewOf(i), f.of(f.left, i), f.of(f.km, i), f.of(f.sizes, i)
			for k := range u.Cells {
				if c := &u.Cells[k]; c.Samples >= 2 {
					left[k] = math.Abs(c.RTT - m.access[i] - m.slope*km[k] - m.ladder(v, c.PoP, i)*sizes[k])
				}
			}
		}
	})
	var within, between, cells float64
	for i := range m.units {
		left := f.of(f.left, i)
		for k := range m.units[i].Cells {
			c := &m.units[i].Cells[k]
			if c.Samples < 2 {
				continue
			}
			within += c.Spread * float64(c.Samples) / float64(c.Samples-1)
			between += left[k]
			cells++
		}
	}
	m.spread = within / max(cells, 1)
	m.own = prior(m.spread, between/max(cells, 1))
}
