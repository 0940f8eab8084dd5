package bgp

import (
	"math"
	"time"
)

// The figures of damping: RFC 2439 shape, in the spirit of RFC 7196.
const (
	flapPenalty   = 1000
	suppressFrom  = 3000
	reuseBelow    = 1500
	halfLife      = 5 * time.Minute
	suppressAtMax = 30 * time.Minute // from the last flap
)

// maxPenalty is what decays to reuseBelow in suppressAtMax.
var maxPenalty = reuseBelow * math.Exp2(float64(suppressAtMax)/float64(halfLife))

// Damping is the penalty for a VIP that goes up and down. The zero value has none.
type Damping struct {
	Penalty    float64       `json:"penalty"`    // at At
	Suppressed bool          `json:"suppressed"` // from suppressFrom until below reuseBelow
	At         time.Duration `json:"-"`          // on the node's clock; before its start when restored
}

// Flap adds the penalty for one way from up to down.
func (d Damping) Flap(now time.Duration) Damping {
	d = d.Decayed(now)
	d.Penalty = min(d.Penalty+flapPenalty, maxPenalty)
	d.Suppressed = d.Suppressed || d.Penalty >= suppressFrom
	return d
}

// Decayed returns the damping as of now.
func (d Damping) Decayed(now time.Duration) Damping {
	if now <= d.At || d.Penalty == 0 {
		return d
	}
	d.Suppressed = d.Suppressed && now < d.reuse()
	d.Penalty *= math.Exp2(-float64(now-d.At) / float64(halfLife))
	d.At = now
	if d.Penalty < 1 && !d.Suppressed {
		d.Penalty = 0
	}
	return d
}

// reuse is when a suppressed VIP may be used again.
func (d Damping) reuse() time.Duration {
	if d.Penalty < reuseBelow {
		return d.At
	}
	// A nanosecond more than the time to reuseBelow, for what rounding takes.
	return d.At + time.Duration(math.Log2(d.Penalty/reuseBelow)*float64(halfLife)) + 1
}
