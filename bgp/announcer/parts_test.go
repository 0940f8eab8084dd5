package announcer

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp"
)

var (
	first  = netip.MustParsePrefix("198.51.100.53/32")
	second = netip.MustParsePrefix("198.51.100.54/32")
)

// with is the test's VIP with other prefixes.
func with(prefixes ...netip.Prefix) bgp.VIP {
	v := testVIP
	v.Prefixes = prefixes
	return v
}

// wants has a node's file say what the VIP shall be.
func (n *testNode) wants(v bgp.VIP) {
	n.file.VIPs = []bgp.VIP{v}
	n.Use(n.file)
}

// takes has a node store a plan of just these VIPs.
func (n *testNode) takes(t *testing.T, vips ...bgp.VIP) {
	t.Helper()
	p := bgp.NodePlan{Node: n.self.Name, PoP: n.self.PoP, Generation: n.Status().Generation + 1, VIPs: vips}
	if err := n.take(p, false, "ann", "test"); err != nil {
		t.Fatal(err)
	}
}

// rollOut applies what the node's own file wants.
func (n *testNode) rollOut(t *testing.T, bake time.Duration) {
	t.Helper()
	q := Application{Nodes: "node/" + n.self.Name, Bake: bake, Reason: "other addresses", Actor: "ann"}
	p, err := n.Plan(t.Context(), bgp.Selection{Nodes: q.Nodes}, bgp.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	q.Plan = p.Plan.ID
	if _, err := n.Announcer.Apply(t.Context(), q); err != nil {
		t.Fatal(err)
	}
}

func (n *testNode) phase() bgp.Phase { return n.Rollout().Phase }

// gone says how often the peer was told that a prefix is gone.
func (n *testNode) gone(p netip.Prefix) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.withdrew[p]
}

// open says whether a prefix has its address and its socket.
func (n *testNode) open(p netip.Prefix) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, listening := n.listening[netip.AddrPortFrom(p.Addr(), 53)]
	return n.addresses[p] && listening
}

// withTwo starts nodes with a VIP of two prefixes.
func withTwo(t *testing.T, do func(t *testing.T, f *fleet, a *testNode), names ...string) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, names...)
		for _, n := range f.nodes {
			n.file.VIPs = []bgp.VIP{with(first, second)}
		}
		f.start(names...)
		defer f.stopAll()
		f.await("all announced", 15*time.Second, f.all(bgp.Announced, names...))
		time.Sleep(30 * time.Second) // for which others must have announced it
		do(t, f, f.nodes["a1"])
	})
}

// TestPrefixGoesAlone: a plan that takes a prefix from a VIP drains that prefix, and
// the other one is announced all the time as it was.
func TestPrefixGoesAlone(t *testing.T) {
	withTwo(t, func(t *testing.T, f *fleet, a *testNode) {
		a.wants(with(first))
		a.rollOut(t, -1)
		f.await("graceful shutdown", 5*time.Second, func() bool { return a.routeTo(second) == "64512:100 graceful-shutdown" })
		s := a.Status().VIPs[0]
		if len(s.Leaving) != 1 || s.State != bgp.Announced || s.Leaving[0].State != bgp.Draining || !slices.Equal(s.Leaving[0].Prefixes, []netip.Prefix{second}) {
			t.Errorf("the VIP is shown as %+v", s)
		}
		f.await("withdrawn", 15*time.Second, func() bool { return a.routeTo(second) == "none" })
		if !a.open(second) {
			t.Error("its socket is gone with its route")
		}
		f.await("closed", 10*time.Second, func() bool { return !a.open(second) && a.held() == 1 })
		f.await("done", 5*time.Second, func() bool { return a.phase() == bgp.PhaseDone })
		time.Sleep(time.Minute)
		if a.gone(first) != 0 || a.route() != "64512:100" || a.state() != bgp.Announced || !a.open(first) {
			t.Errorf("the other prefix was withdrawn %d times, and is %s, %s", a.gone(first), a.state(), a.route())
		}
		if got := a.Status().VIPs[0].Leaving; len(got) != 0 {
			t.Errorf("what is gone is still shown: %+v", got)
		}
		if a.alarmed() != "" {
			t.Errorf("the alarm is %q", a.alarmed())
		}
	}, "a1", "b1")
}

// TestPrefixIsGivenBack: a rollback while a prefix is on its way out makes no route
// go.
func TestPrefixIsGivenBack(t *testing.T) {
	withTwo(t, func(t *testing.T, f *fleet, a *testNode) {
		a.wants(with(first))
		a.rollOut(t, -1)
		f.await("graceful shutdown", 5*time.Second, func() bool { return a.routeTo(second) == "64512:100 graceful-shutdown" })
		if _, err := a.Steer(t.Context(), Steering{Action: "abort", Reason: "still in use", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		took := f.await("as before", 10*time.Second, func() bool { return a.routeTo(second) == "64512:100" })
		t.Logf("back after %v", took)
		time.Sleep(2 * time.Minute)
		if a.gone(first)+a.gone(second) != 0 || a.route() != "64512:100" || a.routeTo(second) != "64512:100" {
			t.Errorf("withdrawn %d and %d times, routes %s, %s", a.gone(first), a.gone(second), a.route(), a.routeTo(second))
		}
	}, "a1", "b1")
}

// TestPrefixOfNobodyElse: a prefix for which no other node promises to stay stays as the
// last resort, until the rollout is aborted for it.
func TestPrefixOfNobodyElse(t *testing.T) {
	withTwo(t, func(t *testing.T, f *fleet, a *testNode) {
		a.wants(with(first))
		a.rollOut(t, -1)
		f.mu.Lock()
		f.cut["b1"] = true
		f.mu.Unlock()
		f.await("the last resort", 10*time.Second, func() bool { return a.routeTo(second) == "64512:100 graceful-shutdown prepend 3" })
		time.Sleep(time.Second)
		if want := "vip 198.51.100.54/32 of ns1: announced as the last resort"; !strings.Contains(a.alarmed(), want) {
			t.Errorf("the alarm is %q, want %q", a.alarmed(), want)
		}
		f.await("aborted", time.Minute, func() bool { return a.phase() == bgp.PhaseAborted })
		if want := "it waits for 198.51.100.54/32 of ns1 is last-resort, to be withdrawn: others to announce it"; !strings.Contains(a.Rollout().Cause, want) {
			t.Errorf("the cause is %q, want %q", a.Rollout().Cause, want)
		}
		if a.gone(first)+a.gone(second) != 0 || a.route() != "64512:100" || a.routeTo(second) != "64512:100" {
			t.Errorf("withdrawn %d and %d times, routes %s, %s", a.gone(first), a.gone(second), a.route(), a.routeTo(second))
		}
	}, "a1", "b1")
}

// TestNewPrefixIsTriedFirst: what a plan adds to a VIP that is announced has to answer
// before it is announced, and does the others no harm.
func TestNewPrefixIsTriedFirst(t *testing.T) {
	withTwo(t, func(t *testing.T, f *fleet, a *testNode) {
		third := netip.MustParsePrefix("198.51.100.55/32")
		a.mu.Lock()
		a.mutes = third
		a.mu.Unlock()
		a.wants(with(first, second, third))
		a.rollOut(t, -1)
		f.await("its socket", 5*time.Second, func() bool { return a.open(third) })
		f.await("aborted", 45*time.Second, func() bool { return a.phase() == bgp.PhaseAborted })
		if want := "ns1 is announced, but checks through 198.51.100.55/32 fail: no answer"; !strings.Contains(a.Rollout().Cause, want) {
			t.Errorf("the cause is %q, want %q", a.Rollout().Cause, want)
		}
		f.await("closed again", 10*time.Second, func() bool { return !a.open(third) && a.held() == 2 })
		if a.gone(third) != 0 || a.gone(first)+a.gone(second) != 0 || a.state() != bgp.Announced {
			t.Errorf("it was announced and withdrawn %d times, the others %d, the VIP is %s", a.gone(third), a.gone(first)+a.gone(second), a.state())
		}
		a.mu.Lock()
		a.mutes = netip.Prefix{}
		a.mu.Unlock()
		a.rollOut(t, -1)
		f.await("announced", 10*time.Second, func() bool { return a.routeTo(third) == "64512:100" })
	}, "a1", "b1")
}

// TestCheckOfWhatIsGone: a check that passes through a prefix after a plan has taken it
// away says nothing of it when it comes back.
func TestCheckOfWhatIsGone(t *testing.T) {
	withTwo(t, func(t *testing.T, f *fleet, a *testNode) {
		third := netip.MustParsePrefix("198.51.100.55/32")
		set := func(lag time.Duration, mutes netip.Prefix) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.lag, a.mutes = lag, mutes
		}
		set(900*time.Millisecond, netip.Prefix{})
		a.takes(t, with(first, second, third))
		f.await("a check through it", 10*time.Second, func() bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			return slices.Equal(a.asking, []netip.Prefix{third})
		})
		a.takes(t, with(first, second))
		f.await("closed", 5*time.Second, func() bool { return !a.open(third) })
		time.Sleep(5 * time.Second)
		set(0, third)
		a.takes(t, with(first, second, third))
		time.Sleep(20 * time.Second)
		if !a.open(third) || a.routeTo(third) != "none" || a.gone(third) != 0 {
			t.Errorf("open %t, route %s, withdrawn %d times: want it open, and not announced", a.open(third), a.routeTo(third), a.gone(third))
		}
	}, "a1", "b1")
}

// TestPrefixIsRetired: no plan takes a prefix from all nodes before somebody says that
// it is to be given up. Then it goes, and the other is announced all the time.
func TestPrefixIsRetired(t *testing.T) {
	names := []string{"a1", "a2", "b1"}
	withTwo(t, func(t *testing.T, f *fleet, a *testNode) {
		for _, n := range f.nodes {
			n.wants(with(first))
		}
		sel, wide := bgp.Selection{Nodes: "all"}, bgp.Limits{AllowWide: true}
		p, err := a.Plan(t.Context(), sel, wide)
		if err != nil {
			t.Fatal(err)
		}
		q := Application{Plan: p.Plan.ID, Nodes: "all", Wide: true, Bake: -1, Reason: "nobody asks it", Actor: "ann"}
		const want = "plan refused: last: ns1: a1, a2, b1 would leave 198.51.100.54/32, and nobody announce it as planned, want at least 1: " +
			"to give it up on purpose, say --give-up 198.51.100.54/32"
		if _, err := a.Announcer.Apply(t.Context(), q); err == nil || err.Error() != want {
			t.Errorf("not on purpose: %v, want %s", err, want)
		}
		sel.GiveUp = []netip.Prefix{second}
		if p, err = a.Plan(t.Context(), sel, wide); err != nil {
			t.Fatal(err)
		}
		q.Plan, q.GiveUp = p.Plan.ID, sel.GiveUp
		if _, err := a.Announcer.Apply(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		all := func(what func(n *testNode) bool) func() bool {
			return func() bool {
				return !slices.ContainsFunc(names, func(name string) bool { return !what(f.nodes[name]) })
			}
		}
		f.await("gone everywhere", time.Minute, all(func(n *testNode) bool { return n.routeTo(second) == "none" && !n.open(second) }))
		f.await("done", 5*time.Second, func() bool { return a.phase() == bgp.PhaseDone })
		var log strings.Builder
		if err := f.nodes["b1"].WriteAudit(&log); err != nil || !strings.Contains(log.String(), `, generation 2, gives up 198.51.100.54/32"`) {
			t.Errorf("the audit log says, %v\n%s", err, &log)
		}
		if _, err := a.Steer(t.Context(), Steering{Action: "rollback", Reason: "somebody does", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("back", 20*time.Second, all(func(n *testNode) bool { return n.routeTo(second) == "64512:100" }))
		f.await("over", 5*time.Second, func() bool { return a.phase() == bgp.PhaseAborted })
		for _, name := range names {
			if n := f.nodes[name]; n.gone(first) != 0 || n.gone(second) != 1 || len(n.plan.GiveUp) != 0 {
				t.Errorf("%s withdrew the prefixes %d and %d times, want 0 and 1; its plan gives up %v", name, n.gone(first), n.gone(second), n.plan.GiveUp)
			}
		}
	}, names...)
}

// TestFirstAnnouncementIsTakenBack: what nobody announced before a rollout goes again
// when the rollout is aborted, though nobody can promise to stay; once it is done,
// it does not.
func TestFirstAnnouncementIsTakenBack(t *testing.T) {
	for name, add := range map[string]func() []bgp.VIP{
		"prefix": func() []bgp.VIP { return []bgp.VIP{with(first, second)} },
		"VIP":    func() []bgp.VIP { v := with(second); v.Name = "ns2"; return []bgp.VIP{with(first), v} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := announcing(t, "a1", "b1")
				a := f.nodes["a1"]
				a.file.VIPs = add()
				a.Use(a.file)
				a.rollOut(t, 2*time.Minute)
				f.await("announced", 20*time.Second, func() bool { return a.phase() == bgp.PhaseBaking && a.routeTo(second) == "64512:100" })
				if _, err := a.Steer(t.Context(), Steering{Action: "abort", Reason: "too early", Actor: "ann"}); err != nil {
					t.Fatal(err)
				}
				f.await("withdrawn", 10*time.Second, func() bool { return a.routeTo(second) == "none" })
				f.await("as before", 10*time.Second, func() bool { return a.phase() == bgp.PhaseAborted && !a.open(second) && a.held() == 1 })
				if a.gone(first) != 0 || a.alarmed() != "" {
					t.Errorf("the other prefix was withdrawn %d times; the alarm is %q", a.gone(first), a.alarmed())
				}

				a.rollOut(t, -1)
				f.await("done", time.Minute, func() bool { return a.phase() == bgp.PhaseDone })
				if _, err := a.Steer(t.Context(), Steering{Action: "rollback", Reason: "after all", Actor: "ann"}); err != nil {
					t.Fatal(err)
				}
				f.await("the last resort", 20*time.Second, func() bool { return a.routeTo(second) == "64512:100 graceful-shutdown prepend 3" })
				time.Sleep(2 * time.Minute)
				if want := "; what nobody announced before goes by rollback --force"; a.gone(second) != 1 || !strings.HasSuffix(a.Rollout().String(), want) {
					t.Errorf("it was withdrawn %d times, want once, by the abort; the rollout is %s", a.gone(second), a.Rollout())
				}
				if _, err := a.Steer(t.Context(), Steering{Action: "rollback", Force: true, Reason: "I know", Actor: "ann"}); err != nil {
					t.Fatal(err)
				}
				f.await("given up", 20*time.Second, func() bool { return a.routeTo(second) == "none" && !a.open(second) })
				f.await("nothing is left to do", 5*time.Second, func() bool { return a.phase() == bgp.PhaseAborted })
			})
		})
	}
}

// TestOnlyPrefixIsReplaced has a node trade its one address for the other.
func TestOnlyPrefixIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		time.Sleep(30 * time.Second)
		a := f.nodes["a1"]
		a.wants(with(second))
		a.rollOut(t, -1)
		f.await("the new one", 5*time.Second, func() bool { return a.routeTo(second) == "64512:100" })
		if a.route() == "none" {
			t.Error("the old one went before the new one came")
		}
		f.await("the old one gone", 20*time.Second, func() bool { return a.route() == "none" && !a.open(first) })
		f.await("done", 5*time.Second, func() bool { return a.phase() == bgp.PhaseDone })
		if a.gone(second) != 0 || a.state() != bgp.Announced {
			t.Errorf("the new one was withdrawn %d times; the VIP is %s", a.gone(second), a.state())
		}
	})
}

// TestStopWithPart takes all away in time, also what is on its way out.
func TestStopWithPart(t *testing.T) {
	withTwo(t, func(t *testing.T, f *fleet, a *testNode) {
		a.wants(with(first))
		a.rollOut(t, -1)
		f.await("graceful shutdown", 5*time.Second, func() bool { return a.routeTo(second) == "64512:100 graceful-shutdown" })
		begun := time.Now()
		f.stop("a1")
		if took := time.Since(begun); took > 4*time.Second {
			t.Errorf("stopping took %v", took)
		}
		if a.route() != "none" || a.routeTo(second) != "none" || a.held() != 0 {
			t.Errorf("what is left: %s, %s, %d addresses", a.route(), a.routeTo(second), a.held())
		}
	}, "a1", "b1")
}

// TestVIPIsPlannedAgain: a VIP of which only a part is left, that nobody else could
// stand in for, goes up from there.
func TestVIPIsPlannedAgain(t *testing.T) {
	withTwo(t, func(t *testing.T, f *fleet, a *testNode) {
		b := f.nodes["b1"]
		b.wants(with(first))
		b.rollOut(t, -1)
		f.await("b1 without it", time.Minute, func() bool { return b.phase() == bgp.PhaseDone && b.routeTo(second) == "none" })
		for i, plan := range [][]bgp.VIP{{with(first)}, {}, {with(second)}} {
			p := bgp.NodePlan{Node: "a1", PoP: "a", Generation: a.Status().Generation + 1, VIPs: plan}
			if err := a.take(p, false, "ann", "test"); err != nil {
				t.Fatal(err)
			}
			if i == 1 {
				f.await("only the part is left", time.Minute, func() bool { return a.route() == "none" && !a.open(first) })
			}
		}
		f.await("announced", 5*time.Second, func() bool { return a.routeTo(second) == "64512:100" && a.state() == bgp.Announced })
		if a.gone(second) != 0 {
			t.Errorf("it was withdrawn %d times", a.gone(second))
		}
	}, "a1", "b1")
}

// TestPrefixGoesOver: a prefix that goes over to a new VIP is not withdrawn for it.
func TestPrefixGoesOver(t *testing.T) {
	withTwo(t, func(t *testing.T, f *fleet, a *testNode) {
		ns2 := with(second)
		ns2.Name = "ns2"
		a.file.VIPs = []bgp.VIP{with(first), ns2}
		a.Use(a.file)
		a.rollOut(t, -1)
		f.await("done", 20*time.Second, func() bool { return a.phase() == bgp.PhaseDone })
		if a.gone(second) != 0 || !a.open(second) || a.routeTo(second) != "64512:100" {
			t.Errorf("it was withdrawn %d times, and is announced with %q", a.gone(second), a.routeTo(second))
		}
		if s := a.Status(); len(s.VIPs) != 2 || s.VIPs[0].Guard.Replayed != 0 || s.VIPs[1].State != bgp.Announced || a.gone(first) != 0 || a.alarmed() != "" {
			t.Errorf("the VIPs are %+v, the alarm is %q", s.VIPs, a.alarmed())
		}
	}, "a1", "b1")
}

// TestDrainedVIPTakesNothingBack: a prefix that only this node announces does not go by
// a plan that gives it back to a VIP which is drained here.
func TestDrainedVIPTakesNothingBack(t *testing.T) {
	withTwo(t, func(t *testing.T, f *fleet, a *testNode) {
		b := f.nodes["b1"]
		b.wants(with(first))
		b.rollOut(t, -1)
		f.await("b1 without it", time.Minute, func() bool { return b.phase() == bgp.PhaseDone && b.routeTo(second) == "none" })
		a.takes(t, with(first))
		f.await("the last resort", 10*time.Second, func() bool { return a.routeTo(second) == "64512:100 graceful-shutdown prepend 3" })
		if _, err := a.Operate(t.Context(), Request{Kind: bgp.Drain, Node: "a1", Reason: "new kernel", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("drained", time.Minute, func() bool { return a.state() == bgp.Withdrawn && !a.open(first) })
		a.takes(t, with(first, second))
		time.Sleep(time.Minute)
		if got := a.routeTo(second); got != "64512:100 graceful-shutdown prepend 3" {
			t.Errorf("the route is %s, want it kept", got)
		}
		if _, err := a.Operate(t.Context(), Request{End: "undrain", Node: "a1", Reason: "done", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("announced again", 15*time.Second, func() bool { return a.route() == "64512:100" && a.routeTo(second) == "64512:100" })
		if a.gone(second) != 0 {
			t.Errorf("it was withdrawn %d times", a.gone(second))
		}
	}, "a1", "b1")
}

// TestPrefixesAtRandom gives three nodes plans with prefixes that come and go at any
// time, and every other time drains nodes too. No prefix that was announced is ever
// announced by nobody, and none goes from a node whose plan has it and that is not
// drained.
func TestPrefixesAtRandom(t *testing.T) {
	pool := []netip.Prefix{first, second, netip.MustParsePrefix("198.51.100.55/32"), netip.MustParsePrefix("198.51.100.56/32")}
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 44))
			names := []string{"a1", "a2", "b1"}
			f := newFleet(t, names...)
			for _, n := range f.nodes {
				n.file.VIPs = []bgp.VIP{with(pool[:2]...)}
			}
			f.start(names...)
			defer f.stopAll()
			f.await("all announced", 15*time.Second, f.all(bgp.Announced, names...))
			planned := map[string][]netip.Prefix{}
			had := map[netip.Prefix]bool{}
			for range 60 {
				n := f.nodes[names[rng.IntN(len(names))]]
				next := slices.DeleteFunc(slices.Clone(pool), func(netip.Prefix) bool { return rng.IntN(3) == 0 })
				if len(next) == 0 {
					next = pool[:1]
				}
				n.takes(t, with(next...))
				planned[n.self.Name] = next
				if seed%2 == 1 {
					f.drainSome(t, rng, names)
				}
				before := map[netip.Prefix]int{}
				for _, p := range next {
					before[p] = n.gone(p)
				}
				for end := time.Now().Add(time.Duration(rng.IntN(20_000)) * time.Millisecond); time.Now().Before(end); {
					time.Sleep(200 * time.Millisecond)
					synctest.Wait()
					for _, p := range pool {
						some := slices.ContainsFunc(names, func(name string) bool { return f.nodes[name].routeTo(p) != "none" })
						if had[p] && !some {
							t.Fatalf("seed %d: nobody announces %s any more", seed, p)
						}
						had[p] = had[p] || some
					}
				}
				for p, times := range before {
					if n.gone(p) != times && seed%2 == 0 {
						t.Fatalf("seed %d: %s withdrew %s, which is in its plan", seed, n.self.Name, p)
					}
				}
			}
			for _, name := range names {
				_, _ = f.nodes[name].Operate(t.Context(), Request{End: "undrain", Node: name, Reason: "x", Actor: "ann"}) // if it is drained
			}
			time.Sleep(2 * time.Minute)
			for name, prefixes := range planned {
				for _, p := range prefixes {
					if got := f.nodes[name].routeTo(p); got != "64512:100" {
						t.Errorf("seed %d: in the end %s announces %s with %q", seed, name, p, got)
					}
				}
			}
		})
	}
}

// drainSome drains a node, or ends that, or neither.
func (f *fleet) drainSome(t *testing.T, rng *rand.Rand, names []string) {
	name := names[rng.IntN(len(names))]
	q := Request{Kind: bgp.Drain, Node: name, Reason: "x", Actor: "ann"}
	if rng.IntN(2) == 0 {
		q = Request{End: "undrain", Node: name, Reason: "x", Actor: "ann"}
	}
	if rng.IntN(3) > 0 {
		_, _ = f.nodes[name].Operate(t.Context(), q) // it may be so already
	}
}

// TestPrefixComesBack: a node that is drained stands in for an address that no other node
// announces any more, although one announces the VIP's other address.
func TestPrefixComesBack(t *testing.T) {
	names := []string{"a1", "b1", "c1"}
	withTwo(t, func(t *testing.T, f *fleet, a *testNode) {
		b := f.nodes["b1"]
		a.wants(with(first))
		a.rollOut(t, -1)
		f.await("a1 without it", time.Minute, func() bool { return a.phase() == bgp.PhaseDone && a.routeTo(second) == "none" })
		if _, err := b.Operate(t.Context(), Request{Kind: bgp.Drain, Node: "b1", Reason: "new kernel", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("b1 drained", time.Minute, func() bool { return b.state() == bgp.Withdrawn })
		time.Sleep(time.Minute)
		if b.routeTo(second) != "none" {
			t.Fatalf("while another announces both, b1 announces %q", b.routeTo(second))
		}
		f.kill("c1")
		f.await("the last resort", 10*time.Second, func() bool { return b.routeTo(second) == "64512:100 graceful-shutdown prepend 3" })
		time.Sleep(time.Second)
		if !strings.Contains(b.alarmed(), "announced as the last resort") {
			t.Errorf("the alarm is %q", b.alarmed())
		}
	}, names...)
}

// TestBreakerSeesPrefixes: nodes that take one prefix of a VIP out by their plans, one after
// the other, are stopped when too many have.
func TestBreakerSeesPrefixes(t *testing.T) {
	names := []string{"a1", "a2", "b1", "b2", "c1", "c2", "d1", "d2"}
	withTwo(t, func(t *testing.T, f *fleet, _ *testNode) {
		for _, name := range names {
			n := f.nodes[name]
			n.takes(t, with(first))
			time.Sleep(20 * time.Second)
		}
		gone := 0
		for _, name := range names {
			gone += f.nodes[name].gone(second)
		}
		if want := "3 of 8 nodes left within 5m0s"; gone != 3 || !strings.Contains(f.nodes["d1"].alarmed(), want) {
			t.Errorf("%d nodes withdrew it, want 3; the alarm is %q, want %q", gone, f.nodes["d1"].alarmed(), want)
		}
	}, names...)
}

// TestPromiseForOtherPrefixes: a prefix that does not answer yet keeps its node from no
// promise for the others.
func TestPromiseForOtherPrefixes(t *testing.T) {
	withTwo(t, func(t *testing.T, f *fleet, a *testNode) {
		b, third := f.nodes["b1"], netip.MustParsePrefix("198.51.100.55/32")
		a.mu.Lock()
		a.mutes = third
		a.mu.Unlock()
		a.takes(t, with(first, second, third))
		time.Sleep(20 * time.Second)
		if _, err := b.Operate(t.Context(), Request{Kind: bgp.Drain, Node: "b1", Reason: "new kernel", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("b1 drained", time.Minute, func() bool { return b.state() == bgp.Withdrawn })
		plan, err := b.Plan(t.Context(), bgp.Selection{Nodes: "all"}, bgp.Limits{AllowWide: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range plan.Verdict.Counts {
			if slices.Contains(c.Prefixes, third) && c.Before != 0 {
				t.Errorf("what does not answer is counted: %+v", c)
			}
		}
	}, "a1", "b1")
}

// TestGiveUpOnce: what a plan gave up goes although the node is drained, and when it is
// announced again by the node's own word it is given up no more.
func TestGiveUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		time.Sleep(30 * time.Second)
		a, b := f.nodes["a1"], f.nodes["b1"]
		for _, n := range []*testNode{b, a} {
			if _, err := a.Operate(t.Context(), Request{Kind: bgp.Drain, Node: n.self.Name, Reason: "to be retired", Actor: "ann"}); err != nil {
				t.Fatal(err)
			}
			f.await("out", time.Minute, func() bool { return n.state() == bgp.Withdrawn || n.state() == bgp.LastResort })
		}
		for _, n := range f.nodes {
			n.file.VIPs = nil
			n.Use(n.file)
		}
		sel := bgp.Selection{Nodes: "all", GiveUp: testVIP.Prefixes}
		p, err := a.Plan(t.Context(), sel, bgp.Limits{AllowWide: true})
		if err != nil {
			t.Fatal(err)
		}
		q := Application{Plan: p.Plan.ID, Nodes: "all", GiveUp: sel.GiveUp, Wide: true, Bake: -1, Reason: "nobody asks it", Actor: "ann"}
		if _, err := a.Announcer.Apply(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		f.await("retired", time.Minute, func() bool { return a.phase() == bgp.PhaseDone && a.held()+b.held() == 0 })

		a.file.VIPs = []bgp.VIP{testVIP}
		a.Use(a.file)
		for _, q := range []Request{
			{End: "undrain", Node: "a1", Reason: "it is asked after all", Actor: "ann"},
			{Kind: bgp.Announce, Local: true, VIP: "ns1", Reason: "it is asked after all", Actor: "ann"},
		} {
			if _, err := a.Operate(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		f.await("announced again", time.Minute, func() bool { return a.state() == bgp.Announced })
		if _, err := a.Operate(t.Context(), Request{End: "release", Local: true, Node: "a1", VIP: "ns1", Reason: "by mistake", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if a.state() != bgp.LastResort || a.route() == "none" {
			t.Errorf("the only one that announces it is %s, %s, want the last resort", a.state(), a.route())
		}
	})
}

// TestPrefixGoesOverAndBack: between two VIPs that are announced a prefix goes over without
// being withdrawn, on all nodes by one plan, and back by a rollback.
func TestPrefixGoesOverAndBack(t *testing.T) {
	names := []string{"a1", "b1"}
	withTwo(t, func(t *testing.T, f *fleet, a *testNode) {
		third := netip.MustParsePrefix("198.51.100.55/32")
		ns2 := func(prefixes ...netip.Prefix) bgp.VIP {
			v := with(prefixes...)
			v.Name, v.Communities = "ns2", []bgp.Community{64512<<16 | 200}
			return v
		}
		for _, n := range f.nodes {
			n.file.VIPs = []bgp.VIP{with(first, second), ns2(third)}
			n.Use(n.file)
		}
		apply := func() {
			t.Helper()
			p, err := a.Plan(t.Context(), bgp.Selection{Nodes: "all"}, bgp.Limits{AllowWide: true})
			if err != nil {
				t.Fatal(err)
			}
			q := Application{Plan: p.Plan.ID, Nodes: "all", Wide: true, Bake: -1, Reason: "another VIP", Actor: "ann"}
			if _, err := a.Announcer.Apply(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			f.await("done", time.Minute, func() bool { return a.phase() == bgp.PhaseDone })
		}
		apply()
		for _, n := range f.nodes {
			n.file.VIPs = []bgp.VIP{with(first), ns2(second, third)}
			n.Use(n.file)
		}
		apply()
		all := func(want string) func() bool {
			return func() bool {
				return !slices.ContainsFunc(names, func(name string) bool { return f.nodes[name].routeTo(second) != want })
			}
		}
		f.await("with the other VIP's community", 5*time.Second, all("64512:200"))
		if _, err := a.Steer(t.Context(), Steering{Action: "rollback", Reason: "not yet", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("back", 10*time.Second, all("64512:100"))
		f.await("over", 10*time.Second, func() bool { return a.phase() == bgp.PhaseAborted })
		time.Sleep(time.Minute)
		for _, name := range names {
			n := f.nodes[name]
			if n.gone(first)+n.gone(second)+n.gone(third) != 0 || n.held() != 3 || len(n.parts) != 0 || n.alarmed() != "" {
				t.Errorf("%s withdrew %d, %d and %d times, has %d addresses and %d parts; the alarm is %q",
					name, n.gone(first), n.gone(second), n.gone(third), n.held(), len(n.parts), n.alarmed())
			}
		}
	}, names...)
}

// TestAddressOfPartIsLost: what is on its way out and stays as the last resort gets its
// address back, too.
func TestAddressOfPartIsLost(t *testing.T) {
	withTwo(t, func(t *testing.T, f *fleet, a *testNode) {
		f.mu.Lock()
		f.cut["b1"] = true
		f.mu.Unlock()
		a.takes(t, with(first))
		f.await("the last resort", 20*time.Second, func() bool { return a.routeTo(second) == "64512:100 graceful-shutdown prepend 3" })
		a.mu.Lock()
		delete(a.addresses, second)
		a.mu.Unlock()
		f.await("its address", 10*time.Second, func() bool { return a.open(second) })
	}, "a1", "b1")
}

// TestBreakerOfOneCutOff: a node that heard nobody for a while takes nobody for gone.
func TestBreakerOfOneCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a1", "a2", "b1", "b2", "c1"}
		f := announcing(t, names...)
		f.mu.Lock()
		f.cut["a1"] = true
		f.mu.Unlock()
		time.Sleep(18 * time.Second)
		f.mu.Lock()
		delete(f.cut, "a1")
		f.mu.Unlock()
		time.Sleep(5 * time.Second)
		for _, name := range names {
			if got := f.nodes[name].alarmed(); got != "" {
				t.Errorf("%s: the alarm is %q", name, got)
			}
		}
	})
}

// TestPrefixThatNobodyCanHave: an IPv6 address where all routers speak IPv4 alone is in no
// router's way when a plan takes it back: it goes, whoever promises, and no alarm stays.
func TestPrefixThatNobodyCanHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		six := netip.MustParsePrefix("2001:db8::53/128")
		for _, n := range f.nodes {
			n.file.VIPs = []bgp.VIP{with(first, six)}
		}
		f.start("a1", "b1")
		defer f.stopAll()
		f.await("all announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
		a := f.nodes["a1"]
		f.await("the alarm", time.Minute, func() bool { return strings.Contains(a.alarmed(), "no peer has 2001:db8::53/128") })
		a.takes(t, with(first))
		f.await("the address gone", time.Minute, func() bool { return !a.hasAddress(six) })
		f.await("no alarm", 5*time.Second, func() bool { return a.alarmed() == "" })
		var log bytes.Buffer
		if err := a.WriteAudit(&log); err != nil {
			t.Fatal(err)
		}
		if want := "not in the plan, and no peer has it"; !strings.Contains(log.String(), want) {
			t.Errorf("the audit log does not say %q: %s", want, &log)
		}
	})
}

// TestProbesNotItself: a node that is asked to probe leaves out the addresses that it has
// itself, for whatever VIP: it would be the one that answers.
func TestProbesNotItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		f.nodes["a1"].file.VIPs = []bgp.VIP{with(first, second)}
		other := with(first)
		other.Name = "ns2"
		f.nodes["b1"].file.VIPs = []bgp.VIP{other}
		f.start("a1", "b1")
		defer f.stopAll()
		f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1"))
		got, err := f.nodes["b1"].probe(t.Context(), inquiry{[]bgp.VIP{with(first, second)}})
		if want := (sights{second: {"a1": 16}}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("it saw %v (%v), want %v", got, err, want)
		}
	})
}
