package gossip

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestThreeNodesConverge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		f.startAll(3, nil)
		want := []Peer{
			{Name: "n1", PoP: "pop1", Addr: place(1), Keys: []KeyID{secret(key("old")).id()}},
			{Name: "n2", PoP: "pop2", Addr: place(2), Keys: []KeyID{secret(key("old")).id()}},
			{Name: "n3", PoP: "pop3", Addr: place(3), Keys: []KeyID{secret(key("old")).id()}},
		}
		for _, n := range f.nodes {
			got := n.Alive()
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s sees %v, want %v", n.config.Name, got, want)
			}
			if why := n.Suspect(); why != "" {
				t.Errorf("%s suspects itself: %s", n.config.Name, why)
			}
		}
		f.nodes[2].Broadcast("", []byte("hello"))
		took := f.await("a broadcast to reach all others", 2*time.Second, func() bool {
			return f.nodes[0].has("hello") && f.nodes[1].has("hello")
		})
		t.Logf("broadcast reached all in %v", took)
		f.nodes[2].ear.mu.Lock()
		f.nodes[2].ear.mesh = nil // keeps it for itself
		f.nodes[2].ear.mu.Unlock()
		if err := f.nodes[0].Send("n3", []byte("for you alone")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i, want := range []bool{false, false, true} {
			if got := f.nodes[i].has("for you alone"); got != want {
				t.Errorf("n%d has the message to n3: %v", i+1, got)
			}
		}
	})
}

func TestStateIsExchangedOnJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		f.startAll(2, nil)
		f.nodes[0].MergeState([]byte("known to n1\n"))
		f.start(3, nil).MergeState([]byte("known to n3\n"))
		f.await("states to be exchanged", time.Second, func() bool {
			return f.nodes[2].has("known to n1") && f.nodes[0].has("known to n3")
		})
	})
}

func TestCrashAndFarewell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		f.startAll(5, nil)
		f.nodes[4].Stop(t.Context())
		took := f.await("a farewell to be heard", 2*time.Second, func() bool { return f.whole(f.nodes[:4]...) })
		t.Logf("a farewell was heard by all in %v", took)
		f.net.Split(place(4))
		took = f.await("a crash to be seen", time.Minute, func() bool { return f.whole(f.nodes[:3]...) })
		t.Logf("a crash was seen by all in %v", took)
		for _, n := range f.nodes[:3] {
			if why := n.Suspect(); why != "" {
				t.Errorf("%s suspects itself over a peer's death: %s", n.config.Name, why)
			}
		}
	})
}

// H6: what a node knows reaches all others in 35 s though 30 % of the packets
// are lost, and nobody is taken for dead.
func TestThirtyPercentLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		f.startAll(8, nil)
		f.net.Lose(0.3)
		for i, n := range f.nodes {
			news := fmt.Sprintf("news of n%d", i+1)
			n.Receive([]byte(news)) // and so broadcasts it
		}
		var digest time.Time
		took := f.await("all news to be everywhere", 35*time.Second, func() bool {
			if time.Since(digest) >= 5*time.Second {
				for _, n := range f.nodes {
					n.Broadcast("digest", fmt.Appendf(nil, "digest %d of %s", len(strings.Split(string(n.LocalState()), "\n"))-1, n.config.Name))
				}
				digest = time.Now()
			}
			for _, n := range f.nodes {
				for i := range f.nodes {
					if !n.has(fmt.Sprintf("news of n%d", i+1)) {
						return false
					}
				}
			}
			return true
		})
		t.Logf("all news was everywhere in %v", took)
		time.Sleep(time.Minute)
		if got := leaves(f.nodes); got != 0 {
			t.Errorf("%d deaths were seen, want none", got)
		}
		if s := f.net.Stats(); s.Lost == 0 {
			t.Error("the network lost no packet: the test shows nothing")
		}
	})
}

// H4, as far as the gossip goes: a node whose network is broken suspects itself
// within 15 s, until it is alone.
func TestCutOffNodeSuspectsItself(t *testing.T) {
	for _, size := range []int{3, 5, 8} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t)
			defer f.stop()
			f.startAll(size, nil)
			f.net.Split(place(1))
			cut := f.nodes[0]
			took := f.await("the cut-off node to suspect itself", 15*time.Second, func() bool { return cut.Suspect() != "" })
			t.Logf("one of %d suspected itself after %v: %s", size, took, cut.Suspect())
			f.await("the cut-off node to be alone", 15*time.Minute, func() bool { return f.whole(cut) })
			if why := cut.Suspect(); why != "" {
				t.Errorf("a node alone suspects itself: %s", why)
			}
		})
	}
}

func TestNobodySuspectsItselfOverOthers(t *testing.T) {
	tests := []struct {
		what         string
		size, deaths int
		loss         float64
	}{
		{"one of three dies", 3, 1, 0},
		{"one of five dies", 5, 1, 0},
		{"two of five die", 5, 2, 0},
		{"one of eight dies", 8, 1, 0},
		{"two of eight die", 8, 2, 0},
		{"30 % of the packets are lost", 8, 0, 0.3},
	}
	for _, test := range tests {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t)
			defer f.stop()
			f.startAll(test.size, nil)
			f.net.Lose(test.loss)
			for _, n := range f.nodes[test.size-test.deaths:] {
				n.transport.Shutdown()
			}
			for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(100 * time.Millisecond) {
				for _, n := range f.nodes[:test.size-test.deaths] {
					if why := n.Suspect(); why != "" {
						t.Fatalf("%s: %s suspects itself after %v: %s", test.what, n.config.Name, time.Since(begin), why)
					}
				}
			}
			rest := f.nodes[:test.size-test.deaths]
			f.await("the deaths to be seen", 2*time.Minute, func() bool { return f.whole(rest...) })
		})
	}
}

// A partition heals though it outlasts memberlist's memory of the dead, and
// though the nodes of one side know none of the other to join but by memory.
func TestPartitionHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		f.startAll(5, nil)
		f.net.Split(place(4), place(5))
		f.await("the sides to lose each other", 5*time.Minute, func() bool {
			return f.whole(f.nodes[:3]...) && f.whole(f.nodes[3:]...)
		})
		time.Sleep(5 * time.Minute)
		if n := len(f.nodes[0].list.Members()); n != 3 {
			t.Fatalf("memberlist has %d members, want 3", n)
		}
		f.net.Heal()
		took := f.await("the fleet to be whole", time.Minute, func() bool { return f.whole(f.nodes...) })
		t.Logf("whole again in %v", took)
	})
}

// Without joining again, the same partition never heals: that is what the loop
// is for.
func TestPartitionStaysWithoutJoiningAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		slow := production
		slow.joinMost = 1000 * time.Hour
		f.startAll(4, func(c *Config) { c.pace = &slow })
		f.net.Split(place(3), place(4))
		time.Sleep(5 * time.Minute)
		f.net.Heal()
		time.Sleep(5 * time.Minute)
		if !f.whole(f.nodes[:2]...) || !f.whole(f.nodes[2:]...) {
			t.Error("the partition healed by itself: is joining again still needed?")
		}
	})
}

func TestStrangersAreRefused(t *testing.T) {
	tests := map[string]func(*Config){
		"wrong key":         func(c *Config) { c.Keys = [][]byte{key("other")} },
		"wrong fleet":       func(c *Config) { c.Fleet = "other" },
		"name not a member": func(c *Config) { c.Name = "mallory" },
	}
	for what, change := range tests {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t)
				defer f.stop()
				members := func(c *Config) {
					c.Allowed = func(name string) bool { return slices.Contains([]string{"n1", "n2", "n3"}, name) }
				}
				f.startAll(2, members)
				stranger := f.start(3, change)
				stranger.Receive([]byte("poison"))
				for range 10 {
					stranger.Broadcast("", []byte("poison"))
					time.Sleep(30 * time.Second)
				}
				if !f.whole(f.nodes[:2]...) {
					t.Errorf("members see %v and %v", names(f.nodes[0].Alive()), names(f.nodes[1].Alive()))
				}
				for _, n := range f.nodes[:2] {
					if what != "name not a member" && n.has("poison") {
						t.Errorf("%s heard the stranger", n.config.Name)
					}
				}
				if s := f.nodes[0].Stats(); what == "name not a member" && s.Refused == 0 {
					t.Errorf("nothing refused: %+v", s)
				}
			})
		})
	}
}

func TestSecondNodeOfOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		f.startAll(2, nil)
		f.start(3, func(c *Config) { c.Name = "n2" })
		time.Sleep(time.Minute)
		if got := f.nodes[0].Alive()[1].Addr; got != place(2) {
			t.Errorf("n2 is at %s, want it to stay at %s", got, place(2))
		}
		if s := f.nodes[0].Stats(); s.Conflicts == 0 {
			t.Errorf("no conflict counted: %+v", s)
		}
	})
}

func TestNodeComesBackElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		f.startAll(3, nil)
		f.nodes[2].Stop(t.Context())
		f.nodes = f.nodes[:2]
		n := f.start(4, func(c *Config) { c.Name = "n3" })
		f.await("the moved node to be seen", time.Minute, func() bool { return f.whole(f.nodes...) })
		if got := f.nodes[1].Alive()[2].Addr; got != place(4) {
			t.Errorf("n3 is at %s, want %s", got, place(4))
		}
		if got := names(n.Alive()); len(got) != 3 {
			t.Errorf("n3 sees %v", got)
		}
	})
}

func TestRepairExchangesState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		f.startAll(2, nil)
		before := f.nodes[1].Stats().Repairs
		f.nodes[0].MergeState([]byte("missed\n"))
		f.nodes[1].Repair()
		f.await("the repair", time.Second, func() bool { return f.nodes[1].has("missed") })
		begin := time.Now()
		for time.Since(begin) < time.Minute {
			f.nodes[1].Repair()
			time.Sleep(100 * time.Millisecond)
		}
		got := f.nodes[1].Stats().Repairs - before
		if got < 7 || got > 10 { // three at once, then one in ten seconds
			t.Errorf("%d repairs in a minute of asking", got)
		}
	})
}

func TestSendErrs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		f.startAll(2, nil)
		if err := f.nodes[0].Send("n9", nil); err == nil || err.Error() != `node "n9" is not alive, as far as this node knows` {
			t.Errorf("send to nobody: %v", err)
		}
		if err := f.nodes[0].Send("n2", make([]byte, MaxMessage+1)); err == nil || err.Error() != `message of 65537 octets for node "n2": want at most 65536` {
			t.Errorf("send of too much: %v", err)
		}
		f.net.Split(place(2))
		begin := time.Now()
		if err := f.nodes[0].Send("n2", []byte("x")); err == nil {
			t.Error("a message crossed the split")
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("took %v to fail", took)
		}
	})
}

// A receiver that hangs costs messages, not memory, and does not hold up
// memberlist: nobody takes its node for dead.
func TestSlowReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		hang := make(chan struct{})
		f.start(1, nil)
		slow := f.start(2, func(c *Config) { c.Receiver = hanging{newEar(), hang} })
		f.await("both to see both", time.Minute, func() bool { return f.whole(f.nodes...) })
		d := delegate{slow.Mesh}
		for range maxInbox + 100 {
			d.NotifyMsg([]byte("flood"))
		}
		for range maxStates + 3 {
			d.MergeRemoteState([]byte("state"), false)
		}
		time.Sleep(5 * time.Minute)
		s := slow.Stats()
		if s.Dropped < 100 {
			t.Errorf("dropped %d, want 100 at least", s.Dropped)
		}
		if got := leaves(f.nodes); got != 0 {
			t.Errorf("%d deaths were seen, want none", got)
		}
		close(hang)
		synctest.Wait()
		if got := slow.inbox.size.Load(); got != 0 {
			t.Errorf("%d octets are counted as queued, want 0", got)
		}
	})
}

type hanging struct {
	*ear
	until chan struct{}
}

func (h hanging) Receive([]byte) { <-h.until }

func TestStartErrs(t *testing.T) {
	good := func() Config {
		return Config{Name: "n1", Fleet: "f", Bind: place(1), Keys: [][]byte{key("k")}, Receiver: newEar()}
	}
	tests := []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Name = "" }, `node name "": want 1 to 63 letters, digits, dots, hyphens and underscores`},
		{func(c *Config) { c.Name = "a/b" }, `node name "a/b": want 1 to 63 letters, digits, dots, hyphens and underscores`},
		{func(c *Config) { c.Fleet = "" }, `fleet name "" has 0 octets, want 1 to 63`},
		{func(c *Config) { c.Keys = nil }, `0 gossip keys: want 1 to 8`},
		{func(c *Config) { c.Keys = [][]byte{{1}} }, `gossip key 1 has 1 octets, want 32`},
		{func(c *Config) { c.Keys = [][]byte{key("k"), key("k")} }, `gossip key 2 occurs twice`},
		{func(c *Config) { c.Bind = at("[::]:7946") }, `gossip binds to [::]:7946 and does not say where others reach it: set advertise to an address of this node alone`},
		{func(c *Config) { c.Advertise = at("0.0.0.0:7946") }, `gossip cannot advertise 0.0.0.0:7946: want an address of this node alone`},
		{func(c *Config) { c.Receiver = nil }, `gossip of node "n1" has no receiver`},
	}
	for _, test := range tests {
		c := good()
		test.change(&c)
		m, err := Start(c)
		if err == nil {
			m.Stop(t.Context())
		}
		if err == nil || err.Error() != test.want {
			t.Errorf("got %v\nwant %s", err, test.want)
		}
	}
}
