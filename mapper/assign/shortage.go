package assign

// raiseShort lets all units choose at the prices, and raises the limits of PoPs
// that these and others of their candidates cannot fit into. It reports whether
// it raised any.
func (s *solver) raiseShort() (raised bool) {
	s.choose()
	s.count()
	for range maxRaises {
		g := s.steps()
		stuck := s.stuck(g, s.paths(g, 1))
		if stuck == nil || !s.raise(stuck) {
			break
		}
		raised = true
	}
	return raised
}

// fit lets all units choose at the prices, repairs that, and raises limits as
// long as it cannot be done. It reports whether it raised any.
func (s *solver) fit() (raised bool) {
	s.choose()
	s.count()
	for range maxRaises {
		stuck := s.repair()
		if stuck == nil || !s.raise(stuck) {
			break
		}
		raised = true
	}
	return raised
}

// maxRaises bounds how often limits are raised. Each time a set of PoPs without
// a way out gets what its units need, so a handful is usual.
const maxRaises = 100

// count adds up the loads of the choices.
func (s *solver) count() {
	clear(s.load)
	for u, demand := range s.demand {
		pop, _ := s.at(u)
		s.load[pop] += int64(demand)
	}
}

// raise lifts the limits of a set of PoPs by one factor of the soft limits,
// until they hold what is there now; a PoP whose limit is above that already
// keeps it, and none goes above its hard limit unless all must. It reports false
// when the limits hold the sum already: then it is single units that do not fit.
func (s *solver) raise(set []bool) bool {
	var short Shortage
	limits := int64(0)
	for pop, in := range set {
		if in {
			l := s.problem.Limits[pop]
			short.PoPs = append(short.PoPs, uint16(pop))
			short.Demand += s.load[pop]
			short.Soft += l.Soft
			short.Hard += l.Hard
			limits += s.limit[pop]
		}
	}
	if short.Demand <= limits {
		return false
	}
	s.shortages = append(s.shortages, short)
	// A little more than the sum: units are whole, and hard to fit without room.
	want := short.Demand + short.Demand/32 + 1
	limit := func(pop uint16, factor float64) int64 {
		l := s.problem.Limits[pop]
		if want <= short.Hard {
			return max(s.limit[pop], min(l.Hard, scaled(l.Soft, factor)))
		}
		return max(s.limit[pop], scaled(l.Hard, factor))
	}
	sum := func(factor float64) (sum int64) {
		for _, pop := range short.PoPs {
			sum += limit(pop, factor)
		}
		return sum
	}
	low, high := 1.0, 2.0
	for sum(high) < want {
		low, high = high, 2*high
	}
	for range 40 {
		if middle := (low + high) / 2; sum(middle) < want {
			low = middle
		} else {
			high = middle
		}
	}
	for _, pop := range short.PoPs {
		s.limit[pop] = limit(pop, high)
	}
	return true
}

func scaled(limit int64, factor float64) int64 { return int64(float64(limit) * factor) }
