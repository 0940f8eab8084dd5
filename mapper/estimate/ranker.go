package estimate

// Ranker makes estimates of units. What is known of a site is worked out once, so it
// is fast for units of one site after another (Model.EachUnit), and for several
// PoPs of one unit. It is not safe for concurrent use.
type Ranker struct {
	m    *Model
	at   site
	view *vantage
	any  []uint16 // candidates of every unit of the site, ascending; nil: not known yet
	seen []path   // by PoP
	turn uint32   // of the site; what has another in seen is out of date

	mine  []int // by column: 1 + the unit that measured something of it last
	pops  []uint16
	list  []Estimate
	above []weighted
	medians
}

// path is what the model says of the way from a site to a PoP.
type path struct {
	turn     uint32
	km, size float64 // Model.kmAndSize

	summed bool
	sum    float64 // Model.ladder, with everybody's word

	// What follows is for those who have no word in it, when it is there.
	strange bool
	level   Level
	samples int
	adds    [Own]float64 // ms, by level
}

// NewRanker returns a Ranker of the model.
func (m *Model) NewRanker() *Ranker {
	return &Ranker{m: m, seen: make([]path, len(m.pops)), mine: make([]int, len(m.towns.where))}
}

// Best returns the estimates of a unit's candidates, so many of the first in order.
// They are good until the next call.
func (r *Ranker) Best(i, first int) []Estimate {
	m := r.m
	u := &m.units[i]
	if len(u.Cells) == 0 {
		r.list = append(r.list[:0], m.at(u.Place)...)
	} else {
		r.goTo(i)
		r.list = r.list[:0]
		for _, pop := range r.candidates(u) {
			r.list = append(r.list, r.to(i, pop))
		}
	}
	orderFirst(r.list, first)
	return r.list
}

// goTo makes the site that of a unit with measurements.
func (r *Ranker) goTo(i int) {
	m := r.m
	u := &m.units[i]
	if at := m.siteOf(i); r.view == nil || at != r.at {
		r.at, r.view, r.any = at, m.viewOf(i), nil
		r.turn++
	}
	for k := range u.Cells {
		r.mine[m.towns.of[u.Cells[k].PoP]] = i + 1
	}
	r.view.next = [parts][Own]int{}
}

// candidates is Model.candidates for a unit of the site.
func (r *Ranker) candidates(u *Unit) []uint16 {
	if r.any == nil {
		r.any = r.m.candidates(&u.Place, nil, r.view)
	}
	list, rest := r.pops[:0], r.any
	for k := range u.Cells {
		pop := u.Cells[k].PoP
		for len(rest) > 0 && rest[0] < pop {
			list, rest = append(list, rest[0]), rest[1:]
		}
		if len(rest) > 0 && rest[0] == pop {
			rest = rest[1:]
		}
		list = append(list, pop)
	}
	r.pops = append(list, rest...)
	return r.pops
}

// path returns that to a PoP.
func (r *Ranker) path(pop uint16) *path {
	s := &r.seen[pop]
	if s.turn != r.turn {
		*s = path{turn: r.turn}
		s.km, s.size = r.m.kmAndSize(r.view.place, pop)
	}
	return s
}

// ladder is Model.ladder at the site, with everybody's word.
func (r *Ranker) ladder(pop uint16) float64 {
	s := r.path(pop)
	if !s.summed {
		s.summed, s.sum = true, r.m.ladder(r.view, pop, nobody)
	}
	return s.sum
}

// stranger is a unit that has no word in any correction.
const stranger = -2

// to is Model.to for a unit of the site.
func (r *Ranker) to(i int, pop uint16) Estimate {
	m, s := r.m, r.path(pop)
	e := Estimate{PoP: pop, RTT: m.access[i] + float64(m.slope*s.km)}
	if r.mine[m.towns.of[pop]] == i+1 {
		for level := World; level < Own; level++ {
			add, _, units := m.level(r.view, level, pop, i)
			e.RTT += float64(add * s.size)
			if units > 0 {
				e.Level, e.Samples = level, units
			}
		}
		return m.withOwn(e, i)
	}
	if !s.strange {
		s.strange = true
		for level := World; level < Own; level++ {
			add, _, units := m.level(r.view, level, pop, stranger)
			s.adds[level] = float64(add * s.size)
			if units > 0 {
				s.level, s.samples = level, units
			}
		}
	}
	for _, add := range s.adds {
		e.RTT += add
	}
	e.Level, e.Samples = s.level, s.samples
	return m.withOwn(e, i)
}

// Between returns the estimate of any PoP at a unit, a candidate or not.
func (r *Ranker) Between(i int, pop uint16) Estimate {
	u := &r.m.units[i]
	if len(u.Cells) == 0 {
		return r.m.BetweenPlace(u.Place, pop)
	}
	r.goTo(i)
	return r.to(i, pop)
}
