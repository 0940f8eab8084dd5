package announcer

import (
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edged/bgp"
	"edged/bgp/speaker"
)

// peerList reads peers such as "a@1:3 b@2:9": name, last octet of the address, hold
// time in seconds. A "+" behind one says that it is up, a "!" that it was before.
func peerList(text string) (peers []speaker.Peer, up, alive map[netip.Addr]bool) {
	up, alive = map[netip.Addr]bool{}, map[netip.Addr]bool{}
	for _, word := range strings.Fields(text) {
		p := speaker.Peer{Name: word[:1], Address: netip.AddrFrom4([4]byte{192, 0, 2, word[2] - '0'}), ASN: 64500, Hold: time.Duration(word[4]-'0') * time.Second}
		up[p.Address] = strings.HasSuffix(word, "+")
		alive[p.Address] = up[p.Address] || strings.HasSuffix(word, "!")
		peers = append(peers, p)
	}
	return peers, up, alive
}

func peerWords(peers []speaker.Peer) string {
	var all []string
	for _, p := range peers {
		octets := p.Address.As4()
		all = append(all, p.Name+"@"+string('0'+octets[3])+":"+string(byte('0'+p.Hold/time.Second)))
	}
	return strings.Join(all, " ")
}

// TestNextPeers goes from some peers to others, one session at a time.
func TestNextPeers(t *testing.T) {
	loses := func(p speaker.Peer, back bool) string { // as only d hears something
		switch {
		case p.Name != "d":
			return ""
		case back:
			return "d wants promises"
		}
		return "d stays"
	}
	needs := func(p speaker.Peer) string { // as only e could hear something
		if p.Name == "e" {
			return "e stays"
		}
		return ""
	}
	for _, c := range []struct{ what, have, want, next, waits string }{
		{"what only one could hear, taken away while it has no session", "e@1:9 b@2:9+", "b@2:9", "b@2:9 e@1:9", "e stays"},
		{"names that change places, with other timers", "a@1:9+ b@2:9+", "b@1:3 a@2:3", "b@1:3 a@2:9", "the session with b is changed when the one before is up"},
		{"the same", "a@1:9+ b@2:9+", "a@1:9 b@2:9", "a@1:9 b@2:9", ""},
		{"another name", "a@1:9+ b@2:9+", "x@1:9 b@2:9", "x@1:9 b@2:9", ""},
		{"one more", "a@1:9+", "a@1:9 b@2:9", "a@1:9 b@2:9", ""},
		{"one less", "a@1:9+ b@2:9+", "a@1:9", "a@1:9", ""},
		{"one changed", "a@1:9+ b@2:9+", "a@1:3 b@2:9", "a@1:3 b@2:9", ""},
		{"both changed", "a@1:9+ b@2:9+", "a@1:3 b@2:3", "a@1:3 b@2:9", "the session with b is changed when the one before is up"},
		{"the first is not up yet", "a@1:3! b@2:9+", "a@1:3 b@2:3", "a@1:3 b@2:9", "the session with b is changed when the one with a is up"},
		{"the first is up", "a@1:3+ b@2:9+", "a@1:3 b@2:3", "a@1:3 b@2:3", ""},
		{"of three", "a@1:3! b@2:9+ c@3:9+", "a@1:3 b@2:3 c@3:3", "a@1:3 b@2:9 c@3:9", "the session with c is changed when the one with a is up"},
		{"one was down anyway", "a@1:9 b@2:9+ c@3:9+", "a@1:9 b@2:3 c@3:9", "a@1:9 b@2:3 c@3:9", ""},
		{"what is down may be changed", "a@1:9 b@2:9+", "a@1:3 b@2:9", "a@1:3 b@2:9", ""},
		{"the only one", "a@1:9+", "a@1:3", "a@1:3", ""},
		{"the only one moves", "a@1:9+", "a@9:9", "a@9:9 a-before@1:9", "the session with a is changed when another one is up: it is the last"},
		{"it has moved", "a@9:9+ b@1:9+", "a@9:9", "a@9:9", ""},
		{"the last that is up", "a@1:9+ b@2:9", "a@1:3 b@2:9", "a@1:9 b@2:9", "the session with a is changed when another one is up: it is the last"},
		{"in another's place", "a@1:9+", "b@2:9", "b@2:9 a@1:9", "the session with a is changed when another one is up: it is the last"},
		{"the new one is up", "b@2:9+ a@1:9+", "b@2:9", "b@2:9", ""},
		{"all others", "a@1:9+ b@2:9+", "c@3:9", "c@3:9 b@2:9", "the session with b is changed when the one before is up"},
		{"all others, later", "c@3:9 b@2:9+", "c@3:9", "c@3:9 b@2:9", "the session with b is changed when another one is up: it is the last"},
		{"what only one hears, made anew", "d@1:9+ b@2:9+", "d@1:3 b@2:9", "d@1:9 b@2:9", "d wants promises"},
		{"what only one hears, and others may go on", "d@1:9+ b@2:9+", "d@1:3 b@2:3", "d@1:9 b@2:3", "d wants promises"},
		{"what only one hears, taken away", "d@1:9+ b@2:9+", "b@2:9", "b@2:9 d@1:9", "d stays"},
		{"what only one hears, moved", "d@1:9+ b@2:9+", "d@9:9 b@2:9", "d@9:9 b@2:9 d-before@1:9", "d stays"},
		{"the only one, with routes", "d@1:9+", "d@1:3", "d@1:9", "d wants promises"},
		{"none", "a@1:9+", "", "a@1:9", "the last peers stay until a restart, which drains first"},
	} {
		have, up, alive := peerList(c.have)
		want, _, _ := peerList(c.want)
		next, waits := nextPeers(have, want, up, alive, loses, needs)
		if got := peerWords(next); got != c.next || waits != c.waits {
			t.Errorf("%s: %q, waits %q; want %q, waits %q", c.what, got, waits, c.next, c.waits)
		}
	}
}

// TestGroupsByReload: peers and a VIP that come into another group by the file alone
// take the routes from nobody, neither before the plan nor after it.
func TestGroupsByReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		in := func(group string) File {
			peers, _, _ := peerList("a@1:9 b@2:9")
			peers[0].Groups, peers[1].Groups = []string{group}, []string{"other"}
			v := testVIP
			v.Groups = []string{group}
			file := f.nodes["a1"].file
			file.VIPs, file.Peers = []bgp.VIP{v}, peers
			return file
		}
		for _, n := range f.nodes {
			n.file = in("fabric")
		}
		t.Cleanup(f.stopAll)
		f.start("a1", "b1")
		f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
		a := f.nodes["a1"]
		first := testVIP.Prefixes[0]
		a.Use(in("tor"))
		time.Sleep(time.Minute)
		if a.gone(first) != 0 || a.route() != "64512:100" {
			t.Fatalf("by the reload the route was withdrawn %d times, and is %s", a.gone(first), a.route())
		}
		if want := "peers: a stays in fabric, tor, for no other peer would hear 198.51.100.53/32 of ns1: change the VIP by a plan"; a.alarmed() != want {
			t.Errorf("the alarm is %q, want %q", a.alarmed(), want)
		}
		a.rollOut(t, -1)
		f.await("done", 20*time.Second, func() bool { return a.phase() == bgp.PhaseDone })
		time.Sleep(time.Minute)
		if got := a.Announcer.peers[0].Groups; a.gone(first) != 0 || !slices.Equal(got, []string{"tor"}) || a.alarmed() != "" {
			t.Errorf("withdrawn %d times, the peer is in %q, the alarm is %q", a.gone(first), got, a.alarmed())
		}
	})
}

// TestGroupsByPlan: a plan by which no peer with a session hears a VIP any more leaves it
// where it is, and is aborted.
func TestGroupsByPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1", "b1")
		for _, n := range f.nodes {
			n.file.Peers, _, _ = peerList("a@1:9 b@2:9")
			n.file.Peers[0].Groups, n.file.Peers[1].Groups = []string{"fabric"}, []string{"tor"}
			n.file.VIPs[0].Groups = []string{"fabric"}
		}
		t.Cleanup(f.stopAll)
		f.start("a1", "b1")
		f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1", "b1"))
		a := f.nodes["a1"]
		first := testVIP.Prefixes[0]
		down := func(yes bool) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.refuses["b"] = yes
		}
		down(true)
		v := a.file.VIPs[0]
		v.Groups = []string{"tor"}
		a.wants(v)
		a.rollOut(t, time.Second)
		f.await("an alarm", 15*time.Second, func() bool {
			return a.alarmed() == "vip ns1: peers of fabric, tor still hear it, for none of tor has 198.51.100.53/32"
		})
		f.await("aborted", time.Minute, func() bool { return a.phase() == bgp.PhaseAborted })
		if want := "ns1 is announced, but peers of fabric, tor still hear it, for none of tor has 198.51.100.53/32"; !strings.Contains(a.Rollout().Cause, want) {
			t.Errorf("the cause is %q, want %q", a.Rollout().Cause, want)
		}
		if a.gone(first) != 0 {
			t.Errorf("it was withdrawn %d times", a.gone(first))
		}
		down(false)
		time.Sleep(10 * time.Second)
		a.rollOut(t, time.Second)
		f.await("done", time.Minute, func() bool { return a.phase() == bgp.PhaseDone })
		if a.gone(first) != 0 || !slices.Equal(a.vips["ns1"].groups, []string{"tor"}) {
			t.Errorf("withdrawn %d times, heard by %q", a.gone(first), a.vips["ns1"].groups)
		}
	})
}

// TestSessionsWantPromises: a session that alone carries a route is made anew only while
// others have promised to stay, on one node after the other.
func TestSessionsWantPromises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a1", "b1"}
		f := newFleet(t, names...)
		for _, n := range f.nodes {
			n.file.Peers, _, _ = peerList("a@1:9")
		}
		t.Cleanup(f.stopAll)
		f.start(names...)
		f.await("announced", 15*time.Second, f.all(bgp.Announced, names...))
		f.mu.Lock()
		f.cut["b1"] = true
		f.mu.Unlock()
		for _, n := range f.nodes {
			n.file.Peers, _, _ = peerList("a@1:3")
			n.Use(n.file)
		}
		time.Sleep(40 * time.Second)
		for _, n := range f.nodes {
			const want = "peers: the session with a is changed when others promise to keep ns1 meanwhile, or once a drain has withdrawn that"
			if len(n.had()) != 0 || !strings.Contains(n.alarmed(), want) {
				t.Errorf("%s changed peers to %q; the alarm is %q, want %q", n.self.Name, n.had(), n.alarmed(), want)
			}
		}
		f.mu.Lock()
		delete(f.cut, "b1")
		f.mu.Unlock()
		var order []string
		f.await("both changed", 40*time.Second, func() bool {
			for _, name := range names {
				if len(f.nodes[name].had()) == 1 && !slices.Contains(order, name) {
					order = append(order, name)
				}
			}
			return len(order) == 2
		})
	})
}

// TestPeersByReload: each session is made anew by itself, the routes stay with the
// other one, and one that does not come back keeps the rest as they are.
func TestPeersByReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a1")
		n := f.nodes["a1"]
		before, _, _ := peerList("a@1:9 b@2:9")
		n.file.Peers = before
		f.start("a1")
		defer f.stopAll()
		f.await("announced", 15*time.Second, f.all(bgp.Announced, "a1"))
		after, _, _ := peerList("a@1:3 b@2:3 c@3:9")
		file := n.file
		file.Peers = after
		n.refuse("a")
		if resets := n.Use(file); !slices.Equal(resets, []string{"a", "b"}) {
			t.Errorf("it says that %q are made anew, want a and b", resets)
		}
		time.Sleep(40 * time.Second)
		if got, want := n.had(), []string{"a@1:3 b@2:9 c@3:9"}; !slices.Equal(got, want) {
			t.Errorf("the peers were %q, want %q", got, want)
		}
		if got, want := n.alarmed(), "peers: the session with b is changed when the one with a is up"; !strings.Contains(got, want) {
			t.Errorf("the alarm is %q, want %q", got, want)
		}
		n.refuse("")
		time.Sleep(time.Second)
		if got, want := n.had(), []string{"a@1:3 b@2:9 c@3:9", "a@1:3 b@2:3 c@3:9"}; !slices.Equal(got, want) {
			t.Errorf("the peers were %q, want %q", got, want)
		}
		if got := n.alarmed(); strings.Contains(got, "peers") {
			t.Errorf("the alarm is still %q", got)
		}
		if got := n.state(); got != bgp.Announced {
			t.Errorf("ns1 is %v", got)
		}
	})
}

// flappy is a speaker whose only session was lost three times, until it is made anew.
type flappy struct {
	*testNode
	mu   sync.Mutex
	anew bool
	said chan struct{} // closed when it is
}

func (s *flappy) Peers() []speaker.PeerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := speaker.PeerStatus{Name: "tor", Address: netip.MustParseAddr("192.0.2.1"), State: speaker.Established, Flaps: 3}
	if s.anew {
		p.Flaps = 0
	}
	return []speaker.PeerStatus{p}
}

func (s *flappy) SetPeers([]speaker.Peer) ([]string, error) {
	s.mu.Lock()
	s.anew = true
	s.mu.Unlock()
	close(s.said)
	for range 10000 { // others look, if nothing keeps them from it
		runtime.Gosched()
	}
	return nil, nil
}

// TestFlapsNeverGoBack: while a session is made anew, what a node tells of lost sessions does not
// go back: a rollout would take that for a restart.
func TestFlapsNeverGoBack(t *testing.T) {
	tor := speaker.Peer{Name: "tor", Address: netip.MustParseAddr("192.0.2.1"), ASN: 64500}
	s := &flappy{said: make(chan struct{})}
	a := &Announcer{cfg: Config{Speaker: s, Answers: func() bgp.Tally { return bgp.Tally{} }}, vips: map[string]*vip{}, peers: []speaker.Peer{tor}}
	next := tor
	next.Hold = 3 * time.Second
	done := make(chan error, 1)
	go func() {
		_, err := a.tellPeers([]speaker.Peer{tor}, []speaker.Peer{next})
		done <- err
	}()
	<-s.said
	during := a.report().Status.Flaps
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if after := a.report().Status.Flaps; during != 3 || after != 3 {
		t.Errorf("it tells of %d lost sessions in between and %d after it, want 3 and 3", during, after)
	}
}
