package geo

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"edged/edge"
)

// TestScopesArePrefixFree draws random maps and clients and holds RFC 7871
// section 7.2.1: two answers whose scopes overlap have the same scope and the
// same answer, and what a scope says goes for every client in it, for every
// verdict. Subnets narrower than their scope are the ones that count: caches
// clamp a scope to the subnet asked.
func TestScopesArePrefixFree(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for round := range 30 {
		var nets []net
		seen := map[string]bool{}
		for range 1 + rng.IntN(40) {
			n := randomNet(rng)
			if !seen[n.prefix] {
				seen[n.prefix] = true
				nets = append(nets, n)
			}
		}
		pool := testPool(t, "www", Closest, "a 192.0.2.1", "b 192.0.2.2", "c 192.0.2.3", "d 192.0.2.4")
		cfg := testConfig(testMap(t, nets...), pool)
		if round%2 == 1 {
			dead := fmt.Sprintf("192.0.2.%d", 1+rng.IntN(4))
			cfg.Verdicts = func(_ string, m Member) State {
				if m.Address.String() == dead {
					return State{Verdict: edge.Dead}
				}
				return State{}
			}
		}
		v := mustBuild(t, cfg)
		answers := map[netip.Prefix]string{}
		for range 3000 {
			p := randomClient(rng, nets)
			var d Decision
			client := Client{Resolver: netip.MustParseAddr("9.9.9.9"), ECS: p}
			v.Decide(0, &client, edge.IPv4, &d)
			if int(d.Scope) > p.Bits() || !edge.Routable(p) {
				continue
			}
			block, err := p.Addr().Prefix(int(d.Scope))
			if err != nil {
				t.Fatal(err)
			}
			answer := fmt.Sprint(d.PoP)
			if have, ok := answers[block]; ok && have != answer {
				t.Fatalf("round %d: block %v answers %s and %s, nets %v", round, block, have, answer, nets)
			}
			answers[block] = answer
		}
		var blocks []netip.Prefix
		for b := range answers {
			blocks = append(blocks, b)
		}
		slices.SortFunc(blocks, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		for i := 1; i < len(blocks); i++ {
			if blocks[i-1].Overlaps(blocks[i]) {
				t.Fatalf("round %d: scopes %v and %v overlap, nets %v", round, blocks[i-1], blocks[i], nets)
			}
		}
	}
}

func randomNet(rng *rand.Rand) net {
	ranking := []string{"a", "b", "c d", "d a b", "a b c d", "?"}[rng.IntN(6)]
	if rng.IntN(3) == 0 {
		var b [16]byte
		binary.BigEndian.PutUint32(b[:], 0x2a000000|rng.Uint32N(1<<14)<<10)
		p, _ := netip.AddrFrom16(b).Prefix(16 + rng.IntN(34))
		return net{p.String(), ranking}
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 0x20000000|rng.Uint32N(1<<22))
	p, _ := netip.AddrFrom4(b).Prefix(8 + rng.IntN(21))
	return net{p.String(), ranking}
}

// randomClient is near one of the nets, where scopes are interesting.
func randomClient(rng *rand.Rand, nets []net) netip.Prefix {
	b := netip.MustParsePrefix(nets[rng.IntN(len(nets))].prefix).Addr().AsSlice()
	for range rng.IntN(3) {
		b[rng.IntN(min(len(b), 8))] ^= 1 << rng.IntN(8)
	}
	a, _ := netip.AddrFromSlice(b)
	length := 24 + rng.IntN(9)
	if a.Is6() {
		length = 48 + rng.IntN(17)
	}
	p, _ := a.Prefix(length)
	return p
}

func TestPluralityCountsExactly(t *testing.T) {
	m := testMap(t, net{"1.0.0.0/16", "a"}, net{"1.0.0.0/18", "b"}, net{"1.0.200.0/21", "b"}, net{"1.0.210.0/24", "c"})
	v := mustBuild(t, testConfig(m, testPool(t, "www", Closest, "a 192.0.2.1", "b 192.0.2.2", "c 192.0.2.3")))
	for client, want := range map[string]string{
		"1.0.0.0/16":   "192.0.2.1",
		"1.0.0.0/17":   "192.0.2.2", // half b, half a: the first
		"1.0.192.0/19": "192.0.2.1",
		"1.0.200.0/20": "192.0.2.2",
		"1.0.208.0/22": "192.0.2.1",
		"1.0.210.0/23": "192.0.2.3",
	} {
		got := decideText(v, "www", ecs(client), edge.IPv4)
		if got[:len(want)] != want {
			t.Errorf("%s: got %s, want %s", client, got, want)
		}
	}
}
