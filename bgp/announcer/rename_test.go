package announcer

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp"
	"edged/bgp/speaker"
)

// applies has one node plan and roll out what another one's file shall want; bake below zero: none.
func (f *fleet) applies(t *testing.T, by, node string, bake time.Duration, vips ...bgp.VIP) {
	t.Helper()
	a, b := f.nodes[node], f.nodes[by]
	a.file.VIPs = vips
	a.Use(a.file)
	p, err := b.Plan(t.Context(), bgp.Selection{Nodes: "node/" + node}, bgp.Limits{AllowWide: true})
	if err == nil {
		_, err = b.Announcer.Apply(t.Context(), Application{Plan: p.Plan.ID, Nodes: "node/" + node, Wide: true, Bake: bake, Reason: "x", Actor: "ann"})
	}
	if err != nil {
		t.Fatal(err)
	}
	f.phase(by, map[bool]bgp.Phase{true: bgp.PhaseBaking, false: bgp.PhaseDone}[bake > 0])
}

// asks asks a node for an operation.
func (n *testNode) asks(t *testing.T, q Request) {
	t.Helper()
	q.Reason, q.Actor = "work", "cal"
	if _, err := n.Operate(t.Context(), q); err != nil {
		t.Fatal(err)
	}
}

// takenBack has a node roll back or abort its rollout, and waits until it has.
func (f *fleet) takenBack(t *testing.T, by, action string) {
	t.Helper()
	if _, err := f.nodes[by].Steer(t.Context(), Steering{Action: action, Reason: "wrong", Actor: "bob"}); err != nil {
		t.Fatal(err)
	}
	f.phase(by, bgp.PhaseAborted)
}

// TestRenamedByRestarts: nodes whose files name the VIP otherwise, and that are restarted, had its
// prefix in two VIPs then, and nothing at all after the next restart.
func TestRenamedByRestarts(t *testing.T) {
	names := []string{"a1", "a2", "b1", "b2"}
	withRouters(t, strings.Join(names, " "), 2, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		for range 2 {
			for _, name := range names {
				f.stop(name)
				f.nodes[name].file.VIPs = []bgp.VIP{as("ns2", 2, first)}
				f.start(name)
				time.Sleep(time.Minute)
				if n := f.hear(first); n != 4 {
					t.Fatalf("%d nodes announce it when %s was restarted, want 4; its alarm: %q", n, name, f.nodes[name].alarmed())
				}
			}
		}
		a := f.nodes["a1"]
		if p := a.Status().Pending; len(p) != 2 {
			t.Errorf("pending is %v, want the old name and the new one", p)
		}
		f.applies(t, "b1", "a1", -1, as("ns2", 2, first))
		if _, has := a.plan.VIP("ns2"); !has || !a.heard()[first] {
			t.Errorf("the rename was rolled out, and the plan is %+v", a.plan)
		}
	})
}

// TestRenamedWhileDrained: the new name did not know of the drain.
func TestRenamedWhileDrained(t *testing.T) {
	withRouters(t, "a1 b1 b2", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		f.nodes["b1"].asks(t, Request{Kind: bgp.Drain, VIP: "ns1", Node: "a1"})
		f.await("drained", time.Minute, func() bool { return a.routeTo(first) == "none" })
		f.stop("a1")
		a.file.VIPs = []bgp.VIP{as("ns2", 1, first)}
		f.start("a1")
		for range 1200 {
			time.Sleep(100 * time.Millisecond)
			if a.heard()[first] {
				t.Fatal("what was drained is announced")
			}
		}
	})
}

// TestRollbackFromDrained: what a plan had put into a VIP that was drained before comes back when it
// is taken back, for nobody wanted that out; what was drained after it stays out.
func TestRollbackFromDrained(t *testing.T) {
	for action, bake := range map[string]time.Duration{"rollback": -1, "abort": time.Hour} {
		withRouters(t, "a1 b1 b2", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
			for _, n := range f.nodes {
				n.takes(t, as("ns1", 1, first, third), as("ns2", 1, second))
			}
			time.Sleep(time.Minute)
			a := f.nodes["a1"]
			f.nodes["b1"].asks(t, Request{Kind: bgp.Drain, VIP: "ns2", Node: "a1"})
			f.await("drained", time.Minute, func() bool { return a.routeTo(second) == "none" })
			f.applies(t, "b2", "a1", bake, as("ns1", 1, third), as("ns2", 1, first, second))
			time.Sleep(time.Minute)
			f.stop("a1") // it knows after a restart, too
			f.start("a1")
			time.Sleep(time.Minute)
			f.takenBack(t, "b2", action)
			time.Sleep(time.Minute)
			if h := a.heard(); !h[first] || h[second] || !h[third] {
				t.Errorf("%s: routers have %v; rollout %s", action, h, f.nodes["b2"].Rollout())
			}
		})
	}
}

// TestRollbackBothDrained: a VIP that became two, which are both drained, comes back, and is drained.
func TestRollbackBothDrained(t *testing.T) {
	withRouters(t, "a1 b1 b2", 1, []netip.Prefix{first, second}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		f.applies(t, "b2", "a1", -1, as("ns2", 1, first), as("ns3", 1, second))
		for _, vip := range []string{"ns2", "ns3"} {
			f.nodes["b1"].asks(t, Request{Kind: bgp.Drain, VIP: vip, Node: "a1"})
		}
		f.await("drained", time.Minute, func() bool { return len(a.heard()) == 0 })
		f.takenBack(t, "b2", "rollback")
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			if len(a.heard()) > 0 {
				t.Fatalf("routers have %v", a.heard())
			}
		}
		if w := f.nodes["b2"].alarmed(); w != "" {
			t.Errorf("alarm %q, rollout %s", w, f.nodes["b2"].Rollout())
		}
		if _, has := a.plan.VIP("ns1"); !has {
			t.Errorf("the plan is %+v", a.plan)
		}
	})
}

// TestRollbackToHeldName: a hold of the name that would come back goes before its drain.
func TestRollbackToHeldName(t *testing.T) {
	withRouters(t, "a1 b1 b2", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		a.asks(t, Request{Kind: bgp.Hold, VIP: "ns1", Node: "a1"})
		time.Sleep(time.Second)
		f.applies(t, "b2", "a1", -1, as("ns2", 1, first))
		f.nodes["b1"].asks(t, Request{Kind: bgp.Drain, VIP: "ns2", Node: "a1"})
		f.await("drained", time.Minute, func() bool { return a.routeTo(first) == "none" })
		f.takenBack(t, "b2", "rollback")
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			if a.heard()[first] {
				t.Fatal("what was drained is announced")
			}
		}
		const want = "a1: it refuses to be restored: an operator wants ns2 out here, and ns1 would announce what it has, for it is held (hold ns1 on node/a1 since "
		if got := f.nodes["b2"].Rollout().String(); !strings.Contains(got, want) {
			t.Errorf("told is %q, want %q", got, want)
		}
		a.asks(t, Request{End: "release", VIP: "ns1", Node: "a1"})
	})
}

// TestDrainedNodeIsNoCanary: a node that shows nothing of a plan comes last, and the plan says so.
func TestDrainedNodeIsNoCanary(t *testing.T) {
	withRouters(t, "a1 b1 b2 c1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		f.nodes["b1"].asks(t, Request{Kind: bgp.Drain, VIP: "ns1", Node: "a1"})
		f.await("drained", time.Minute, func() bool { return f.nodes["a1"].routeTo(first) == "none" })
		f.recolour("a1", "b1", "b2", "c1")
		p, err := f.nodes["b1"].Plan(t.Context(), bgp.Selection{Nodes: "all"}, bgp.Limits{AllowWide: true})
		if err != nil {
			t.Fatal(err)
		}
		want := [][]string{{"b1"}, {"b2"}, {"c1"}, {"a1"}}
		note := "a1: an operator wants out there all that changes, and it shows nothing of it"
		if !slices.EqualFunc(p.Waves, want, slices.Equal) || !slices.Contains(p.Verdict.Notes, note) {
			t.Errorf("waves %v, notes %q, want %v and %q", p.Waves, p.Verdict.Notes, want, note)
		}
	})
}

// TestDrainedForAllClocks: what was drained stays so when the clock is set back, and when the PoP that
// was drained has another name.
func TestDrainedForAllClocks(t *testing.T) {
	withRouters(t, "a1 b1 b2", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		later := Request{Kind: bgp.Drain, VIP: "ns1", PoP: "a", Since: time.Now().Add(time.Hour), Reason: "x", Actor: "ann"}
		if _, err := a.Operate(t.Context(), later); err == nil || !strings.Contains(err.Error(), "a drain begins now") {
			t.Errorf("a drain that is to begin later: %v", err)
		}
		f.nodes["b1"].asks(t, Request{Kind: bgp.Drain, VIP: "ns1", PoP: "a"})
		f.await("drained", time.Minute, func() bool { return a.routeTo(first) == "none" })
		a.Announcer.mu.Lock()
		o := a.operations[0]
		o.Since = time.Now().Add(time.Hour) // as a clock sees it that was set back
		o, err := bgp.NewOperation(o)
		a.operations, a.dirty = []bgp.Operation{o}, true
		a.Announcer.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		stays := func(what string) {
			t.Helper()
			for range 600 {
				time.Sleep(100 * time.Millisecond)
				if a.heard()[first] {
					t.Fatalf("%s: what was drained is announced", what)
				}
			}
		}
		stays("the clock is set back")
		f.stop("a1")
		a.self.PoP = "a2"
		f.start("a1")
		stays("its PoP has another name")
		if got := a.Status().Operations; len(got) != 1 || got[0].PoP != "a2" {
			t.Errorf("operations %v", got)
		}
		a.asks(t, Request{End: "undrain", VIP: "ns1", PoP: "a2"})
		f.await("back", time.Minute, func() bool { return a.routeTo(first) == "64512:100" })
	})
}

// TestNodeRenamed: a node that has another name announces what it did, and nothing that was drained.
func TestNodeRenamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "a2")
		defer f.stopAll()
		a, b := f.nodes["a1"], f.nodes["a2"]
		a.file.VIPs = []bgp.VIP{as("ns1", 1, first), as("ns2", 1, second)}
		b.file, b.dir = a.file, a.dir
		f.start("a1")
		f.await("announced", 15*time.Second, func() bool { return a.heard()[first] && a.heard()[second] })
		a.asks(t, Request{Kind: bgp.Drain, VIP: "ns2", Node: "a1", Local: true, Force: true})
		f.await("drained", time.Minute, func() bool { return !a.heard()[second] })
		f.stop("a1")
		for _, told := range []bool{true, false} {
			f.start("a2")
			time.Sleep(time.Minute)
			if got, want := b.routeTo(first)+", "+b.routeTo(second), "64512:100, none"; got != want {
				t.Errorf("it announces %s, want %s", got, want)
			}
			const alarm = `name of before: it is of node "a1", by which name this one went before: its plan and operations go on; `
			if got := b.alarmed(); strings.Contains(got, alarm) != told {
				t.Errorf("alarm %q; that the name is new is told: want %v", got, told)
			}
			if got := b.Status().Operations; len(got) != 1 || got[0].Node != "a2" {
				t.Errorf("operations %v", got)
			}
			f.stop("a2")
		}
	})
}

// TestOlderOperationsMoved: what was asked before the plan was taken is known as that under the new name.
func TestOlderOperationsMoved(t *testing.T) {
	o, err := bgp.NewOperation(bgp.Operation{Kind: bgp.Drain, Node: "a1", Reason: "x", Actor: "ann", Since: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	a := &Announcer{cfg: Config{Self: bgp.Member{Name: "a2", PoP: "b"}}, operations: []bgp.Operation{o}, older: []string{"other", o.ID}}
	a.moved(bgp.Member{Name: "a1", PoP: "a"})
	if got := a.operations[0]; got.Node != "a2" || got.ID == o.ID || a.older[0] != "other" || a.older[1] != got.ID {
		t.Errorf("operations %v, older %v", a.operations, a.older)
	}
}
