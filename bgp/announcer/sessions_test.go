package announcer

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp"
	"edged/bgp/speaker"
)

// TestWrongPeersOverRestarts: nodes that are restarted with files of which no router takes the sessions
// go on with those that they had: two of three announce, as their VIP needs.
func TestWrongPeersOverRestarts(t *testing.T) {
	tor, spine := router("a", 1), router("b", 2)
	elsewhere, password := router("c", 3), tor
	password.Password = "wrong"
	for what, wrong := range map[string][]speaker.Peer{
		"other routers":  {elsewhere},
		"a password":     {password},
		"both":           {password, elsewhere},
		"one has to go":  {elsewhere, spine},
		"all have to go": {elsewhere, router("d", 4)},
	} {
		for _, crash := range []bool{false, true} {
			names := strings.Fields("a1 b1 c1")
			withRouters(t, strings.Join(names, " "), 2, []netip.Prefix{first}, []speaker.Peer{tor, spine}, func(t *testing.T, f *fleet) {
				for range 2 {
					for _, name := range names {
						n := f.nodes[name]
						if crash {
							f.kill(name)
						} else {
							f.stop(name)
						}
						n.file.Peers = wrong
						n.Announcer, n.refuses["c"], n.refuses["d"] = nil, true, true
						f.start(name)
						time.Sleep(2 * time.Minute)
						if got, want := n.alarmed(), "the session with a does not come up as the file wants it, and is as it was before the start until"; what == "a password" && !strings.Contains(got, want) {
							t.Errorf("crash %v: the alarm is %q, want %q", crash, got, want)
						}
						if got := f.hear(first); got < 2 {
							t.Fatalf("%s, crash %v: with %s restarted %d nodes announce it, want 2 at least; %s waits for %q", what, crash, name, got, name, n.Status().Waits)
						}
					}
				}
			})
		}
	}
}

// TestRestartsWithOtherSessions: what a file rightly changes is so at once when the node starts with it.
func TestRestartsWithOtherSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		defer f.stopAll()
		a, b := f.nodes["a1"], f.nodes["b1"]
		b.file.VIPs = nil // a1 has it alone
		a.file.Peers = []speaker.Peer{router("a", 9)}
		b.file.Peers = a.file.Peers
		f.start("a1", "b1")
		f.await("announced", 15*time.Second, func() bool { return a.heard()[first] })
		f.stop("a1")
		a.file.Peers = []speaker.Peer{router("a", 30)}
		a.file.Peers[0].Password = "new"
		f.start("a1")
		time.Sleep(5 * time.Second)
		if got := a.talksTo(); !a.heard()[first] || len(got) != 1 || !got[0].SameSession(a.file.Peers[0]) || a.alarmed() != "" {
			t.Errorf("heard %v, peers %v, alarm %q", a.heard(), got, a.alarmed())
		}
		// Its plan names no VIP any more, and its file no router.
		a.takes(t)
		time.Sleep(time.Minute)
		a.reloads()
		time.Sleep(time.Minute)
		f.stop("a1")
		f.start("a1")
		time.Sleep(time.Minute)
		if got := a.talksTo(); len(got) != 0 || a.alarmed() != "" {
			t.Errorf("without routers in its file: peers %v, alarm %q", got, a.alarmed())
		}
	})
}

// TestPasswordInTurn: nodes have a password before their router has it, and it gets it later; a reload
// meanwhile tries it once more.
func TestPasswordInTurn(t *testing.T) {
	withRouters(t, "a1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		with := func(password string) speaker.Peer {
			p := router("a", 9)
			p.Password = password
			return p
		}
		wants := func(password string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.secret = password
		}
		wants("old")
		a.reloads(with("old"))
		f.await("changed", time.Minute, func() bool { return a.heard()[first] })
		time.Sleep(time.Minute)
		f.stop("a1")
		a.file.Peers = []speaker.Peer{with("new")}
		f.start("a1")
		const alarm = "sessions: the session with a does not come up as the file wants it, and is as it was before the start until the file is read again"
		f.await("as it was", 25*time.Second, func() bool { return a.heard()[first] && a.alarmed() == alarm })
		a.reloads(with("new"))
		f.await("tried again", time.Minute, func() bool { return a.talksTo()[0].Password == "new" })
		f.await("as it was again", 25*time.Second, func() bool { return a.heard()[first] && a.alarmed() == alarm })
		for range 300 {
			time.Sleep(time.Second)
			if !a.heard()[first] || a.alarmed() != alarm {
				t.Fatalf("heard %v, alarm %q", a.heard(), a.alarmed())
			}
		}
		wants("new")
		f.await("down", 20*time.Second, func() bool { return !a.heard()[first] })
		f.await("as the file wants it", time.Minute, func() bool { return a.heard()[first] && a.alarmed() == "" })
		f.kill("a1")
		f.start("a1")
		f.await("again", 15*time.Second, func() bool { return a.heard()[first] && a.talksTo()[0].Password == "new" })
	})
}

// TestRouterAwayAtRestart: a router that is down when nodes stop, and that files do not name any more, is
// there again.
func TestRouterAwayAtRestart(t *testing.T) {
	withRouters(t, "a1 b1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9), router("b", 9)}, func(t *testing.T, f *fleet) {
		for range 2 { // the second time what is kept was written while it was down
			for _, n := range f.nodes {
				n.mu.Lock()
				n.refuses["b"] = true
				n.mu.Unlock()
			}
			time.Sleep(5 * time.Second)
			for _, n := range f.nodes {
				f.kill(n.self.Name)
				f.start(n.self.Name)
				time.Sleep(8 * time.Second)
				if peers := n.talksTo(); len(peers) != 2 || peers[1].Name != "b" {
					t.Fatalf("%s has the peers %v", n.self.Name, peers)
				}
				n.mu.Lock()
				n.file.Peers = n.file.Peers[:1]
				n.mu.Unlock()
			}
		}
	})
}

// TestPasswordsStay: they are not lost while sessions cannot be had.
func TestPasswordsStay(t *testing.T) {
	withRouters(t, "a1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		a := f.nodes["a1"]
		right := router("a", 9)
		right.Password = "right"
		a.reloads(right)
		time.Sleep(time.Minute)
		wrong := router("c", 9)
		wrong.Password = "wrong"
		f.stop("a1")
		a.file.Peers, a.refuses["c"], a.rejects = []speaker.Peer{wrong}, true, errors.New("no")
		f.start("a1")
		time.Sleep(3 * time.Second)
		f.kill("a1")
		a.rejects = nil
		f.start("a1")
		f.await("announced", time.Minute, func() bool { return a.heard()[first] })
		if got := PasswordOf(a.dir, right.Address); got != "right" {
			t.Errorf("it keeps the password %q", got)
		}
	})
}

// TestStayersOverRestarts: sessions that reloads left as they were, for nobody else hears the
// VIP, are there again after each node was restarted, and stopped or killed.
func TestStayersOverRestarts(t *testing.T) {
	six := speaker.Peer{Name: "six", Address: netip.MustParseAddr("2001:db8:1::1"), ASN: 64500}
	four := speaker.Peer{Name: "four", Address: netip.MustParseAddr("192.0.2.1"), ASN: 64500, Password: "right"}
	wrong, moved := four, four
	wrong.Password, moved.Password, moved.Address = "wrong", "wrong", four.Address.Next()
	for name, tc := range map[string]struct {
		before, after []speaker.Peer
		peers         string // of a node then
		waits         string
	}{
		"a router that files do not name": {
			[]speaker.Peer{four, six},
			[]speaker.Peer{four},
			"four six",
			"the session with six stays, for no other peer hears 2001:db8::53/128 of ns1: take that away by a plan, or drain the node, before",
		},
		"a router with another address and a wrong password": {
			[]speaker.Peer{four, six},
			[]speaker.Peer{moved, six},
			"four six four-before",
			"",
		},
		"a wrong password": {
			[]speaker.Peer{four, six},
			[]speaker.Peer{wrong, six},
			"four six",
			"",
		},
	} {
		for _, crash := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				names := strings.Fields("a1 b1 c1")
				f := newFleet(t, names...)
				v := as("ns1", 1, first, netip.MustParsePrefix("2001:db8::53/128"))
				for _, n := range f.nodes {
					n.file.VIPs, n.file.Peers = []bgp.VIP{v}, tc.before
				}
				f.start(names...)
				defer f.stopAll()
				f.await("announced", 15*time.Second, f.all(bgp.Announced, names...))
				time.Sleep(40 * time.Second)
				for _, n := range f.nodes {
					n.reloads(tc.after...)
				}
				time.Sleep(2 * time.Minute)
				for range 2 {
					for _, name := range names {
						n := f.nodes[name]
						heard := len(n.heard())
						if crash {
							f.kill(name)
						} else {
							f.stop(name)
						}
						f.start(name)
						time.Sleep(time.Minute)
						if got := len(n.heard()); got < heard {
							t.Errorf("%s, crash %v: %s has %d prefixes that routers hear, and had %d before", name, crash, n.self.Name, got, heard)
						}
						if got := n.Status().Waits; tc.waits != "" && got != tc.waits {
							t.Errorf("%s: it waits for %q, want %q", name, got, tc.waits)
						}
					}
				}
				for _, p := range v.Prefixes {
					if got := f.hear(p); got < 1 {
						t.Errorf("%s, crash %v: %d nodes announce %s, want 1 at least", name, crash, got, p)
					}
				}
				var peers []string
				for _, p := range f.nodes["c1"].talksTo() {
					peers = append(peers, p.Name)
				}
				if got := strings.Join(peers, " "); got != tc.peers {
					t.Errorf("%s, crash %v: c1 has the peers %s, want %s", name, crash, got, tc.peers)
				}
			})
		}
	}
}

// TestStayerEnds: a node keeps the passwords of its sessions, and no others; one without is as the file
// wants it, and so is a session that does not come up after a start.
func TestStayerEnds(t *testing.T) {
	four := speaker.Peer{Name: "four", Address: netip.MustParseAddr("192.0.2.1"), ASN: 64500, Password: "right"}
	wrong := four
	wrong.Password = "wrong"
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1")
		a := f.nodes["a1"]
		second := router("b", 9)
		a.file.Peers = []speaker.Peer{four, second}
		f.start("a1")
		defer f.stopAll()
		f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1"))
		refuses := func(b bool) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.refuses["b"] = b
		}
		refuses(true)
		a.reloads(wrong, second)
		time.Sleep(time.Minute)
		path := filepath.Join(a.dir, passwordFile)
		if text, err := os.ReadFile(path); err != nil || string(text) != `{"192.0.2.1":"right"}` {
			t.Fatalf("it keeps the passwords %q (%v)", text, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file is %v (%v)", info.Mode(), err)
		}
		f.kill("a1")
		a.file.Peers = []speaker.Peer{four, second} // the file is mended
		f.start("a1")
		time.Sleep(20 * time.Second)
		refuses(false)
		time.Sleep(20 * time.Second)
		four.Password = ""
		a.reloads(four, second)
		time.Sleep(time.Minute)
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the passwords are still there: %v", err)
		}
		four.Password = "right"
		a.reloads(four, second)
		time.Sleep(time.Minute)
		if got := PasswordOf(a.dir, four.Address); got != "right" {
			t.Errorf("the password is %q", got)
		}
		refuses(true)
		a.reloads(wrong, second)
		time.Sleep(time.Minute)
		f.kill("a1")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		f.start("a1")
		if want := "the session with four is as the file wants it, not as it was before"; !strings.Contains(a.alarmed(), want) {
			t.Errorf("the alarm is %q, want %q", a.alarmed(), want)
		}
		a.reloads(four, second)
		time.Sleep(time.Minute)
		a.reloads(wrong, second)
		time.Sleep(time.Minute)
		f.kill("a1")
		a.mu.Lock()
		a.refuses["four"] = true
		a.mu.Unlock()
		f.start("a1")
		f.await("as the file wants it", time.Minute, func() bool { return a.talksTo()[0].Password == "wrong" })
	})
}

// TestLocalAnnounceOverRestarts: what a node announces by its own word is what it was, although the
// file does not name it any more; and its crashes count as any VIP's do.
func TestLocalAnnounceOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := announcing(t, "a1", "b1", "b2")
		a := f.nodes["a1"]
		a.file.VIPs = []bgp.VIP{testVIP, as("ns2", 1, second)}
		a.Use(a.file)
		if _, err := a.Operate(t.Context(), Request{Kind: bgp.Announce, VIP: "ns2", Local: true, Reason: "x", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("announced", 20*time.Second, func() bool { return a.routeTo(second) == "64512:100" })
		a.file.VIPs = []bgp.VIP{testVIP}
		a.Use(a.file)
		f.stop("a1")
		f.start("a1")
		f.await("announced again", 20*time.Second, func() bool { return a.routeTo(second) == "64512:100" })
		for range 5 {
			f.await("announced again", 20*time.Second, func() bool { return a.routeTo(second) != "none" })
			time.Sleep(time.Second)
			f.kill("a1")
			f.start("a1")
			time.Sleep(9 * time.Second)
		}
		for _, v := range a.Status().VIPs {
			if v.Penalty < 1000 {
				t.Errorf("after 5 crashes %s is %s with the penalty %.0f", v.Name, v.State, v.Penalty)
			}
		}
	})
}

// restarts stops or kills a node, and starts it with other routers in its file.
func (n *testNode) restarts(f *fleet, crash bool, routers ...speaker.Peer) {
	if crash {
		f.kill(n.self.Name)
	} else {
		f.stop(n.self.Name)
	}
	n.mu.Lock()
	n.file.Peers = routers
	n.mu.Unlock()
	f.start(n.self.Name)
}

// sets changes what the world does to a node.
func (n *testNode) sets(do func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	do()
}

// TestOldRouterStays: a router of before stays until one of the file stands in for it, however late the
// node announces, and whichever of them is away for how long.
func TestOldRouterStays(t *testing.T) {
	tor, six1 := router("a", 9), router("six", 9)
	seven := six1
	seven.Name, seven.Address = "seven", netip.MustParseAddr("2001:db8:1::7")
	wrong := tor
	wrong.Password = "wrong"
	for what, restart := range map[string]func(f *fleet, n *testNode){
		"it is away after a restart": func(f *fleet, n *testNode) {
			n.sets(func() { n.refuses["a"] = true })
			n.restarts(f, false, router("c", 9), six1)
			time.Sleep(50 * time.Second)
			n.sets(func() { n.refuses["a"] = false })
		},
		"it is away after two restarts": func(f *fleet, n *testNode) {
			n.restarts(f, false, wrong, six1)
			time.Sleep(5 * time.Second)
			n.sets(func() { n.refuses["a"] = true })
			n.restarts(f, false, router("c", 9), six1)
			time.Sleep(time.Minute)
			n.sets(func() { n.refuses["a"] = false })
		},
		"it is away at a reload": func(f *fleet, n *testNode) {
			n.sets(func() { n.refuses["a"] = true })
			time.Sleep(10 * time.Second)
			n.reloads(router("c", 9), six1)
			time.Sleep(time.Minute)
			n.sets(func() { n.refuses["a"] = false })
		},
		"the node announces late": func(f *fleet, n *testNode) {
			n.breakChecks("no zone is loaded")
			n.restarts(f, false, tor, seven)
			time.Sleep(50 * time.Second)
			n.breakChecks("")
		},
		"the node crashes often": func(f *fleet, n *testNode) {
			for range 4 {
				n.restarts(f, true, tor, seven)
				time.Sleep(12 * time.Second)
			}
			time.Sleep(10 * time.Minute)
		},
	} {
		withRouters(t, "a1 b1 c1", 2, []netip.Prefix{first, six}, []speaker.Peer{tor, six1}, func(t *testing.T, f *fleet) {
			for _, name := range strings.Fields("a1 b1 c1") {
				n := f.nodes[name]
				n.sets(func() { n.refuses["c"], n.refuses["seven"] = true, true })
				restart(f, n)
				time.Sleep(3 * time.Minute)
				if four, six := f.hear(first), f.hear(six); four < 3 || six < 3 {
					t.Fatalf("%s: with %s done %d and %d nodes are heard, want 3; its peers are %s, its alarm %q", what, name, four, six, n.peerNames(), n.alarmed())
				}
			}
			n := f.nodes["a1"] // now they are there
			n.sets(func() { n.refuses["c"], n.refuses["seven"] = false, false })
			time.Sleep(2 * time.Minute)
			if got := n.peerNames(); strings.Contains(got, "before") || len(strings.Fields(got)) != 2 || n.alarmed() != "" || !n.heard()[first] || !n.heard()[six] {
				t.Errorf("%s: in the end its peers are %s, and have %v; alarm %q", what, got, n.heard(), n.alarmed())
			}
		})
	}
}

// TestFallsBackYet: a reload of other settings that are wrong, or a speaker that errs for a
// while, does not cost a node the sessions of before.
func TestFallsBackYet(t *testing.T) {
	wrong := router("a", 9)
	wrong.Password = "wrong"
	for what, meanwhile := range map[string]func(n *testNode){
		"another hold time": func(n *testNode) {
			time.Sleep(5 * time.Second)
			other := wrong
			other.Hold = 3 * time.Second
			n.reloads(other)
		},
		"the speaker errs": func(n *testNode) {
			time.Sleep(5 * time.Second)
			n.sets(func() { n.rejects = errors.New("no") })
			time.Sleep(9 * time.Second)
			n.sets(func() { n.rejects = nil })
		},
	} {
		withRouters(t, "a1 b1 c1", 2, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
			for _, name := range strings.Fields("a1 b1 c1") {
				n := f.nodes[name]
				n.restarts(f, false, wrong)
				meanwhile(n)
				time.Sleep(2 * time.Minute)
				if got := f.hear(first); got < 3 {
					t.Fatalf("%s: with %s restarted %d nodes are heard, want 3; its alarm is %q", what, name, got, n.alarmed())
				}
			}
		})
	}
}

// TestReadWhileBeginning: a file that is read again while the speaker refuses the peers to begin with
// does not take the place of the routers of before.
func TestReadWhileBeginning(t *testing.T) {
	withRouters(t, "a1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9)}, func(t *testing.T, f *fleet) {
		n := f.nodes["a1"]
		n.sets(func() { n.refuses["c"], n.refuses["d"], n.rejects = true, true, errors.New("not yet") })
		n.restarts(f, false, router("c", 9))
		time.Sleep(2 * time.Second)
		n.reloads(router("d", 9))
		time.Sleep(2 * time.Second)
		n.sets(func() { n.rejects = nil })
		time.Sleep(2 * time.Minute)
		if got := n.peerNames(); got != "d a" || !n.heard()[first] {
			t.Errorf("the peers are %s, and have %v; alarm %q", got, n.heard(), n.alarmed())
		}
	})
}

// TestOldSettingsAreGone: those of a session that a file ended are not tried again once it is named anew.
func TestOldSettingsAreGone(t *testing.T) {
	withRouters(t, "a1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9), router("b", 30)}, func(t *testing.T, f *fleet) {
		n := f.nodes["a1"]
		time.Sleep(time.Minute)
		n.reloads(router("a", 9))
		f.await("gone", time.Minute, func() bool { return n.peerNames() == "a" })
		n.sets(func() { n.refuses["b"] = true })
		n.reloads(router("a", 9), router("b", 3))
		time.Sleep(time.Minute)
		n.restarts(f, false, router("a", 9), router("b", 3))
		time.Sleep(30 * time.Second)
		n.sets(func() { n.refuses["b"] = false })
		time.Sleep(2 * time.Minute)
		if got := n.talksTo()[1]; got.Hold != 3*time.Second || n.alarmed() != "" {
			t.Errorf("b has a hold time of %v; alarm %q", got.Hold, n.alarmed())
		}
	})
}

// TestGroupsOfAnnounced: a restart keeps the groups of peers that a VIP needs which no plan names.
func TestGroupsOfAnnounced(t *testing.T) {
	withRouters(t, "a1", 1, []netip.Prefix{first}, []speaker.Peer{router("a", 9, "fabric"), router("b", 9, "other", "fabric")}, func(t *testing.T, f *fleet) {
		n := f.nodes["a1"]
		two := as("ns2", 1, second)
		two.Groups = []string{"other"}
		n.file.VIPs = append(n.file.VIPs, two)
		n.Use(n.file)
		if _, err := n.Operate(t.Context(), Request{Kind: bgp.Announce, VIP: "ns2", Local: true, Reason: "new", Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		f.await("announced", 20*time.Second, func() bool { return n.heard()[second] })
		time.Sleep(5 * time.Second)
		n.restarts(f, false, router("a", 9, "fabric"), router("b", 9, "tor", "fabric"))
		time.Sleep(time.Minute)
		if !n.heard()[second] || !n.heard()[first] {
			t.Errorf("heard %v, alarm %q", n.heard(), n.alarmed())
		}
	})
}

// TestPassiveIsKnown: what reads what a node kept learns that a router connected to it.
func TestPassiveIsKnown(t *testing.T) {
	for _, passive := range []bool{false, true} {
		p := router("a", 9)
		p.Passive = passive
		withRouters(t, "a1", 1, []netip.Prefix{first}, []speaker.Peer{p}, func(t *testing.T, f *fleet) {
			f.stop("a1")
			if got, err := IntentOf(f.nodes["a1"].dir); err != nil || got.Passive != passive {
				t.Errorf("passive %v: %+v, %v", passive, got, err)
			}
		})
	}
}
