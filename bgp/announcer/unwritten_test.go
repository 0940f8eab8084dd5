package announcer

import (
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp"
)

// A node with a full disk has what it got back only until a restart.

// recoloured has a node take another plan of ns1, and returns the one that it had.
func (n *testNode) recoloured(t *testing.T) (before bgp.NodePlan) {
	t.Helper()
	before = n.plan
	v := as("ns1", 1, first)
	v.Communities = nil
	n.takes(t, v)
	time.Sleep(10 * time.Second)
	return before
}

// TestStoredOnlyWhenWritten: while a plan that is restored is being written the node does not say
// that it is.
func TestStoredOnlyWhenWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		a := f.nodes["a1"]
		before := a.recoloured(t)
		back := a.plan.Restored(before)
		a.saving.Lock() // the disk takes its time
		done := make(chan error, 1)
		go func() { done <- a.take(back, true, "ann", "test") }()
		for a.Status().Generation != back.Generation {
			runtime.Gosched()
		}
		if !a.report().Status.Unstored {
			t.Error("it says that the plan is stored")
		}
		a.saving.Unlock()
		if err := <-done; err != nil || a.report().Status.Unstored {
			t.Errorf("%v; once it is, it says that it is not: %v", err, a.report().Status.Unstored)
		}
	})
}

// TestRefusedPlanKeepsUnstored: a plan that cannot be stored either does not have a node forget
// that the one in force is not.
func TestRefusedPlanKeepsUnstored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		a := f.nodes["a1"]
		before := a.recoloured(t)
		f.fillDisks("a1")
		if err := a.take(a.plan.Restored(before), true, "ann", "test"); err != nil {
			t.Fatal(err)
		}
		next := bgp.NodePlan{Node: "a1", PoP: "a", Generation: a.Status().Generation + 1, VIPs: []bgp.VIP{as("ns1", 1, first, second)}}
		if err := a.take(next, false, "ann", "test"); err == nil {
			t.Error("it is stored on a full disk")
		}
		if !a.report().Status.Unstored {
			t.Error("it says that the plan in force is stored")
		}
		f.emptyDisks("a1")
		time.Sleep(5 * time.Second)
		if a.report().Status.Unstored {
			t.Error("with room again it says that it is not")
		}
	})
}

// unwrittenBack rolls another plan of ns1 out on b1 from a1, and back, which b1 cannot write. Then do.
func unwrittenBack(t *testing.T, do func(f *fleet, a, b *testNode)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1", "b2")
		time.Sleep(40 * time.Second)
		a, b := f.nodes["a1"], f.nodes["b1"]
		f.recolour("b1")
		f.roll("a1", "node/b1", "ns1", time.Second)
		f.phase("a1", bgp.PhaseDone)
		f.fillDisks("b1")
		if _, err := a.Steer(t.Context(), Steering{Action: "rollback", Reason: "wrong", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.phase("a1", bgp.PhaseAborted)
		time.Sleep(5 * time.Second)
		do(f, a, b)
	})
}

// restartsWithRoom has a node crash, and start with room on its disk.
func (f *fleet) restartsWithRoom(name string) {
	f.kill(name)
	f.emptyDisks(name)
	f.start(name)
}

// TestLaterPlanKeepsUnwritten: a plan that is just being written, and cannot be, ends nothing that
// is owed.
func TestLaterPlanKeepsUnwritten(t *testing.T) {
	unwrittenBack(t, func(f *fleet, a, b *testNode) {
		next := b.plan
		next.Generation++
		next.VIPs = []bgp.VIP{as("ns1", 1, first, second)}
		b.saving.Lock() // the disk takes its time
		done := make(chan error, 1)
		go func() { done <- b.take(next, false, "ann", "test") }()
		for b.Status().Generation != next.Generation {
			runtime.Gosched()
		}
		c := a.coordinator // its round of each second, with what b1 says now
		c.mu.Lock()
		c.rollout.Step(c.now(), map[string]bgp.NodeFacts{"b1": {Reached: true, NodeStatus: b.report().Status}})
		c.mu.Unlock()
		b.saving.Unlock()
		if err := <-done; err == nil {
			t.Error("it is stored on a full disk")
		}
		time.Sleep(5 * time.Second)
		f.restartsWithRoom("b1")
		f.await("b1 as before, and nothing to be told", time.Minute, func() bool { return b.route() == "64512:100" && a.alarmed() == "" })
	})
}

// TestNextRolloutRemembersUnwritten: the node that owes rolls nothing else out, but when it is told to
// leave that; other nodes do.
func TestNextRolloutRemembersUnwritten(t *testing.T) {
	unwrittenBack(t, func(f *fleet, a, b *testNode) {
		apply := func(n *testNode, leave ...string) error {
			f.recolour("b2")
			p, err := n.Plan(f.t.Context(), bgp.Selection{Nodes: "node/b2"}, bgp.Limits{AllowWide: true})
			if err != nil {
				t.Fatal(err)
			}
			_, err = n.Announcer.Apply(f.t.Context(), Application{Plan: p.Plan.ID, Nodes: "node/b2", Wide: true, Bake: -1, Reason: "x", Actor: "ann", Leave: leave})
			return err
		}
		const want = "still is to give b1 back what it had: it has its earlier plan, but could not write it, and a restart forgets it: " +
			"wait for that, roll out from another node, or say --leave b1 to have it stay as it is"
		if err := apply(a, "b2"); err == nil || err.Error() != "--leave b2: the rollout before has nothing to give back to it" {
			t.Errorf("told to leave another node: %v", err)
		}
		if err := apply(a); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("the next rollout: %v, want %q", err, want)
		}
		if err := apply(f.nodes["b2"]); err != nil {
			t.Errorf("from another node: %v", err)
		}
		f.phase("b2", bgp.PhaseDone)
		if err := apply(a, "b1"); err != nil {
			t.Errorf("told to leave it: %v", err)
		}
		f.phase("a1", bgp.PhaseDone)
		f.restartsWithRoom("b1")
		time.Sleep(time.Minute)
		if got := b.route(); got != "64512:101" || a.alarmed() != "" {
			t.Errorf("b1, which was left, has %s; alarm of a1 %q", got, a.alarmed())
		}
	})
}

// TestOwedToNobody: who is no member any more is owed nothing.
func TestOwedToNobody(t *testing.T) {
	unwrittenBack(t, func(f *fleet, a, b *testNode) {
		f.kill("b1")
		f.mu.Lock()
		f.dropped["b1"] = true
		f.mu.Unlock()
		f.recolour("b2")
		f.roll("a1", "node/b2", "ns1", time.Second)
		f.phase("a1", bgp.PhaseDone)
	})
}

// TestRefusedPlanThenRestart: a node that could not write the plan, nor that it does not have it, has
// what it had before when it starts again, and others may plan for it.
func TestRefusedPlanThenRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1", "b2")
		time.Sleep(40 * time.Second)
		a := f.nodes["a1"]
		f.recolour("b1")
		f.fillDisks("b1")
		f.roll("a1", "node/b1", "ns1", time.Second)
		f.phase("a1", bgp.PhaseAborted)
		time.Sleep(5 * time.Second)
		if !strings.Contains(a.alarmed(), "b1: it has its earlier plan, but could not write it") {
			t.Errorf("the alarm of a1 is %q", a.alarmed())
		}
		f.restartsWithRoom("b1")
		f.await("nothing left of b1", time.Minute, func() bool { return !strings.Contains(a.alarmed(), "; b1:") })
		f.roll("b2", "node/b1", "ns1", 20*time.Second)
		f.phase("b2", bgp.PhaseDone)
		time.Sleep(time.Minute)
		if got := f.nodes["b1"].route(); got != "64512:101" {
			t.Errorf("b1 has %s", got)
		}
	})
}
