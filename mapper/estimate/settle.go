package estimate

import "math"

// A change of a unit's first choice pays when it gains more than this.
const (
	leastGain  = 3.0 // ms
	leastShare = 0.1 // of the round trip now
	// sure is how many standard errors a gain must be for it to be one with a
	// probability of 0.9.
	sure = 1.2816
)

// Margin returns what another PoP must gain over the one in force, in ms, to take
// its place: more than 3 ms, more than a tenth, and so much that it is a gain in
// nine cases of ten. Small gains are mostly noise, and every change costs caches.
func Margin(now, best Estimate) float64 {
	return max(leastGain, leastShare*now.RTT, sure*math.Hypot(now.Error, best.Error))
}

// standardError returns that of a cell's round trip after the model's prior, in
// ms; of a cell without samples, that of the prior alone. The spread of few
// samples says little, so the usual one counts as one sample more. What makes a
// standard error of mean distances from a median is so for normal errors.
func (m *Model) standardError(c Cell) float64 {
	if m.own == 0 {
		return 0
	}
	n := float64(c.Samples)
	spread := (float64(c.Spread*n) + m.spread) / (n + 1)
	return math.Pi / 2 * spread / math.Sqrt(c.Weight+m.own)
}
