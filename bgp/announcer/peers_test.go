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
	for _, c := range []struct{ what, have, want, next, waits string }{
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
		{"the only one moves", "a@1:9+", "a@9:9", "a@9:9", ""},
		{"the last that is up", "a@1:9+ b@2:9", "a@1:3 b@2:9", "a@1:9 b@2:9", "the session with a is changed when another one is up: it is the last"},
		{"in another's place", "a@1:9+", "b@2:9", "b@2:9 a@1:9", "the session with a is changed when another one is up: it is the last"},
		{"the new one is up", "b@2:9+ a@1:9+", "b@2:9", "b@2:9", ""},
		{"all others", "a@1:9+ b@2:9+", "c@3:9", "c@3:9 b@2:9", "the session with b is changed when the one before is up"},
		{"all others, later", "c@3:9 b@2:9+", "c@3:9", "c@3:9 b@2:9", "the session with b is changed when another one is up: it is the last"},
		{"none", "a@1:9+", "", "a@1:9", "the last peers stay until a restart, which drains first"},
	} {
		have, up, alive := peerList(c.have)
		want, _, _ := peerList(c.want)
		next, waits := nextPeers(have, want, up, alive)
		if got := peerWords(next); got != c.next || waits != c.waits {
			t.Errorf("%s: %q, waits %q; want %q, waits %q", c.what, got, waits, c.next, c.waits)
		}
	}
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
