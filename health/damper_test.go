package health

import (
	"math/rand/v2"
	"testing"
	"time"

	"edged/edge"
)

var (
	testCheck = Check{Kind: HTTP, Interval: 2 * time.Second, Fall: 3, Rise: 5}
	epoch     = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

	passed  = Result{Outcome: Passed}
	wrong   = Result{Outcome: Wrong, Reason: "status 503, want 200"}
	silent  = Result{Outcome: Silent, Reason: "no answer within 1s"}
	skipped = Result{Outcome: Skipped, Reason: "icmp: not permitted"}
)

// run adds results two seconds apart and returns the time of the next.
func run(d *Damper, now time.Time, results ...Result) time.Time {
	for _, r := range results {
		d.Add(r, now)
		now = now.Add(2 * time.Second)
	}
	return now
}

func TestDamper(t *testing.T) {
	results := map[byte]Result{'.': passed, 'w': wrong, 's': silent, '-': skipped}
	for _, tc := range []struct {
		what    string
		from    edge.Verdict
		reason  string
		results string
		want    edge.Verdict
		because string
		next    time.Duration
	}{
		{"nothing yet", edge.Unknown, "", "", edge.Unknown, "", 2 * time.Second},
		{"the first pass decides", edge.Unknown, "", ".", edge.OK, "", 6 * time.Second},
		{"the first failure does not", edge.Unknown, "", "s", edge.Unknown, "", 2 * time.Second},
		{"a pass after failures decides too", edge.Unknown, "", "ss.", edge.OK, "", 2 * time.Second},
		{"unknown falls like up", edge.Unknown, "", "sss", edge.Dead, silent.Reason, 10 * time.Second},
		{"unknown says what hinders it", edge.Unknown, "", "--", edge.Unknown, skipped.Reason, 2 * time.Second},

		{"one loss", edge.OK, "", "s", edge.OK, "", 4 * time.Second},
		{"forgotten after rise passes", edge.OK, "", "ss.....", edge.OK, "", 6 * time.Second},
		{"not after one fewer", edge.OK, "", "ss....", edge.OK, "", 2 * time.Second},
		{"failures add up across passes", edge.OK, "", "s..s..w", edge.Failing, wrong.Reason, 10 * time.Second},
		{"a loss in every six", edge.OK, "", "s.....s.....s.....s.....s.....", edge.OK, "", 6 * time.Second},
		{"a loss in every five", edge.OK, "", "s....s....s", edge.Dead, silent.Reason, 10 * time.Second},
		{"skipped in between", edge.OK, "", "s-s---s", edge.Dead, silent.Reason, 10 * time.Second},
		{"skipped fewer times than it takes to fall", edge.OK, "", "--", edge.OK, "", 6 * time.Second},
		{"skipped for ever", edge.OK, "", "..----------", edge.OK, "kept since 2026-01-01T00:00Z: icmp: not permitted", 6 * time.Second},
		{"no longer skipped", edge.OK, "", "---.", edge.OK, "", 6 * time.Second},
		{"no longer skipped, and failing", edge.Dead, "gone", "---w", edge.Failing, wrong.Reason, 10 * time.Second},

		{"down: the last failure names it", edge.Dead, "gone", "w", edge.Failing, wrong.Reason, 10 * time.Second},
		{"down: rising", edge.Dead, "gone", "....", edge.Dead, "gone", 2 * time.Second},
		{"down: up", edge.Dead, "gone", ".....", edge.OK, "", 6 * time.Second},
		{"down: begins again", edge.Dead, "gone", "....s....", edge.Dead, silent.Reason, 2 * time.Second},
		{"up again with a clean slate", edge.Failing, "bad", ".....ss", edge.OK, "", 2 * time.Second},

		{"restored ok", edge.OK, "", "", edge.OK, "", 6 * time.Second},
		{"restored failing", edge.Failing, "bad", "", edge.Failing, "bad", 10 * time.Second},
		{"restored dead, and skipped", edge.Dead, "gone", "---", edge.Dead, "kept since 2026-01-01T00:00Z: icmp: not permitted", 10 * time.Second},
		{"restored degraded", edge.Degraded, "x", ".", edge.Degraded, reasonFlapping, 6 * time.Second},
		{"restored what no check says", edge.Drained, "by hand", "", edge.Unknown, "", 2 * time.Second},
	} {
		d := RestoreDamper(testCheck, tc.from, tc.reason)
		now := epoch
		for i := range len(tc.results) {
			v0, r0, n0 := d.Observation()
			changed := d.Add(results[tc.results[i]], now)
			v, r, n := d.Observation()
			if changed != (v != v0 || r != r0 || n != n0) {
				t.Errorf("%s: result %d: changed is %t, from %v %q %v to %v %q %v", tc.what, i, changed, v0, r0, n0, v, r, n)
			}
			now = now.Add(2 * time.Second)
		}
		if v, r, n := d.Observation(); v != tc.want || r != tc.because || n != tc.next {
			t.Errorf("%s: %v %q, next %v; want %v %q, next %v", tc.what, v, r, n, tc.want, tc.because, tc.next)
		}
	}
}

// TestDamperNextInSeconds has intervals that are no whole seconds.
func TestDamperNextInSeconds(t *testing.T) {
	d := NewDamper(Check{Interval: 700 * time.Millisecond, Fall: 3, Rise: 2})
	for _, want := range []time.Duration{0, 2 * time.Second} { // 0.7 s, 2.1 s
		if _, _, next := d.Observation(); next != want {
			t.Errorf("next %v, want %v", next, want)
		}
		d.Add(passed, epoch)
	}
}

// TestDamperLoss holds that a target that loses three probes in ten falls, for
// each of many random orders, within 100 probes.
func TestDamperLoss(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for order := range 1000 {
		d := RestoreDamper(testCheck, edge.OK, "")
		fell := false
		for i := 0; i < 100 && !fell; i++ {
			r := passed
			if rng.Float64() < 0.3 {
				r = silent
			}
			d.Add(r, epoch.Add(time.Duration(i)*2*time.Second))
			v, _, _ := d.Observation()
			fell = v == edge.Dead
		}
		if !fell {
			t.Fatalf("order %d: 30 %% loss did not trip in 100 probes", order)
		}
	}
}

// TestDamperSingleLoss holds that single losses never trip, so long as rise
// passes lie between them.
func TestDamperSingleLoss(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	d := RestoreDamper(testCheck, edge.OK, "")
	now := epoch
	for range 10_000 {
		now = run(d, now, silent)
		for range testCheck.Rise + rng.IntN(5) {
			now = run(d, now, passed)
		}
		if v, _, _ := d.Observation(); v != edge.OK {
			t.Fatalf("at %v: %v after a single loss", now.Sub(epoch), v)
		}
	}
}

func TestDamperFlapping(t *testing.T) {
	d := RestoreDamper(testCheck, edge.OK, "")
	fallAndRise := []Result{silent, silent, silent, passed, passed, passed, passed, passed}
	now := epoch
	want := []edge.Verdict{edge.OK, edge.OK, edge.OK, edge.Degraded} // penalties of just below 1, 2, 3 and 4
	for i, v := range want {
		now = run(d, now, fallAndRise...)
		if got, _, _ := d.Observation(); got != v {
			t.Fatalf("after fall %d: %v, want %v", i+1, got, v)
		}
	}
	// Falls 16 s apart leave 1 + 2^(-16/300) + 2^(-32/300) + 2^(-48/300) = 3.788
	// at the last, and log2(3.788/1.5) = 1.336 half-lives or 401 s later 1.5. The
	// last pass was 10 s after the last fall.
	now = now.Add(-2 * time.Second)
	for after, want := range map[time.Duration]edge.Verdict{388 * time.Second: edge.Degraded, 393 * time.Second: edge.OK} {
		again := *d
		again.Add(passed, now.Add(after))
		if got, _, _ := again.Observation(); got != want {
			t.Errorf("%v after the last pass: %v, want %v", after, got, want)
		}
	}
	if _, _, next := d.Observation(); next != 6*time.Second {
		t.Errorf("a degraded target may fall in %v, want 6s", next)
	}
	again := *d
	again.Add(passed, now.Add(388*time.Second))
	if v, _, next := again.Observation(); v != edge.Degraded || next != 4*time.Second {
		t.Errorf("3 s before it is forgiven: %v, next %v, want degraded, 4s", v, next)
	}
	run(d, now, silent, silent, silent)
	if v, _, _ := d.Observation(); v != edge.Dead {
		t.Errorf("a degraded target that fails is %v, want dead", v)
	}
}

// TestDamperForgives holds that even a target that flapped for a day is
// forgiven after three half-lives.
func TestDamperForgives(t *testing.T) {
	d := RestoreDamper(testCheck, edge.OK, "")
	now := epoch
	for now.Sub(epoch) < 24*time.Hour {
		now = run(d, now, silent, silent, silent, passed, passed, passed, passed, passed)
	}
	d.Add(passed, now.Add(3*penaltyHalfLife))
	if v, reason, _ := d.Observation(); v != edge.OK || reason != "" {
		t.Errorf("%v %q, want ok", v, reason)
	}
}

// TestDamperClock has a clock that goes an hour back: nothing breaks, and the
// penalty goes on to halve from there.
func TestDamperClock(t *testing.T) {
	d := RestoreDamper(testCheck, edge.Degraded, "")
	d.Add(passed, epoch)
	d.Add(passed, epoch.Add(-time.Hour))
	if v, _, _ := d.Observation(); v != edge.Degraded {
		t.Errorf("after a step back: %v, want degraded", v)
	}
	d.Add(passed, epoch.Add(-time.Hour+penaltyHalfLife+time.Second))
	if v, _, _ := d.Observation(); v != edge.OK {
		t.Errorf("a half-life after the step: %v, want ok", v)
	}
}

// slowSide says, from a whole history alone, whether a target that began up is
// down.
func slowSide(history []Outcome, fall, rise int) (down bool) {
	passesIn := func(h []Outcome) bool { // ends with rise passes
		if len(h) < rise {
			return false
		}
		for _, o := range h[len(h)-rise:] {
			if o != Passed {
				return false
			}
		}
		return true
	}
	begin := 0 // of what still counts
	for end := 1; end <= len(history); end++ {
		h := history[begin:end]
		if passesIn(h) {
			down, begin = false, end-rise // passes go on to count for the next run of passes
			continue
		}
		failures := 0
		for _, o := range h {
			if o != Passed {
				failures++
			}
		}
		if !down && failures >= fall {
			down, begin = true, end
		}
	}
	return down
}

func TestDamperLikeSlow(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		c := Check{Interval: time.Second, Fall: 1 + rng.IntN(5), Rise: 1 + rng.IntN(5)}
		d := RestoreDamper(c, edge.OK, "")
		loss := rng.Float64()
		var history []Outcome
		for i := range 40 {
			r := passed
			if rng.Float64() < loss {
				r = []Result{wrong, silent}[rng.IntN(2)]
			}
			history = append(history, r.Outcome)
			d.Add(r, epoch.Add(time.Duration(i)*time.Second))
			v, _, _ := d.Observation()
			if want := slowSide(history, c.Fall, c.Rise); isDown(v) != want {
				t.Fatalf("fall %d, rise %d, after %v: %v, want down %t", c.Fall, c.Rise, history, v, want)
			}
		}
	}
}

// What passes with a reason is degraded, and no flap.
func TestDamperPassedWithReason(t *testing.T) {
	d := NewDamper(Check{Interval: 2 * time.Second, Fall: 3, Rise: 5})
	now := time.Unix(0, 0)
	for _, step := range []struct {
		reason, want string
		verdict      edge.Verdict
	}{
		{"", "", edge.OK},
		{"half the disks", "half the disks", edge.Degraded},
		{"", "", edge.OK},
	} {
		d.Add(Result{Outcome: Passed, Reason: step.reason}, now)
		if v, reason, _ := d.Observation(); v != step.verdict || reason != step.want {
			t.Errorf("after %q: %v %q, want %v %q", step.reason, v, reason, step.verdict, step.want)
		}
		now = now.Add(2 * time.Second)
	}
}
