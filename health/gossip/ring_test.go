package gossip

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

// ringOf returns a key for each letter of a word.
func ringOf(word string) []secret {
	var all []secret
	for _, r := range word {
		all = append(all, secret(key(string(r))))
	}
	return all
}

// wordOf is ringOf backwards, for letters a to f.
func wordOf(ring []secret) string {
	var b strings.Builder
	for _, k := range ring {
		for _, r := range "abcdef" {
			if k == secret(key(string(r))) {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}

func idsOf(word string) []KeyID {
	var ids []KeyID
	for _, k := range ringOf(word) {
		ids = append(ids, k.id())
	}
	return ids
}

func TestStep(t *testing.T) {
	tests := []struct {
		what       string
		have, want string
		peers      string // words
		cutOff     bool
		next       string
	}{
		{"nothing to do", "a", "a", "a a", false, "a"},
		{"accept the new key, use the old", "a", "b", "a a", false, "ab"},
		{"one peer has not got it", "ab", "b", "ab a", false, "ab"},
		{"all peers have got it", "ab", "b", "ab ab", false, "ba"},
		{"some encrypt with the old one", "ba", "b", "ba ab", false, "ba"},
		{"nobody encrypts with the old one", "ba", "b", "ba ba", false, "b"},
		{"the old one stays when it is wanted", "ba", "ba", "ba ba", false, "ba"},
		{"no peers, nobody to wait for", "a", "b", "", false, "b"},
		{"cut off: let none go", "ab", "c", "", true, "abc"},
		{"a peer came back with the old one alone", "ba", "b", "ba a", false, "ab"},
		{"a peer has none of ours", "b", "b", "b c", false, "b"},
		{"the second wanted is common", "ab", "cb", "ab b", false, "bca"},
		{"two rotations at once", "ab", "c", "abc abc", false, "ca"},
	}
	for _, test := range tests {
		var peers [][]KeyID
		for _, word := range strings.Fields(test.peers) {
			peers = append(peers, idsOf(word))
		}
		if got := wordOf(step(ringOf(test.have), ringOf(test.want), peers, test.cutOff)); got != test.next {
			t.Errorf("%s: %s to %s gives %s, want %s", test.what, test.have, test.want, got, test.next)
		}
	}
}

// Random fleets, whose nodes see each other's rings late, go over to new keys:
// at all times each node accepts what each other encrypts with, and in the end
// all hold the new keys alone.
func TestStepNeverCutsAPeerOff(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		size := 2 + rng.IntN(6)
		rings := make([][]secret, size)
		want := make([][]secret, size)
		seen := make([][][]KeyID, size) // seen[i][j]: what i knows of j's ring
		for i := range rings {
			rings[i], want[i] = ringOf("a"), ringOf("a")
			for range size {
				seen[i] = append(seen[i], idsOf("a"))
			}
		}
		check := func() {
			for i := range rings {
				for j := range rings {
					if !slices.Contains(rings[j], rings[i][0]) {
						t.Fatalf("node %d encrypts with %s, node %d accepts %s", i, wordOf(rings[i]), j, wordOf(rings[j]))
					}
				}
			}
		}
		act := func(i int) {
			switch rng.IntN(3) {
			case 0:
				want[i] = ringOf("b")
			case 1:
				j := rng.IntN(size)
				seen[i][j] = nil
				for _, k := range rings[j] {
					seen[i][j] = append(seen[i][j], k.id())
				}
			case 2:
				peers := slices.Delete(slices.Clone(seen[i]), i, i+1)
				rings[i] = step(rings[i], want[i], peers, false)
			}
			check()
		}
		for range 3000 {
			act(rng.IntN(size))
		}
		for i := range rings {
			if got := wordOf(rings[i]); got != "b" {
				t.Fatalf("node %d ends with %s", i, got)
			}
		}
	}
}

func TestInstall(t *testing.T) {
	for _, from := range []string{"a", "ab", "abc", "abcd", "dcba"} {
		for _, to := range []string{"a", "b", "ba", "ad", "da", "cef", "abcdef", "bd"} {
			ring := &memberlist.Keyring{}
			for _, keys := range []string{from, to} {
				if err := install(ring, ringOf(keys)); err != nil {
					t.Fatal(err)
				}
			}
			var got []secret
			for _, k := range ring.GetKeys() {
				got = append(got, secret(k))
			}
			word := wordOf(got)
			sorted := func(s string) string { r := []byte(s); slices.Sort(r); return string(r) }
			if word[0] != to[0] || sorted(word) != sorted(to) {
				t.Errorf("from %s to %s the ring is %s", from, to, word)
			}
		}
	}
}

// newKeys sets new keys on nodes, one every second.
func newKeys(t *testing.T, nodes []*node, words ...string) {
	t.Helper()
	var keys [][]byte
	for _, word := range words {
		keys = append(keys, key(word))
	}
	for _, n := range nodes {
		if err := n.SetKeys(keys); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
}

// hold says whether the nodes accept just the keys, and encrypt with the first.
func hold(nodes []*node, words ...string) bool {
	var ids []KeyID
	for _, word := range words {
		ids = append(ids, secret(key(word)).id())
	}
	for _, n := range nodes {
		for _, p := range n.Alive() {
			if p.Name == n.config.Name && !slices.Equal(p.Keys, ids) {
				return false
			}
		}
	}
	return true
}

// H8: keys rotate under traffic while one node is offline. Nobody else is taken
// for dead, no message is lost for good, and the node is back within a minute.
func TestRotationWithOneNodeOffline(t *testing.T) {
	files := map[string][]string{ // what the node that was offline has when it comes back
		"new":                    {"new"},
		"new and old":            {"new", "old"},
		"old and new, not moved": {"old", "new"},
	}
	for what, words := range files {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t)
				defer f.stop()
				f.startAll(5, nil)
				f.nodes[4].Stop(t.Context())
				stay := f.nodes[:4]
				f.await("the farewell", 5*time.Second, func() bool { return f.whole(stay...) })
				before := leaves(stay)

				stop := make(chan struct{})
				go func() { // traffic
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						case <-time.After(100 * time.Millisecond):
							stay[i%4].Broadcast("", []byte("traffic"))
						}
					}
				}()
				newKeys(t, stay, "new")
				took := f.await("the new key to be the only one", time.Minute, func() bool { return hold(stay, "new") })
				t.Logf("rotated in %v", took+4*time.Second)

				f.nodes = stay
				back := f.start(5, func(c *Config) {
					c.Keys = nil
					for _, word := range words {
						c.Keys = append(c.Keys, key(word))
					}
				})
				took = f.await("the node to be back", time.Minute, func() bool { return f.whole(f.nodes...) })
				t.Logf("back in %v", took)
				if err := back.SetKeys([][]byte{key("new")}); err != nil {
					t.Fatal(err)
				}
				f.await("the new key to be the only one", time.Minute, func() bool { return hold(f.nodes, "new") })
				close(stop)
				stay[0].Broadcast("", []byte("last words"))
				f.await("a message to reach all", 35*time.Second, func() bool {
					return !slices.ContainsFunc(f.nodes[1:], func(n *node) bool { return !n.has("last words") })
				})
				if got := leaves(stay) - before; got != 0 {
					t.Errorf("%d deaths were seen, want none", got)
				}
			})
		})
	}
}

// The node is not stopped but cut off, and gets its new keys while it is.
func TestRotationWithOneNodeCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		f.startAll(5, nil)
		stay := f.nodes[:4]
		f.net.Split(place(5))
		f.await("the cut to be seen", 2*time.Minute, func() bool { return f.whole(stay...) })
		before := leaves(stay)
		f.await("the node to be alone", 5*time.Minute, func() bool { return f.whole(f.nodes[4]) })
		newKeys(t, f.nodes, "new")
		f.await("the others to rotate", time.Minute, func() bool { return hold(stay, "new") })
		if got := f.nodes[4].Stats().Keys; got != 2 {
			t.Errorf("the node alone accepts %d keys, want 2", got)
		}
		time.Sleep(10 * time.Minute)
		f.net.Heal()
		took := f.await("the node to be back", time.Minute, func() bool { return f.whole(f.nodes...) })
		t.Logf("back in %v", took)
		f.await("the new key to be the only one", time.Minute, func() bool { return hold(f.nodes, "new") })
		if got := leaves(stay) - before; got != 0 {
			t.Errorf("%d deaths were seen, want none", got)
		}
	})
}

// While one live node has not got the new key, nobody encrypts with it.
func TestRotationWaitsForEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		f.startAll(3, nil)
		newKeys(t, f.nodes[:2], "new")
		time.Sleep(5 * time.Minute)
		if !hold(f.nodes[:2], "old", "new") || !hold(f.nodes[2:], "old") {
			t.Errorf("nodes hold %v", f.nodes[0].Alive())
		}
		newKeys(t, f.nodes[2:], "new")
		f.await("the new key to be the only one", time.Minute, func() bool { return hold(f.nodes, "new") })
		if got := leaves(f.nodes); got != 0 {
			t.Errorf("%d deaths were seen, want none", got)
		}
	})
}

func TestSetKeysRefusesBadOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		defer f.stop()
		f.startAll(1, nil)
		if err := f.nodes[0].SetKeys([][]byte{key("new"), {1, 2, 3}}); err == nil || err.Error() != "gossip key 2 has 3 octets, want 32" {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Second)
		if !hold(f.nodes, "old") {
			t.Errorf("holds %v", f.nodes[0].Alive())
		}
	})
}
