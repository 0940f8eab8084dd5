package mapper

import (
	"fmt"
	"math"
	"slices"

	"edged/edge"
	"edged/mapper/assign"
	"edged/maps"
)

// perStep is a step of a map's times in microseconds, in which prices count.
const perStep = 500

// shares says what each PoP is to have at most and how that is kept.
type shares struct {
	limited bool         // demand is in requests/s, and some PoP has a capacity
	limits  []limit      // by PoP
	prices  []uint32     // by PoP, microseconds
	given   []leafChoice // by served leaf, when limited
	result  *assign.Result
	scale   float64 // of the solver's demand, in one request/s
	least   int     // what a PoP must gain to take the place of the one in force, in microseconds
}

// limit is what a PoP may have, in requests/s; all are 0 where there is no
// capacity. The soft limit, 70 % of it, leaves room for what was not expected; the
// hard one, 95 %, is what it can do.
type limit struct {
	capacity   float64
	soft, hard float64
	held       float64 // the soft limit, or more in a shortage
}

// leafChoice is the place of a PoP among a leaf's hops.
type leafChoice uint8

// newShares returns shares without prices. Nobody leaves the PoP in force for less
// than the tolerance: else clients who were merged with others would leave again.
func newShares(pops []edge.PoP, unit DemandUnit, tolerance float64) *shares {
	s := &shares{
		limits: make([]limit, len(pops)), prices: make([]uint32, len(pops)),
		least: max(leastMargin, int(1000*tolerance)),
	}
	if unit != Requests {
		return s
	}
	for i, p := range pops {
		if p.Capacity > 0 {
			c := float64(p.Capacity)
			s.limits[i] = limit{capacity: c, soft: c * 70 / 100, hard: c * 95 / 100, held: c * 70 / 100}
			s.limited = true
		}
	}
	return s
}

// enoughGap is how far above the bound the cost may be that is reached from
// prices in force, before it is tried without them.
const enoughGap = 0.005

// solve gives all leaves with demand a PoP within capacity. The prices of the map
// in force are where it starts.
func (s *shares) solve(outlooks []outlook, spaces []*space, inForce *maps.Map, pops []edge.PoP) error {
	p := s.problem(outlooks, spaces)
	p.Prices = pricesOf(inForce, pops)
	result, err := assign.Solve(p)
	if err == nil && p.Prices != nil && result.Cost-result.Bound > enoughGap*math.Abs(result.Bound) {
		p.Prices = nil
		result, err = assign.Solve(p)
	}
	if err != nil {
		return fmt.Errorf("cannot share out the demand: %w", err)
	}
	s.result = result
	for pop := range s.prices {
		s.prices[pop] = uint32(math.Round(1000 * result.Prices[pop]))
		if limit := p.Limits[pop]; limit != (assign.Limit{}) && result.Limit[pop] > limit.Soft {
			s.limits[pop].held = float64(result.Limit[pop]) / s.scale
		}
	}
	u := 0
	for _, space := range spaces {
		for _, v := range space.served {
			hops := outlooks[space.leaves[v.leaf].outlook].hops
			if len(hops) == 0 {
				s.given = append(s.given, 0)
				continue
			}
			at := slices.IndexFunc(hops, func(h maps.Hop) bool { return h.PoP == result.PoP[u] })
			s.given = append(s.given, leafChoice(at))
			u++
		}
	}
	return nil
}

// spare is what limits are raised by for rounding, as a part of them.
const spare = 5e-7

// problem writes the leaves with demand as units. Those without any candidate
// are left out.
func (s *shares) problem(outlooks []outlook, spaces []*space) *assign.Problem {
	p := &assign.Problem{First: []uint32{0}, Limits: make([]assign.Limit, len(s.limits))}
	total, largest := 0.0, 0.0
	for _, space := range spaces {
		for _, v := range space.served {
			total += v.demand
			largest = max(largest, v.demand)
		}
	}
	// As fine as the sums allow: small demands are not to vanish. What rounding takes
	// from one, the next gets, so that equal demands are not all rounded one way; and
	// limits have a little to spare, so that what fits exactly does when it is rounded.
	s.scale = min((1<<35)/total, (1<<32-1)/largest)
	rest := 0.0
	for _, space := range spaces {
		for _, v := range space.served {
			o := &outlooks[space.leaves[v.leaf].outlook]
			if len(o.hops) == 0 {
				continue
			}
			exact := float64(v.demand*s.scale) + rest
			whole := max(0, min(math.Round(exact), math.MaxUint32))
			rest = exact - whole
			p.Demand = append(p.Demand, uint32(whole))
			for _, h := range o.hops[:max(1, o.timed)] {
				p.Candidates = append(p.Candidates, assign.Candidate{PoP: h.PoP, RTT: uint16(min(5*int(h.RTT), math.MaxUint16))})
			}
			p.First = append(p.First, uint32(len(p.Candidates)))
			p.Incumbent = append(p.Incumbent, v.now)
			p.Margin = append(p.Margin, uint16(min(max(int(o.margin), s.least/100), math.MaxUint16)))
		}
	}
	for pop, l := range s.limits {
		// One that all of the demand fits into limits nothing.
		if soft := l.soft * s.scale; l.capacity > 0 && soft < 1<<35 {
			p.Limits[pop] = assign.Limit{Soft: int64(math.Ceil(soft * (1 + spare))), Hard: int64(math.Ceil(l.hard * s.scale * (1 + spare)))}
		}
	}
	return p
}

// pricesOf returns a map's prices in ms for these PoPs, nil when it has none.
func pricesOf(m *maps.Map, pops []edge.PoP) []float64 {
	if m == nil || m.Prices() == nil {
		return nil
	}
	prices := make([]float64, len(pops))
	for i, p := range pops {
		at := slices.IndexFunc(m.PoPs(), func(q edge.PoP) bool { return p.Name == q.Name })
		if at >= 0 {
			prices[i] = min(float64(m.Prices()[at].Price)/1000, assign.MaxPrice)
		}
	}
	return prices
}

// load returns what the solver gave a PoP, in requests/s.
func (s *shares) load(pop int) float64 { return float64(s.result.Load[pop]) / s.scale }

// cost is what a hop counts as at the prices, in microseconds.
func (s *shares) cost(h maps.Hop) int { return int(h.RTT)*perStep + int(s.prices[h.PoP]) }

// choose returns the hop that clients go to at the prices: the one with the least
// cost, unless the one in force is hardly worse.
func (s *shares) choose(o *outlook, now uint16) int {
	best, kept := 0, -1
	for i, h := range o.hops[:o.timed] {
		if s.cost(h) < s.cost(o.hops[best]) {
			best = i
		}
		if h.PoP == now {
			kept = i
		}
	}
	if kept >= 0 {
		margin := max(100*int(o.margin), s.least, int(o.hops[kept].RTT)*perStep/10)
		if s.cost(o.hops[kept])-s.cost(o.hops[best]) <= margin {
			return kept
		}
	}
	return best
}

// leastMargin is what another PoP must gain at least, in microseconds.
const leastMargin = 3000
