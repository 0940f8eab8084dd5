package bgp

import (
	"strings"
	"testing"
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
