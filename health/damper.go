package health

import (
	"math"
	"time"

	"edged/edge"
)

// How flapping is judged, in falls. Each fall adds 1 to a target's penalty,
// which halves every penaltyHalfLife.
const (
	penaltyHalfLife = 5 * time.Minute
	penaltyLimit    = 3.0  // above it a target that is up is degraded,
	penaltyForgiven = 1.5  // until it is below this: one half-life later at least
	penaltyMost     = 12.0 // so that three half-lives without a fall always forgive
)

const reasonFlapping = "flapping: fell too often lately"

// Damper turns the results of one target's probes into a steady verdict, as
// one observer sees it. It falls fast and rises slowly:
//
//   - Up goes down after Check.Fall failures. They add up across successes, and
//     only Check.Rise successes in a row forget them, so that a target that loses
//     30 % of its probes falls, and one that loses a single probe does not.
//   - Down goes up after Check.Rise successes in a row. It is Failing while the
//     last failure was a wrong answer, and Dead while it was silence.
//   - Unknown goes up with the first success, and down as from up.
//   - A target that fell too often lately is Degraded when it is up.
//
// The zero value is of no use: see NewDamper and RestoreDamper. A Damper is a
// plain value, not safe for concurrent use. What is worth keeping of it over a
// restart is what Observation returns.
type Damper struct {
	hint       string // why it is degraded, in the words of the last result that passed; empty: it is not
	fall, rise int
	interval   time.Duration

	verdict  edge.Verdict // OK, Unknown, Failing or Dead; Degraded is derived
	reason   string       // of a verdict that is not OK
	failures int          // since rise successes in a row, while not down
	passes   int          // successes in a row

	skips        int       // skipped results in a row
	skipped      string    // why the last one was
	skippedSince time.Time // by the wall clock, for people

	flapping  bool
	penalty   float64   // in falls, at penaltyAt
	penaltyAt time.Time // zero: before the first result
}

// NewDamper returns the state of a target that was never checked: Unknown.
func NewDamper(c Check) *Damper { return RestoreDamper(c, edge.Unknown, "") }

// RestoreDamper returns a state that keeps an earlier verdict until results
// say otherwise. Degraded is restored with the penalty that made it so; a
// verdict that no observer gives (Drained, Disabled) is taken as Unknown.
func RestoreDamper(c Check, v edge.Verdict, reason string) *Damper {
	d := &Damper{fall: max(1, c.Fall), rise: max(1, c.Rise), interval: c.Interval, verdict: edge.Unknown}
	switch v {
	case edge.OK:
		d.verdict = edge.OK
	case edge.Degraded:
		d.verdict, d.flapping, d.penalty = edge.OK, true, penaltyLimit
	case edge.Unknown, edge.Failing, edge.Dead:
		d.verdict, d.reason = v, reason
	}
	return d
}

// Add takes one result in, found at a time of the node's monotonic clock, and
// reports whether Observation now returns something else. A skipped result
// changes no verdict. It gives the reason of a target that is still Unknown, and
// after Check.Fall of them in a row the reason of any other tells since when its
// verdict is only kept.
func (d *Damper) Add(r Result, now time.Time) (changed bool) {
	oldVerdict, oldReason, oldNext := d.Observation()
	if r.Outcome != Skipped {
		d.skips = 0
	}
	switch r.Outcome {
	case Passed:
		d.decay(now)
		d.pass()
		d.hint = r.Reason
	case Wrong, Silent:
		d.decay(now)
		d.fail(r)
	case Skipped:
		if d.verdict == edge.Unknown {
			d.reason = r.Reason
		}
		if d.skips == 0 {
			d.skippedSince = now
		}
		d.skips, d.skipped = min(d.skips+1, d.fall), r.Reason
	}
	verdict, reason, next := d.Observation()
	return verdict != oldVerdict || reason != oldReason || next != oldNext
}

func (d *Damper) pass() {
	d.passes = min(d.passes+1, d.rise)
	if d.passes == d.rise {
		d.failures = 0
	}
	if d.verdict == edge.Unknown || d.passes == d.rise {
		d.verdict, d.reason = edge.OK, ""
	}
}

func (d *Damper) fail(r Result) {
	d.passes = 0
	down := isDown(d.verdict)
	if !down {
		d.failures++
		if d.failures < d.fall {
			return
		}
		if d.verdict == edge.OK {
			d.penalty = min(d.penalty+1, penaltyMost)
		}
		d.failures = 0
		d.judgeFlapping()
	}
	d.verdict, d.reason = edge.Dead, r.Reason
	if r.Outcome == Wrong {
		d.verdict = edge.Failing
	}
}

// decay brings the penalty to a time. A clock that went back counts as one that
// stood still.
func (d *Damper) decay(now time.Time) {
	if since := now.Sub(d.penaltyAt); since > 0 && !d.penaltyAt.IsZero() {
		d.penalty *= math.Exp2(-float64(since) / float64(penaltyHalfLife))
	}
	d.penaltyAt = now
	d.judgeFlapping()
}

func (d *Damper) judgeFlapping() {
	switch {
	case d.penalty > penaltyLimit:
		d.flapping = true
	case d.penalty < penaltyForgiven:
		d.flapping = false
	}
}

// Observation returns the verdict, its reason, and the least time until it may
// turn, in whole seconds: as many more results as that takes, an interval
// each. Failing and Dead are one in that, as they are to whoever is answered.
func (d *Damper) Observation() (v edge.Verdict, reason string, next time.Duration) {
	v, reason = d.verdict, d.reason
	results := d.fall - d.failures
	switch {
	case d.verdict == edge.Unknown:
		results = 1
	case isDown(d.verdict):
		results = d.rise - d.passes
	case d.flapping:
		v, reason = edge.Degraded, reasonFlapping
		results = min(results, d.resultsUntilForgiven())
	case d.hint != "":
		v, reason, results = edge.Degraded, d.hint, 1
	}
	if d.skips == d.fall && d.verdict != edge.Unknown {
		reason = "kept since " + d.skippedSince.UTC().Format("2006-01-02T15:04Z") + ": " + d.skipped
	}
	return v, reason, (time.Duration(results) * d.interval).Truncate(time.Second)
}

func (d *Damper) resultsUntilForgiven() int {
	left := time.Duration(math.Log2(d.penalty/penaltyForgiven) * float64(penaltyHalfLife))
	if d.interval <= 0 || left < d.interval {
		return 1
	}
	return int((left + d.interval - 1) / d.interval)
}

// isDown and isUp are the two sides of a vote; Unknown is on neither.
func isDown(v edge.Verdict) bool { return v == edge.Failing || v == edge.Dead }

func isUp(v edge.Verdict) bool { return v == edge.OK || v == edge.Degraded }
