package estimate

import (
	"cmp"
	"math"
	"slices"

	"edged/geo/place"
)

// Estimate is the round trip to one PoP, and where the number comes from.
type Estimate struct {
	PoP     uint16
	RTT     float64 // ms
	Level   Level   // the lowest with measurements
	Samples int     // on that level: samples of the unit, or else units
	Parent  float64 // what the levels above Own say, ms
	Error   float64 // standard error of RTT, ms; 0 where nothing tells it
}

// candidateCount is how many PoPs nearest by distance are considered.
const candidateCount = 10

// Unit returns the estimates of a unit's candidates, best first.
func (m *Model) Unit(i int) []Estimate {
	list := m.unit(i)
	order(list)
	return list
}

func (m *Model) unit(i int) []Estimate {
	u := &m.units[i]
	if len(u.Cells) == 0 {
		return m.at(u.Place)
	}
	v := m.viewOf(i)
	candidates := m.candidates(&u.Place, u.Cells, v)
	estimates := make([]Estimate, len(candidates))
	for k, pop := range candidates {
		estimates[k] = m.to(v, i, pop)
	}
	return estimates
}

// to returns the estimate of one PoP at a unit with measurements.
func (m *Model) to(v *vantage, i int, pop uint16) Estimate {
	return m.withOwn(m.estimate(v, pop, m.access[i], i), i)
}

// withOwn adds to what the ladder says of a PoP what the unit measured of it.
func (m *Model) withOwn(e Estimate, i int) Estimate {
	e.Parent, e.Error = e.RTT, m.standardError(Cell{})
	if c, ok := m.units[i].cell(e.PoP); ok {
		e.Level, e.Samples = Own, c.Samples
		e.RTT = (c.Weight*c.RTT + m.own*e.Parent) / (c.Weight + m.own)
		e.RTT = max(e.RTT, c.least(e.Parent))
		e.Error = m.standardError(c)
	}
	return e
}

// cell returns what the unit measured of a PoP, if it did.
func (u *Unit) cell(pop uint16) (Cell, bool) {
	k, ok := slices.BinarySearchFunc(u.Cells, pop, func(c Cell, pop uint16) int { return cmp.Compare(c.PoP, pop) })
	if !ok {
		return Cell{}, false
	}
	return u.Cells[k], true
}

// At returns the estimates of the candidates at a place without measurements of
// its own, best first.
func (m *Model) At(p place.Place) []Estimate {
	list := m.at(p)
	order(list)
	return list
}

func (m *Model) at(p place.Place) []Estimate {
	v := m.view(&p)
	access := m.accessAt(v)
	candidates := m.candidates(&p, nil, v)
	estimates := make([]Estimate, len(candidates))
	for k, pop := range candidates {
		estimates[k] = m.estimate(v, pop, access, nobody)
	}
	return estimates
}

// Knows reports whether anything was measured from a network.
func (m *Model) Knows(asn uint32) bool {
	_, ok := m.nets[asn]
	return ok
}

// estimate is what the ladder alone says.
func (m *Model) estimate(v *vantage, pop uint16, access float64, without int) Estimate {
	km, size := m.kmAndSize(v.place, pop)
	e := Estimate{PoP: pop, RTT: access + m.slope*km}
	for level := World; level < Own; level++ {
		add, _, units := m.level(v, level, pop, without)
		e.RTT += add * size
		if units > 0 {
			e.Level, e.Samples = level, units
		}
	}
	e.Parent, e.Error = e.RTT, m.standardError(Cell{})
	return e
}

func order(list []Estimate) { slices.SortFunc(list, compare) }

// orderFirst brings the best of a list to its front, in order.
func orderFirst(list []Estimate, first int) {
	for i, e := range list {
		k := i
		if i >= first {
			if first == 0 || compare(e, list[first-1]) > 0 {
				continue
			}
			k = first - 1
			list[i] = list[k]
		}
		for ; k > 0 && compare(e, list[k-1]) < 0; k-- {
			list[k] = list[k-1]
		}
		list[k] = e
	}
}

// compare has the better estimate first.
func compare(a, b Estimate) int {
	switch {
	case a.RTT < b.RTT:
		return -1
	case a.RTT > b.RTT:
		return 1
	}
	return cmp.Compare(a.PoP, b.PoP)
}

// candidates returns the PoPs that may be best, ascending: the nearest by
// distance, those that the unit measured, and those that its network or its
// metro did.
func (m *Model) candidates(p *place.Place, cells []Cell, v *vantage) []uint16 {
	list := make([]uint16, 0, len(cells)+candidateCount)
	for k := range cells {
		list = append(list, cells[k].PoP)
	}
	for _, level := range []Level{NetMetro, NetCountry, Metro} {
		for in := range parts {
			row := v.rows[in][level]
			for k := range row {
				if c := row[k].column; int(c) < len(m.pops) {
					list = append(list, c)
				}
			}
		}
	}
	if p.HasCoord {
		list = append(list, m.nearest(p)...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// nearest returns the PoPs nearest by distance, the nearest first.
func (m *Model) nearest(p *place.Place) []uint16 {
	type far struct {
		pop uint16
		dot float64 // 1 in the same place, -1 on the other side of the world
	}
	at := direction(p.Lat, p.Lon)
	best := make([]far, 0, candidateCount+1)
	for i, d := range m.directions {
		f := far{uint16(i), at[0]*d[0] + at[1]*d[1] + at[2]*d[2]}
		k := len(best)
		for k > 0 && best[k-1].dot < f.dot {
			k--
		}
		if k < candidateCount {
			best = slices.Insert(best, k, f)
			best = best[:min(len(best), candidateCount)]
		}
	}
	list := make([]uint16, len(best))
	for i, f := range best {
		list[i] = f.pop
	}
	return list
}

// direction is a place on the unit sphere: a dot product orders by distance, and
// takes less time.
func direction(lat, lon float64) [3]float64 {
	sinLat, cosLat := math.Sincos(lat * math.Pi / 180)
	sinLon, cosLon := math.Sincos(lon * math.Pi / 180)
	return [3]float64{cosLat * cosLon, cosLat * sinLon, sinLat}
}
