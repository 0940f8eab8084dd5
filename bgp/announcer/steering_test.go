package announcer

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp"
)

// recolour has the files of nodes want another community on their VIPs.
func (f *fleet) recolour(names ...string) {
	for _, name := range names {
		n := f.nodes[name]
		var vips []bgp.VIP
		for _, v := range n.file.VIPs {
			v.Communities = []bgp.Community{v.Communities[0] + 1}
			vips = append(vips, v)
		}
		n.file.VIPs = vips
		n.Use(n.file)
	}
}

// roll has a node roll out what the files of nodes want of a VIP, and returns the
// plan's ID.
func (f *fleet) roll(coordinator, nodes, vip string, bake time.Duration) string {
	f.t.Helper()
	n := f.nodes[coordinator]
	p, err := n.Plan(f.t.Context(), bgp.Selection{Nodes: nodes, VIPs: []string{vip}}, bgp.Limits{AllowWide: true})
	if err != nil {
		f.t.Fatal(err)
	}
	q := Application{Plan: p.Plan.ID, Nodes: nodes, VIPs: []string{vip}, Wide: true, Bake: bake, Reason: "new community", Actor: "ann"}
	if _, err := n.Announcer.Apply(f.t.Context(), q); err != nil {
		f.t.Fatal(err)
	}
	return p.Plan.ID
}

// phase awaits a phase of the rollout of a node.
func (f *fleet) phase(coordinator string, want bgp.Phase) {
	f.t.Helper()
	f.await(coordinator+" "+string(want), 3*time.Minute, func() bool { return f.nodes[coordinator].Rollout().Phase == want })
}

// steers has a node asked to steer a rollout; want is the error, or how it is then.
func (f *fleet) steers(node, action, plan, want string) {
	f.t.Helper()
	r, err := f.nodes[node].Steer(f.t.Context(), Steering{Action: action, Plan: plan, Reason: "test", Actor: "bob"})
	got := fmt.Sprint(r)
	if err != nil {
		got = err.Error()
	}
	if got != want {
		f.t.Errorf("%s asked for %s %s: %q, want %q", node, action, plan, got, want)
	}
}

// shows has a node asked for the rollout; want is the error, or how it is.
func (f *fleet) shows(node, member, want string) {
	f.t.Helper()
	r, err := f.nodes[node].ShowRollout(f.t.Context(), member)
	got := fmt.Sprint(r)
	if err != nil {
		got = err.Error()
	}
	if got != want {
		f.t.Errorf("%s shows %q, want %q", node, got, want)
	}
}

func (f *fleet) setCut(name string, cut bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut[name] = cut
}

// TestSteeredFromAnyNode: whoever is asked shows and steers the rollout that is under
// way, wherever it is coordinated, and its audit log says who it was.
func TestSteeredFromAnyNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a1", "a2", "b1"}
		f := newFleet(t, names...)
		f.start(names...)
		defer f.stopAll()
		a, b := f.nodes["a1"], f.nodes["b1"]
		f.await("all announced", 15*time.Second, f.all(bgp.Announced, names...))
		f.shows("b1", "", "<nil>")
		f.steers("b1", "abort", "", "abort: no member has rolled anything out")
		f.recolour(names...)
		id := f.roll("a1", "all", "ns1", 30*time.Second)
		f.phase("a1", bgp.PhaseBaking)
		since := a.Rollout().Begun.UTC().Format(time.RFC3339)
		whole := fmt.Sprintf("a1's rollout of plan %s (since %s)", id, since)
		wave := fmt.Sprintf("a1's rollout of plan %s: wave 1 of 3 (a1): ", id)

		f.shows("b1", "", wave+"baking")
		if r, err := b.ShowRollout(t.Context(), ""); err != nil || r.Plan.Changes != nil || r.Plan.Steps[0].Plan.VIPs != nil {
			t.Errorf("what goes over the link is %+v, %v, want no more than an outline", r, err)
		}
		_, err := b.Announcer.Apply(t.Context(), Application{Plan: id, Nodes: "all", Wide: true, Reason: "me too", Actor: "bob"})
		if want := fmt.Sprintf("plan %s is being rolled out by a1 (since %s): edged vip rollout shows how far it is", id, since); err == nil || err.Error() != want {
			t.Errorf("the same plan from another node: %v, want %q", err, want)
		}
		f.steers("b1", "pause", "", wave+"paused while baking: paused by bob, by way of b1: test")
		time.Sleep(time.Minute)
		f.shows("a2", "", wave+"paused while baking: paused by bob, by way of b1: test")
		f.steers("a2", "pause", "", whole+": a1 says: the rollout of plan "+id+" is paused: there is nothing to pause")
		f.steers("a2", "resume", id, wave+"baking: resumed by bob, by way of a2: test")
		f.steers("a2", "abort", "0123456789ab", `abort: no member rolls plan "0123456789ab" out, or did last: edged vip rollout shows what is under way`)
		if _, err := b.Steer(t.Context(), Steering{Action: "abort"}); err == nil || err.Error() != "to abort a rollout needs a reason, for those who read of it later" {
			t.Errorf("without a reason: %v", err)
		}
		if _, err := a.Handle(t.Context(), "b1", pathSteer, []byte(`{"action": "abort"}`)); err == nil || !strings.Contains(err.Error(), "needs a reason") {
			t.Errorf("a member without a reason: %v", err)
		}

		const unheard = "a1 did not answer, and may roll something out"
		f.setCut("a1", true)
		f.shows("b1", "", "no rollout is known: "+unheard)
		f.shows("b1", "a1", "the rollout of a1: a1 did not answer: connection refused; "+instead)
		f.steers("b1", "abort", "", "abort: no rollout is known: "+unheard+"; "+instead)
		f.setCut("a1", false)

		f.steers("b1", "abort", "", wave+"aborting: aborted by bob, by way of b1: test")
		f.phase("a1", bgp.PhaseAborted)
		if got, want := a.route(), "64512:100"; got != want {
			t.Errorf("after the abort the route of a1 is %q, want %q", got, want)
		}
		f.shows("b1", "", wave+"aborted: aborted by bob, by way of b1: test")
		var log strings.Builder
		if err := a.WriteAudit(&log); err != nil || !strings.Contains(log.String(), "aborted by bob, by way of b1: test") {
			t.Errorf("the audit log of a1: %v, %s", err, &log)
		}
	})
}

// TestRollbackOfWhatIsMeant: what has ended is rolled back if there can be no doubt
// which rollout was meant, or if its plan is named.
func TestRollbackOfWhatIsMeant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a1", "b1", "c1"}
		f := newFleet(t, names...)
		second := ns("ns2", "198.51.100.54/32")
		second.Communities = testVIP.Communities
		for _, n := range f.nodes {
			n.file.VIPs = []bgp.VIP{testVIP, second}
		}
		f.start(names...)
		defer f.stopAll()
		a, b := f.nodes["a1"], f.nodes["b1"]
		f.await("all announced", 15*time.Second, f.all(bgp.Announced, names...))
		f.recolour("a1", "b1")
		first := f.roll("a1", "node/a1", "ns1", 20*time.Second)
		time.Sleep(time.Second)
		later := f.roll("b1", "node/b1", "ns2", time.Minute)
		place := func(n *testNode) string {
			r := n.Rollout()
			return fmt.Sprintf("%s's rollout of plan %s (since %s)", n.self.Name, r.Plan.ID, r.Begun.UTC().Format(time.RFC3339))
		}
		both := "several rollouts are under way: " + place(a) + ", " + place(b) + ": name the plan that is meant, or say it on its node"
		f.shows("c1", "", both)
		f.steers("c1", "pause", "", both)

		f.phase("a1", bgp.PhaseDone)
		f.shows("a1", "", "b1's rollout of plan "+later+": wave 1 of 1 (b1): baking")
		f.phase("b1", bgp.PhaseDone)
		hint := "rollback: no rollout is under way; edged vip rollback " + later + " takes back the last one, " + place(b)
		f.steers("a1", "rollback", "", hint)
		f.steers("c1", "rollback", "", hint)
		f.setCut("c1", true)
		f.shows("b1", "", "b1's rollout of plan "+later+": wave 1 of 1 (b1): done; c1 did not answer, and may roll something out")
		f.steers("b1", "rollback", "", "rollback: no rollout is known to be under way: c1 did not answer, and may roll something out; "+instead+
			"; edged vip rollback "+later+" takes back the last one known, "+place(b))
		if got := b.Rollout().Phase; got != bgp.PhaseDone {
			t.Errorf("the rollout of b1 is %s", got)
		}
		f.setCut("c1", false)

		f.steers("c1", "rollback", first, "a1's rollout of plan "+first+": wave 1 of 1 (a1): aborting: rolled back by bob, by way of c1: test")
		f.phase("a1", bgp.PhaseAborted)
		f.steers("b1", "rollback", "", "b1's rollout of plan "+later+": wave 1 of 1 (b1): aborting: rolled back by bob: test")
		f.phase("b1", bgp.PhaseAborted)
		f.steers("c1", "rollback", "", "rollback: no rollout is under way; the last one, "+place(b)+", is taken back already")
		f.phase("b1", bgp.PhaseAborted)
		for _, n := range []*testNode{a, b} {
			if got, want := n.Rollout().Nodes[n.self.Name].Restored, true; got != want {
				t.Errorf("%s is restored: %v", n.self.Name, got)
			}
		}
	})
}
