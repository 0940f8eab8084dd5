package bgp

import (
	"math/rand/v2"
	"testing"
	"time"
)

// randomFacts changes some of the facts.
func randomFacts(rng *rand.Rand, f *Facts, operators bool) {
	word := func(s string) string { return []string{"", s}[rng.IntN(2)] }
	yes := func() bool { return rng.IntN(2) == 0 }
	switch rng.IntN(12) {
	case 0:
		f.Frozen = word("alone")
	case 1:
		f.Breaker = word("breaker open")
	case 2:
		f.Others = rng.IntN(4)
		f.OtherPoPs = rng.IntN(f.Others + 1)
	case 3:
		f.Permit = yes()
	case 4:
		f.Quiet = yes()
	case 5:
		f.Bound = yes()
	case 6:
		f.Sent = yes()
		f.Heard = f.Sent || yes()
	default:
		if !operators {
			return
		}
		switch rng.IntN(10) {
		case 0:
			f.Planned = yes()
		case 1:
			f.Leave = Leave(rng.IntN(2))
		case 2:
			f.Forced = rng.IntN(4) == 0
		case 3:
			f.Hold = yes()
		case 4:
			f.Unheard = rng.IntN(4) == 0
		case 5:
			f.AnswerTTL = time.Duration(rng.IntN(30)) * time.Second
		}
	}
}

func randomVIP(rng *rand.Rand) VIP {
	v := scripted
	v.MinAnnouncers, v.MinPoPs = 1+rng.IntN(3), 1+rng.IntN(2)
	v.Hold, v.Linger = time.Duration(rng.IntN(40))*time.Second, time.Duration(rng.IntN(40))*time.Second
	all := []Rung{{Kind: Gshut}, {Kind: Prepend, Value: 2}, {Kind: SetMED, Value: 50}, {Kind: AddCommunity, Value: 7}, {Kind: Withdraw}}
	v.Ladder = nil
	for _, i := range rng.Perm(len(all))[:rng.IntN(len(all))] {
		v.Ladder = append(v.Ladder, all[i])
	}
	if rng.IntN(2) == 0 {
		v.Communities = nil
	}
	v.Prefixes = v.Prefixes[:1+rng.IntN(len(v.Prefixes))]
	return v
}

// TestMachineProperties holds, for machines among random facts, what the doc
// comment of Machine promises.
func TestMachineProperties(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 4))
		v := randomVIP(rng)
		operators := seed%2 == 0
		m := NewMachine(v, Kept{})
		f := Facts{Planned: true, Others: 3, OtherPoPs: 2}
		var was Wish
		var changed time.Duration // by itself
		up := false               // has been announced as planned
		for range 400 {
			before := f
			for range rng.IntN(3) {
				randomFacts(rng, &f, operators)
			}
			if rng.IntN(100) == 0 {
				v = randomVIP(rng)
				if !operators {
					v.Ladder = m.vip.Ladder
				}
				m.SetVIP(v)
				was.Route = m.route
			}
			if operators && rng.IntN(200) == 0 {
				m = m.Split(m.vip.Prefixes[:1])
				f.Planned = false
			}
			f.Now += time.Duration(rng.IntN(1500)) * time.Millisecond
			m.Check(f.Now, rng.IntN(3) > 0 || seed%3 == 0, "fails")
			w := m.Step(f)

			if w.Next <= f.Now {
				t.Fatalf("seed %d: the next step is at %v, now is %v", seed, w.Next, f.Now)
			}
			if again := m.Step(f); again != w {
				t.Fatalf("seed %d: the same facts give %+v, then %+v", seed, w, again)
			}
			if w.Route != nil && morePreferred(*w.Route, v.Baseline()) {
				t.Fatalf("seed %d: in %s the route is %s, above the baseline %s", seed, w.State, w.Route, v.Baseline())
			}
			if (w.Route != nil) != w.State.Announces() || w.Route != nil && !(w.Address && w.Listen) || w.Answer && w.Route == nil {
				t.Fatalf("seed %d: in %s the wish is %+v", seed, w.State, w)
			}
			if was.Route != nil && w.Route == nil {
				switch {
				case f.Forced && (f.Leave == Out || !f.Planned), f.Unheard && !f.Hold && (f.Leave == Out || !f.Planned):
				case f.Frozen != "" || !f.Permit || f.Others < v.MinAnnouncers || f.OtherPoPs < v.MinPoPs || f.Hold:
					t.Fatalf("seed %d: withdrawn (%s) with %+v", seed, w.Cause, f)
				}
			}
			if f.Hold && before.Hold && was.State > Canary && w.State != was.State {
				t.Fatalf("seed %d: %s becomes %s in a hold", seed, was.State, w.State)
			}
			if !operators && up && !(was.State == Canary && w.State == Announced) && !sameRoute(was.Route, w.Route) {
				if f.Now-changed < 10*time.Second && changed > 0 {
					t.Fatalf("seed %d: %s becomes %s at %v, the last change was at %v", seed, was.State, w.State, f.Now, changed)
				}
				changed = f.Now
			}
			up = up || w.State == Announced
			if w.Ask && !w.State.Announces() {
				t.Fatalf("seed %d: asks for promises in %s", seed, w.State)
			}
			was = w
		}
	}
}

func sameRoute(a, b *Attributes) bool {
	return a == b || a != nil && b != nil && a.Equal(*b)
}

// TestMachineStopsInTime holds that a machine is done 3 s after SIGTERM, from
// whatever state and among whatever facts.
func TestMachineStopsInTime(t *testing.T) {
	seen := map[State]bool{}
	for seed := range uint64(1000) {
		rng := rand.New(rand.NewPCG(seed, 5))
		m := NewMachine(randomVIP(rng), Kept{})
		f := Facts{Planned: true, Others: 3, OtherPoPs: 2}
		var w Wish
		for range rng.IntN(300) {
			randomFacts(rng, &f, true)
			f.Now += time.Second
			m.Check(f.Now, rng.IntN(4) > 0, "fails")
			w = m.Step(f)
		}
		seen[w.State] = true
		f.Leave = Stopping
		started := f.Now
		for w = m.Step(f); w.State != Absent; w = m.Step(f) {
			if w.Answer {
				t.Fatalf("seed %d: answers name the PoP of a stopping node in %s", seed, w.State)
			}
			f.Now = w.Next
			f.Permit = rng.IntN(2) == 0
		}
		if took := f.Now - started; took > stopShutdown+stopLinger {
			t.Errorf("seed %d: it took %v to stop", seed, took)
		}
		if k := m.Keep(f.Now); !k.Clean {
			t.Errorf("seed %d: a stop is kept as %+v", seed, k)
		}
	}
	if len(seen) < 7 {
		t.Errorf("it stopped only from %v", seen)
	}
}

// TestMachineRestart holds what a start makes of what was kept.
func TestMachineRestart(t *testing.T) {
	for _, c := range []struct {
		kept    Kept
		penalty float64
		state   State // after a step, without a plan
	}{
		{Kept{}, 0, Absent},
		{Kept{State: Announced}, 1000, Absent},
		{Kept{State: Announced, Clean: true}, 0, Absent},
		{Kept{State: Bound}, 0, Absent},
		{Kept{State: Canary}, 1000, Absent},
		{Kept{State: LastResort}, 1000, Absent},
		{Kept{State: Withdrawn, Clean: true}, 0, Absent},
		{Kept{State: Degraded, Damping: Damping{Penalty: 2000}, Age: 5 * time.Minute}, 2000, Absent},
		{Kept{State: Announced, Clean: true, Damping: Damping{Penalty: 4000, Suppressed: true}, Age: 10 * time.Minute}, 1000, Absent},
	} {
		m := NewMachine(scripted, c.kept)
		if got := m.Damping(0).Penalty; got < c.penalty-0.01 || got > c.penalty+0.01 {
			t.Errorf("kept %+v: the penalty is %v, want %v", c.kept, got, c.penalty)
		}
		if w := m.Step(Facts{}); w.State != c.state {
			t.Errorf("kept %+v: it is %s, want %s", c.kept, w.State, c.state)
		}
	}
}

// TestMachineAllocates holds that a step in which nothing changes allocates nothing.
func TestMachineAllocates(t *testing.T) {
	m := NewMachine(scripted, Kept{})
	f := Facts{Planned: true, Bound: true, Sent: true, Others: 3, OtherPoPs: 2}
	step := func() {
		f.Now += time.Second
		m.Check(f.Now, true, "")
		m.Step(f)
	}
	for range 20 {
		step()
	}
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("a step allocates %v times", n)
	}
}
