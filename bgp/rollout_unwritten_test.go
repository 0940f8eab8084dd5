package bgp

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// A node that gets back what it had, and cannot write it, loses it by a restart.

// rolledBack is a rollout on ams1 and fra1 that is being taken back, which fra1 cannot write.
func rolledBack(t *testing.T) (s *stage, fra1 *fakeNode, step NodeStep) {
	t.Helper()
	s = newStage(t, "ams1 fra1")
	s.run("done", 300)
	fra1 = s.nodes["fra1"]
	fra1.Unstored = true
	if err := s.rollout.Rollback(s.now, "ada", "wrong prefix", false); err != nil {
		t.Fatal(err)
	}
	step, _ = s.rollout.Plan.Step("fra1")
	return s, fra1, step
}

func (s *stage) seconds(n int) {
	for range n {
		s.second()
	}
}

// settled holds that nothing is left of the rollout but that it was taken back.
func (s *stage) settled(what string) {
	s.t.Helper()
	if err := s.rollout.Worry(); err != nil || !s.rollout.Nodes["fra1"].Restored || len(s.rollout.Watched()) > 0 || len(s.rollout.Owing()) > 0 {
		s.t.Errorf("%s: %+v, the alarm is %v", what, s.rollout.Nodes["fra1"], err)
	}
}

// TestRestoreUnwritten: a node that could not write what it got back is told of, restored again
// when a restart has brought back the rollout's plan, and told of no more once it has written.
func TestRestoreUnwritten(t *testing.T) {
	for _, restarts := range []bool{true, false} {
		s, fra1, step := rolledBack(t)
		s.run("aborted", 60)
		if want := "fra1: " + unwritten; s.rollout.Worry() == nil || !strings.Contains(s.rollout.Worry().Error(), want) || len(s.rollout.Owing()) != 1 {
			t.Errorf("the alarm is %v, want %q", s.rollout.Worry(), want)
		}
		s.rollout.Loaded() // the coordinator restarted, too
		if restarts {
			fra1.stored = step.Plan
		}
		s.seconds(10)
		s.restored("ams1", "fra1")
		fra1.Unstored = false
		if !restarts { // somebody else has planned since
			fra1.stored = planOf("fra1", 9, ns1, ns3)
		}
		s.seconds(10)
		s.settled("written")
	}
}

// TestRestoreUnwrittenTwice: a node takes yet another plan, which it cannot write either, and a
// restart brings back the rollout's. It refuses once to be restored, and is.
func TestRestoreUnwrittenTwice(t *testing.T) {
	s, fra1, step := rolledBack(t)
	s.run("aborted", 60)
	fra1.stored = planOf("fra1", 9, ns1, ns3)
	s.seconds(90)
	if p := s.rollout.Nodes["fra1"]; p.Left != unwritten || !p.Owed {
		t.Errorf("with a later plan that is not written either: %+v", p)
	}
	fra1.stored, fra1.Unstored, fra1.refuses = step.Plan, false, "it is stopping"
	s.seconds(5)
	if want := "fra1: it refuses to be restored: it is stopping"; !strings.HasSuffix(s.rollout.String(), want) {
		t.Errorf("told is %q, want %q", s.rollout, want)
	}
	fra1.refuses = ""
	s.seconds(10)
	s.restored("fra1")
	s.settled("restored")
}

// TestRestoreUnwrittenPrior: a node that never wrote the rollout's plan has what it had before
// after its restart. Who applies the same change again then is left alone.
func TestRestoreUnwrittenPrior(t *testing.T) {
	s, fra1, step := rolledBack(t)
	s.run("aborted", 60)
	fra1.stored, fra1.Unstored = step.Prior, false
	s.seconds(5)
	s.settled("restarted")
	fra1.stored = step.Plan
	s.seconds(60)
	if fra1.stored.ID() != step.Plan.ID() {
		t.Error("the plan of another coordinator was taken from it")
	}
}

// TestRestoreUnwrittenPaused: it is looked after also while the rollout stands still since its
// coordinator's restart, for another node is not restored yet.
func TestRestoreUnwrittenPaused(t *testing.T) {
	s, fra1, step := rolledBack(t)
	s.nodes["ams1"].stuck = true
	s.seconds(3)
	s.rollout.Loaded()
	if s.rollout.Phase != PhasePaused {
		t.Fatalf("it is %s", s.rollout)
	}
	calls := len(s.log)
	fra1.stored, fra1.Unstored = step.Plan, false
	s.seconds(60)
	s.restored("fra1")
	if got := s.log[calls:]; len(got) != 1 || !strings.HasSuffix(got[0], "restore fra1 generation 6") {
		t.Errorf("log while paused: %q", got)
	}
	if p := s.rollout.Nodes["fra1"]; !p.Restored || p.Left != "" {
		t.Errorf("it is %+v", p)
	}
}

// TestRestoreUnwrittenAndPlanned: a plan that was stored while nobody could see what over is left
// alone, and told of.
func TestRestoreUnwrittenAndPlanned(t *testing.T) {
	for _, later := range []uint64{1, 2} {
		s, fra1, step := rolledBack(t)
		s.run("aborted", 60)
		fra1.away = true
		s.seconds(20)
		fra1.stored, fra1.Unstored, fra1.away = planOf("fra1", step.Plan.Generation+later, ns1, ns2, ns3), false, false
		s.seconds(300)
		const want = "not restored: it has another plan now, generation "
		if p := s.rollout.Nodes["fra1"]; !strings.HasPrefix(p.Left, want) || len(s.rollout.Watched()) > 0 {
			t.Errorf("%d later: %+v", later, p)
		}
	}
}

// TestRestoreWrittenLater: what a node got back is written after a while, and is not yet what its
// peers were sent. That is waited for, and told, as without a full disk.
func TestRestoreWrittenLater(t *testing.T) {
	for _, restarts := range []bool{true, false} {
		s, fra1, step := rolledBack(t)
		s.run("aborted", 60)
		fra1.stuck = true
		s.seconds(60)
		if restarts {
			fra1.stored = step.Plan
		}
		fra1.Unstored = false
		s.seconds(300)
		if got, want := s.rollout.Nodes["fra1"].Left, "it stored its earlier plan, but waits for "; !strings.HasPrefix(got, want) {
			t.Errorf("restarted %v: told is %q, want %q", restarts, got, want)
		}
	}
}

// TestRestoreWrittenThenAway: once it is written it is as of any node that cannot be reached.
func TestRestoreWrittenThenAway(t *testing.T) {
	s, fra1, _ := rolledBack(t)
	s.run("aborted", 60)
	fra1.stuck, fra1.Unstored = true, false
	s.seconds(5)
	fra1.away = true
	s.seconds(60)
	if got, want := s.rollout.Nodes["fra1"].Left, "not restored: it was not reached for "; !strings.HasPrefix(got, want) || s.rollout.Worry() == nil {
		t.Errorf("told is %q, want %q", got, want)
	}
	fra1.stuck, fra1.away = false, false
	s.seconds(5)
	s.settled("back")
}

// TestRestoreWrittenThenLoaded: its coordinator restarts in between.
func TestRestoreWrittenThenLoaded(t *testing.T) {
	s, fra1, _ := rolledBack(t)
	s.run("aborted", 60)
	fra1.stuck, fra1.Unstored = true, false
	s.seconds(3)
	s.rollout.Loaded()
	s.seconds(3)
	fra1.stuck = false
	s.seconds(5)
	s.settled("confirmed")
}

// TestRestoreForcedUnwritten: a rollback by force after one without cannot be written, and a restart
// brings the one without back.
func TestRestoreForcedUnwritten(t *testing.T) {
	s := newStage(t, "ams1 fra1")
	s.rollout.Plan.First = ns1.Prefixes
	s.run("done", 300)
	fra1 := s.nodes["fra1"]
	for _, force := range []bool{false, true} {
		if err := s.rollout.Rollback(s.now, "ada", "wrong", force); err != nil {
			t.Fatal(err)
		}
		written := fra1.stored
		fra1.stuck, fra1.Unstored = !force, force
		s.run("aborted", 120)
		s.seconds(10)
		if force {
			fra1.away = true
			s.seconds(10)
			fra1.stored, fra1.Unstored, fra1.away = written, false, false
		}
	}
	s.seconds(30)
	s.settled("restarted")
	if got := fra1.stored.Generation; got != 7 {
		t.Errorf("fra1 has generation %d, want that of the rollback by force, 7", got)
	}
}

// troubled is a rollback on a node whose disk is full now and then.
type troubled struct {
	*stage
	node    *fakeNode
	step    NodeStep
	full    bool
	disk    NodePlan // what a restart brings back
	others  int      // plans of somebody else
	history []string
}

func (w *troubled) say(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf(format, args...))
}

// pass passes seconds, and holds that nobody else's plan is taken away.
func (w *troubled) pass(seconds int) {
	w.say("%d s", seconds)
	for range seconds {
		before := w.node.stored
		w.second()
		now := w.node.stored
		if others := before.ID() != w.step.Plan.ID() && before.ID() != w.step.Prior.ID(); others && now.Generation != before.Generation {
			w.t.Errorf("%q: restored over somebody else's plan", w.history)
		}
		if !w.full {
			w.disk, w.node.Unstored = now, false
		} else if w.disk.Generation != now.Generation {
			w.node.Unstored = true
		}
	}
}

// happen has something happen.
func (w *troubled) happen(rng *rand.Rand) {
	n := w.node
	switch rng.IntN(8) {
	case 0:
		w.full = !w.full
		w.say("full %v", w.full)
	case 1:
		w.say("restart")
		n.away = true
		w.pass(rng.IntN(8))
		n.stored, n.Unstored, n.away = w.disk, false, false
	case 2:
		w.say("coordinator restarts")
		var again *Rollout
		if text, err := json.Marshal(w.rollout); err != nil || json.Unmarshal(text, &again) != nil {
			w.t.Fatalf("%v: %s", err, text)
		}
		w.rollout, w.now = again, 0
		w.rollout.Loaded()
	case 3:
		w.say("pause: %v", w.rollout.Pause(w.now, "ada", "x"))
	case 4:
		force := rng.IntN(2) == 0
		w.say("rollback, force %v: %v", force, w.rollout.Rollback(w.now, "ada", "x", force))
	case 5:
		n.stuck = !n.stuck
		w.say("stuck %v", n.stuck)
	case 6:
		n.away = !n.away
		w.say("away %v", n.away)
	case 7:
		if w.full || n.away || rng.IntN(2) == 0 {
			return
		}
		w.others++
		v := ns3
		v.Port = uint16(1000 + w.others)
		n.stored = planOf("fra1", n.stored.Generation+1, ns1, ns2, v)
		w.disk = n.stored
		w.say("somebody else plans")
	}
}

// TestRestoreAtRandom: whatever happens to a node, its disk and its coordinator, in the end it is
// restored or told of, nothing is owed, and what somebody else planned stays.
func TestRestoreAtRandom(t *testing.T) {
	for seed := range uint64(600) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := newStage(t, "ams1 fra1")
		s.rollout.Plan.First, s.rollout.Bake = ns1.Prefixes, 2*time.Second
		s.seconds(30)
		w := &troubled{stage: s, node: s.nodes["fra1"], full: rng.IntN(2) == 0, disk: s.nodes["fra1"].stored}
		w.step, _ = s.rollout.Plan.Step("fra1")
		if err := s.rollout.Rollback(s.now, "ada", "x", false); err != nil {
			t.Fatal(err)
		}
		w.say("seed %d, full %v", seed, w.full)
		for range 3 + rng.IntN(8) {
			w.happen(rng)
			w.pass(rng.IntN(40))
		}
		w.full, w.node.away, w.node.stuck = false, false, false
		w.pass(1)
		if w.rollout.Phase == PhasePaused {
			w.say("resume: %v", w.rollout.Resume(w.now, "ada", "x"))
		}
		w.pass(300)
		p := w.rollout.Nodes["fra1"]
		switch {
		case !w.rollout.Ended() || len(w.rollout.Owing()) > 0 || p.Unwritten:
			t.Fatalf("%q: nothing ends it: %s, %+v", w.history, w.rollout, p)
		case w.disk.ID() == w.step.Plan.ID() && p.Left == "":
			t.Fatalf("%q: it has what was rolled back, and nothing is told: %+v", w.history, p)
		}
	}
}
