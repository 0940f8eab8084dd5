package geo

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"edged/edge"
	"edged/maps"
)

func pin(prefix, pop string) Pin {
	return Pin{Prefix: netip.MustParsePrefix(prefix), PoP: pop, ID: "n1-1-" + pop}
}

func TestPins(t *testing.T) {
	m := testMap(
		t, net{"20.0.0.0/8", "a b"}, net{"20.64.0.0/10", "b a"}, net{"9.9.9.9/32", "a"}, net{"2a00::/16", "a"}, net{"2001::/16", "a"},
	)
	www := testPool(t, "www", Closest, "a 192.0.2.1", "b 192.0.2.2", "c 192.0.2.3", "d 192.0.2.4")
	ab := testPool(t, "ab", Closest, "a 192.0.2.1", "b 192.0.2.2")
	cfg := testConfig(m, www, ab)
	cfg.Pins = []Pin{
		pin("20.1.0.0/16", "c"),
		pin("20.1.2.0/24", "b"), // within
		pin("20.1.2.0/24", "a"), // again: the first goes
		pin("20.32.0.0/11", "a"),
		pin("20.128.0.0/9", "nowhere"), // a PoP that was removed
		pin("203.0.113.0/24", "b"),
		pin("7.7.7.0/24", "c"),
		pin("2a00:1::/32", "c"),
		pin("2a00:1:0:0::/48", "b"),
		pin("2001::/16", "b"), // around the Teredo block
	}
	v := mustBuild(t, cfg)
	resolver := func(s string) Client { return Client{Resolver: netip.MustParseAddr(s)} }
	for _, tc := range []struct {
		what   string
		pool   string
		client Client
		want   string
	}{
		{"pinned, and the scope leaves out the pin within", "www", ecs("20.1.3.0/24"), "192.0.2.3 /24 ecs"},
		{"further from it", "www", ecs("20.1.128.0/24"), "192.0.2.3 /17 ecs"},
		{"the longest goes", "www", ecs("20.1.2.0/24"), "192.0.2.2 /24 ecs"},
		{"the last address", "www", ecs("20.1.2.255/32"), "192.0.2.2 /24 ecs"},
		{"beside the outer pin", "www", ecs("20.0.0.0/24"), "192.0.2.1 /16 ecs"},
		{"pinned to what the map says: a scope of its own", "www", ecs("20.40.0.0/24"), "192.0.2.1 /11 ecs"},
		{"up to where it begins", "www", ecs("20.16.0.0/24"), "192.0.2.1 /12 ecs"},
		{"a PoP unknown by now", "www", ecs("20.129.0.0/24"), "192.0.2.1 /9 ecs"},
		{"private and test networks are located by a pin", "www", ecs("203.0.113.0/24"), "192.0.2.2 /24 ecs"},
		{"of unknown place", "www", ecs("7.7.7.0/24"), "192.0.2.3 /24 ecs"},
		{"the resolver's address", "www", resolver("203.0.113.9"), "192.0.2.2 /0 resolver"},
		{"a subnet comes before it", "www", Client{Resolver: netip.MustParseAddr("203.0.113.9"), ECS: netip.MustParsePrefix("20.0.0.0/24")}, "192.0.2.1 /16 ecs"},
		{"IPv6", "www", ecs("2a00:1:1::/48"), "192.0.2.3 /48 ecs"},
		{"IPv6, within", "www", ecs("2a00:1::/56"), "192.0.2.2 /48 ecs"},
		{"IPv6, beside", "www", ecs("2a00:0:1::/48"), "192.0.2.1 /32 ecs"},
		{"not into the block of Teredo", "www", ecs("2001:1::/48"), "192.0.2.2 /32 ecs"},
		{"by what Teredo carries", "www", ecs("2001:0:1:2:0:0:ebfe:7fff/128"), "192.0.2.3 /113 ecs"}, // 20.1.128.0, inverted
		{"a pool without the PoP ignores the pin", "ab", ecs("20.1.128.0/24"), "192.0.2.1 /17 ecs"},
		{"but not the one within", "ab", ecs("20.1.2.0/24"), "192.0.2.2 /24 ecs"},
	} {
		if got := decideText(v, tc.pool, tc.client, edge.IPv4); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.what, got, tc.want)
		}
	}
	// The pinned PoP is first, not alone.
	dead, err := v.WithVerdicts(verdicts(t, "c4 dead"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := decideText(dead, "www", ecs("20.1.128.0/24"), edge.IPv4), "192.0.2.1 /17 ecs"; got != want {
		t.Errorf("pinned to a dead PoP: got %q, want %q, as ranked", got, want)
	}
}

func TestExplainTellsOfPins(t *testing.T) {
	m := testMap(t, net{"20.0.0.0/8", "a b"})
	cfg := testConfig(m, testPool(t, "www", Closest, "a 192.0.2.1", "b 192.0.2.2"))
	cfg.Pins = []Pin{pin("20.1.0.0/16", "b")}
	v := mustBuild(t, cfg)
	for s, want := range map[string]string{
		"20.1.2.0/24": "20.1.0.0/16 to b (override n1-1-b); b: pinned for this client, among those with verdict ok; a: comes later; block /16",
		"20.2.2.0/24": "; a: ranked first for this client, among those with verdict ok; b: comes later; block /15",
	} {
		client := ecs(s)
		_, tr := v.Explain(0, &client, edge.IPv4)
		got := []string{tr.Stages[0].Location.Pin}
		for _, c := range tr.Stages[0].Candidates {
			got = append(got, c.Name+": "+c.Reason)
		}
		got = append(got, fmt.Sprintf("block /%d", tr.Stages[0].Location.Block))
		if text := strings.Join(got, "; "); text != want {
			t.Errorf("%s:\n got %s\nwant %s", s, text, want)
		}
	}
}

// TestPinsAndCovers holds what is built again: covers when their pins change,
// and nothing when they do not.
func TestPinsAndCovers(t *testing.T) {
	m := testMap(t, net{"20.0.0.0/8", "a b"})
	v := mustBuild(t, testConfig(
		m, testPool(t, "ab", Closest, "a 192.0.2.1", "b 192.0.2.2"), testPool(t, "bc", Closest, "b 192.0.2.1", "c 192.0.2.2"),
	))
	with := func(v *View, pins ...Pin) *View {
		t.Helper()
		next, err := v.With(nil, pins, Prices{})
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	pinned := with(v, pin("20.1.0.0/16", "a"))
	if pinned.pools[0].cover == v.pools[0].cover || pinned.pools[1].cover != v.pools[1].cover {
		t.Error("a pin to a: want a new cover for a and b, and the old one for b and c")
	}
	again := with(pinned, pin("20.1.0.0/16", "a"))
	if again.pools[0].cover != pinned.pools[0].cover || again.pools[1].cover != v.pools[1].cover {
		t.Error("the same pins, and a cover was built again")
	}
	if verdicts, err := again.WithVerdicts(nil); err != nil || verdicts.pools[0].cover != pinned.pools[0].cover {
		t.Errorf("new verdicts, and a cover was built again (%v)", err)
	}
	if got, want := decideText(with(again), "ab", ecs("20.1.2.0/24"), edge.IPv4), "192.0.2.1 /8 ecs"; got != want {
		t.Errorf("after the pin: got %q, want %q", got, want)
	}
}

func TestPinsRefused(t *testing.T) {
	for prefix, want := range map[string]string{
		"20.1.2.0/25":        "longer than /24",
		"2a00::/49":          "longer than /48",
		"20.1.2.0/16":        "did you mean 20.1.0.0/16?",
		"2001:0:1::/48":      "pin those",
		"2001::/32":          "pin those",
		"2002:1400::/24":     "pin those",
		"2002::/16":          "pin those",
		"::ffff:20.1.0.0/24": "did you mean ::/24?",
	} {
		_, err := Build(Config{PoPs: fleet, PoP: "a", Pins: []Pin{pin(prefix, "a")}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("pin %s: error %v, want %q", prefix, err, want)
		}
	}
	for _, prefix := range []string{"0.0.0.0/0", "::/0", "2001::/31", "2002::/15", "255.255.255.0/24", "ffff:ffff:ffff::/48"} {
		m := testMap(t)
		cfg := testConfig(m, testPool(t, "www", Closest, "a 192.0.2.1", "b 192.0.2.2"))
		cfg.Pins = []Pin{pin(prefix, "a")}
		v := mustBuild(t, cfg)
		p := netip.MustParsePrefix(prefix)
		client := Client{Resolver: lastOf(p)}
		if got, want := decideText(v, "www", client, edge.IPv4), "192.0.2.1 /0 resolver"; got != want {
			t.Errorf("pin %s, its last address: got %q, want %q", prefix, got, want)
		}
	}
	if _, err := Build(Config{PoPs: fleet, PoP: "a", Pins: make([]Pin, MaxPins+1)}); err == nil || !strings.Contains(err.Error(), "at most 4096") {
		t.Errorf("too many pins: error %v", err)
	}
	if _, err := Build(Config{PoPs: fleet, PoP: "a", Pins: make([]Pin, 1)}); err == nil || !strings.Contains(err.Error(), "no valid prefix") {
		t.Errorf("a pin of nothing: error %v", err)
	}
}

// TestPinEdges compares the runs under pins with a plain search of all pins.
func TestPinEdges(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	for range 200 {
		pins := randomPins(rng, 1+rng.IntN(12))
		for _, width := range []int{32, 64} {
			edges := pinEdges(pins, width)
			for _, at := range probesAround(edges, width) {
				want, longest := uint16(0), -1
				for i, p := range pins {
					if p.Prefix.Addr().Is4() == (width == 32) && p.Prefix.Contains(addrOf(at, width)) && p.Prefix.Bits() > longest {
						want, longest = uint16(i+1), p.Prefix.Bits()
					}
				}
				i, found := slices.BinarySearchFunc(edges, at, func(e pinEdge, at uint64) int { return cmp.Compare(e.at, at) })
				if !found {
					i--
				}
				if edges[i].pin != want {
					t.Fatalf("pins %v: %v is under pin %d, want %d", pins, addrOf(at, width), edges[i].pin, want)
				}
			}
		}
	}
}

// probesAround lists the keys at, before and after all edges.
func probesAround(edges []pinEdge, width int) (at []uint64) {
	last := uint64(1)<<width - 1
	for _, e := range edges {
		at = append(at, e.at, min(e.at+1, last))
		if e.at > 0 {
			at = append(at, e.at-1)
		}
	}
	if len(edges) > 0 {
		at = append(at, last)
	}
	return at
}

func addrOf(key uint64, width int) netip.Addr {
	if width == 32 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(key))
		return netip.AddrFrom4(b)
	}
	return maps.Addr6{Hi: key}.Addr()
}

// randomPins lie close together, at the ends of the space and in each other.
func randomPins(rng *rand.Rand, n int) (pins []coverPin) {
	for len(pins) < n {
		p := netip.PrefixFrom(addrOf(uint64(randomOf[uint32](rng, 0, 0x20000000, 0xffffffff)^rng.Uint32N(1<<22)), 32), rng.IntN(MaxPin4+1))
		if rng.IntN(2) == 0 {
			hi := randomOf[uint64](rng, 0, 0x2a00_0000_0000_0000, 0x2001_0000_0000_0000, 0xffff_ffff_ffff_ffff) ^ rng.Uint64N(1<<24)<<16
			p = netip.PrefixFrom(addrOf(hi, 64), rng.IntN(MaxPin6+1))
		}
		pin := Pin{Prefix: p.Masked(), PoP: fleet[rng.IntN(len(fleet))].Name}
		if pin.fault() == "" {
			pins = append(pins, coverPin{Pin: pin})
		}
	}
	return pins
}

func randomOf[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

// TestPinsSplitScopes holds that pins keep scopes a prefix-free cover: the block
// of an answer lies within a pin or outside of it, and whoever else is in the
// block gets the same answer and the same block.
func TestPinsSplitScopes(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	for round := range 40 {
		var nets []net
		seen := map[string]bool{}
		for range 1 + rng.IntN(30) {
			if n := randomNet(rng); !seen[n.prefix] {
				seen[n.prefix] = true
				nets = append(nets, n)
			}
		}
		pins := randomPins(rng, 1+rng.IntN(10))
		cfg := testConfig(testMap(t, nets...), testPool(t, "www", Closest, "a 192.0.2.1", "b 192.0.2.2", "c 192.0.2.3", "d 192.0.2.4"))
		for _, p := range pins {
			cfg.Pins = append(cfg.Pins, p.Pin)
			nets = append(nets, net{p.Prefix.String(), ""}) // clients come from there, too
		}
		v := mustBuild(t, cfg)
		decide := func(a netip.Addr) (pop uint16, block netip.Prefix) {
			client := Client{ECS: netip.PrefixFrom(a, a.BitLen())}
			var d Decision
			v.Decide(0, &client, edge.IPv4, &d)
			return d.PoP, netip.PrefixFrom(a, int(d.Scope)).Masked()
		}
		for range 500 {
			a := randomClient(rng, nets).Addr()
			if unwrapped := unwrapECS(&Client{ECS: netip.PrefixFrom(a, a.BitLen())}); unwrapped.Addr() != a || !v.pools[0].cover.usable(unwrapped) {
				continue
			}
			pop, block := decide(a)
			longest := -1
			var want string
			for _, p := range pins {
				if p.Prefix.Overlaps(block) && !(block.Bits() >= p.Prefix.Bits() && p.Prefix.Contains(block.Addr())) {
					t.Fatalf("round %d: scope %v reaches over the edge of pin %v", round, block, p.Prefix)
				}
				if p.Prefix.Contains(a) && p.Prefix.Bits() > longest {
					longest, want = p.Prefix.Bits(), p.PoP
				}
			}
			if longest >= 0 && fleet[pop].Name != want {
				t.Fatalf("round %d: %v gets %s, pinned to %s", round, a, fleet[pop].Name, want)
			}
			for range 4 {
				other := randomIn(rng, block)
				if otherPop, otherBlock := decide(other); edge.Routable(netip.PrefixFrom(other, other.BitLen())) && (otherPop != pop || otherBlock != block) {
					t.Fatalf("round %d: %v has %d in %v, %v has %d in %v", round, a, pop, block, other, otherPop, otherBlock)
				}
			}
		}
	}
}

// randomIn draws an address of a prefix.
func randomIn(rng *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= byte(rng.IntN(2)) << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
