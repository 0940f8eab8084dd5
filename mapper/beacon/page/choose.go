package page

import (
	"math"
	"math/rand/v2"
)

// Candidate is a PoP that a client may measure.
type Candidate struct {
	PoP     string
	RTT     float64 // ms, as expected; 0: not known
	Samples int     // of it that clients of the block have measured, at least; 0: the time is a guess
}

// The parameters of Choose. How wrong an expectation is follows from how clients
// and maps differ on public data (docs/decisions/0032-choice-of-pops.md).
const (
	near     = 10   // of the closest, those that are drawn by expected gain
	explored = 0.25 // how often the last place goes to any PoP
	leastEI  = 0.05 // ms: what measuring a PoP is worth at least
	farther  = 1.2  // by how much a PoP without a time is farther than the one before
	unknown  = 100  // ms: the first, when its time is not known either
)

// deviation is the standard deviation of an expectation, ms. A sample of the
// block's own is worth as much as a guess, and beside what they say together
// there is what no number of samples takes away: clients of a block differ, and
// paths change.
func deviation(rtt float64, samples int) float64 {
	guess := 10 + 0.25*rtt
	return math.Hypot(1+0.05*rtt, guess/math.Sqrt(1+float64(samples)))
}

// Choose draws the n PoPs that a session measures from candidates that are
// ordered by closeness: the one in force, an index of list, first, and then
// others, each by how many milliseconds it may gain over the one in force. A
// quarter of the sessions give their last place to any PoP at all, so that what
// is expected of none is measured too. The same seed gives the same choice.
func Choose(list []Candidate, inForce, n int, seed uint64) []string {
	if len(list) == 0 || n <= 0 {
		return nil
	}
	rng := rand.New(rand.NewPCG(seed, 0x626561636f6e))
	gains := gainsOver(list, inForce)
	chosen := append(make([]string, 0, min(n, len(list))), list[inForce].PoP)
	gains[inForce] = 0
	for len(chosen) < min(n, len(list)) {
		pool, last := near, len(chosen) == n-1
		if last && rng.Float64() < explored {
			pool = len(list)
			for i, g := range gains {
				gains[i] = min(g, leastEI) // all alike
			}
		}
		i := draw(gains[:min(pool, len(list))], rng)
		if i < 0 { // all the near ones are chosen
			i = draw(gains, rng)
		}
		chosen = append(chosen, list[i].PoP)
		gains[i] = 0
	}
	return chosen
}

// gainsOver returns what measuring each candidate may gain, ms: the expected
// improvement over the one in force when both expectations are normal, and
// leastEI at least.
func gainsOver(list []Candidate, inForce int) []float64 {
	rtts := make([]float64, len(list))
	before := unknown / farther
	for i, c := range list {
		if rtts[i] = c.RTT; c.RTT <= 0 {
			rtts[i] = before * farther
		}
		before = rtts[i]
	}
	width := func(i int) float64 {
		if list[i].RTT <= 0 {
			return deviation(rtts[i], 0)
		}
		return deviation(rtts[i], list[i].Samples)
	}
	gains := make([]float64, len(list))
	own := width(inForce)
	for i := range list {
		both := math.Hypot(own, width(i))
		better := rtts[inForce] - rtts[i]
		z := better / both
		density := math.Exp(-z*z/2) / math.Sqrt(2*math.Pi)
		share := math.Erfc(-z/math.Sqrt2) / 2
		gains[i] = max(leastEI, better*share+both*density)
	}
	return gains
}

// draw returns an index by weight, and -1 when all weights are 0.
func draw(weights []float64, rng *rand.Rand) int {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	at := rng.Float64() * sum
	last := -1
	for i, w := range weights {
		if w == 0 {
			continue
		}
		if last = i; at < w {
			return i
		}
		at -= w
	}
	return last
}
