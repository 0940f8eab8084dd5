package assign

import "slices"

// nearest returns the mean time of the nearest candidates in ms, by demand.
func (s *solver) nearest() float64 {
	return s.average(func(u int) uint16 {
		list := s.candidates(u)
		return slices.MinFunc(list, func(a, b Candidate) int { return int(a.RTT) - int(b.RTT) }).RTT
	})
}

func (s *solver) candidates(u int) []Candidate {
	return s.problem.Candidates[s.first[u]:s.first[u+1]]
}

// average returns the mean of a time of each unit, in ms, by demand.
func (s *solver) average(rtt func(u int) uint16) float64 {
	var sum, all int64
	for u, demand := range s.demand {
		sum += int64(demand) * int64(rtt(u))
		all += int64(demand)
	}
	return ratio(float64(sum)/10, all)
}

func ratio(sum float64, all int64) float64 {
	if all == 0 {
		return 0
	}
	return sum / float64(all)
}

func (s *solver) result() *Result {
	pops, units := len(s.limit), len(s.demand)
	r := &Result{
		PoP: make([]uint16, units), Prices: make([]float64, pops), Load: s.load, Limit: s.limit,
		Nearest: s.nearest(), Shortages: s.shortages,
	}
	var all, cost int64
	for u, demand := range s.demand {
		pop, _ := s.at(u)
		r.PoP[u] = pop
		all += int64(demand)
		cost += int64(demand) * int64(costOf(s.packed[s.first[u]+uint32(s.choice[u])]))
		if s.problem.Incumbent != nil && s.problem.Incumbent[u] != pop {
			r.Moved += int64(demand)
		}
	}
	r.Mean = s.average(func(u int) uint16 { return s.candidates(u)[s.choice[u]].RTT })
	const bias = costBias << subBits
	r.Cost = ratio(float64(cost)-float64(bias)*float64(all), all) / perMs
	bound := float64(s.scan(s.prices, 1, 0).value)
	for pop, price := range s.prices {
		r.Prices[pop] = float64(price) / perMs
		if s.limited(pop) {
			bound -= float64(float64(price) * float64(s.limit[pop]))
		}
	}
	r.Bound = ratio(bound-float64(bias)*float64(all), all) / perMs
	return r
}
