package announcer

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp"
	"edged/bgp/speaker"
)

// An address may have another VIP's name on nodes that took a plan than on those that did not
// yet. Nothing is withdrawn by that, and all count it as the same address.

var third = netip.MustParsePrefix("198.51.100.55/32")

// as is the VIP of the tests by another name, with these prefixes.
func as(name string, least int, prefixes ...netip.Prefix) bgp.VIP {
	v := with(prefixes...)
	v.Name, v.MinAnnouncers = name, least
	return v
}

// moves starts nodes with second in ns1, and has some take a plan with it in ns2.
func moves(t *testing.T, all, some string, least int, do func(t *testing.T, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		names := strings.Fields(all)
		f := newFleet(t, names...)
		for _, n := range f.nodes {
			n.file.VIPs = []bgp.VIP{as("ns1", least, first, second), as("ns2", least, third)}
		}
		f.start(names...)
		defer f.stopAll()
		f.await("announced", 15*time.Second, f.all(bgp.Announced, names...))
		time.Sleep(40 * time.Second)
		for _, name := range strings.Fields(some) {
			f.nodes[name].takes(t, as("ns1", least, first), as("ns2", least, second, third))
			time.Sleep(10 * time.Second)
		}
		time.Sleep(20 * time.Second)
		do(t, f)
	})
}

// TestMoveAlarmsNobody: no node raises an alarm, and no breaker opens, while others have taken
// the plan.
func TestMoveAlarmsNobody(t *testing.T) {
	moves(t, "a1 a2 a3 b1 b2 b3", "a1 a2 a3", 2, func(t *testing.T, f *fleet) {
		for name, n := range f.nodes {
			if n.withdrew[second] != 0 || n.alarmed() != "" {
				t.Errorf("%s: it was withdrawn %d times; alarm %q", name, n.withdrew[second], n.alarmed())
			}
		}
		if v := f.nodes["b1"].Status().VIPs[0]; v.Announcers != 6 || v.Otherwise != 0 {
			t.Errorf("b1 counts %d nodes that announce ns1 and %d that do otherwise, want 6 and 0", v.Announcers, v.Otherwise)
		}
		b := f.nodes["b1"]
		b.takes(t, as("ns1", 2, first), as("ns2", 2, third))
		f.await("second gone from b1", time.Minute, func() bool { return b.routeTo(second) == "none" })
	})
}

// TestRenameAlarmsNobody: likewise when all of a VIP has another name.
func TestRenameAlarmsNobody(t *testing.T) {
	withRouters(t, "a1 a2 a3 b1 b2 b3", 2, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		for _, name := range []string{"a1", "a2", "a3"} {
			f.nodes[name].takes(t, as("ns2", 2, first))
			time.Sleep(10 * time.Second)
		}
		for name, n := range f.nodes {
			if n.withdrew[first] != 0 || n.alarmed() != "" {
				t.Errorf("%s: it was withdrawn %d times; alarm %q", name, n.withdrew[first], n.alarmed())
			}
		}
	})
}

// TestDrainBesideMove: who has the prefixes of a VIP in two others promises to keep
// them in both, and a node that has not taken the plan can be drained.
func TestDrainBesideMove(t *testing.T) {
	moves(t, "a1 b1 b2", "b1 b2", 1, func(t *testing.T, f *fleet) {
		f.operate(t, "a1", bgp.Drain)
		a := f.nodes["a1"]
		f.await("drained", time.Minute, func() bool { return len(a.heard()) == 0 })
		for _, v := range a.Status().VIPs {
			if v.State != bgp.Withdrawn {
				t.Errorf("%s is %s: %s", v.Name, v.State, v.Cause)
			}
		}
		// Both VIPs of b1 are bound by what it promised.
		b := f.nodes["b1"]
		b.Announcer.mu.Lock()
		defer b.Announcer.mu.Unlock()
		for _, name := range []string{"ns1", "ns2"} {
			if got := b.vips[name].guard.Counts().Granted; got == 0 {
				t.Errorf("b1 never promised to keep %s", name)
			}
		}
	})
}

// TestRefusesForAll: who cannot keep one of the prefixes that are asked for is bound for none.
func TestRefusesForAll(t *testing.T) {
	moves(t, "a1 b1 b2", "b1 b2", 1, func(t *testing.T, f *fleet) {
		b := f.nodes["b1"]
		b.mu.Lock()
		b.mutes = second // of ns2
		b.mu.Unlock()
		f.await("degraded", time.Minute, func() bool { return strings.Contains(b.alarmed(), "vip ns2: degraded") })
		f.operate(t, "a1", bgp.Drain)
		time.Sleep(time.Minute)
		b.Announcer.mu.Lock()
		defer b.Announcer.mu.Unlock()
		for _, name := range []string{"ns1", "ns2"} {
			if got := b.vips[name].guard.Counts().Granted; got != 0 {
				t.Errorf("b1 promised %d times to keep %s", got, name)
			}
		}
	})
}

// TestSessionBesideRename: a drained node that has a VIP by another name counts as one that has
// it, so a session is not changed with fewer promises.
func TestSessionBesideRename(t *testing.T) {
	withRouters(t, "a1 a2 b1", 2, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		a.takes(t, as("ns2", 2, first))
		time.Sleep(10 * time.Second)
		f.operate(t, "a2", bgp.Drain)
		f.await("a2 drained", time.Minute, func() bool { return f.nodes["a2"].state() == bgp.Withdrawn })
		time.Sleep(30 * time.Second)
		a.reloads(router("a", 3))
		if few := f.least(first, 2*time.Minute); few < 2 {
			t.Errorf("%d nodes at least, want 2", few)
		}
	})
}

// TestBreakerCountsWhatWasHeard: nodes with a VIP that no router ever had did not leave it.
func TestBreakerCountsWhatWasHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := strings.Fields("a1 a2 b1 b2")
		f := newFleet(t, names...)
		for _, n := range f.nodes {
			v := testVIP
			v.Groups = []string{"nowhere"}
			n.file.VIPs = []bgp.VIP{v}
		}
		f.start(names...)
		defer f.stopAll()
		f.await("canaries", 15*time.Second, f.all(bgp.Canary, names...))
		time.Sleep(time.Minute)
		for name, n := range f.nodes {
			if got, want := n.alarmed(), "vip ns1: it is canary, but no peer has 198.51.100.53/32"; got != want {
				t.Errorf("%s raises the alarm %q, want %q", name, got, want)
			}
		}
	})
}

// TestBreakerOverMerge: a VIP that takes an address over is held by the open breaker of that, too.
func TestBreakerOverMerge(t *testing.T) {
	withRouters(t, "a1 a2 a3 b1 b2 b3", 2, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		for _, n := range f.nodes {
			n.takes(t, as("ns1", 2, first), as("ns2", 2, second))
		}
		time.Sleep(time.Minute)
		for _, name := range []string{"a1", "a2", "a3"} {
			if _, err := f.nodes[name].Operate(t.Context(), Request{Kind: bgp.Drain, VIP: "ns1", Node: name, Reason: "x", Actor: "ann"}); err != nil {
				t.Fatal(err)
			}
		}
		b := f.nodes["b1"]
		f.await("open", 3*time.Minute, func() bool { return strings.Contains(b.alarmed(), "vip ns1: breaker open: 3 of 6 nodes left") })
		b.takes(t, as("ns2", 2, first, second))
		time.Sleep(10 * time.Second)
		if want := "vip ns2: breaker open: 3 of 6 nodes left"; !strings.Contains(b.alarmed(), want) {
			t.Errorf("the alarm is %q, want %q", b.alarmed(), want)
		}
	})
}

// TestRenameUndrainsNobody: what an operator wants out is not announced by another name: neither is
// that planned, nor does the node take it.
func TestRenameUndrainsNobody(t *testing.T) {
	withRouters(t, "a1 a2 b1 b2", 2, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a, b := f.nodes["a1"], f.nodes["b1"]
		o, err := b.Operate(t.Context(), Request{Kind: bgp.Maintenance, VIP: "ns1", Node: "a1", Reason: "x", Actor: "ann", For: time.Hour})
		if err != nil {
			t.Fatalf("%v: %+v", err, o)
		}
		f.await("drained", time.Minute, func() bool { return a.routeTo(first) == "none" })
		for _, n := range f.nodes {
			n.wants(as("ns2", 2, first))
		}
		since := "(maintenance ns1 on node/a1 since " + a.Status().Operations[0].Since.Format(time.RFC3339) + ") by edged vip undrain"
		refused := "plan refused: drained: a1: an operator wants ns1 out there, and ns2 would announce 198.51.100.53/32: end that " + since + ", or leave the node out of the plan"
		for nodes, want := range map[string]string{
			"all":       refused,
			"node/a2":   "",
			"pop/b":     "",
			"all,pop/b": refused,
		} {
			p, err := b.Plan(t.Context(), bgp.Selection{Nodes: nodes}, bgp.Limits{AllowWide: true})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := p.Verdict.Err(); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("%s: %q, want %q", nodes, got, want)
			}
		}
		next := bgp.Pending(a.plan, []bgp.VIP{as("ns2", 2, first)}, nil)
		want := "an operator wants ns1 out here, and ns2 would announce what it has: end that " + since + ", or drain all VIPs here"
		if err := a.take(next, false, "ann", "test"); err == nil || err.Error() != want {
			t.Errorf("the node takes it: %v, want %q", err, want)
		}
		if _, err := b.Operate(t.Context(), Request{End: "undrain", VIP: "ns1", Node: "a1", Reason: "done", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("back", time.Minute, func() bool { return a.routeTo(first) == "64512:100" })
		if err := a.take(next, false, "ann", "test"); err != nil {
			t.Error(err)
		}
	})
}

// TestRollbackUndrainsNobody: what was drained by its new name is drained by the old one when the
// rename is taken back.
func TestRollbackUndrainsNobody(t *testing.T) {
	for action, bake := range map[string]time.Duration{"rollback": -1, "abort": time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			f := announcing(t, "a1", "b1", "b2")
			time.Sleep(40 * time.Second)
			a, b := f.nodes["a1"], f.nodes["b2"]
			a.wants(as("ns2", 1, first))
			p, err := b.Plan(t.Context(), bgp.Selection{Nodes: "node/a1"}, bgp.Limits{AllowWide: true})
			if err == nil {
				_, err = b.Announcer.Apply(t.Context(), Application{Plan: p.Plan.ID, Nodes: "node/a1", Wide: true, Bake: bake, Reason: "x", Actor: "ann"})
			}
			if err != nil {
				t.Fatal(err)
			}
			f.phase("b2", map[bool]bgp.Phase{true: bgp.PhaseBaking, false: bgp.PhaseDone}[bake > 0])
			if _, err := b.Operate(t.Context(), Request{Kind: bgp.Drain, PoP: "a", VIP: "ns2", Reason: "work", Actor: "cal"}); err != nil {
				t.Fatal(err)
			}
			f.await("drained", time.Minute, func() bool { return a.routeTo(first) == "none" && !a.open(first) })
			if _, err := b.Steer(t.Context(), Steering{Action: action, Reason: "wrong", Actor: "bob"}); err != nil {
				t.Fatal(err)
			}
			f.phase("b2", bgp.PhaseAborted)
			for range 600 {
				time.Sleep(100 * time.Millisecond)
				if a.heard()[first] {
					t.Fatalf("%s: it is announced: %+v", action, a.Status().VIPs)
				}
			}
			if got, want := b.Rollout().String()+a.alarmed(), p.Plan.ID; !strings.HasPrefix(got, "plan "+want) || !strings.HasSuffix(got, "by bob: wrong") {
				t.Errorf("%s: told is %q", action, got)
			}
			out, err := b.Operate(t.Context(), Request{End: "undrain", PoP: "a", VIP: "ns2", Reason: "done", Actor: "ann"})
			if err != nil || len(out) != 1 || !strings.Contains(out[0].What, "stays; to end that: edged vip undrain node/a1 --vip ns1 --reason WHY") {
				t.Errorf("%s: what was asked ends: %v, %v", action, out, err)
			}
			if _, err := b.Operate(t.Context(), Request{End: "undrain", Node: "a1", VIP: "ns1", Reason: "done", Actor: "ann"}); err != nil {
				t.Fatal(err)
			}
			f.await("back", time.Minute, func() bool { return a.routeTo(first) == "64512:100" })
		})
	}
}

// TestRenameHeldOrLater: likewise what is drained under a hold, or is to be.
func TestRenameHeldOrLater(t *testing.T) {
	for what, asked := range map[string][]Request{
		"drain":       {{Kind: bgp.Drain, Node: "a1", VIP: "ns1"}, {Kind: bgp.Hold, Node: "a1", VIP: "ns1", Local: true}},
		"maintenance": {{Kind: bgp.Maintenance, Node: "a1", VIP: "ns1", For: time.Hour}},
	} {
		withRouters(t, "a1 b1 b2", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
			a := f.nodes["a1"]
			for _, q := range asked {
				q.Reason, q.Actor = "x", "ann"
				if q.Kind == bgp.Maintenance {
					q.Since = time.Now().Add(time.Hour)
				}
				if _, err := a.Operate(t.Context(), q); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
			}
			a.wants(as("ns2", 1, first))
			p, err := a.Plan(t.Context(), bgp.Selection{Nodes: "node/a1"}, bgp.Limits{AllowWide: true})
			if err != nil {
				t.Fatal(err)
			}
			want := "drained: a1: an operator wants ns1 out there, and ns2 would announce 198.51.100.53/32: end that (" + what + " ns1 on node/a1 since "
			if err := p.Verdict.Err(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}

// TestRollbackTakesAllDrainsAlong: those by force as such, and those that are to come.
func TestRollbackTakesAllDrainsAlong(t *testing.T) {
	withRouters(t, "a1 b1 b2", 3, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		before := a.plan
		a.takes(t, as("ns2", 3, first))
		time.Sleep(time.Minute)
		for _, q := range []Request{
			{Kind: bgp.Drain, PoP: "a"}, // in vain: two others cannot promise enough
			{Kind: bgp.Maintenance, Node: "a1", Since: time.Now().Add(time.Hour), For: time.Hour},
			{Kind: bgp.Drain, Node: "a1", Force: true},
		} {
			q.VIP, q.Reason, q.Actor = "ns2", "work", "cal"
			if _, err := a.Operate(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if a.heard()[first] {
			t.Fatalf("it is not drained: %+v", a.Status().VIPs)
		}
		if err := a.take(a.plan.Restored(before), true, "ann", "test"); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range a.Status().Operations {
			if o.VIP == "ns1" {
				got = append(got, fmt.Sprint(o.What(), " ", o.Force))
			}
		}
		slices.Sort(got)
		if want := []string{"drain ns1 on node/a1 false", "drain ns1 on node/a1 true", "maintenance ns1 on node/a1 false"}; !slices.Equal(got, want) {
			t.Errorf("operations %q, want %q", got, want)
		}
		for range 1200 {
			time.Sleep(100 * time.Millisecond)
			if a.heard()[first] {
				t.Fatalf("it is announced again: %+v", a.Status().VIPs)
			}
		}
	})
}

// TestRollbackDrainsNoMore: a VIP that would come back with more than what was drained by its new name
// does not: the node refuses, and what was not drained stays.
func TestRollbackDrainsNoMore(t *testing.T) {
	withRouters(t, "a1 b1 b2", 1, []netip.Prefix{first, second}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a, b := f.nodes["a1"], f.nodes["b2"]
		a.file.VIPs = []bgp.VIP{as("ns2", 1, first), as("ns3", 1, second)}
		a.Use(a.file)
		p, err := b.Plan(t.Context(), bgp.Selection{Nodes: "node/a1"}, bgp.Limits{AllowWide: true})
		if err == nil {
			_, err = b.Announcer.Apply(t.Context(), Application{Plan: p.Plan.ID, Nodes: "node/a1", Wide: true, Bake: -1, Reason: "x", Actor: "ann"})
		}
		if err == nil {
			f.phase("b2", bgp.PhaseDone)
			_, err = b.Operate(t.Context(), Request{Kind: bgp.Drain, Node: "a1", VIP: "ns3", Force: true, Reason: "work", Actor: "cal"})
		}
		if err == nil {
			f.await("drained", time.Minute, func() bool { return a.routeTo(second) == "none" })
			_, err = b.Steer(t.Context(), Steering{Action: "rollback", Reason: "wrong", Actor: "bob"})
		}
		if err != nil {
			t.Fatal(err)
		}
		f.phase("b2", bgp.PhaseAborted)
		const want = "; a1: it refuses to be restored: an operator wants ns3 out here, and ns1 would announce what it has: end that (drain ns3 on node/a1 since "
		if got := b.Rollout().String(); !strings.Contains(got, want) {
			t.Errorf("told is %q, want %q", got, want)
		}
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			if heard := a.heard(); !heard[first] || heard[second] {
				t.Fatalf("routers have %v", heard)
			}
		}
	})
}

// crossing has first go over from VIPs of router a to those of router b, which has no session
// with a1, on a1: in the place of second, which goes the other way, or beside it.
func crossing(t *testing.T, beside bool, do func(t *testing.T, f *fleet, a *testNode, before, after []bgp.VIP)) {
	t.Helper()
	before := []bgp.VIP{inGroup(as("ns1", 1, first), "one"), inGroup(as("ns2", 1, second), "two")}
	after := []bgp.VIP{inGroup(as("ns1", 1, second), "one"), inGroup(as("ns2", 1, first), "two")}
	if beside {
		before = []bgp.VIP{inGroup(as("ns1", 1, first, third), "one"), inGroup(as("ns2", 1, second), "two")}
		after = []bgp.VIP{inGroup(as("ns1", 1, third), "one"), inGroup(as("ns2", 1, first, second), "two")}
	}
	withSilent(t, before, func(t *testing.T, f *fleet, a *testNode) {
		a.takes(t, after...)
		do(t, f, a, before, after)
	})
}

// withSilent starts nodes with a router of each group, of which a1 has no session with the second.
func withSilent(t *testing.T, vips []bgp.VIP, do func(t *testing.T, f *fleet, a *testNode)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		names := strings.Fields("a1 b1 b2 b3")
		f := newFleet(t, names...)
		for _, n := range f.nodes {
			n.file.Peers, n.file.VIPs = []speaker.Peer{router("a", 9, "one"), router("b", 9, "two")}, vips
		}
		a := f.nodes["a1"]
		a.refuses["b"] = true
		f.start(names...)
		defer f.stopAll()
		f.await("announced", 15*time.Second, f.all(bgp.Announced, names...))
		time.Sleep(40 * time.Second)
		do(t, f, a)
	})
}

func inGroup(v bgp.VIP, group string) bgp.VIP {
	v.Groups = []string{group}
	return v
}

// TestMoveToSilentRouters: an address that goes over to a VIP of other routers stays where it is
// while none of these has it, though others promise to keep it; also when it goes back.
func TestMoveToSilentRouters(t *testing.T) {
	for _, beside := range []bool{false, true} {
		crossing(t, beside, func(t *testing.T, f *fleet, a *testNode, before, after []bgp.VIP) {
			stays := func() {
				for range 600 {
					time.Sleep(100 * time.Millisecond)
					if !a.heard()[first] {
						t.Fatalf("%s is withdrawn: %+v", first, a.Status().VIPs)
					}
				}
			}
			stays()
			want := "ns2 is announced, but peers of one, two still hear it, for none of two has 198.51.100.53/32"
			if beside {
				want = "ns2 is canary, to be announced: a peer to be sent the route"
				if got := a.Status().VIPs[0].Leaving; len(got) != 1 || got[0].State != bgp.Announced || got[0].Waits != "ns2 to have it, and a peer of that" {
					t.Errorf("%s is shown as %+v", first, got)
				}
			}
			if got := a.report().Status.Waits; got != want {
				t.Errorf("the node waits for %q, want %q", got, want)
			}
			a.takes(t, before...)
			stays()
			for _, v := range a.Status().VIPs {
				if len(v.Leaving) > 0 || v.Failing != "" {
					t.Errorf("%s has %v, leaving %+v, checks fail: %q", v.Name, v.Prefixes, v.Leaving, v.Failing)
				}
			}
			if got, want := a.routeTo(first), "64512:100"; got != want {
				t.Errorf("the route is %s, want %s", got, want)
			}
		})
	}
}

// TestMoveWhenRoutersAnswer: it goes over as soon as one of them has a session.
func TestMoveWhenRoutersAnswer(t *testing.T) {
	for _, beside := range []bool{false, true} {
		crossing(t, beside, func(t *testing.T, f *fleet, a *testNode, before, after []bgp.VIP) {
			time.Sleep(20 * time.Second)
			a.mu.Lock()
			a.refuses["b"] = false
			a.mu.Unlock()
			f.await("gone over", 20*time.Second, func() bool { return a.report().Status.Waits == "" })
			has := map[string][]netip.Prefix{}
			for _, p := range a.Sent() {
				for _, r := range p.Routes {
					has[p.Peer] = append(has[p.Peer], r.Prefix)
				}
			}
			for i, peer := range []string{"a", "b"} {
				if got := has[peer]; len(absent(got, after[i].Prefixes))+len(absent(after[i].Prefixes, got)) > 0 {
					t.Errorf("%s has %v, want %v", peer, got, after[i].Prefixes)
				}
			}
		})
	}
}

// TestDrainedVIPAdoptsNothing: what goes over to a VIP that is drained is drained, too, and what
// the VIP had is not announced again by that.
func TestDrainedVIPAdoptsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := strings.Fields("a1 b1 b2")
		f := newFleet(t, names...)
		for _, n := range f.nodes {
			n.file.VIPs = []bgp.VIP{as("ns1", 1, first), as("ns2", 1, second)}
		}
		f.start(names...)
		defer f.stopAll()
		f.await("announced", 15*time.Second, f.all(bgp.Announced, names...))
		time.Sleep(40 * time.Second)
		a := f.nodes["a1"]
		if _, err := a.Operate(t.Context(), Request{Kind: bgp.Drain, Node: "a1", VIP: "ns2", Reason: "work", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("drained", time.Minute, func() bool { return !a.open(second) })
		a.takes(t, as("ns2", 1, first, second))
		for range 1200 {
			time.Sleep(100 * time.Millisecond)
			if a.heard()[second] {
				t.Fatalf("%s is announced again: %+v", second, a.Status().VIPs)
			}
		}
		if len(a.heard()) > 0 || a.alarmed() != "" {
			t.Errorf("in the end routers have %v; alarm %q", a.heard(), a.alarmed())
		}
	})
}

// TestPlanWhileMoveWaits: what waits to go over to a VIP of routers that are away is announced, and
// is missed by a plan that takes it from all.
func TestPlanWhileMoveWaits(t *testing.T) {
	left := []bgp.VIP{inGroup(as("ns1", 1, third), "one"), inGroup(as("ns2", 1, second), "two")}
	for _, tc := range []struct {
		name  string
		mute  bool // ns2 is only bound
		after []bgp.VIP
	}{
		{"ns2", false, []bgp.VIP{left[0], inGroup(as("ns2", 1, first, second), "two")}},
		{"ns2", true, []bgp.VIP{left[0], inGroup(as("ns2", 1, first, second), "two")}},
		{"ns3", false, append(slices.Clone(left), inGroup(as("ns3", 1, first), "two"))},
	} {
		name, after := tc.name, tc.after
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, "a1", "b1")
			for _, n := range f.nodes {
				n.file.Peers = []speaker.Peer{router("a", 9, "one"), router("b", 9, "two")}
				n.file.VIPs = []bgp.VIP{inGroup(as("ns1", 1, first, third), "one"), left[1]}
				n.refuses["b"] = true
				if tc.mute {
					n.mutes = second
				}
			}
			f.start("a1", "b1")
			defer f.stopAll()
			time.Sleep(time.Minute)
			for _, n := range f.nodes {
				n.takes(t, after...)
				n.file.VIPs = left
				n.Use(n.file)
			}
			time.Sleep(time.Minute)
			if got := f.hear(first); got != 2 {
				t.Fatalf("%d nodes are heard, want 2", got)
			}
			p, err := f.nodes["a1"].Plan(t.Context(), bgp.Selection{Nodes: "all"}, bgp.Limits{AllowWide: true})
			if err != nil {
				t.Fatal(err)
			}
			want := "last: " + name + ": a1, b1 would leave"
			if err := p.Verdict.Err(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		})
	}
}
