package geo

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"edged/edge"
	"edged/geo/shed"
	"edged/maps"
	"edged/maps/mapstest"
)

// pricedMap makes a map whose rankings were made with these prices, in
// microseconds.
func pricedMap(t testing.TB, prices []uint32, nets ...net) *maps.Map {
	t.Helper()
	c := contents(nets)
	for i := range c.PoPs {
		c.Prices = append(c.Prices, maps.Pricing{})
		if i < len(prices) {
			c.Prices[i].Price = prices[i]
		}
	}
	return mapstest.Map(t, c)
}

var four = []string{"a 192.0.2.1", "b 192.0.2.2", "c 192.0.2.3", "d 192.0.2.4"}

func withPrices(t testing.TB, v *View, live ...shed.Price) *View {
	t.Helper()
	next, err := v.With(v.cfg.Verdicts, v.cfg.Pins, Prices{Live: live, Epoch: 7200})
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// TestPrices holds who goes where by round-trip time plus price, and with which
// scope. Times are in steps of half a millisecond.
func TestPrices(t *testing.T) {
	nets := []net{
		{"20.0.0.0/8", "a:20 b:27 c:40"},
		{"20.64.0.0/10", "a:20 b:22"},
		{"20.128.0.0/16", "b:10 a:11"},
		{"20.192.0.0/16", "a c"},
		{"21.0.0.0/8", "a:20 b:27 c:40"},
		{"22.0.0.0/8", "a:0 b:5"}, // no time
		{"9.9.9.9/32", "a:20 b:22"},
		{"2a00::/16", "a:20 b:22"},
		{"2a01::/16", "a:20 b:25"},
	}
	cfg := testConfig(pricedMap(t, nil, nets...), testPool(t, "www", Closest, four...), testPool(t, "ac", Closest, four[0], four[2]))
	cfg.Pins = []Pin{pin("20.3.0.0/16", "a")}
	v := mustBuild(t, cfg)
	resolver := Client{Resolver: netip.MustParseAddr("9.9.9.9")}
	for _, tc := range []struct {
		what   string
		live   []shed.Price
		pool   string
		client Client
		want   string
	}{
		{"no price", nil, "www", ecs("20.64.1.0/24"), "192.0.2.1 /10 ecs"},
		{"no price, its neighbour", nil, "www", ecs("20.1.1.0/24"), "192.0.2.1 /15 ecs"},
		{"a tie stays", []shed.Price{1000}, "www", ecs("20.64.1.0/24"), "192.0.2.1 /10 ecs"},
		{"least regret first", []shed.Price{1500}, "www", ecs("20.64.1.0/24"), "192.0.2.2 /10 ecs"},
		{"who loses more stays", []shed.Price{1500}, "www", ecs("20.1.1.0/24"), "192.0.2.1 /15 ecs"},
		{"more leave at a higher price", []shed.Price{4000}, "www", ecs("20.1.1.0/24"), "192.0.2.2 /15 ecs"},
		{"blocks of one order merge", []shed.Price{10500}, "www", ecs("21.1.1.0/24"), "192.0.2.2 /8 ecs"},
		{"prices of both count", []shed.Price{4000, 1000}, "www", ecs("20.1.1.0/24"), "192.0.2.1 /15 ecs"},
		{"the third, when the second has its price", []shed.Price{20000, 20000}, "www", ecs("20.1.1.0/24"), "192.0.2.3 /15 ecs"},
		{"a price elsewhere changes nothing", []shed.Price{0, 0, 0, 9000}, "www", ecs("20.64.1.0/24"), "192.0.2.1 /10 ecs"},
		{"a pinned client stays", []shed.Price{20000}, "www", ecs("20.3.1.0/24"), "192.0.2.1 /16 ecs"},
		{"without a time nobody leaves", []shed.Price{20000}, "www", ecs("22.1.1.0/24"), "192.0.2.1 /8 ecs"},
		{"a pool without the second", []shed.Price{4000}, "ac", ecs("20.1.1.0/24"), "192.0.2.1 /15 ecs"},
		{"by resolver", []shed.Price{1500}, "www", resolver, "192.0.2.2 /0 resolver"},
		{"IPv6", []shed.Price{1500}, "www", ecs("2a00:1::/48"), "192.0.2.2 /16 ecs"},
		{"IPv6, who loses more", []shed.Price{1500}, "www", ecs("2a01:1::/48"), "192.0.2.1 /16 ecs"},
	} {
		if got := decideText(withPrices(t, v, tc.live...), tc.pool, tc.client, edge.IPv4); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.what, got, tc.want)
		}
	}
	dead, err := withPrices(t, v, 4000).WithVerdicts(verdicts(t, "b4 dead"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := decideText(dead, "www", ecs("20.1.1.0/24"), edge.IPv4), "192.0.2.1 /15 ecs"; got != want {
		t.Errorf("the cheaper one is dead: got %q, want %q", got, want)
	}
}

// TestMapPrices holds that a map's own prices change nothing until one is raised,
// and count then.
func TestMapPrices(t *testing.T) {
	nets := []net{{"20.0.0.0/8", "b:22 a:20 c:40"}, {"21.0.0.0/8", "c:60 a:20"}} // 21: where capacity sent it
	v := mustBuild(t, testConfig(pricedMap(t, []uint32{2000}, nets...), testPool(t, "www", Closest, four...)))
	for _, tc := range []struct {
		client string
		live   []shed.Price
		want   string
	}{
		{"20.1.1.0/24", nil, "192.0.2.2 /8 ecs"},
		{"20.1.1.0/24", []shed.Price{0, 1000}, "192.0.2.2 /8 ecs"}, // 20 + 4 and 22 + 2: a tie
		{"20.1.1.0/24", []shed.Price{0, 1500}, "192.0.2.1 /8 ecs"},
		{"21.1.1.0/24", nil, "192.0.2.3 /8 ecs"},
		{"21.1.1.0/24", []shed.Price{0, 1500}, "192.0.2.3 /8 ecs"}, // not back to a, though it seems to cost less
		{"21.1.1.0/24", []shed.Price{0, 0, 500}, "192.0.2.1 /8 ecs"},
	} {
		if got := decideText(withPrices(t, v, tc.live...), "www", ecs(tc.client), edge.IPv4); got != tc.want {
			t.Errorf("%s at %v: got %q, want %q", tc.client, tc.live, got, tc.want)
		}
	}
	plain := mustBuild(t, testConfig(testMap(t, nets...), testPool(t, "www", Closest, four...)))
	priced := withPrices(t, plain, 0, 60_000)
	if priced.pools[0].cover != plain.pools[0].cover {
		t.Error("a map without prices has a new cover when a price is raised")
	}
}

// TestPricesAndCovers holds what is built again when prices change.
func TestPricesAndCovers(t *testing.T) {
	cfg := testConfig(
		pricedMap(t, nil, net{"20.0.0.0/8", "a:20 b:22 c:30"}),
		testPool(t, "ab", Closest, four[:2]...), testPool(t, "bc", Closest, four[1:3]...),
	)
	v := mustBuild(t, cfg)
	at := func(v *View, epoch uint64, live ...shed.Price) *View {
		next, err := v.With(nil, nil, Prices{Live: live, Epoch: epoch})
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	raised := at(v, 1, 1750)
	if raised.pools[0].cover == v.pools[0].cover || raised.pools[1].cover != v.pools[1].cover {
		t.Error("a price of a: want a new cover for a and b, and the old one for b and c")
	}
	if again := at(raised, 359, 1750); again.pools[0].cover != raised.pools[0].cover {
		t.Error("the same prices in the same turn, and a cover was built again")
	}
	if turned := at(raised, 360, 1750); turned.pools[0].cover == raised.pools[0].cover {
		t.Error("another turn, and the same blocks stand at the margin")
	}
	if whole := at(at(raised, 1, 1500), 360, 1500); whole.pools[0].cover != at(whole, 361, 1500).pools[0].cover {
		t.Error("a price of whole steps, and a cover was built again for a turn")
	}
	if judged, err := raised.WithVerdicts(nil); err != nil || judged.pools[0].cover != raised.pools[0].cover {
		t.Errorf("new verdicts, and a cover was built again (%v)", err)
	}
	back := at(raised, 2)
	if got, want := decideText(back, "ab", ecs("20.1.1.0/24"), edge.IPv4), decideText(v, "ab", ecs("20.1.1.0/24"), edge.IPv4); got != want {
		t.Errorf("when the price is gone: %q, before it %q", got, want)
	}
}

// TestMarginOfPrices holds how a range divides at a price between two steps: by
// blocks, each with one answer and a scope within it, as shed.Choose has it.
func TestMarginOfPrices(t *testing.T) {
	v := mustBuild(t, testConfig(
		pricedMap(t, nil, net{"20.0.0.0/8", "a:20 b:21"}, net{"2a00::/16", "a:20 b:21"}, net{"2a01::/12", "a:20 b:21"}, net{"0.0.0.0/0", "a"}),
		testPool(t, "www", Closest, four[:2]...),
	))
	priced := withPrices(t, v, 750)
	for _, tc := range []struct {
		first  string
		length int // of blocks
		blocks int
	}{
		{"20.0.0.0", 20, 4096},
		{"2a00::", 28, 4096}, // within the /12: a block is larger than a /32
	} {
		addr := netip.MustParseAddr(tc.first)
		left := 0
		for range tc.blocks {
			block := netip.PrefixFrom(addr, tc.length)
			at := pinKey(addr)
			hops := []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1, RTT: 21}}
			want := uint16(hops[shed.Choose(hops, []shed.Price{750}, at, 7200)].PoP)
			for _, a := range []netip.Addr{addr, lastOf(block)} {
				var d Decision
				client := Client{ECS: netip.PrefixFrom(a, a.BitLen())}
				priced.Decide(0, &client, edge.IPv4, &d)
				if d.PoP != want || int(d.Scope) > tc.length {
					t.Fatalf("%v: pop %d with scope /%d, want pop %d and at most /%d", a, d.PoP, d.Scope, want, tc.length)
				}
			}
			if want == 1 {
				left++
			}
			addr = lastOf(block).Next()
		}
		if left < tc.blocks*45/100 || left > tc.blocks*55/100 {
			t.Errorf("%s: %d of %d blocks leave at half a step", tc.first, left, tc.blocks)
		}
	}
}

// TestPricedScopesArePrefixFree draws random maps, prices and clients: scopes never
// overlap, and a client goes to the PoP that a plain search of all candidates
// finds for its block.
func TestPricedScopesArePrefixFree(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 3))
	for round := range 30 {
		var nets []net
		seen := map[string]bool{}
		for range 1 + rng.IntN(30) {
			n := randomNet(rng)
			var words []string
			for i, pop := range rng.Perm(4)[:1+rng.IntN(4)] {
				words = append(words, fmt.Sprintf("%s:%d", fleet[pop].Name, 10+10*i+rng.IntN(10)))
			}
			if n.ranking = strings.Join(words, " "); !seen[n.prefix] {
				seen[n.prefix] = true
				nets = append(nets, n)
			}
		}
		base := []uint32{0, uint32(rng.IntN(4000)), 0, 1250}
		var live []shed.Price
		for range fleet {
			live = append(live, []shed.Price{0, 500, shed.Price(rng.IntN(12_000)), 2250}[rng.IntN(4)])
		}
		v := withPrices(t, mustBuild(t, testConfig(pricedMap(t, base, nets...), testPool(t, "www", Closest, four...))), live...)
		answers := map[netip.Prefix]uint16{}
		for range 2000 {
			p := randomClient(rng, nets)
			var d Decision
			client := Client{ECS: p}
			v.Decide(0, &client, edge.IPv4, &d)
			if !edge.Routable(p) {
				continue
			}
			if want := plainPriced(nets, base, live, p.Addr()); int(d.Scope) <= p.Bits() && !slices.Contains(want, d.PoP) {
				t.Fatalf("round %d: %v goes to pop %d, want one of %v; live %v, base %v, nets %v", round, p, d.PoP, want, live, base, nets)
			}
			if int(d.Scope) > p.Bits() {
				continue
			}
			block, _ := p.Addr().Prefix(int(d.Scope))
			if have, ok := answers[block]; ok && have != d.PoP {
				t.Fatalf("round %d: block %v answers %d and %d", round, block, have, d.PoP)
			}
			answers[block] = d.PoP
		}
		var blocks []netip.Prefix
		for b := range answers {
			blocks = append(blocks, b)
		}
		slices.SortFunc(blocks, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		for i := 1; i < len(blocks); i++ {
			if blocks[i-1].Overlaps(blocks[i]) {
				t.Fatalf("round %d: scopes %v and %v overlap", round, blocks[i-1], blocks[i])
			}
		}
	}
}

// plainPriced lists the PoPs that a client may go to: where blocks divide, those
// that some block prefers; by distance, those of a network without times.
func plainPriced(nets []net, base []uint32, live []shed.Price, a netip.Addr) (pops []uint16) {
	longest, ranking := -1, ""
	for _, n := range nets {
		if p := netip.MustParsePrefix(n.prefix); p.Contains(a) && p.Bits() > longest {
			longest, ranking = p.Bits(), n.ranking
		}
	}
	if ranking == "" {
		return []uint16{3} // of unknown place: by distance from this node
	}
	type cost struct {
		pop       uint16
		low, high int
	}
	var costs []cost
	for _, word := range strings.Fields(ranking) {
		var rtt int
		fmt.Sscanf(word[2:], "%d", &rtt)
		pop := slices.IndexFunc(fleet, func(p edge.PoP) bool { return p.Name == word[:1] })
		whole := rtt + int(base[pop])/500
		if len(costs) > 0 {
			first := costs[0].low - int(live[costs[0].pop])/500
			whole = max(whole, first)
		}
		costs = append(costs, cost{uint16(pop), whole + int(live[pop])/500, whole + (int(live[pop])+499)/500})
	}
	most := costs[0].high
	for _, c := range costs {
		most = min(most, c.high)
	}
	for i, c := range costs {
		beaten := slices.ContainsFunc(costs[:i], func(o cost) bool { return o.high <= c.low })
		if c.low <= most && !beaten {
			pops = append(pops, c.pop)
		}
	}
	return pops
}

// TestExplainTellsOfPrices holds the words.
func TestExplainTellsOfPrices(t *testing.T) {
	v := mustBuild(t, testConfig(
		pricedMap(t, []uint32{0, 1000}, net{"20.0.0.0/8", "a:20 b:22 c:40"}, net{"21.0.0.0/8", "b a"}), testPool(t, "www", Closest, four[:3]...),
	))
	priced, err := v.With(nil, nil, Prices{Live: []shed.Price{4000, 500}, Why: []string{"load 112 % of soft limit"}})
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string][]string{
		"20.1.2.0/24": {
			"b: least round-trip time plus price, a without prices 1/0.5",
			"a: +4.0 ms (load 112 % of soft limit): b instead by price 0/4",
			"c: comes later 0/0",
		},
		"21.1.2.0/24": {
			"b: ranked first for this client, among those with verdict ok; +0.5 ms 1/0.5",
			"a: comes later; +4.0 ms (load 112 % of soft limit) 0/4",
			"c: comes later 0/0",
		},
	} {
		client := ecs(s)
		_, tr := priced.Explain(0, &client, edge.IPv4)
		var got []string
		for _, c := range tr.Stages[0].Candidates {
			got = append(got, fmt.Sprintf("%s: %s %v/%v", c.Name, c.Reason, c.MapPrice, c.Price))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", s, got, want)
		}
	}
	client := ecs("20.1.2.0/24")
	_, tr := v.Explain(0, &client, edge.IPv4)
	if got, want := tr.Stages[0].Candidates[0].Reason, "ranked first for this client, among those with verdict ok"; got != want {
		t.Errorf("without live prices: %q, want %q", got, want)
	}
}

// TestPricedDecideAllocates holds that prices cost an answer no memory.
func TestPricedDecideAllocates(t *testing.T) {
	v := withPrices(t, mustBuild(t, testConfig(
		pricedMap(t, nil, net{"20.0.0.0/8", "a:20 b:21"}, net{"2a00::/16", "a:20 b:21"}), testPool(t, "www", Closest, four...),
	)), 750)
	for _, client := range []Client{ecs("20.1.2.0/24"), ecs("2a00:1::/48"), {Resolver: netip.MustParseAddr("20.1.2.3")}} {
		var d Decision
		if n := testing.AllocsPerRun(100, func() { v.Decide(0, &client, edge.IPv4, &d) }); n != 0 {
			t.Errorf("%v: %v allocations, want 0", client, n)
		}
	}
}

// BenchmarkPriceChange measures what a changed price costs: the build of a cover
// over 300,000 networks, with a price of whole steps and with one between two,
// beside a change of verdicts, which builds none.
func BenchmarkPriceChange(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	c := contents(nil)
	c.Prices = make([]maps.Pricing, len(fleet))
	for range 20_000 {
		var hops []maps.Hop
		for i, pop := range rng.Perm(len(fleet)) {
			hops = append(hops, maps.Hop{PoP: uint16(pop), RTT: uint16(10 + 8*i + rng.IntN(8))})
		}
		c.Rankings = append(c.Rankings, maps.Ranking{Hops: hops, Order: maps.NoOrder})
	}
	var v4 maps.Builder4
	v4.Add(0, maps.MakeRow(0, false))
	for i := range uint32(300_000) {
		v4.Add(1<<24+i*12_000, maps.MakeRow(1+rng.Uint32N(20_000), true))
	}
	c.ECS.V4 = v4.Finish()
	c.Resolver = c.ECS
	v := mustBuild(b, testConfig(mapstest.Map(b, c), testPool(b, "www", Closest, four...)))
	for _, bm := range []struct {
		name string
		live []shed.Price
	}{{"verdicts", nil}, {"whole", []shed.Price{2000}}, {"between", []shed.Price{1750}}} {
		b.Run(bm.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := v.With(nil, nil, Prices{Live: bm.live, Epoch: 1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
