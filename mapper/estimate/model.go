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
		access: make([]float64, len(units)), slope: slope(pops, units), usual: usualConfidence(units),
		nets: map[uint32]struct{}{},
	}
	for _, p := range pops {
		m.directions = append(m.directions, direction(p.Lat, p.Lon))
	}
	for level := range Own {
		m.groups[level] = numberGroups(level, units)
	}
	m.survey()
	left := make([]rest, len(units))
	for i, u := range units {
		m.mute[i] = len(u.Cells) == 0 || !u.Place.HasCoord || doubted(pops, u)
		left[i].cells = make([]float64, len(u.Cells))
		for _, c := range u.Cells {
			left[i].sizes = append(left[i].sizes, m.size(u.Place, c.PoP))
		}
	}
	var above []weighted
	for range passes {
		for i, u := range units {
			if len(u.Cells) == 0 {
				continue
			}
			v := m.viewOf(i)
			above = above[:0]
			for k, c := range u.Cells {
				left[i].cells[k] = c.RTT - m.line(u.Place, c.PoP)
				above = append(above, weighted{left[i].cells[k] - m.ladder(v, c.PoP, nobody), m.confidence(c)})
			}
			m.access[i] = middle(above)
			left[i].access = m.access[i]
			for k := range left[i].cells {
				left[i].cells[k] -= m.access[i]
			}
		}
		m.climb(left)
	}
	m.fitOwn()
	return m
}

// survey gathers the networks and metros that have units.
func (m *Model) survey() {
	metros := m.groups[Near]
	m.spots = make([]spot, len(metros.id))
	for i, u := range m.units {
		if len(u.Cells) == 0 {
			continue
		}
		if u.Place.ASN != 0 {
			m.nets[u.Place.ASN] = struct{}{}
		}
		if id := metros.of[i]; id != noGroup {
			s := &m.spots[id]
			s.id, s.metro = id, metroOf(u.Place)
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
	for _, s := range m.spots {
		m.around[s.id] = neighbours(m.spots, s.metro, s.lat, s.lon)
	}
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
func (m *Model) fitOwn() {
	var within, between, cells float64
	for i, u := range m.units {
		v := m.viewOf(i)
		for _, c := range u.Cells {
			if c.Samples < 2 {
				continue
			}
			within += c.Spread * float64(c.Samples) / float64(c.Samples-1)
			between += math.Abs(c.RTT - m.access[i] - m.line(u.Place, c.PoP) - m.ladder(v, c.PoP, i))
			cells++
		}
	}
	m.spread = within / max(cells, 1)
	m.own = prior(m.spread, between/max(cells, 1))
}
