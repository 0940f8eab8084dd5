package main

import (
	"math"
	"slices"

	"edged/edge"
)

// compared is a score beside those of simpler ways to choose.
type compared struct {
	score
	Geo     score `json:"geo"`     // the nearest PoP
	Country score `json:"country"` // the PoP that is best on average for the others in the country
	Oracle  score `json:"oracle"`
}

// subject is a client that must choose: what each PoP that it may choose takes.
type subject struct {
	lat, lon float64
	country  string
	rtt      map[uint16]float64 // ms
}

func (s subject) best() float64 {
	best := math.Inf(1)
	for _, v := range s.rtt {
		best = min(best, v)
	}
	return best
}

// chose is the outcome of one PoP.
func (s subject) chose(pop uint16) choice { return s.spread([]uint16{pop}) }

// spread is the mean outcome of several PoPs between which nothing decides.
func (s subject) spread(pops []uint16) (c choice) {
	best := s.best()
	for _, pop := range pops {
		c.regret += (s.rtt[pop] - best) / float64(len(pops))
		if s.rtt[pop] == best {
			c.exact += 1 / float64(len(pops))
		}
	}
	return c
}

// nearest returns the PoPs that are nearest: more than one where they are in one
// town.
func (s subject) nearest(pops []edge.PoP) (list []uint16) {
	const town = 1 // km
	km := func(pop uint16) float64 { return edge.DistanceKm(s.lat, s.lon, pops[pop].Lat, pops[pop].Lon) }
	least := math.Inf(1)
	for pop := range s.rtt {
		least = min(least, km(pop))
	}
	for pop := range s.rtt {
		if km(pop) <= least+town {
			list = append(list, pop)
		}
	}
	slices.Sort(list)
	return list
}

// byCountry returns what the country's other clients would choose for the i-th:
// the PoP with the least mean time among those that the client may choose, or
// the nearest where no other one measured any.
func byCountry(all []subject, i int, pops []edge.PoP) []uint16 {
	s := all[i]
	best, list := math.Inf(1), []uint16(nil)
	for pop := range uint16(len(pops)) {
		if _, ok := s.rtt[pop]; !ok {
			continue
		}
		sum, n := 0.0, 0.0
		for j, other := range all {
			if v, ok := other.rtt[pop]; ok && j != i && other.country == s.country {
				sum += v
				n++
			}
		}
		if n > 0 && sum/n < best {
			best, list = sum/n, []uint16{pop}
		}
	}
	if list == nil {
		return s.nearest(pops)
	}
	return list
}

// comparison gathers the outcomes of one check.
type comparison struct {
	o                     options
	mine, geo, cc, oracle []choice
}

// add puts down the choice of the i-th subject, if its side is scored.
func (c *comparison) add(side, i int, all []subject, pops []edge.PoP, mine choice) {
	if !c.o.scores(side) {
		return
	}
	c.mine = append(c.mine, mine)
	c.geo = append(c.geo, all[i].spread(all[i].nearest(pops)))
	c.cc = append(c.cc, all[i].spread(byCountry(all, i, pops)))
	c.oracle = append(c.oracle, choice{exact: 1})
}

func (c *comparison) result() compared {
	return compared{summarize(c.mine), summarize(c.geo), summarize(c.cc), summarize(c.oracle)}
}
