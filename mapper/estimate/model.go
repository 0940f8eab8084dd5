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
	pops   []edge.PoP
	units  []Unit
	mute   []bool    // units that teach nothing
	access []float64 // of each unit: what all its round trips have in common, ms
	slope  float64   // ms per km
	usual  float64   // confidence before it is made relative
	rungs  [Own]*rung
	spots  []spot
	around map[metro][]neighbour
	nets   map[uint32]struct{} // that measured anything
	own    float64             // prior of the level Own
	spread float64             // usual one of a cell's samples, ms

	limited int // networks that would have spoken for a country
}

// accessPoP stands for a place's access in corrections.
const accessPoP = math.MaxUint16

// passes of fitting: units' access and the ladder depend on each other.
const passes = 3

// Fit learns a model. Units keep their positions.
func Fit(pops []edge.PoP, units []Unit) *Model {
	m := &Model{
		pops: pops, units: units, access: make([]float64, len(units)), slope: slope(pops, units),
		usual:  usualConfidence(units),
		around: map[metro][]neighbour{}, nets: map[uint32]struct{}{},
	}
	m.survey()
	m.mute = make([]bool, len(units))
	for i, u := range units {
		m.mute[i] = len(u.Cells) == 0 || !u.Place.HasCoord || doubted(pops, u)
	}
	rest := make([][]float64, len(units))
	for i, u := range units {
		rest[i] = make([]float64, len(u.Cells))
	}
	for range passes {
		for i, u := range units {
			if len(u.Cells) == 0 {
				continue
			}
			var above []weighted
			for k, c := range u.Cells {
				rest[i][k] = c.RTT - m.line(u.Place, c.PoP)
				above = append(above, weighted{rest[i][k] - m.ladder(u.Place, c.PoP, nobody), m.confidence(c)})
			}
			m.access[i] = middle(above)
			for k := range rest[i] {
				rest[i][k] -= m.access[i]
			}
		}
		m.climb(rest)
	}
	m.fitOwn()
	return m
}

// survey gathers the networks and metros that have units.
func (m *Model) survey() {
	at := map[metro]int{}
	for _, u := range m.units {
		if len(u.Cells) == 0 {
			continue
		}
		if u.Place.ASN != 0 {
			m.nets[u.Place.ASN] = struct{}{}
		}
		k := metroOf(u.Place)
		if k == noMetro {
			continue
		}
		i, ok := at[k]
		if !ok {
			i = len(m.spots)
			at[k] = i
			m.spots = append(m.spots, spot{metro: k})
		}
		s := &m.spots[i]
		s.units++
		s.lat += u.Place.Lat
		s.lon += u.Place.Lon
	}
	for i := range m.spots {
		s := &m.spots[i]
		s.lat /= float64(s.units)
		s.lon /= float64(s.units)
	}
	slices.SortFunc(m.spots, func(a, b spot) int { return cmp.Or(cmp.Compare(a.lat, b.lat), cmp.Compare(a.metro, b.metro)) })
	for _, s := range m.spots {
		m.around[s.metro] = neighbours(m.spots, s.metro, s.lat, s.lon)
	}
}

// near returns the neighbours of a place. Those of a metro with units are the
// same all over it.
func (m *Model) near(p place.Place) []neighbour {
	if !p.HasCoord {
		return nil
	}
	k := metroOf(p)
	if list, ok := m.around[k]; ok {
		return list
	}
	return neighbours(m.spots, k, p.Lat, p.Lon)
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

// climb learns the rungs from the widest on, each from what the ones above
// leave. It is given what is above the line and the access, and takes from that.
func (m *Model) climb(rest [][]float64) {
	m.rungs = [Own]*rung{}
	access := slices.Clone(m.access)
	var all []evidence
	for level := World; level < Own; level++ {
		all = all[:0]
		for i, u := range m.units {
			g, ok := groupAt(level, u.Place)
			if !ok || m.mute[i] || u.Servers && level < NetCountry {
				continue
			}
			for k, c := range u.Cells {
				size := m.size(u.Place, c.PoP)
				all = append(all, evidence{i, g, c.PoP, rest[i][k] / size, m.confidence(c), size})
			}
			all = append(all, evidence{i, g, accessPoP, access[i], 1, 1})
		}
		slices.SortFunc(all, func(a, b evidence) int {
			return cmp.Or(
				cmp.Compare(a.group.asn, b.group.asn), cmp.Compare(a.group.country, b.group.country),
				cmp.Compare(a.group.metro, b.group.metro), cmp.Compare(a.pop, b.pop), cmp.Compare(a.unit, b.unit),
			)
		})
		if level == Country {
			m.limited = len(limitNetworks(all, func(unit int) uint32 { return m.units[unit].Place.ASN }))
		}
		m.rungs[level] = learn(all)
		for i, u := range m.units {
			if len(u.Cells) == 0 {
				continue
			}
			v := m.view(u.Place)
			for k, c := range u.Cells {
				add, _ := m.rung(v, level, c.PoP, nobody)
				rest[i][k] -= add
			}
			add, _ := m.rung(v, level, accessPoP, nobody)
			access[i] -= add
		}
	}
}

// vantage is a place as the ladder sees it.
type vantage struct {
	place place.Place
	near  []neighbour
}

func (m *Model) view(p place.Place) vantage { return vantage{p, m.near(p)} }

// rung returns what a level adds for a PoP, in ms, and of how many units. The
// word of one unit may be left out.
func (m *Model) rung(v vantage, level Level, pop uint16, without int) (add float64, units int) {
	r := m.rungs[level]
	if r == nil {
		return 0, 0
	}
	if level == Near {
		return m.nearby(v, pop)
	}
	g, ok := groupAt(level, v.place)
	if !ok {
		return 0, 0
	}
	c, ok := r.find(g, pop)
	if !ok {
		return 0, 0
	}
	add, units = r.without(c, without)
	return add * m.size(v.place, pop), units
}

// ladder is the sum of all levels but Own, ms.
func (m *Model) ladder(p place.Place, pop uint16, without int) (sum float64) {
	v := m.view(p)
	for level := World; level < Own; level++ {
		add, _ := m.rung(v, level, pop, without)
		sum += add
	}
	return sum
}

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

// reach is how far away words about a PoP count 1/e, km.
func (m *Model) reach(v vantage, pop uint16) float64 {
	if pop == accessPoP {
		return reachAccess
	}
	return min(reachMost, reachBase+reachShare*distance(v.place, m.pops[pop]))
}

// nearby is what the neighbours say about a PoP: their residuals, weighted by
// distance.
func (m *Model) nearby(v vantage, pop uint16) (add float64, units int) {
	reach, total := m.reach(v, pop), 0.0
	for _, n := range v.near {
		if c, ok := m.rungs[Near].find(group{metro: n.metro}, pop); ok {
			w := math.Exp(-n.km/reach) * c.weight / (c.weight + halfHeard)
			total += w
			add += w * c.mean
			units += c.units
		}
	}
	return add / (total + nearPrior) * m.size(v.place, pop), units
}

// fitOwn learns how much a unit's own samples weigh against the ladder.
func (m *Model) fitOwn() {
	var within, between, cells float64
	for i, u := range m.units {
		for _, c := range u.Cells {
			if c.Samples < 2 {
				continue
			}
			within += c.Spread * float64(c.Samples) / float64(c.Samples-1)
			between += math.Abs(c.RTT - m.access[i] - m.line(u.Place, c.PoP) - m.ladder(u.Place, c.PoP, i))
			cells++
		}
	}
	m.spread = within / max(cells, 1)
	m.own = prior(m.spread, between/max(cells, 1), 0)
}
