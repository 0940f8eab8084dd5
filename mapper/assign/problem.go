package assign

import (
	"fmt"
	"math"
)

// Candidate is a PoP that may serve a unit.
type Candidate struct {
	PoP uint16 // index into Problem.Limits
	RTT uint16 // round-trip time in 0.1 ms
}

// None is the incumbent of a unit that has none.
const None = ^uint16(0)

// Limit bounds what a PoP may be given, in the unit of demand. The zero value
// is no limit.
type Limit struct {
	Soft int64 // what the PoP should be held to
	Hard int64 // what it can do at most; at least Soft
}

// Unlimited is the limit that a PoP without one is reported with.
const Unlimited = int64(math.MaxInt64)

// Problem is what Solve is given. The candidates of unit u are
// Candidates[First[u]:First[u+1]]: one or more, each PoP once.
type Problem struct {
	Demand     []uint32 // by unit; in any one unit, for example thousandths of a request per second
	First      []uint32 // one entry more than units
	Candidates []Candidate
	Incumbent  []uint16 // by unit, the PoP that serves it now, or None; nil: no unit has one
	Margin     []uint16 // by unit, in 0.1 ms, what a change must gain at least, if that is more than usual; nil: none
	Limits     []Limit  // by PoP
	// Prices, by PoP in milliseconds, are those of an earlier result to start
	// from: fewer steps are taken then. nil: none.
	Prices []float64
}

const (
	maxPoPs = 1 << popBits
	// maxDemand keeps the sum of demand times cost below 2^63.
	maxDemand = 1 << 36
)

// check errs on the first thing that makes no sense.
func (p *Problem) check() error {
	units := len(p.Demand)
	switch {
	case len(p.Limits) == 0 || len(p.Limits) > maxPoPs:
		return fmt.Errorf("problem has %d pops, want 1 to %d", len(p.Limits), maxPoPs)
	case len(p.First) != units+1 || p.First[0] != 0 || int(p.First[units]) != len(p.Candidates):
		return fmt.Errorf("problem has %d units, but its %d bounds do not span its %d candidates", units, len(p.First), len(p.Candidates))
	case p.Incumbent != nil && len(p.Incumbent) != units:
		return fmt.Errorf("problem has %d units and %d incumbents, want one each", units, len(p.Incumbent))
	case p.Margin != nil && len(p.Margin) != units:
		return fmt.Errorf("problem has %d units and %d margins, want one each", units, len(p.Margin))
	case p.Prices != nil && len(p.Prices) != len(p.Limits):
		return fmt.Errorf("problem has %d pops and %d prices, want one each", len(p.Limits), len(p.Prices))
	}
	for pop, l := range p.Limits {
		if l != (Limit{}) && (l.Soft <= 0 || l.Hard < l.Soft || l.Hard > maxDemand) {
			return fmt.Errorf("pop %d has limits %d and %d, want 0 < soft <= hard <= 2^36", pop, l.Soft, l.Hard)
		}
	}
	for pop, price := range p.Prices {
		if !(price >= 0 && price <= MaxPrice) {
			return fmt.Errorf("pop %d has price %v, want 0 to %d ms", pop, price, MaxPrice)
		}
	}
	total := int64(0)
	for u := range units {
		first, end := p.First[u], p.First[u+1]
		if n := int64(end) - int64(first); n < 1 || n > maxCandidates {
			return fmt.Errorf("unit %d has %d candidates, want 1 to %d", u, n, maxCandidates)
		}
		for i := first; i < end; i++ {
			if int(p.Candidates[i].PoP) >= len(p.Limits) {
				return fmt.Errorf("unit %d has candidate pop %d of %d pops", u, p.Candidates[i].PoP, len(p.Limits))
			}
		}
		total += int64(p.Demand[u])
	}
	if total > maxDemand {
		return fmt.Errorf("demand adds up to %d, want at most 2^36; count it in a larger unit", total)
	}
	return nil
}

// Result is what Solve found.
type Result struct {
	PoP    []uint16  // by unit
	Prices []float64 // by PoP, milliseconds
	Load   []int64   // by PoP
	Limit  []int64   // by PoP, what Solve held it to: the soft limit, or more in a shortage; or Unlimited

	Nearest float64 // mean round-trip time in ms, weighted by demand, if limits were no matter
	Mean    float64 // the same as assigned
	// Cost is Mean less the discounts of units that stay with their incumbent,
	// and Bound is below what any assignment within Limit costs in that way.
	Cost, Bound float64

	Moved     int64 // demand that does not stay with its incumbent
	Shortages []Shortage
}

// Overload returns the demand above the limits that Solve held PoPs to. It is 0
// unless single units are too large to fit anywhere.
func (r *Result) Overload() (sum int64) {
	for pop, load := range r.Load {
		sum += max(0, load-r.Limit[pop])
	}
	return sum
}

// Shortage is a set of PoPs whose soft limits are less than the demand of the
// units that have no other candidates.
type Shortage struct {
	PoPs   []uint16 // ascending
	Demand int64    // of those units
	Soft   int64    // the sum of the soft limits
	Hard   int64    // the sum of the hard limits
}

// Short returns the demand that is more than the hard limits together, 0 when
// there is none.
func (s *Shortage) Short() int64 { return max(0, s.Demand-s.Hard) }
