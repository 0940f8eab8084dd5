package geo

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"edged/edge"
)

// TestFamilyOnlyInANestedPool had no candidate for IPv6: the index by PoP held
// one candidate for each, and the nested pool came second.
func TestFamilyOnlyInANestedPool(t *testing.T) {
	m := testMap(t, net{"1.0.0.0/8", "a b"})
	v := mustBuild(t, testConfig(
		m,
		testPool(t, "p", Closest, "a 192.0.2.1", "a @six", "b 192.0.2.2"),
		testPool(t, "six", Failover, "a 2001:db8::1"),
	))
	for family, want := range map[edge.Family]string{edge.IPv4: "192.0.2.1 /8 ecs", edge.IPv6: "2001:db8::1 /8 ecs"} {
		if got := decideText(v, "p", ecs("1.2.3.0/24"), family); got != want {
			t.Errorf("%v: got %q, want %q", family, got, want)
		}
	}
	_, err := Build(testConfig(
		m, testPool(t, "p", Closest, "a 192.0.2.1", "- @six"), testPool(t, "six", Failover, "- 2001:db8::1"),
	))
	if err == nil || !strings.Contains(err.Error(), `member pool "six" has no endpoint in a PoP`) {
		t.Errorf("error %v: want the nested pool without a PoP refused", err)
	}
}

// TestRendezvousStaysFinite undoes the hash to reach its extremes, as a client
// that wants to break a pool can.
func TestRendezvousStaysFinite(t *testing.T) {
	for _, h := range []uint64{0, 1, math.MaxUint64, math.MaxUint64 - 1, 0xffff_ffff_ffff_f800, 1 << 63} {
		key := unmix(h) ^ mix(7)
		if mix(key^mix(7)) != h {
			t.Fatalf("unmix(%x) is wrong", h)
		}
		for _, weight := range []uint32{0, 1, math.MaxUint32} {
			if score := rendezvous(key, 7, weight); math.IsInf(score, 0) || math.IsNaN(score) || (score > 0) != (weight > 0) {
				t.Errorf("hash %x, weight %d: score %v", h, weight, score)
			}
		}
	}
}

// unmix is the inverse of mix.
func unmix(x uint64) uint64 {
	unshift := func(x uint64, by int) uint64 {
		y := x
		for range 64/by + 1 {
			y = x ^ y>>by
		}
		return y
	}
	inverse := func(a uint64) uint64 { // modulo 2^64, by Newton's method
		x := a
		for range 6 {
			x *= 2 - a*x
		}
		return x
	}
	x = unshift(x, 31) * inverse(0x94d049bb133111eb)
	x = unshift(x, 27) * inverse(0xbf58476d1ce4e5b9)
	return unshift(x, 30) - 0x9e3779b97f4a7c15
}

// TestCarriersOfIPv4 holds the scopes of IPv6 subnets that carry IPv4
// addresses: counted from where the address begins, never wider than the
// carrier, and none from outside that reaches into one.
func TestCarriersOfIPv4(t *testing.T) {
	m := testMap(t, net{"8.0.0.0/8", "a"}, net{"8.1.0.0/16", "b"}, net{"2001::/16", "c"}, net{"2003::/16", "c"})
	sticky := testPool(t, "sticky", Sticky, "a 192.0.2.1", "b 192.0.2.2")
	v := mustBuild(t, testConfig(m, testPool(t, "www", Closest, "a 192.0.2.1", "b 192.0.2.2", "c 192.0.2.3"), sticky))
	for _, tc := range []struct{ client, want string }{
		{"2002:0801::/32", "192.0.2.2 /32 ecs"},                // 6to4 of 8.1.0.0/16
		{"2002:0801:0200::/64", "192.0.2.2 /32 ecs"},           // the same block, from a longer source
		{"2002:0800::/24", "192.0.2.1 /32 ecs"},                // most of 8/8
		{"::ffff:8.1.2.0/120", "192.0.2.2 /112 ecs"},           // mapped
		{"64:ff9b::8.1.2.0/120", "192.0.2.2 /112 ecs"},         // NAT64
		{"2001:0:1:2:0:0:f7fe:fd00/120", "192.0.2.2 /112 ecs"}, // Teredo, inverted
		{"2001:0:1:2::/64", "192.0.2.3 /96 node"},              // Teredo, not reaching into the address
		{"2001:1:2::/48", "192.0.2.3 /32 ecs"},                 // native, beside Teredo
		{"2003:1:2::/48", "192.0.2.3 /16 ecs"},
	} {
		got := decideText(v, "www", ecs(tc.client), edge.IPv4)
		if strings.HasSuffix(tc.want, "node") { // which PoP is this node's does not matter
			got, tc.want = got[strings.Index(got, "/"):], tc.want[strings.Index(tc.want, "/"):]
		}
		if got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.client, got, tc.want)
		}
	}
	if got := decideText(v, "sticky", ecs("::ffff:8.1.1.0/120"), edge.IPv4); !strings.Contains(got, " /120 ") {
		t.Errorf("sticky, mapped: %q, want scope /120", got)
	}
}

// TestWideSubnetsAreNotJudgedByTheirFirstAddress has subnets that begin in
// special space and reach out of it.
func TestWideSubnetsAreNotJudgedByTheirFirstAddress(t *testing.T) {
	m := testMap(t, net{"11.0.0.0/8", "a"}, net{"192.0.4.0/22", "b"}, net{"9.9.9.9/32", "c"})
	v := mustBuild(t, testConfig(m, testPool(t, "www", Closest, "a 192.0.2.1", "b 192.0.2.2", "c 192.0.2.3", "d 192.0.2.4")))
	for client, want := range map[string]string{
		"10.0.0.0/8":   "/0 resolver",
		"10.0.0.0/7":   "/8 node", // half of it unknown, met first
		"192.0.0.0/21": "/22 node",
		"0.0.0.0/1":    "/5 node",
	} {
		got := decideText(v, "www", ecs(client), edge.IPv4)
		if got = got[strings.Index(got, "/"):]; got != want {
			t.Errorf("%s: got %q, want %q", client, got, want)
		}
	}
}

// TestEveryDecisionIsTotal draws random nested pools and verdicts: no decision
// may panic, and one that has an endpoint of the family that is not disabled
// finds one.
func TestEveryDecisionIsTotal(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	m := testMap(t, net{"1.0.0.0/8", "a b c"}, net{"2a00::/16", "c d"})
	for range 300 {
		var pools []Pool
		for i := range 4 {
			var members []string
			for range 1 + rng.IntN(4) {
				pop := fleet[rng.IntN(4)].Name
				switch rng.IntN(4) {
				case 0:
					members = append(members, fmt.Sprintf("%s 2001:db8::%d %d", pop, 1+rng.IntN(200), rng.IntN(3)))
				case 1:
					if i > 0 {
						members = append(members, fmt.Sprintf("%s @p%d", pop, rng.IntN(i)))
						continue
					}
					fallthrough
				default:
					members = append(members, fmt.Sprintf("%s 192.0.2.%d %d", pop, 1+rng.IntN(200), rng.IntN(3)))
				}
			}
			pools = append(pools, testPool(t, fmt.Sprintf("p%d", i), Policy(rng.IntN(4)), members...))
		}
		cfg := testConfig(m, pools...)
		seed := rng.Uint64()
		cfg.Verdicts = func(_ string, m Member) State {
			return State{Verdict: edge.Verdict(mix(seed^hashString(m.Address.String())) % 7)}
		}
		v := mustBuild(t, cfg)
		for i := range v.Pools() {
			for _, family := range []edge.Family{edge.IPv4, edge.IPv6} {
				client := Client{Resolver: netip.AddrFrom4([4]byte{1, 2, 3, byte(rng.Uint32())}), Rand: rng.Uint64(), Now: rng.Uint64N(1 << 32)}
				if rng.IntN(2) == 0 {
					client.ECS = netip.MustParsePrefix("2a00:1:2::/48")
				}
				d, _ := v.Explain(i, &client, family)
				if want := v.pools[i].best[slot(family)] != tierNone; want != (d.Outcome == Addresses) {
					t.Fatalf("pools %+v: pool %d, %v: %v", pools, i, family, d.Outcome)
				}
			}
		}
	}
}
