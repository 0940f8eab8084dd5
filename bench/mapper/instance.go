package main

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"edged/edge"
	"edged/mapper/assign"
)

// The instance to assign: units in cities whose sizes follow Zipf's law,
// log-normal demand, times by distance with noise of each unit's own.
const (
	cities     = 2000
	candidates = 10
	headroom   = 1.3 // all soft limits together, over all demand
)

// newInstance draws a problem. The capacity of PoPs is even, the demand is not:
// most of it is near few of them.
func newInstance(units, pops int) *assign.Problem {
	rng := rand.New(rand.NewPCG(5, uint64(units)))
	anywhere := func() point {
		return point{math.Asin(rng.Float64()*1.4-0.5) * 180 / math.Pi, rng.Float64()*360 - 180}
	}
	sites := make([]point, pops)
	for i := range sites {
		sites[i] = anywhere()
	}
	type city struct {
		near  []assign.Candidate
		until float64 // cumulative weight
	}
	list := make([]city, cities)
	sum := 0.0
	for i := range list {
		sum += math.Pow(float64(i+1), -0.5)
		at := anywhere()
		for pop, site := range sites {
			ms := 2 + 1.66*edge.DistanceKm(at.lat, at.lon, site.lat, site.lon)/100*math.Exp(0.2*rng.NormFloat64())
			list[i].near = append(list[i].near, assign.Candidate{PoP: uint16(pop), RTT: uint16(ms * 10)})
		}
		slices.SortStableFunc(list[i].near, func(a, b assign.Candidate) int { return cmp.Compare(a.RTT, b.RTT) })
		list[i].near, list[i].until = list[i].near[:min(candidates, pops)], sum
	}
	p := &assign.Problem{First: []uint32{0}, Limits: make([]assign.Limit, pops)}
	total := int64(0)
	for range units {
		r := rng.Float64() * sum
		at, _ := slices.BinarySearchFunc(list, r, func(c city, r float64) int { return cmp.Compare(c.until, r) })
		demand := uint32(min(1e9, 1000*math.Exp(1.5*rng.NormFloat64())))
		total += int64(demand)
		p.Demand = append(p.Demand, demand)
		for _, c := range list[at].near {
			detour := 2.5 * math.Exp(1.1*rng.NormFloat64())
			c.RTT = uint16(min(60000, float64(c.RTT)+10*detour))
			p.Candidates = append(p.Candidates, c)
		}
		slices.SortStableFunc(p.Candidates[len(p.Candidates)-len(list[at].near):], func(a, b assign.Candidate) int { return cmp.Compare(a.RTT, b.RTT) })
		p.First = append(p.First, uint32(len(p.Candidates)))
	}
	for pop := range p.Limits {
		soft := int64(float64(total) * headroom / float64(pops))
		p.Limits[pop] = assign.Limit{Soft: soft, Hard: soft * 95 / 70}
	}
	return p
}

// drift returns the problem some time later: every demand changed by up to a
// fifth, everybody where the result put them, the prices known.
func drift(p *assign.Problem, r *assign.Result) *assign.Problem {
	rng := rand.New(rand.NewPCG(6, 1))
	later := *p
	later.Demand = make([]uint32, len(p.Demand))
	for u, d := range p.Demand {
		later.Demand[u] = uint32(float64(d) * (0.8 + 0.4*rng.Float64()))
	}
	later.Incumbent, later.Prices = r.PoP, r.Prices
	return &later
}
