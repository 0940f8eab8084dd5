package shed

import "edged/maps"

// Curve says for one PoP which share of its demand leaves at a price. The zero
// value is a PoP that nobody leaves.
type Curve struct {
	// below[k] is the share of the demand that loses less than k steps by going
	// to its second choice. nil: there is none.
	below []float64
}

// Curves are made from rankings and their demand.
type Curves struct {
	demand [][]float64 // by PoP and by steps lost
	all    []float64   // by PoP, with the demand that loses more, or has no other choice
}

const buckets = int(MaxPrice/step) + 1

// NewCurves returns curves of so many PoPs, without demand.
func NewCurves(pops int) *Curves {
	return &Curves{demand: make([][]float64, pops), all: make([]float64, pops)}
}

// Add notes the demand of clients that have a ranking. Prices are those that the
// map was made with, by PoP; nil: none.
func (c *Curves) Add(hops []maps.Hop, prices []Price, demand float64) {
	if len(hops) == 0 || int(hops[0].PoP) >= len(c.all) {
		return
	}
	cost := func(hop maps.Hop) int {
		cost := int(hop.RTT)
		if int(hop.PoP) < len(prices) {
			cost += int(prices[hop.PoP] / step)
		}
		return cost
	}
	first := hops[0].PoP
	c.all[first] += demand
	lost := buckets
	for _, hop := range hops[1:] {
		if hops[0].RTT == 0 || hop.RTT == 0 {
			break
		}
		lost = min(lost, max(0, cost(hop)-cost(hops[0])))
	}
	if lost >= buckets {
		return
	}
	if c.demand[first] == nil {
		c.demand[first] = make([]float64, buckets)
	}
	c.demand[first][lost] += demand
}

// Curve returns the curve of a PoP.
func (c *Curves) Curve(pop int) Curve {
	if c.demand[pop] == nil || c.all[pop] <= 0 {
		return Curve{}
	}
	below := make([]float64, buckets+1)
	for k, demand := range c.demand[pop] {
		below[k+1] = below[k] + demand/c.all[pop]
	}
	return Curve{below}
}

// Left returns the share of demand that leaves at a price above the map's, 0 to
// 1.
func (c Curve) Left(price Price) float64 {
	if c.below == nil {
		return 0
	}
	k := int(price / step)
	part := float64(price%step) / float64(step)
	return c.below[k] + part*(c.below[k+1]-c.below[k])
}

// priceFor returns the highest price at which no larger share leaves.
func (c Curve) priceFor(share float64) Price {
	low, high := Price(0), MaxPrice // Left(low) <= share, if share >= 0
	for low < high {
		middle := (low + high + 1) / 2
		if c.Left(middle) <= share {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low
}

// last returns the lowest price at which all have left who ever do.
func (c Curve) last() Price {
	for k := len(c.below) - 1; k > 0; k-- {
		if c.below[k] > c.below[k-1] {
			return Price(k) * step
		}
	}
	return 0
}

// Fill writes the demand into what a map says of its PoPs, from which CurveOf
// makes the curves again.
func (c *Curves) Fill(prices []maps.Pricing) {
	for pop := range prices {
		p := &prices[pop]
		p.Demand, p.Leaving = c.all[pop], nil
		for steps, demand := range c.demand[pop] {
			if demand > 0 {
				p.Leaving = append(p.Leaving, maps.Leaving{Steps: uint32(steps), Demand: demand})
			}
		}
	}
}

// CurveOf returns the curve of a PoP by what a map says.
func CurveOf(p maps.Pricing) Curve {
	c := Curves{demand: make([][]float64, 1), all: []float64{p.Demand}}
	for _, l := range p.Leaving {
		if int(l.Steps) >= buckets {
			break
		}
		if c.demand[0] == nil {
			c.demand[0] = make([]float64, buckets)
		}
		c.demand[0][l.Steps] = l.Demand
	}
	return c.Curve(0)
}
