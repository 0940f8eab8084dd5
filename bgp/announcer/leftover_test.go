package announcer

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp"
	"edged/bgp/speaker"
)

// What a node remembers of plans, members and operations that are over.

// TestOverIsForgotten: a prefix that was to go over, and did not, leaves with its VIP later.
func TestOverIsForgotten(t *testing.T) {
	ns1, ns2 := inGroup(as("ns1", 1, first), "one"), inGroup(as("ns2", 1, second), "two")
	withSilent(t, []bgp.VIP{ns1, ns2}, func(t *testing.T, f *fleet, a *testNode) {
		a.takes(t, inGroup(as("ns2", 1, first, second), "two"))
		time.Sleep(20 * time.Second)
		a.takes(t, ns1, ns2)
		time.Sleep(20 * time.Second)
		a.takes(t, ns2)
		f.await("ns1 gone", time.Minute, func() bool { return a.routeTo(first) == "none" })
	})
}

// TestDroppedMember: a node that is no member any more announces nothing, as far as the others go.
func TestDroppedMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1", "b2")
		time.Sleep(40 * time.Second)
		f.operate(t, "a1", bgp.Drain)
		f.await("drained", time.Minute, func() bool { return f.nodes["a1"].state() == bgp.Withdrawn })
		f.mu.Lock()
		f.dropped["b2"] = true
		f.mu.Unlock()
		f.kill("b1")
		f.await("the last resort", 20*time.Second, func() bool { return f.nodes["a1"].state() == bgp.LastResort })
		if got := f.nodes["a1"].Status().VIPs[0]; got.Announcers != 0 || len(got.Nodes) != 2 {
			t.Errorf("it counts %d announcers among %v", got.Announcers, got.Nodes)
		}
	})
}

// TestBrieflyAfterRestart: a member that was down when the node started may have the VIP, and
// counts for how many promises a session wants.
func TestBrieflyAfterRestart(t *testing.T) {
	withRouters(t, "a1 a2 b1", 2, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		f.kill("b1")
		time.Sleep(time.Minute)
		f.stop("a1")
		f.start("a1")
		time.Sleep(time.Minute)
		f.nodes["a1"].reloads(router("a", 3))
		if few := f.least(first, 2*time.Minute); few < 2 {
			t.Errorf("%d nodes at least, want 2", few)
		}
	})
}

// TestPromiseGoesOver: a promise binds a prefix also when it goes over to another VIP.
func TestPromiseGoesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := strings.Fields("a1 b1 b2")
		f := newFleet(t, names...)
		for _, n := range f.nodes {
			n.file.VIPs = []bgp.VIP{as("ns1", 1, first), as("ns2", 1, second, third)}
		}
		f.start(names...)
		defer f.stopAll()
		f.await("announced", 15*time.Second, f.all(bgp.Announced, names...))
		time.Sleep(40 * time.Second)
		b := f.nodes["b1"]
		ask := bgp.Ask{Asker: "a1", VIP: "ns2", Prefixes: []netip.Prefix{second, third}, Nonce: bgp.Nonce{1}}
		if _, err := b.promise("a1", ask.Seal("test", f.nodes["a1"].key)); err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		b.takes(t, as("ns1", 1, first, second), as("ns2", 1, third))
		time.Sleep(time.Second)
		f.operate(t, "b1", bgp.Drain)
		f.await("withdrawn", time.Minute, func() bool { return b.routeTo(second) == "none" })
		if kept := time.Since(at); kept < bgp.PromiseFor {
			t.Errorf("it was withdrawn %v after the promise, want %v at least", kept, bgp.PromiseFor)
		}
	})
}

// TestPeersAreRefusedAtStart: while the speaker refuses the sessions that stayed, the node tries
// again; when it is late the node says so.
func TestPeersAreRefusedAtStart(t *testing.T) {
	for _, late := range []bool{false, true} {
		withRouters(t, "a1 b1 c1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9), router("b", 9)}, func(t *testing.T, f *fleet) {
			a := f.nodes["a1"]
			a.mu.Lock()
			a.refuses["b"], a.refuses["c"] = true, true
			a.mu.Unlock()
			a.hold(t, "a1")
			a.reloads(router("c", 9), router("b", 9))
			time.Sleep(time.Minute)
			f.kill("a1")
			a.rejects = errors.New("no")
			f.start("a1")
			time.Sleep(2 * time.Second)
			if late {
				time.Sleep(time.Minute)
			}
			a.mu.Lock()
			a.rejects = nil
			a.mu.Unlock()
			time.Sleep(20 * time.Second)
			if a.heard()[first] == late {
				t.Errorf("late %v: routers have %v", late, a.heard())
			}
			if got, want := a.alarmed(), "they are as the file wants them, not as they were before: no"; strings.Contains(got, want) != late {
				t.Errorf("late %v: the alarm is %q", late, got)
			}
		})
	}
}

func (n *testNode) hold(t *testing.T, node string) { n.fleet.operate(t, node, bgp.Hold) }

// TestAnnouncedHereIsKept: what is announced by the node's own word is kept when a plan takes it
// out, too, and over a crash.
func TestAnnouncedHereIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1", "b2")
		for _, n := range f.nodes {
			n.file.VIPs = []bgp.VIP{testVIP, as("ns2", 1, second)}
		}
		f.start("a1", "b1", "b2")
		defer f.stopAll()
		f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1", "b2"))
		time.Sleep(40 * time.Second)
		a := f.nodes["a1"]
		operate := func(by string, q Request) {
			q.Reason, q.Actor = "x", "ann"
			if _, err := f.nodes[by].Operate(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		operate("b1", Request{Kind: bgp.Drain, VIP: "ns2", Node: "a1"})
		f.await("drained", time.Minute, func() bool { return a.routeTo(second) == "none" })
		operate("a1", Request{Kind: bgp.Announce, VIP: "ns2", Local: true})
		f.await("announced", time.Minute, func() bool { return a.routeTo(second) == "64512:100" })
		a.file.VIPs = []bgp.VIP{testVIP}
		a.Use(a.file)
		a.takes(t, testVIP)
		time.Sleep(time.Hour)
		f.kill("a1")
		f.start("a1")
		f.await("announced again", time.Minute, func() bool { return a.routeTo(second) == "64512:100" })
	})
}

// TestAnnouncedLater: an operation that is to announce a VIP from a later time on does.
func TestAnnouncedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		a := f.nodes["a1"]
		a.file.VIPs = []bgp.VIP{testVIP, as("ns2", 1, second)}
		a.Use(a.file)
		if _, err := a.Operate(t.Context(), Request{Kind: bgp.Announce, VIP: "ns2", Local: true, Since: time.Now().Add(5 * time.Minute), Reason: "x", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		f.stop("a1")
		f.start("a1")
		time.Sleep(time.Minute)
		if got := a.routeTo(second); got != "none" {
			t.Errorf("before its time the route is %s", got)
		}
		if got := a.alarmed(); got != "" {
			t.Errorf("before its time the alarm is %q", got)
		}
		f.await("announced", 10*time.Minute, func() bool { return a.routeTo(second) == "64512:100" })
	})
}

// TestUndrainedPartly: a VIP of which one prefix does not answer is announced again after a drain
// that nobody promised for, with the others.
func TestUndrainedPartly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		time.Sleep(40 * time.Second)
		a := f.nodes["a1"]
		a.mu.Lock()
		a.mutes = second
		a.mu.Unlock()
		a.takes(t, with(first, second))
		time.Sleep(20 * time.Second)
		f.kill("b1")
		time.Sleep(20 * time.Second)
		for _, q := range []Request{{Kind: bgp.Drain}, {End: "undrain"}} {
			q.Node, q.Local, q.Reason, q.Actor = "a1", true, "x", "ann"
			if _, err := a.Operate(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if a.state() != bgp.Announced || a.route() != "64512:100" {
			t.Errorf("it is %s with %s", a.state(), a.route())
		}
	})
}

// TestBreakerOfUnheard: prefixes that no peer ever had did not leave, either.
func TestBreakerOfUnheard(t *testing.T) {
	withRouters(t, "a1 a2 b1 b2", 1, []netip.Prefix{first, six}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		for _, name := range []string{"a1", "a2", "b1", "b2"} {
			f.nodes[name].takes(t, as("ns1", 1, first))
			time.Sleep(15 * time.Second)
		}
		for name, n := range f.nodes {
			if n.alarmed() != "" {
				t.Errorf("%s raises the alarm %q", name, n.alarmed())
			}
		}
	})
}

// TestBreakerOverRename: a VIP that gets another name has the breaker of before.
func TestBreakerOverRename(t *testing.T) {
	withRouters(t, "a1 a2 a3 b1 b2 b3", 2, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		for _, name := range []string{"a1", "a2", "a3"} {
			f.nodes[name].breakChecks("no answer")
		}
		b := f.nodes["b1"]
		f.await("open", 3*time.Minute, func() bool { return strings.Contains(b.alarmed(), "breaker open: 3 of 6 nodes left") })
		b.takes(t, as("ns2", 2, first))
		time.Sleep(10 * time.Second)
		if want := "vip ns2: breaker open: 3 of 6 nodes left"; !strings.Contains(b.alarmed(), want) {
			t.Errorf("the alarm is %q, want %q", b.alarmed(), want)
		}
	})
}

// TestBreakersOfSplitVIPs: a VIP that came of another one has a breaker of its own.
func TestBreakersOfSplitVIPs(t *testing.T) {
	withRouters(t, "a1 a2 a3 b1 b2 b3", 1, []netip.Prefix{first, second}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		for _, n := range f.nodes {
			n.takes(t, as("ns1", 1, first), as("ns2", 1, second))
		}
		time.Sleep(6 * time.Minute)
		for _, name := range []string{"a1", "a2", "a3"} {
			if _, err := f.nodes[name].Operate(t.Context(), Request{Kind: bgp.Drain, VIP: "ns2", Node: name, Reason: "x", Actor: "ann"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Second)
		for name, n := range f.nodes {
			for _, v := range n.Status().VIPs {
				if open := v.Breaker != ""; open != (v.Name == "ns2") {
					t.Errorf("%s: the breaker of %s says %q", name, v.Name, v.Breaker)
				}
			}
		}
	})
}

// TestRenameIsRefused where nobody would have the address: the new VIP is for routers that nodes do
// not have, or an operator wants it out.
func TestRenameIsRefused(t *testing.T) {
	for _, drained := range []bool{true, false} {
		withRouters(t, "a1 a2 b1 b2", 2, []netip.Prefix{first}, []speaker.Peer{router("a", 9, "one")}, func(t *testing.T, f *fleet) {
			a := f.nodes["a1"]
			renamed := as("ns2", 2, first)
			if !drained {
				renamed.Groups = []string{"nowhere"}
			}
			for name, n := range f.nodes {
				if n.wants(renamed); !drained {
					continue
				}
				o, err := bgp.NewOperation(bgp.Operation{Kind: bgp.Drain, VIP: "ns2", Node: name, Since: time.Now(), Reason: "x", Actor: "ann"})
				if err == nil {
					_, err = n.accept(o) // as of a VIP that was there before
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			p, err := a.Plan(t.Context(), bgp.Selection{Nodes: "all"}, bgp.Limits{AllowWide: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Verdict.Err(); err == nil || !strings.Contains(err.Error(), "last: ns1: a1, a2, b1, b2 would leave, and nobody announce it as planned") {
				t.Errorf("drained %v: %v", drained, err)
			}
		})
	}
}
