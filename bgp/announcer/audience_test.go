package announcer

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp"
	"edged/bgp/speaker"
	"edged/edge"
)

var six = netip.MustParsePrefix("2001:db8::53/128")

// router returns a peer: "a" to "e" over IPv4, others over IPv6.
func router(name string, hold int, groups ...string) speaker.Peer {
	address := netip.MustParseAddr("2001:db8:1::1")
	if name < "f" {
		address = netip.AddrFrom4([4]byte{192, 0, 2, name[0]})
	}
	return speaker.Peer{Name: name, Address: address, ASN: 64500, Hold: time.Duration(hold) * time.Second, Groups: groups}
}

// withRouters runs nodes that announce ns1, with the prefixes and min_announcers given, to
// routers, and then do.
func withRouters(t *testing.T, names string, least int, prefixes []netip.Prefix, routers []speaker.Peer, do func(t *testing.T, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, strings.Fields(names)...)
		for _, n := range f.nodes {
			v := with(prefixes...)
			v.MinAnnouncers, v.Groups = least, routers[0].Groups
			n.file.VIPs, n.file.Peers = []bgp.VIP{v}, routers
			n.anew = 2 * time.Second
		}
		t.Cleanup(f.stopAll)
		f.start(strings.Fields(names)...)
		f.await("announced", 15*time.Second, f.all(bgp.Announced, strings.Fields(names)...))
		time.Sleep(30 * time.Second)
		do(t, f)
	})
}

// reloads has a node's file name other routers.
func (n *testNode) reloads(routers ...speaker.Peer) {
	n.mu.Lock()
	if len(n.peers) == 0 {
		n.peers = append(n.peers, n.file.Peers) // that it has until it is told of others
	}
	n.file.Peers = routers
	n.mu.Unlock()
	n.Use(n.file)
}

// hear counts the nodes of which some router has a prefix.
func (f *fleet) hear(p netip.Prefix) (count int) {
	for _, n := range f.nodes {
		if n.heard()[p] {
			count++
		}
	}
	return count
}

// least returns on how few nodes a router had the prefix in a while.
func (f *fleet) least(p netip.Prefix, while time.Duration) int {
	few := len(f.nodes)
	for end := time.Now().Add(while); time.Now().Before(end); {
		few = min(few, f.hear(p))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
	}
	return few
}

// TestReloadResetsAndNarrows: one reload everywhere gives one router's session other timers,
// and takes the other router out of the VIP's group.
func TestReloadResetsAndNarrows(t *testing.T) {
	withRouters(t, "a1 a2 b1", 2, []netip.Prefix{first}, []speaker.Peer{router("a", 9, "fabric"), router("b", 9, "fabric")}, func(t *testing.T, f *fleet) {
		for _, n := range f.nodes {
			n.reloads(router("a", 3, "fabric"), router("b", 9, "other"))
		}
		if few := f.least(first, 2*time.Minute); few != 3 {
			t.Errorf("%d nodes at least were heard, want 3", few)
		}
		for name, n := range f.nodes {
			if groups := n.groupsOfPeer(1); !slices.Equal(groups, []string{"other"}) || n.alarmed() != "" {
				t.Errorf("%s: b is in %q, the alarm is %q", name, groups, n.alarmed())
			}
		}
	})
}

// groupsOfPeer returns the groups of the peer at a place.
func (n *testNode) groupsOfPeer(at int) []string {
	n.Announcer.mu.Lock()
	defer n.Announcer.mu.Unlock()
	return n.Announcer.peers[at].Groups
}

// TestReloadMovesAllWithTimers: all routers get another group and other timers by one
// reload, the VIP by no plan. What each family is heard by stays.
func TestReloadMovesAllWithTimers(t *testing.T) {
	for _, names := range []string{"a1", "a1 a2 b1"} {
		all := len(strings.Fields(names))
		withRouters(t, names, 1, []netip.Prefix{first, six}, []speaker.Peer{router("a", 9, "fabric"), router("six", 9, "fabric")}, func(t *testing.T, f *fleet) {
			for _, n := range f.nodes {
				n.reloads(router("a", 3, "tor"), router("six", 3, "tor"))
			}
			for _, p := range []netip.Prefix{first, six} {
				if few := f.least(p, 2*time.Minute); few < min(1, all-1) {
					t.Errorf("%s: %s was heard from %d nodes at least", names, p, few)
				}
			}
			for name, n := range f.nodes {
				if !n.heard()[first] || !n.heard()[six] {
					t.Errorf("%s: in the end routers of %s have %v", names, name, n.heard())
				}
				if want := "stays in fabric, tor, for no other peer would hear"; !strings.Contains(n.alarmed(), want) {
					t.Errorf("%s: the alarm of %s is %q, want %q", names, name, n.alarmed(), want)
				}
			}
		})
	}
}

// TestDrainBesideReset: a node that waits to make its session anew promises others that they
// may leave.
func TestDrainBesideReset(t *testing.T) {
	withRouters(t, "a1 b1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a, b := f.nodes["a1"], f.nodes["b1"]
		f.operate(t, "b1", bgp.Drain)
		a.reloads(router("a", 3))
		f.await("b1 drained", time.Minute, func() bool { return b.state() == bgp.Withdrawn })
		time.Sleep(2 * time.Minute)
		if len(a.had()) > 1 || f.hear(first) != 1 {
			t.Fatalf("while b1 is drained, a1 changed peers to %q", a.had())
		}
		const want = "the session with a is changed when others promise to keep ns1 meanwhile, or once a drain has withdrawn that"
		if a.alarmed() != "peers: "+want {
			t.Errorf("the alarm is %q, want %q", a.alarmed(), want)
		}
		if got := a.Status().Waits; got != want+": ns1 has 0 promises in 0 PoPs, want 1 in 1" {
			t.Errorf("what is shown to wait is %q", got)
		}
		if _, err := b.Operate(t.Context(), Request{End: "undrain", Node: "b1", Reason: "done", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("the session anew", 2*time.Minute, func() bool { return len(a.had()) == 2 && a.alarmed() == "" })
	})
}

func (f *fleet) operate(t *testing.T, name string, kind bgp.OperationKind) {
	t.Helper()
	if _, err := f.nodes[name].Operate(t.Context(), Request{Kind: kind, Node: name, Reason: "work", Actor: "ann"}); err != nil {
		t.Fatal(err)
	}
}

// TestBadSessions: what every file says of the only router is wrong. The minimum stays, the
// breaker ends it before that, and neither a node that is held nor one that is frozen goes.
func TestBadSessions(t *testing.T) {
	for _, c := range []struct {
		what, names string
		least       int
		prepare     func(t *testing.T, f *fleet)
		want        int    // that are left
		says        string // the alarm of some
	}{
		{"the breaker", "a1 a2 a3 b1 b2 b3 c1 c2", 3, nil, 5, "is not changed meanwhile: breaker open"},
		{"the minimum", "a1 a2 b1", 2, nil, 2, "when others promise to keep ns1"},
		{"a minimum that cannot be kept", "a1 b1", 2, nil, 1, "when others promise to keep ns1 meanwhile, or once a drain has withdrawn that"},
		{"a hold", "a1 a2", 1, func(t *testing.T, f *fleet) { f.operate(t, "a1", bgp.Hold); f.operate(t, "a2", bgp.Hold) }, 2, "which is held: release it before"},
		{"frozen", "a1 a2 b1", 1, func(_ *testing.T, f *fleet) { f.freeze("1 of 3 members is heard") }, 3, "is not changed while the node is frozen: 1 of 3 members is heard"},
	} {
		withRouters(t, c.names, c.least, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
			if c.prepare != nil {
				c.prepare(t, f)
				time.Sleep(2 * time.Second)
			}
			for _, n := range f.nodes {
				n.refuse("a")
				n.reloads(router("a", 3))
			}
			if few := f.least(first, 4*time.Minute); few != c.want {
				t.Errorf("%s: %d are heard, want %d", c.what, few, c.want)
			}
			if !slices.ContainsFunc(strings.Fields(c.names), func(name string) bool { return strings.Contains(f.nodes[name].alarmed(), c.says) }) {
				t.Errorf("%s: no alarm says %q, but %q", c.what, c.says, f.nodes["a1"].alarmed())
			}
		})
	}
}

func (f *fleet) freeze(why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen = why
}

// TestPromiseWantsAPeer: a node that has no router for a family, and so nobody who hears its
// prefix, does not promise to keep it.
func TestPromiseWantsAPeer(t *testing.T) {
	withRouters(t, "a1 b1 b2", 1, []netip.Prefix{first, six}, []speaker.Peer{router("a", 9), router("six", 9)}, func(t *testing.T, f *fleet) {
		for _, name := range []string{"b1", "b2"} {
			n := f.nodes[name]
			n.mu.Lock()
			n.refuses["six"] = true
			n.mu.Unlock()
		}
		time.Sleep(20 * time.Second)
		f.nodes["a1"].reloads(router("a", 9), router("six", 3))
		if few := f.least(six, 2*time.Minute); few != 1 {
			t.Errorf("%d nodes at least were heard, want 1", few)
		}
		for _, name := range []string{"b1", "b2"} {
			if got, want := f.nodes[name].alarmed(), "vip ns1: it is announced, but no peer has 2001:db8::53/128"; got != want {
				t.Errorf("the alarm of %s is %q, want %q", name, got, want)
			}
		}
		lacks := f.nodes["a1"].Status().VIPs[0].Nodes[1].Lacks
		if !slices.Equal(lacks, []netip.Prefix{six}) {
			t.Errorf("a1 shows that b1 lacks %v", lacks)
		}
	})
}

// TestPeerWithoutSessionStays: a router that goes from the file while it has no session stays,
// until another one that carries the same is up.
func TestPeerWithoutSessionStays(t *testing.T) {
	withRouters(t, "a1 b1", 1, []netip.Prefix{first, six}, []speaker.Peer{router("a", 9), router("b", 9), router("six", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		a.setSession(false)
		time.Sleep(5 * time.Second)
		a.reloads(router("b", 9))
		time.Sleep(time.Minute)
		if got, want := a.alarmed(), "peers: the session with a stays, for no other peer hears 198.51.100.53/32 of ns1: take that away by a plan, or drain the node, before"; !strings.Contains(got, want) {
			t.Errorf("the alarm is %q, want %q", got, want)
		}
		a.setSession(true)
		time.Sleep(10 * time.Second)
		if names := a.peerNames(); names != "b six" || !a.heard()[six] || !a.heard()[first] {
			t.Errorf("the peers are %s, and have %v", names, a.heard())
		}
		a.takes(t, func() bgp.VIP { v := with(first); v.MinAnnouncers = 1; return v }())
		f.await("six is gone", 2*time.Minute, func() bool { return a.peerNames() == "b" && a.alarmed() == "" })
	})
}

// peerNames are those of the peers that the node has now.
func (n *testNode) peerNames() string {
	n.Announcer.mu.Lock()
	defer n.Announcer.mu.Unlock()
	var names []string
	for _, p := range n.Announcer.peers {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

// TestSessionsThatWaitRest: a node whose session waits for promises that it cannot have keeps
// no other node from leaving.
func TestSessionsThatWaitRest(t *testing.T) {
	for _, c := range []struct {
		what string
		on   string // nodes that have ns2
	}{{"nobody else has it", "a1"}, {"the other one is drained", "a1 b1"}} {
		withRouters(t, "a1 b1 c1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
			other := with(second)
			other.Name = "ns2"
			for name := range strings.FieldsSeq(c.on) {
				n := f.nodes[name]
				n.takes(t, n.file.VIPs[0], other)
			}
			time.Sleep(20 * time.Second)
			if strings.Contains(c.on, "b1") {
				f.operate(t, "b1", bgp.Drain)
				f.await("b1 drained", time.Minute, func() bool { return f.nodes["b1"].state() == bgp.Withdrawn })
			}
			f.nodes["a1"].reloads(router("a", 3))
			time.Sleep(5 * time.Second)
			f.operate(t, "c1", bgp.Drain)
			f.await(c.what+": c1 drained", 90*time.Second, func() bool { return f.nodes["c1"].state() == bgp.Withdrawn })
			if len(f.nodes["a1"].had()) > 1 {
				t.Errorf("%s: the session was changed", c.what)
			}
		})
	}
}

// TestSessionWaitsForWhoWasNeverHeard, and says so.
func TestSessionWaitsForWhoWasNeverHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1", "c1")
		for _, n := range f.nodes {
			n.file.VIPs, n.file.Peers = []bgp.VIP{as("ns1", 2, first)}, []speaker.Peer{router("a", 9)}
		}
		f.start("a1", "b1")
		defer f.stopAll()
		f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
		a := f.nodes["a1"]
		a.reloads(router("a", 3))
		const want = "; c1, not heard since the start of this node, may have it, too"
		f.await("promises asked for", time.Minute, func() bool { return strings.HasSuffix(a.Status().Waits, want) })
		f.start("c1")
		f.await("the session changed", time.Minute, func() bool { return len(a.had()) == 2 && a.Status().Waits == "" })
	})
}

// TestGroupsOverRestarts: groups in which routers stay by a reload they have after a crash and
// after a stop, too, whatever other routers might be thought to hear.
func TestGroupsOverRestarts(t *testing.T) {
	for _, c := range []struct {
		what     string
		prefixes []netip.Prefix
		other    []speaker.Peer // before
		then     []speaker.Peer // by the reload
	}{
		{"alone", []netip.Prefix{first}, nil, nil},
		{"beside one over IPv6", []netip.Prefix{first, six}, []speaker.Peer{router("six", 9, "fabric")}, []speaker.Peer{router("six", 9, "fabric")}},
		{"beside one without a session", []netip.Prefix{first}, []speaker.Peer{router("b", 9, "tor")}, []speaker.Peer{router("b", 9, "fabric")}},
	} {
		for _, end := range []func(f *fleet, name string){(*fleet).kill, func(f *fleet, name string) { f.stop(name) }} {
			withRouters(t, "a1 b1", 1, c.prefixes, append([]speaker.Peer{router("a", 9, "fabric")}, c.other...), func(t *testing.T, f *fleet) {
				for _, n := range f.nodes {
					n.mu.Lock()
					n.refuses["b"] = true
					n.mu.Unlock()
				}
				time.Sleep(2 * time.Second)
				for _, n := range f.nodes {
					n.reloads(append([]speaker.Peer{router("a", 9, "tor")}, c.then...)...)
				}
				time.Sleep(time.Minute)
				for name, n := range f.nodes {
					end(f, name)
					f.start(name)
					f.await(c.what+": announced again", time.Minute, func() bool { return n.state() == bgp.Announced && n.heard()[first] })
					f.await(c.what+": an alarm", time.Minute, func() bool {
						return strings.Contains(n.alarmed(), "peers: a stays in fabric, tor, for no other peer would hear 198.51.100.53/32 of ns1: change the VIP by a plan")
					})
				}
			})
		}
	}
}

// TestRouterMoves: a router that gets another address hears all at the new one before the old
// one goes, and stays where the new one would not hear it.
func TestRouterMoves(t *testing.T) {
	moved := func(group string) speaker.Peer {
		p := router("a", 9, group)
		p.Address = netip.MustParseAddr("192.0.2.200")
		return p
	}
	withRouters(t, "a1 b1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9, "fabric")}, func(t *testing.T, f *fleet) {
		for _, n := range f.nodes {
			n.reloads(moved("tor"))
		}
		if few := f.least(first, 2*time.Minute); few != 2 {
			t.Errorf("%d nodes at least were heard, want 2", few)
		}
		for name, n := range f.nodes {
			if want := "stays, for no other peer hears 198.51.100.53/32 of ns1: take that away by a plan, or drain the node, before"; !strings.Contains(n.alarmed(), want) || n.peerNames() != "a a-before" {
				t.Errorf("%s has the peers %s, the alarm is %q, want %q", name, n.peerNames(), n.alarmed(), want)
			}
			n.reloads(moved("fabric"))
		}
		if few := f.least(first, 2*time.Minute); few != 2 {
			t.Errorf("%d nodes at least were heard, want 2", few)
		}
		for name, n := range f.nodes {
			if n.peerNames() != "a" || n.alarmed() != "" {
				t.Errorf("%s has the peers %s, the alarm is %q", name, n.peerNames(), n.alarmed())
			}
		}
	})
}

// TestNeverAnswered: a VIP of which nothing was ever announced leaves without promises.
func TestNeverAnswered(t *testing.T) {
	withRouters(t, "a1 b1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		a.mu.Lock()
		a.mutes = second
		a.mu.Unlock()
		a.takes(t, with(second))
		time.Sleep(time.Minute)
		one := with(first)
		one.Name = "ns2"
		a.takes(t, one)
		f.await("ns1 is gone", time.Minute, func() bool { return len(a.Status().VIPs) == 1 && a.route() == "64512:100" && a.alarmed() == "" })
		a.mu.Lock()
		a.mutes = netip.Prefix{}
		a.mu.Unlock()
		time.Sleep(time.Minute)
		if got := a.routeTo(second); got != "none" {
			t.Errorf("what no plan names is announced with %q", got)
		}
	})
}

// TestPlanWhileFamilyIsAway: a prefix that answered is missed when its routers are back, also
// while they are away from all nodes; one that never answered is not.
func TestPlanWhileFamilyIsAway(t *testing.T) {
	routers := []speaker.Peer{router("a", 9), router("x", 9)}
	for _, silent := range []bool{false, true} {
		withRouters(t, "a1 b1", 1, []netip.Prefix{first}, routers, func(t *testing.T, f *fleet) {
			for name, n := range f.nodes {
				n.mu.Lock()
				n.refuses["x"] = true
				if silent {
					n.mutes = six
				}
				n.mu.Unlock()
				n.takes(t, with(first, six))
				f.await("six tried", time.Minute, func() bool { return silent || slices.Contains(n.report().Status.Answered["ns1"], six) })
				if out := f.nodes[name].report().Status.Out["ns1"]; !slices.Equal(out, []netip.Prefix{first}) {
					t.Fatalf("%s has %s out", name, out)
				}
				n.wants(with(first))
			}
			p, err := f.nodes["a1"].Plan(t.Context(), bgp.Selection{Nodes: "all"}, bgp.Limits{AllowWide: true})
			if err != nil {
				t.Fatal(err)
			}
			want := ""
			if !silent {
				want = "last: ns1: a1, b1 would leave 2001:db8::53/128, and nobody announce it as planned, want at least 1: to give it up on purpose, say --give-up 2001:db8::53/128"
			}
			if err := p.Verdict.Err(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("silent %v: %v, want %q", silent, err, want)
			}
		})
	}
}

// TestVIPGoesOverWithPort: a prefix goes to a VIP of another port while the one of before still
// lingers. (The node may not remove its address.)
func TestVIPGoesOverWithPort(t *testing.T) {
	withRouters(t, "a1 b1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		f.operate(t, "a1", bgp.Drain)
		f.await("a1 drained", time.Minute, func() bool { return a.state() == bgp.Withdrawn })
		one := with(first)
		one.Name, one.Port = "ns2", 5353
		a.takes(t, one)
		if _, err := a.Operate(t.Context(), Request{End: "undrain", Node: "a1", Reason: "done", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if a.route() != "64512:100" || a.held() != 1 || a.alarmed() != "" {
			t.Errorf("the route is %q, %d addresses, the alarm is %q", a.route(), a.held(), a.alarmed())
		}
	})
}

// TestRenameWhileDrained: a drained node does not come back because a VIP has another name on
// all others.
func TestRenameWhileDrained(t *testing.T) {
	withRouters(t, "a1 b1 c1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		f.operate(t, "a1", bgp.Drain)
		f.await("a1 drained", time.Minute, func() bool { return a.state() == bgp.Withdrawn })
		one := with(first)
		one.Name = "ns2"
		for _, name := range []string{"a1", "b1", "c1"} {
			f.nodes[name].takes(t, one)
			for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
				if a.route() != "none" {
					t.Fatalf("while %s takes the new name, a1 announces %q", name, a.route())
				}
			}
		}
		if few := f.hear(first); few != 2 {
			t.Errorf("%d nodes are heard, want 2", few)
		}
	})
}

// TestNoPeerForAVIP: a VIP that no router is for is an alarm on its way up.
func TestNoPeerForAVIP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1")
		a := f.nodes["a1"]
		a.file.VIPs[0].Groups, a.file.Peers = []string{"fabric"}, []speaker.Peer{router("a", 9, "tor")}
		t.Cleanup(f.stopAll)
		f.start("a1")
		f.await("an alarm", time.Minute, func() bool { return a.alarmed() == "vip ns1: it is canary, but no peer has 198.51.100.53/32" })
	})
}

// TestPeersAlarmStands: while the speaker refuses other peers the alarm stands.
func TestPeersAlarmStands(t *testing.T) {
	withRouters(t, "a1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9), router("b", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		a.mu.Lock()
		a.rejects = errors.New("no more file descriptors")
		a.mu.Unlock()
		a.reloads(router("a", 9), router("b", 9), router("c", 9))
		time.Sleep(time.Second)
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if a.alarmed() != "peers: no more file descriptors" {
				t.Fatalf("the alarm is %q", a.alarmed())
			}
		}
		a.mu.Lock()
		a.rejects = nil
		a.mu.Unlock()
		f.await("no alarm", 10*time.Second, func() bool { return a.alarmed() == "" })
	})
}

// TestPortIsTaken: a plan wants another port that cannot be opened. The one before serves on,
// the alarm says why, and the rollout does not take it for done.
func TestPortIsTaken(t *testing.T) {
	withRouters(t, "a1 b1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		a.mu.Lock()
		a.taken = 5353
		a.mu.Unlock()
		v := a.file.VIPs[0]
		v.Port = 5353
		a.wants(v)
		a.rollOut(t, time.Second)
		if few := f.least(first, 20*time.Second); few != 2 || !strings.Contains(a.alarmed(), "address and socket of vip ns1: listen 198.51.100.53:5353: address in use") {
			t.Errorf("%d nodes at least were heard, want 2; the alarm is %q", few, a.alarmed())
		}
		if few := f.least(first, time.Minute); few != 2 || a.phase() != bgp.PhaseAborted || a.alarmed() == "" {
			t.Errorf("%d nodes at least were heard, want 2; the rollout is %s", few, a.Rollout())
		}
		f.await("as before", time.Minute, func() bool { return a.route() == "64512:100" && a.state() == bgp.Announced })
		a.mu.Lock()
		a.taken = 0
		a.mu.Unlock()
		a.rollOut(t, time.Second)
		f.await("done", time.Minute, func() bool { return a.phase() == bgp.PhaseDone })
		a.mu.Lock()
		defer a.mu.Unlock()
		if _, old := a.listening[netip.MustParseAddrPort("198.51.100.53:53")]; old || len(a.listening) != 1 || a.withdrew[first] != 0 {
			t.Errorf("it listens on %v, and withdrew %d times", a.listening, a.withdrew[first])
		}
	})
}

// TestSocketAlarmEnds: what a VIP could not open is no alarm once no plan names it.
func TestSocketAlarmEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		a := f.nodes["a1"]
		a.locked = true
		t.Cleanup(f.stopAll)
		f.start("a1", "b1")
		f.await("an alarm", 30*time.Second, func() bool { return strings.Contains(a.alarmed(), "address and socket of vip ns1: cannot add") })
		a.takes(t)
		f.await("no alarm", time.Minute, func() bool { return a.alarmed() == "" })
	})
}

// TestPrefixGoesToOtherGroups: a prefix goes over to a VIP that other routers hear, while these
// have no session. Who has it keeps it until one of them does.
func TestPrefixGoesToOtherGroups(t *testing.T) {
	withRouters(t, "a1 b1", 1, []netip.Prefix{first, second}, []speaker.Peer{router("a", 9, "fabric"), router("b", 9, "tor")}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		one, two := with(first), with(second, netip.MustParsePrefix("198.51.100.55/32"))
		one.Groups, two.Name, two.Groups = []string{"fabric"}, "ns2", []string{"tor"}
		small := two
		small.Prefixes = two.Prefixes[1:]
		a.takes(t, a.file.VIPs[0], small)
		f.await("ns2", 30*time.Second, func() bool { return a.routeTo(small.Prefixes[0]) == "64512:100" })
		time.Sleep(10 * time.Second)
		a.mu.Lock()
		a.refuses["b"] = true
		a.mu.Unlock()
		time.Sleep(10 * time.Second)
		f.kill("b1") // nobody promises
		a.takes(t, one, two)
		if few := f.least(second, time.Minute); few != 1 {
			t.Errorf("nobody heard %s", second)
		}
		if want := "vip ns2: it is announced, but no peer has 198.51.100.55/32"; !strings.Contains(a.alarmed(), want) {
			t.Errorf("the alarm is %q, want %q", a.alarmed(), want)
		}
		a.mu.Lock()
		a.refuses["b"] = false
		a.mu.Unlock()
		f.await("over", time.Minute, func() bool {
			return a.partsLeft() == 0 && a.routeTo(second) == "64512:100" && slices.Equal(a.groupsOf(second), []string{"tor"})
		})
		if a.gone(second) != 0 {
			t.Errorf("it was withdrawn %d times", a.gone(second))
		}
	})
}

// partsLeft counts prefixes on their way out.
func (n *testNode) partsLeft() int {
	n.Announcer.mu.Lock()
	defer n.Announcer.mu.Unlock()
	return len(n.parts)
}

// groupsOf returns the groups that a prefix was announced to last.
func (n *testNode) groupsOf(p netip.Prefix) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.routes {
		if r.Prefix == p {
			return r.Groups
		}
	}
	return nil
}

// TestVIPGoesOver: all prefixes of a VIP that leaves the plan go over to another one.
func TestVIPGoesOver(t *testing.T) {
	withRouters(t, "a1 b1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		both := with(first, second)
		two := with(second)
		two.Name = "ns2"
		a.file.Required = map[string]time.Duration{"ns2": time.Second}
		a.Use(a.file)
		a.takes(t, with(first), two)
		f.await("ns2", 30*time.Second, func() bool { return a.routeTo(second) == "64512:100" })
		a.takes(t, both)
		time.Sleep(time.Minute)
		if a.gone(second) != 0 || a.gone(first) != 0 || len(a.Status().VIPs) != 1 || a.alarmed() != "" {
			t.Errorf("withdrawn %d and %d times, the VIPs are %+v, the alarm is %q", a.gone(first), a.gone(second), a.Status().VIPs, a.alarmed())
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.said["ns2"] != edge.Dead {
			t.Errorf("the fleet was told that ns2 is %v", a.said["ns2"])
		}
	})
}

// TestGivenUpOnce: what a plan gave up, and is announced again by the node's own word, does not
// go a second time without promises.
func TestGivenUpOnce(t *testing.T) {
	withRouters(t, "a1 b1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		announce := Request{Kind: bgp.Announce, VIP: "ns1", Local: true, Reason: "glass", Actor: "ann"}
		for name, n := range f.nodes {
			n.file.VIPs = nil // as the plan says
			p := bgp.NodePlan{Node: name, PoP: name[:1], Generation: n.Status().Generation + 1, GiveUp: []netip.Prefix{first}}
			if err := n.take(p, false, "ann", "retire"); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			for name, n := range f.nodes {
				n.file.VIPs = []bgp.VIP{with(first)}
				n.Use(n.file)
				if _, err := n.Operate(t.Context(), announce); err != nil {
					t.Fatal(name, err)
				}
			}
			time.Sleep(20 * time.Second)
		}
		f.kill("b1")
		if _, err := a.Operate(t.Context(), Request{End: "release", VIP: "ns1", Local: true, Reason: "over", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := a.route(); got != "64512:100 graceful-shutdown prepend 3" {
			t.Errorf("the route is %q, want it as the last resort", got)
		}
	})
}

// TestAlarmOfBeforeEnds: that nothing is announced until a plan is applied is no alarm once one was.
func TestAlarmOfBeforeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1")
		a := f.nodes["a1"]
		f.kill("a1")
		for _, name := range []string{stateFile, stateFile + ".copy"} {
			if err := os.WriteFile(filepath.Join(a.dir, name), []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		f.start("a1")
		f.await("an alarm", 10*time.Second, func() bool { return strings.Contains(a.alarmed(), "nothing is announced until a plan is applied") })
		a.takes(t, testVIP)
		f.await("announced, and no alarm", 30*time.Second, func() bool { return a.state() == bgp.Announced && a.alarmed() == "" })
	})
}

// TestGiveUpBesideRename: a plan gives a VIP another name and gives up one of its prefixes.
func TestGiveUpBesideRename(t *testing.T) {
	withRouters(t, "a1 b1", 1, []netip.Prefix{first, second}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		f.kill("b1") // nobody promises
		one := with(first)
		one.Name = "ns2"
		p := bgp.NodePlan{Node: "a1", PoP: "a", Generation: a.Status().Generation + 1, VIPs: []bgp.VIP{one}, GiveUp: []netip.Prefix{second}}
		if err := a.take(p, false, "ann", "test"); err != nil {
			t.Fatal(err)
		}
		if few := f.least(first, time.Minute); few != 1 || a.routeTo(second) != "none" || a.gone(first) != 0 {
			t.Errorf("%d heard; what is given up is announced with %q", few, a.routeTo(second))
		}
	})
}

// TestLocalAnnounceOverlaps: what an engineer announces on a node by its own word stays,
// although another VIP of the plan, which is drained there, has the prefix.
func TestLocalAnnounceOverlaps(t *testing.T) {
	withRouters(t, "a1 b1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		f.operate(t, "a1", bgp.Drain)
		f.await("a1 drained", time.Minute, func() bool { return a.state() == bgp.Withdrawn && a.held() == 0 })
		one := with(first)
		one.Name = "ns2"
		a.file.VIPs = []bgp.VIP{one}
		a.Use(a.file)
		if _, err := a.Operate(t.Context(), Request{Kind: bgp.Announce, VIP: "ns2", Local: true, Reason: "glass", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("announced", 30*time.Second, func() bool { return a.route() == "64512:100" })
		gone := a.gone(first)
		time.Sleep(2 * time.Minute)
		if a.route() != "64512:100" || a.gone(first) != gone {
			t.Errorf("the route is %q, and was withdrawn %d times more", a.route(), a.gone(first)-gone)
		}
	})
}

// TestGroupsAtStart: a router that the file takes from a group while the node is down hears
// nothing any more, when another one goes on hearing all.
func TestGroupsAtStart(t *testing.T) {
	withRouters(t, "a1 b1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9, "fabric"), router("b", 9, "fabric")}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		f.stop("a1")
		a.file.Peers = []speaker.Peer{router("a", 9, "fabric"), router("b", 9, "other")}
		f.start("a1")
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			for _, p := range a.Sent() {
				if p.Peer == "b" && len(p.Routes) > 0 {
					t.Fatalf("b has %v", p.Routes)
				}
			}
		}
		if !a.heard()[first] || a.alarmed() != "" {
			t.Errorf("heard: %v, the alarm is %q", a.heard(), a.alarmed())
		}
	})
}

// TestGroupsWhileWithdrawn: nobody is said to hear still what is withdrawn.
func TestGroupsWhileWithdrawn(t *testing.T) {
	withRouters(t, "a1 a2 b1", 2, []netip.Prefix{first}, []speaker.Peer{router("a", 9, "fabric"), router("b", 9, "tor")}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		a.breakChecks("no answer")
		f.await("withdrawn", 3*time.Minute, func() bool { return a.state() == bgp.Withdrawn })
		v := as("ns1", 3, first)
		v.Groups = []string{"tor"}
		a.takes(t, v)
		time.Sleep(time.Minute)
		if got, want := a.alarmed(), "vip ns1: announced as planned by 2 nodes only, as far as is heard, want 3 at least"; got != want {
			t.Errorf("the alarm is %q, want %q", got, want)
		}
	})
}

// TestManyVIPs: a node of many VIPs asks for all of them in few calls, so that members answer them:
// they take 200 calls at once of another one, and 100 a second.
func TestManyVIPs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := strings.Fields("a1 a2 b1")
		f := newFleet(t, names...)
		var vips []bgp.VIP
		for i := range 100 {
			vips = append(vips, as(fmt.Sprintf("v%d", i), 1, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)))
		}
		for _, n := range f.nodes {
			n.file.VIPs, n.file.Peers = vips, []speaker.Peer{router("a", 9)}
		}
		a := f.nodes["a1"]
		a.anew = 2 * time.Second
		f.start(names...)
		defer f.stopAll()
		f.await("announced", 20*time.Second, func() bool { return len(a.heard()) == len(vips) })
		time.Sleep(40 * time.Second)
		before := f.called(pathPromise)
		a.reloads(router("a", 3))
		f.await("made anew", 30*time.Second, func() bool { return len(a.heard()) == 0 })
		f.await("up again", 30*time.Second, func() bool { return len(a.heard()) == len(vips) })
		f.operate(t, "a1", bgp.Drain)
		f.await("drained", time.Minute, func() bool { return len(a.heard()) == 0 })
		if got := f.called(pathPromise) - before; got > 100 {
			t.Errorf("it called %d times for promises", got)
		}
	})
}
