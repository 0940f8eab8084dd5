package estimate

import "edged/geo/place"

// Trace is how one estimate came about: RTT is what Own and Parent make of each
// other, and Parent is Line, Access and what each step adds.
type Trace struct {
	Estimate
	Located bool    // whether the place has coordinates
	Km      float64 // to the PoP, where it has
	Line    float64 // what distance says, ms
	Access  float64 // what all round trips from there have in common, ms
	Steps   []Step  // of the levels above Own that have any measurement, the widest first
	Own     *Word   // what the unit measured itself; nil: nothing of this PoP
}

// Step is what one level adds.
type Step struct {
	Level Level
	Add   float64 // ms
	Units int     // that measured it on this level, or else its town
	Trust float64 // share of what they say that is believed, 0 to 1
}

// Word is what a unit says about a PoP by itself.
type Word struct {
	Cell
	Trust float64 // its weight against the levels above, 0 to 1
	Held  bool    // two sources could have said this alone, so the estimate is not below what is said elsewhere
}

// Explain returns the traces of the estimates that Unit returns, in its order.
func (m *Model) Explain(i int) []Trace {
	list := m.Unit(i)
	u := &m.units[i]
	if len(u.Cells) == 0 {
		return m.ExplainAt(u.Place)
	}
	v := m.viewOf(i)
	traces := make([]Trace, len(list))
	for k, e := range list {
		t := m.trace(v, e, m.access[i], i)
		if c, ok := u.cell(e.PoP); ok {
			mixed := (c.Weight*c.RTT + m.own*e.Parent) / (c.Weight + m.own)
			t.Own = &Word{Cell: c, Trust: c.Weight / (c.Weight + m.own), Held: e.RTT > mixed}
		}
		traces[k] = t
	}
	return traces
}

// ExplainAt returns the traces of the estimates that At returns, in its order.
func (m *Model) ExplainAt(p place.Place) []Trace {
	v := m.view(&p)
	access := m.accessAt(v)
	list := m.At(p)
	traces := make([]Trace, len(list))
	for k, e := range list {
		traces[k] = m.trace(v, e, access, nobody)
	}
	return traces
}

// trace repeats an estimate of the ladder and notes each part.
func (m *Model) trace(v *vantage, e Estimate, access float64, without int) Trace {
	km, size := m.kmAndSize(v.place, e.PoP)
	t := Trace{Estimate: e, Line: m.slope * km, Access: access}
	if v.place.HasCoord {
		t.Located, t.Km = true, km
	}
	for level := World; level < Own; level++ {
		if add, trust, units := m.level(v, level, e.PoP, without); units > 0 {
			t.Steps = append(t.Steps, Step{level, add * size, units, trust})
		}
	}
	return t
}

// Between returns the estimate of any PoP at a unit, a candidate or not.
func (m *Model) Between(i int, pop uint16) Estimate {
	u := &m.units[i]
	if len(u.Cells) == 0 {
		return m.BetweenPlace(u.Place, pop)
	}
	return m.to(m.viewOf(i), i, pop)
}

// BetweenPlace returns the estimate of any PoP at a place without measurements of
// its own.
func (m *Model) BetweenPlace(p place.Place, pop uint16) Estimate {
	v := m.view(&p)
	return m.estimate(v, pop, m.accessAt(v), nobody)
}

// Access returns what all round trips of a unit have in common, ms.
func (m *Model) Access(i int) float64 { return m.access[i] }
