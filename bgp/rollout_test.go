package bgp

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRolloutGoesWell(t *testing.T) {
	s := newStage(t, "ams1 fra1 fra2")
	s.run("done", 300)
	s.expect(`
		0 preflight wave 1
		1 acting wave 1
		1 apply ams1 generation 5
		2 confirming wave 1
		4 baking wave 1
		64 preflight wave 2
		65 acting wave 2
		65 apply fra1 generation 5
		66 confirming wave 2
		68 baking wave 2
		128 preflight wave 3
		129 acting wave 3
		129 apply fra2 generation 5
		130 confirming wave 3
		132 baking wave 3
		192 done wave 3`)
	if _, inFlight := s.rollout.InFlight("fra1"); inFlight {
		t.Error("it is in flight when it is done")
	}
}

// TestRolloutAborts has each rule abort the second wave, which gets back what
// it had; the first keeps the plan.
func TestRolloutAborts(t *testing.T) {
	for _, tc := range []struct {
		what    string
		at      time.Duration // when it goes wrong; fra1 acts at 65 s
		wrong   func(*fakeNode)
		want    string
		seconds time.Duration // until it aborts
	}{
		{"SERVFAIL", 70, func(n *fakeNode) { n.servfail = 0.05 }, "fra1 answered 1.7 % of 1200 queries with SERVFAIL, want at most 1.0 % (before: 0.1 %)", 1},
		{"a lost session", 80, func(n *fakeNode) { n.Flaps++ }, "fra1 lost 1 session", 0},
		{"a restart", 80, func(n *fakeNode) { n.Tally = Tally{} }, "fra1 restarted", 0},
		{"not as planned", 60, func(n *fakeNode) { n.stuck = true }, "fra1 does not do as planned, for 30s: it waits for a session", 35},
		{"no more as planned", 80, func(n *fakeNode) { n.stuck = true }, "fra1 does not do as planned, for 30s: it waits for a session", 29},
		{"away when asked", 60, func(n *fakeNode) { n.away = true }, "fra1 was not reached for 15s", 19},
		{"away when watched", 80, func(n *fakeNode) { n.away = true }, "fra1 was not reached for 15s", 14},
		{"deaf when asked", 60, func(n *fakeNode) { n.deaf = true }, "fra1 has not said in 30s whether it can", 34},
		{"deaf when acting", 65, func(n *fakeNode) { n.deaf = true }, "fra1 does not do as planned, for 30s: it waits for nothing that it tells", 30},
		{"refuses", 60, func(n *fakeNode) { n.refuses = "ns1 is held" }, "fra1 refuses its plan: ns1 is held", 4},
		{"another plan", 80, func(n *fakeNode) { n.stored = planOf("fra1", 9, ns3) }, "fra1 has another plan now: generation 9 (" + planOf("fra1", 9, ns3).ID() + ")", 0},
	} {
		s := newStage(t, "ams1 fra1 fra2")
		for s.now < tc.at*time.Second {
			s.second()
		}
		tc.wrong(s.nodes["fra1"])
		for s.rollout.Cause == "" && s.now < 300*time.Second {
			s.second()
		}
		if s.rollout.Cause != tc.want {
			t.Errorf("%s: cause %q, want %q", tc.what, s.rollout.Cause, tc.want)
		}
		if took := s.now/time.Second - 1 - tc.at; took != tc.seconds {
			t.Errorf("%s: aborts after %d s, want %d", tc.what, took, tc.seconds)
		}
		for s.rollout.Phase != PhaseAborted && s.now < 400*time.Second {
			s.second()
		}
		if !s.rollout.Ended() {
			t.Errorf("%s: still %s", tc.what, s.rollout)
		}
		if id := s.nodes["ams1"].stored.ID(); id != s.rollout.Plan.Steps[0].Plan.ID() {
			t.Errorf("%s: ams1 lost the plan, too", tc.what)
		}
		if n := s.nodes["fra2"].stored.Generation; n != 4 {
			t.Errorf("%s: fra2 has generation %d, want 4", tc.what, n)
		}
	}
}

// TestCanaryWithServfail: 5 % SERVFAIL in the first wave end it long before the
// bake does, and the prior state is back within 10 s.
func TestCanaryWithServfail(t *testing.T) {
	s := newStage(t, "ams1 fra1")
	s.run("acting", 10)
	s.nodes["ams1"].servfail = 0.05
	s.run("aborted", 30)
	s.expect(`
		0 preflight wave 1
		1 acting wave 1
		1 apply ams1 generation 5
		2 aborting wave 1: ams1 answered 5.0 % of 200 queries with SERVFAIL, want at most 1.0 % (before: 0.1 %)
		2 restore ams1 generation 6
		5 aborted wave 1: ams1 answered 5.0 % of 200 queries with SERVFAIL, want at most 1.0 % (before: 0.1 %)`)
	s.restored("ams1", "fra1")
}

// TestServfailOfBefore: a node that answered as many before is not at fault now.
func TestServfailOfBefore(t *testing.T) {
	s := newStage(t, "ams1")
	s.nodes["ams1"].Servfails, s.nodes["ams1"].servfail = 6000, 0.05
	s.run("done", 100)
}

// TestRollbackWhenDone takes all waves back at once.
func TestRollbackWhenDone(t *testing.T) {
	s := newStage(t, "ams1 fra1 fra2")
	s.run("done", 300)
	s.log = nil
	if err := s.rollout.Rollback(s.now, "ada", "wrong prefix", false); err != nil {
		t.Fatal(err)
	}
	s.run("aborted", 60)
	s.expect(`
		193 restore fra2 generation 6
		193 restore fra1 generation 6
		193 restore ams1 generation 6
		196 aborted wave 3: rolled back by ada: wrong prefix`)
	s.restored("ams1", "fra1", "fra2")
	if err := s.rollout.Rollback(s.now, "ada", "again", false); err == nil {
		t.Error("rolled back twice")
	}
}

// TestFirstIsGivenUp: what a rollout was the first to announce goes without promises
// while the rollout is not done, however it is ended, and never after.
func TestFirstIsGivenUp(t *testing.T) {
	first := []netip.Prefix{netip.MustParsePrefix("203.0.113.99/32")}
	for what, tc := range map[string]struct {
		end  func(s *stage)
		want []netip.Prefix
	}{
		"by itself": {func(s *stage) { s.nodes["ams1"].servfail = 0.5 }, first},
		"aborted":   {func(s *stage) { _ = s.rollout.Abort(s.now, "ada", "x") }, first},
		"paused, then aborted": {func(s *stage) {
			_ = s.rollout.Pause(s.now, "ada", "x")
			_ = s.rollout.Abort(s.now, "ada", "x")
		}, first},
		"twice": {func(s *stage) {
			_ = s.rollout.Abort(s.now, "ada", "x")
			_ = s.rollout.Rollback(s.now, "ada", "x", false)
		}, first},
		"done": {func(s *stage) {
			s.run("done", 300)
			_ = s.rollout.Rollback(s.now, "ada", "x", false)
		}, nil},
		"done, and aborted while rolled back": {func(s *stage) {
			s.run("done", 300)
			_ = s.rollout.Rollback(s.now, "ada", "x", false)
			_ = s.rollout.Abort(s.now, "ada", "x")
		}, nil},
	} {
		s := newStage(t, "ams1 fra1")
		s.rollout.Plan.First = first
		for s.now < 10*time.Second {
			s.second()
		}
		tc.end(s)
		s.run("aborted", 60)
		if got := s.nodes["ams1"].stored.GiveUp; !slices.Equal(got, tc.want) {
			t.Errorf("%s: ams1 gives up %v, want %v", what, got, tc.want)
		}
		if !strings.Contains(strings.Join(s.log, " "), "restore ams1") {
			t.Errorf("%s: ams1 was not restored: %v", what, s.log)
		}
	}
}

// TestRestorePassesOverStuck: a node that has its earlier plan and cannot bring it about
// keeps nobody waiting, and is told of.
func TestRestorePassesOverStuck(t *testing.T) {
	s := newStage(t, "ams1 fra1 fra2")
	s.run("done", 300)
	s.log = nil
	s.nodes["fra2"].stuck = true
	if err := s.rollout.Rollback(s.now, "ada", "bad", false); err != nil {
		t.Fatal(err)
	}
	s.run("aborted", 90)
	s.expect(`
		193 restore fra2 generation 6
		193 restore fra1 generation 6
		193 restore ams1 generation 6
		253 aborted wave 3: rolled back by ada: bad`)
	s.restored("ams1", "fra1", "fra2")
	if want := "it stored its earlier plan, but waits for a session"; s.rollout.Nodes["fra2"].Left != want || s.rollout.Nodes["fra1"].Left != "" {
		t.Errorf("fra2: %q, want %q; fra1: %q", s.rollout.Nodes["fra2"].Left, want, s.rollout.Nodes["fra1"].Left)
	}
}

// TestRollbackByForce gives up what a rollout was the first to announce, also when it
// was rolled back without force before, and once.
func TestRollbackByForce(t *testing.T) {
	first := []netip.Prefix{netip.MustParsePrefix("203.0.113.99/32")}
	for _, earlier := range []bool{false, true} {
		s := newStage(t, "ams1 fra1")
		s.rollout.Plan.First = first
		s.run("done", 300)
		if earlier {
			if err := s.rollout.Rollback(s.now, "ada", "bad", false); err != nil {
				t.Fatal(err)
			}
			s.run("aborted", 60)
			s.restored("ams1", "fra1")
		}
		if err := s.rollout.Rollback(s.now, "ada", "bad", true); err != nil {
			t.Fatal(err)
		}
		s.run("aborted", 60)
		for name, n := range s.nodes {
			if !slices.Equal(n.stored.GiveUp, first) || s.rollout.Nodes[name].Left != "" || !s.rollout.Nodes[name].Restored {
				t.Errorf("earlier %v: %s has %+v, and is left with %q", earlier, name, n.stored, s.rollout.Nodes[name].Left)
			}
		}
		if err := s.rollout.Rollback(s.now, "ada", "bad", true); err == nil {
			t.Error("forced twice")
		}
	}
}

// TestForceAgain: force is none to be forgotten, where a node could not be reached and the
// node that rolls it out restarted, and is refused where it could do nothing.
func TestForceAgain(t *testing.T) {
	first := []netip.Prefix{netip.MustParsePrefix("203.0.113.99/32")}
	s := newStage(t, "ams1 fra1")
	s.rollout.Plan.First = first
	s.run("done", 300)
	s.nodes["fra1"].away = true
	if err := s.rollout.Rollback(s.now, "ada", "bad", true); err != nil {
		t.Fatal(err)
	}
	s.run("aborted", 60)
	s.rollout.Loaded()
	s.nodes["fra1"].away = false
	if err := s.rollout.Rollback(s.now, "ada", "bad", true); err != nil {
		t.Fatal(err)
	}
	s.run("aborted", 90)
	if got := s.nodes["fra1"].stored.GiveUp; !slices.Equal(got, first) {
		t.Errorf("fra1 gives up %v, want %v", got, first)
	}

	s = newStage(t, "ams1 fra1")
	s.run("done", 300)
	if err := s.rollout.Rollback(s.now, "ada", "bad", true); err == nil || !strings.Contains(err.Error(), "--force has nothing to give up") || s.rollout.Phase != PhaseDone {
		t.Errorf("force without anything to give up: %v, %s", err, s.rollout.Phase)
	}
}

// TestRollbackOfAborted: what aborted by itself in its second wave was never done, so all of it
// is given up by a rollback.
func TestRollbackOfAborted(t *testing.T) {
	first := []netip.Prefix{netip.MustParsePrefix("203.0.113.99/32")}
	s := newStage(t, "ams1 fra1 fra2")
	s.rollout.Plan.First = first
	for s.rollout.Wave == 0 || s.rollout.Phase != PhaseBaking {
		s.second()
	}
	s.nodes["fra1"].servfail = 0.5
	s.run("aborted", 60)
	if err := s.rollout.Rollback(s.now, "ada", "bad", false); err != nil {
		t.Fatal(err)
	}
	s.run("aborted", 60)
	if got := s.nodes["ams1"].stored.GiveUp; !slices.Equal(got, first) {
		t.Errorf("ams1 gives up %v, want %v", got, first)
	}
}

// TestRestorePassesOverAbsent: a node that cannot be reached does not keep the
// others from their earlier plans, and gets its own when it is back.
func TestRestorePassesOverAbsent(t *testing.T) {
	s := newStage(t, "ams1 fra1 fra2")
	s.run("done", 300)
	s.log = nil
	s.nodes["fra2"].away = true
	if err := s.rollout.Rollback(s.now, "ada", "wrong prefix", false); err != nil {
		t.Fatal(err)
	}
	s.run("aborted", 60)
	s.expect(`
		193 restore fra1 generation 6
		193 restore ams1 generation 6
		208 aborted wave 3: rolled back by ada: wrong prefix`)
	if want := "plan p1: wave 3 of 3 (fra2): aborted: rolled back by ada: wrong prefix; " +
		"fra2: not restored: it was not reached for 15s; it will be when it can"; s.rollout.String() != want {
		t.Errorf("says %q, want %q", s.rollout, want)
	}
	s.nodes["fra2"].away = false
	s.run("restore fra2 generation 6", 10)
	for range 5 {
		s.second()
	}
	s.restored("ams1", "fra1", "fra2")
	if left := s.rollout.Nodes["fra2"].Left; left != "" {
		t.Errorf("fra2 is restored, but says %q", left)
	}
}

// TestRestoreRefused: a node that refuses for a moment is asked again, and not
// for ever.
func TestRestoreRefused(t *testing.T) {
	for _, tc := range []struct {
		seconds int
		left    string
	}{{20, ""}, {40, "it refuses to be restored: it is stopping"}} {
		s := newStage(t, "ams1 fra1")
		s.run("done", 300)
		s.nodes["fra1"].refuses = "it is stopping"
		if err := s.rollout.Rollback(s.now, "ada", "wrong prefix", false); err != nil {
			t.Fatal(err)
		}
		for range tc.seconds {
			s.second()
		}
		s.nodes["fra1"].refuses = ""
		for range 20 {
			s.second()
		}
		s.restored("ams1")
		if p := s.rollout.Nodes["fra1"]; p.Left != tc.left || p.Restored != (tc.left == "") {
			t.Errorf("refused for %d s: %+v, want %q", tc.seconds, p, tc.left)
		}
		if len(s.rollout.Watched()) != 0 {
			t.Errorf("refused for %d s: it still asks %q", tc.seconds, s.rollout.Watched())
		}
	}
}

// TestRestoreLeavesLaterPlans: a node that took yet another plan keeps it.
func TestRestoreLeavesLaterPlans(t *testing.T) {
	s := newStage(t, "ams1 fra1")
	s.run("done", 300)
	later := planOf("fra1", 6, ns1, ns3)
	s.nodes["fra1"].stored = later
	if err := s.rollout.Rollback(s.now, "ada", "wrong prefix", false); err != nil {
		t.Fatal(err)
	}
	s.run("aborted", 60)
	if s.nodes["fra1"].stored.ID() != later.ID() {
		t.Error("the later plan of fra1 is gone")
	}
	if want := "not restored: it has another plan now, generation 6 (" + later.ID() + ")"; s.rollout.Nodes["fra1"].Left != want {
		t.Errorf("fra1: %q, want %q", s.rollout.Nodes["fra1"].Left, want)
	}
	s.restored("ams1")
}

// TestRestoreOvertakesApply: an apply that was lost on its way arrives after the
// restore. The node refuses it.
func TestRestoreOvertakesApply(t *testing.T) {
	s := newStage(t, "ams1 fra1")
	s.run("preflight", 5)
	s.nodes["ams1"].deaf = true
	s.second()
	if err := s.rollout.Abort(s.now, "ada", "changed my mind"); err != nil {
		t.Fatal(err)
	}
	s.nodes["ams1"].deaf = false
	s.run("aborted", 60)
	step, _ := s.rollout.Plan.Step("ams1")
	if err := step.Plan.CanReplace(s.nodes["ams1"].stored, false); err == nil {
		t.Error("the late apply would be stored")
	}
	s.restored("ams1")
}

// TestGoneAtTheEnd: a node that dies just before its bake is over is no success.
func TestGoneAtTheEnd(t *testing.T) {
	s := newStage(t, "ams1")
	s.run("baking", 10)
	for s.now-s.rollout.since < s.rollout.Bake-3*time.Second {
		s.second()
	}
	s.nodes["ams1"].away = true
	s.run("aborting", 30)
	if want := "ams1 was not reached for 15s"; s.rollout.Cause != want {
		t.Errorf("aborted for %q, want %q", s.rollout.Cause, want)
	}
}

func TestPauseAndResume(t *testing.T) {
	s := newStage(t, "ams1")
	s.run("baking", 10)
	if err := s.rollout.Pause(s.now, "ada", "lunch"); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		s.second()
	}
	if want := "plan p1: wave 1 of 1 (ams1): paused while baking: paused by ada: lunch"; s.rollout.String() != want {
		t.Errorf("says %q, want %q", s.rollout, want)
	}
	if err := s.rollout.Pause(s.now, "ada", "tea"); err == nil {
		t.Error("paused twice")
	}
	if err := s.rollout.Resume(s.now, "root", "go on"); err != nil {
		t.Fatal(err)
	}
	if want := "plan p1: wave 1 of 1 (ams1): baking: resumed by root: go on"; s.rollout.String() != want {
		t.Errorf("says %q, want %q", s.rollout, want)
	}
	s.log = nil
	s.run("done", 100)
	s.expect("1065 done wave 1") // it bakes anew
	if err := s.rollout.Resume(s.now, "root", "go on"); err == nil {
		t.Error("resumed when done")
	}
}

// TestCoordinatorRestarts in each phase: the rollout is paused, says so, and
// never goes on by itself; resumed, it comes to its end.
func TestCoordinatorRestarts(t *testing.T) {
	for _, phase := range []Phase{PhasePreflight, PhaseActing, PhaseConfirming, PhaseBaking, PhaseAborting} {
		s := newStage(t, "ams1 fra1")
		if phase == PhaseAborting {
			s.nodes["ams1"].servfail = 0.5
		}
		s.run(string(phase), 100)
		b, err := json.Marshal(s.rollout)
		if err != nil {
			t.Fatal(err)
		}
		s.rollout = nil
		if err := json.Unmarshal(b, &s.rollout); err != nil {
			t.Fatal(err)
		}
		s.rollout.Loaded()
		cause := s.rollout.Cause
		stored := s.nodes["ams1"].stored.Generation
		for range 600 {
			s.second()
		}
		if r := s.rollout; r.Phase != PhasePaused || r.Before != phase || !strings.HasSuffix(cause, "the node that rolls it out restarted") || strings.Contains(cause, "SERVFAIL") != (phase == PhaseAborting) || s.nodes["ams1"].stored.Generation != stored {
			t.Errorf("%s: ten minutes after the restart it is %s, generation %d", phase, r, s.nodes["ams1"].stored.Generation)
		}
		if err := s.rollout.Resume(s.now, "root", "go on"); err != nil {
			t.Fatal(err)
		}
		if phase == PhaseAborting {
			s.run("aborted", 60)
			s.restored("ams1", "fra1")
		} else {
			s.run("done", 300)
		}
	}
}

// TestLoadedWhenEnded: what ended stays ended, and nothing is owed any more.
func TestLoadedWhenEnded(t *testing.T) {
	s := newStage(t, "ams1")
	s.run("acting", 10)
	s.nodes["ams1"].away = true
	s.run("aborted", 60)
	s.rollout.Loaded()
	s.nodes["ams1"].away = false
	for range 60 {
		s.second()
	}
	if p := s.rollout.Nodes["ams1"]; p.Left != "not restored: it could not be reached; roll back again" || s.rollout.Phase != PhaseAborted {
		t.Errorf("ams1: %q, %s", p.Left, s.rollout.Phase)
	}
	if err := s.rollout.Rollback(s.now, "ada", "again", false); err != nil {
		t.Fatal(err)
	}
	s.run("aborted", 60)
	s.restored("ams1")
}

// TestDrainingTakesTime: a plan that withdraws waits for the drain before it
// calls the node late.
func TestDrainingTakesTime(t *testing.T) {
	s := newStage(t, "ams1")
	step := &s.rollout.Plan.Steps[0]
	step.Plan = Pending(step.Prior, nil, nil)
	step.Adds, step.Drops = nil, ns2.Prefixes // with a hold of 30 s
	s.nodes["ams1"].stuck = true
	s.nodes["ams1"].AnswerTTL = 20 * time.Second
	s.run("aborting", 200)
	if last := s.log[len(s.log)-1]; last != "81 aborting wave 1: ams1 does not do as planned, for 1m20s: it waits for a session" && !strings.HasPrefix(last, "81 restore") {
		t.Errorf("last %q", last)
	}
}

func TestNewRollout(t *testing.T) {
	if _, err := NewRollout(FleetPlan{ID: "p1"}, 0, "ada", "x"); err == nil || err.Error() != "plan p1 changes nothing: there is nothing to apply" {
		t.Errorf("empty plan: %v", err)
	}
	p := newStage(t, "ams1").rollout.Plan
	if _, err := NewRollout(p, 25*time.Hour, "ada", "x"); err == nil || err.Error() != "bake 25h0m0s is too long: want at most 24h0m0s" {
		t.Errorf("long bake: %v", err)
	}
	for bake, want := range map[time.Duration]time.Duration{0: DefaultBake, -1: 0, time.Second: time.Second} {
		if r, err := NewRollout(p, bake, "ada", "x"); err != nil || r.Bake != want {
			t.Errorf("bake %s: %v, %v", bake, r, err)
		}
	}
}

func TestRolloutCheck(t *testing.T) {
	for _, tc := range []struct {
		change func(*Rollout)
		want   string
	}{
		{func(*Rollout) {}, ""},
		{func(r *Rollout) { r.Loaded() }, ""},
		{func(r *Rollout) { r.Phase = "resting" }, `rollout of plan "p1": unknown phase "resting"`},
		{func(r *Rollout) { r.Phase = PhasePaused }, `rollout of plan "p1": it is paused while ""`},
		{func(r *Rollout) { r.Wave = 2 }, `rollout of plan "p1": wave 2 of 2`},
		{func(r *Rollout) { r.Wave = -1 }, `rollout of plan "p1": wave -1 of 2`},
		{func(r *Rollout) { r.Bake = -1 }, `rollout of plan "p1": bake -1ns`},
		{func(r *Rollout) { r.Waves = r.Waves[:1] }, `rollout of plan "p1": its waves have the nodes ["ams1"], the plan has ["ams1" "fra1"]`},
		{func(r *Rollout) { delete(r.Nodes, "fra1") }, `rollout of plan "p1": it knows 1 nodes, its plan has 2`},
		{func(r *Rollout) { r.Nodes["fra1"] = nil }, `rollout of plan "p1": nothing is known of node "fra1"`},
		{func(r *Rollout) { r.Plan.Steps[0].Plan.PoP = "" }, `rollout of plan "p1": plan of "ams1": "" cannot be the name of a PoP`},
	} {
		r := newStage(t, "ams1 fra1").rollout
		tc.change(r)
		if err := r.Check(); (tc.want != "" || err != nil) && (err == nil || err.Error() != tc.want) {
			t.Errorf("error %v, want %q", err, tc.want)
		}
	}
}

// TestWorry: what aborts by itself is to be looked at, and what an engineer aborts only
// when some node did not get back what it had.
func TestWorry(t *testing.T) {
	worry := func(s *stage) string {
		if err := s.rollout.Worry(); err != nil {
			return err.Error()
		}
		return ""
	}
	s := newStage(t, "ams1")
	s.run("acting", 10)
	if got := worry(s); got != "" {
		t.Errorf("under way: %q", got)
	}
	s.nodes["ams1"].stuck = true
	s.run("aborted", 120)
	if got := worry(s); !strings.Contains(got, "aborted: ams1 does not do as planned") {
		t.Errorf("aborted by itself: %q", got)
	}

	s = newStage(t, "ams1")
	s.run("baking", 20)
	if err := s.rollout.Pause(s.now, "ada", "lunch"); err != nil {
		t.Fatal(err)
	}
	if got := worry(s); !strings.Contains(got, "paused while baking: paused by ada: lunch") {
		t.Errorf("paused: %q", got)
	}
	if err := s.rollout.Abort(s.now, "ada", "not today"); err != nil {
		t.Fatal(err)
	}
	if got := worry(s); got != "" {
		t.Errorf("an abort that somebody wants: %q", got)
	}
	s.nodes["ams1"].away = true
	s.run("aborted", 60)
	if got := worry(s); !strings.Contains(got, "ams1: not restored: it was not reached for 15s") {
		t.Errorf("not restored: %q", got)
	}
	s.nodes["ams1"].away = false
	for range 5 {
		s.second()
	}
	if got := worry(s); got != "" {
		t.Errorf("restored later: %q", got)
	}
}
