package estimate

// site is all that the ladder knows of where a unit is: units of one site differ by
// what they measured alone.
type site struct {
	lat, lon float64
	located  bool
	groups   [Own]int32
}

func (m *Model) siteOf(i int) site {
	p := &m.units[i].Place
	s := site{located: p.HasCoord}
	if s.located {
		s.lat, s.lon = p.Lat, p.Lon
	}
	for level := range s.groups {
		s.groups[level] = m.groups[level].of[i]
	}
	return s
}

// bySite returns the units in an order in which those of one site follow each
// other.
func (m *Model) bySite() []int32 {
	ids := map[site]int32{}
	of := make([]int32, len(m.units))
	var first []int32 // where each site's units begin
	for i := range m.units {
		s := m.siteOf(i)
		id, ok := ids[s]
		if !ok {
			id = int32(len(ids))
			ids[s] = id
			first = append(first, 0)
		}
		of[i] = id
		first[id]++
	}
	sum := int32(0)
	for id, n := range first {
		first[id] = sum
		sum += n
	}
	order := make([]int32, len(m.units))
	for i, id := range of {
		order[first[id]] = int32(i)
		first[id]++
	}
	return order
}

// EachUnit has the estimates of all units made, on all processors, site by site.
// Each processor has a Ranker of its own; what do writes besides must be of the unit
// alone.
func (m *Model) EachUnit(do func(r *Ranker, i int)) {
	inParallel(len(m.order), unitsAtOnce, func() func(int) {
		r := m.NewRanker()
		return func(at int) { do(r, int(m.order[at])) }
	})
}
