package geo

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"edged/edge"
	"edged/maps"
	"edged/maps/mapstest"
)

// The test fleet stands on the equator, so that distances read off longitudes:
// a at 0, b at 10, c at 20 and d at 90 degrees.
var fleet = []edge.PoP{
	{Name: "a", Lon: 0},
	{Name: "b", Lon: 10},
	{Name: "c", Lon: 20},
	{Name: "d", Lon: 90},
}

// net is a line of a test map: a prefix and the PoPs in order; "?" for unknown
// place. Prefixes may nest, the longest wins. Unlisted space is of unknown
// place.
type net struct{ prefix, ranking string }

// testMap makes a map in which listed prefixes are measured.
func testMap(t testing.TB, nets ...net) *maps.Map {
	t.Helper()
	return mapstest.Map(t, contents(nets))
}

// contents makes what is in such a map. PoPs are 5 ms apart, unless a ranking says
// how far they are, in steps of half a millisecond: "a:20 b:27".
func contents(nets []net) *maps.Contents {
	c := &maps.Contents{PoPs: fleet, Created: time.Unix(0, 0), Rankings: []maps.Ranking{{Order: maps.NoOrder}}}
	rows := map[netip.Prefix]maps.Row{}
	starts4, starts6 := []netip.Addr{netip.IPv4Unspecified()}, []netip.Addr{netip.IPv6Unspecified()}
	for _, n := range nets {
		p := netip.MustParsePrefix(n.prefix)
		row := maps.MakeRow(0, false)
		if n.ranking != "?" {
			var r maps.Ranking
			r.Order = maps.NoOrder
			for i, name := range strings.Fields(n.ranking) {
				rtt := 10 * (i + 1)
				if before, after, ok := strings.Cut(name, ":"); ok {
					name = before
					rtt, _ = strconv.Atoi(after)
				}
				pop := slices.IndexFunc(fleet, func(p edge.PoP) bool { return p.Name == name })
				r.Hops = append(r.Hops, maps.Hop{PoP: uint16(pop), RTT: uint16(rtt)})
			}
			row = maps.MakeRow(uint32(len(c.Rankings)), true)
			c.Rankings = append(c.Rankings, r)
		}
		rows[p] = row
		starts := &starts4
		if p.Addr().Is6() {
			starts = &starts6
		}
		*starts = append(*starts, p.Addr())
		if after := lastOf(p).Next(); after.IsValid() {
			*starts = append(*starts, after)
		}
	}
	var v4 maps.Builder4
	for _, a := range sorted(starts4) {
		v4.Add(uint32(maps.Addr6From(a).Lo), longest(rows, a))
	}
	var v6 maps.Builder6
	for _, a := range sorted(starts6) {
		wide := maps.Addr6From(a)
		v6.Add(wide.Hi, wide.Lo, longest(rows, a))
	}
	c.ECS = maps.Table{V4: v4.Finish(), V6: v6.Finish()}
	c.Resolver = c.ECS
	return c
}

func sorted(addrs []netip.Addr) []netip.Addr {
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func longest(rows map[netip.Prefix]maps.Row, a netip.Addr) maps.Row {
	best, row := -1, maps.MakeRow(0, false)
	for p, r := range rows {
		if p.Contains(a) && p.Bits() > best {
			best, row = p.Bits(), r
		}
	}
	return row
}

// endpoint makes a member from words: "a 192.0.2.1", "b 2001:db8::1 50",
// "c @pool" or "d x.example.net.".
func member(t testing.TB, s string) Member {
	t.Helper()
	f := strings.Fields(s)
	m := Member{PoP: strings.Trim(f[0], "-"), Weight: 100}
	if len(f) > 2 {
		m.Weight = uint32(f[2][0]-'0') * 10
	}
	switch {
	case strings.HasPrefix(f[1], "@"):
		m.Pool = f[1][1:]
	case strings.HasSuffix(f[1], "."):
		m.CNAME = f[1]
	default:
		m.Address = netip.MustParseAddr(f[1])
	}
	return m
}

func testPool(t testing.TB, name string, policy Policy, members ...string) Pool {
	p := Pool{Name: name, Policy: policy, Map: "default", TTLMin: 30, TTLMax: 300, Answers: 1}
	for _, s := range members {
		p.Members = append(p.Members, member(t, s))
	}
	return p
}

func testConfig(m *maps.Map, pools ...Pool) Config {
	return Config{Node: "n1", PoP: "d", PoPs: fleet, Pools: pools, Maps: map[string]MapSource{"default": {Map: m}}}
}

func mustBuild(t testing.TB, cfg Config) *View {
	t.Helper()
	v, err := Build(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// decide decides in words: outcome, addresses, scope and source.
func decideText(v *View, pool string, client Client, family edge.Family) string {
	i, _ := v.PoolIndex(pool)
	var d Decision
	v.Decide(i, &client, family, &d)
	var words []string
	for _, id := range d.Endpoints[:d.N] {
		e := v.Endpoints()[id]
		words = append(words, e.CNAME+addrText(e.Address))
	}
	slices.Sort(words)
	text := strings.Join(words, ",")
	if d.N == 0 {
		text = d.Outcome.String()
	}
	return text + " /" + strconv.Itoa(int(d.Scope)) + " " + d.Source.String()
}

func ecs(s string) Client {
	return Client{Resolver: netip.MustParseAddr("9.9.9.9"), ECS: netip.MustParsePrefix(s), Now: 1000}
}

func TestClosest(t *testing.T) {
	m := testMap(
		t, net{"10.0.0.0/8", "a b"}, net{"10.1.0.0/16", "b a"},
		net{"20.0.0.0/8", "c"}, net{"20.0.0.128/25", "a"}, net{"20.1.0.0/16", "c"},
		net{"9.9.9.9/32", "b"}, net{"2a00::/16", "a"}, net{"2a00:1::/32", "b c"}, net{"30.0.0.0/8", "?"},
	)
	www := testPool(
		t, "www", Closest, "a 192.0.2.1", "a 2001:db8::1", "b 192.0.2.2", "c 192.0.2.3", "c 2001:db8::3", "d 192.0.2.4",
	)
	only4 := testPool(t, "only4", Closest, "a 192.0.2.1", "b 192.0.2.2")
	v := mustBuild(t, testConfig(m, www, only4))
	for _, tc := range []struct {
		what   string
		client Client
		family edge.Family
		want   string
	}{
		{"the scope leaves out the nested net", ecs("10.2.3.0/24"), edge.IPv4, "192.0.2.1 /15 ecs"},
		{"the nested net", ecs("10.1.3.0/24"), edge.IPv4, "192.0.2.2 /16 ecs"},
		{"equal neighbours merge", ecs("20.1.3.0/24"), edge.IPv4, "192.0.2.3 /16 ecs"},
		{"IPv6 client", ecs("2a00:1:2::/48"), edge.IPv4, "192.0.2.2 /32 ecs"},
		{"a PoP without IPv6: the nearest that has it", ecs("10.1.3.0/24"), edge.IPv6, "2001:db8::1 /16 ecs"},
		{"wider than the blocks: what most of it gets", ecs("20.0.0.0/16"), edge.IPv4, "192.0.2.3 /25 ecs"},
		{"wider than the blocks, a tie: the first", ecs("20.0.0.0/24"), edge.IPv4, "192.0.2.3 /25 ecs"},
		{"no ECS: by resolver", Client{Resolver: netip.MustParseAddr("9.9.9.9")}, edge.IPv4, "192.0.2.2 /0 resolver"},
		{"source /0: by resolver", ecs("0.0.0.0/0"), edge.IPv4, "192.0.2.2 /0 resolver"},
		{"not routable and not measured: by resolver", ecs("192.168.1.0/24"), edge.IPv4, "192.0.2.2 /0 resolver"},
		{"unknown place: near this node", ecs("30.1.1.0/24"), edge.IPv4, "192.0.2.4 /5 node"},
		{"unlisted: near this node, and a scope", ecs("50.1.1.0/24"), edge.IPv4, "192.0.2.4 /3 node"},
		{"6to4", ecs("2002:0a01:0300::/40"), edge.IPv4, "192.0.2.2 /32 ecs"},
		{"v4-mapped resolver", Client{Resolver: netip.MustParseAddr("::ffff:9.9.9.9")}, edge.IPv4, "192.0.2.2 /0 resolver"},
		{"no resolver address", Client{}, edge.IPv4, "192.0.2.4 /0 node"},
	} {
		if got := decideText(v, "www", tc.client, tc.family); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.what, got, tc.want)
		}
	}
	if got, want := decideText(v, "only4", ecs("10.2.3.0/24"), edge.IPv6), "no data /0 none"; got != want {
		t.Errorf("a pool without IPv6: got %q, want %q", got, want)
	}
}

func TestVerdicts(t *testing.T) {
	m := testMap(t, net{"1.0.0.0/8", "a b c"})
	pool := testPool(t, "www", Closest, "a 192.0.2.1", "a 2001:db8::1", "b 192.0.2.2", "b 2001:db8::2", "c 192.0.2.3")
	pool.FallbackCNAME = "last.example.net."
	for _, tc := range []struct {
		verdicts string // of a4 a6 b4 b6 c4
		family   edge.Family
		want     string
	}{
		{"ok ok ok ok ok", edge.IPv4, "192.0.2.1 /8 ecs"},
		{"dead dead ok ok ok", edge.IPv4, "192.0.2.2 /8 ecs"},
		{"ok dead ok ok ok", edge.IPv4, "192.0.2.1 /8 ecs"},
		{"ok dead ok ok ok", edge.IPv6, "2001:db8::2 /8 ecs"},
		{"degraded degraded ok ok ok", edge.IPv4, "192.0.2.2 /8 ecs"},
		{"unknown ok degraded ok dead", edge.IPv4, "192.0.2.2 /8 ecs"},
		// The operator drains b while all else is dead: a dead one comes back,
		// the drained one does not.
		{"dead dead drained drained dead", edge.IPv4, "192.0.2.1 /8 ecs"},
		{"disabled disabled drained drained disabled", edge.IPv4, "fallback /0 none"},
		{"disabled ok drained drained drained", edge.IPv4, "no data /0 none"},
		{"failing ok dead ok disabled", edge.IPv4, "192.0.2.1 /8 ecs"},
		{"disabled disabled disabled disabled disabled", edge.IPv4, "fallback /0 none"},
		{"disabled ok disabled ok disabled", edge.IPv4, "no data /0 none"},
	} {
		words := strings.Fields(tc.verdicts)
		cfg := testConfig(m, pool)
		cfg.Verdicts = func(_ string, m Member) State {
			i := slices.IndexFunc(pool.Members, func(o Member) bool { return o == m })
			verdict, err := edge.ParseVerdict(words[i])
			if err != nil {
				t.Fatal(err)
			}
			return State{Verdict: verdict}
		}
		for _, v := range []*View{mustBuild(t, cfg), mustReverdict(t, mustBuild(t, testConfig(m, pool)), cfg.Verdicts)} {
			if got := decideText(v, "www", ecs("1.2.3.0/24"), tc.family); got != tc.want {
				t.Errorf("%s, %v: got %q, want %q", tc.verdicts, tc.family, got, tc.want)
			}
		}
	}
}

func mustReverdict(t *testing.T, v *View, f Verdicts) *View {
	t.Helper()
	again, err := v.WithVerdicts(f)
	if err != nil {
		t.Fatal(err)
	}
	if again.covers[0] != v.covers[0] {
		t.Error("new verdicts, and the cover was built again")
	}
	return again
}

func TestOtherPolicies(t *testing.T) {
	m := testMap(t, net{"1.0.0.0/8", "a b c"}, net{"2.0.0.0/8", "c b a"})
	v := mustBuild(t, testConfig(
		m,
		testPool(t, "fo", Failover, "b 192.0.2.2", "b 2001:db8::2", "a 192.0.2.1", "a 2001:db8::1"),
		testPool(t, "cname", Closest, "a x.example.net.", "c y.example.net."),
		testPool(t, "inner-a", Failover, "a 192.0.2.11", "a 192.0.2.12"),
		testPool(t, "inner-c", Failover, "c 192.0.2.13"),
		testPool(t, "outer", Closest, "- @inner-a", "- @inner-c"),
		testPool(t, "sticky", Sticky, "a 192.0.2.1", "b 192.0.2.2"),
	))
	for _, tc := range []struct {
		pool, client, want string
		family             edge.Family
	}{
		{"fo", "1.2.3.0/24", "192.0.2.2 /0 none", edge.IPv4},
		{"fo", "1.2.3.0/24", "2001:db8::2 /0 none", edge.IPv6},
		{"cname", "1.2.3.0/24", "x.example.net. /8 ecs", edge.IPv4},
		{"cname", "2.2.3.0/24", "y.example.net. /8 ecs", edge.IPv6},
		{"outer", "1.2.3.0/24", "192.0.2.11 /8 ecs", edge.IPv4},
		{"outer", "2.2.3.0/24", "192.0.2.13 /8 ecs", edge.IPv4},
	} {
		if got := decideText(v, tc.pool, ecs(tc.client), tc.family); got != tc.want {
			t.Errorf("%s for %s: got %q, want %q", tc.pool, tc.client, got, tc.want)
		}
	}
	for _, tc := range []struct{ one, other, scope string }{
		{"1.2.3.0/24", "1.2.3.128/25", "/24"},
		{"1.2.3.0/24", "1.2.3.4/32", "/24"},
		{"2a00:1:2::/48", "2a00:1:2:3::/64", "/48"},
	} {
		one, other := decideText(v, "sticky", ecs(tc.one), edge.IPv4), decideText(v, "sticky", ecs(tc.other), edge.IPv4)
		if one != other || !strings.Contains(one, " "+tc.scope+" ") {
			t.Errorf("sticky: %s gets %q, %s gets %q: want the same, scope %s", tc.one, one, tc.other, other, tc.scope)
		}
	}
}

// TestWeightedShares counts over many resolvers and turns, and holds that one
// resolver gets one PoP for both families during a turn.
func TestWeightedShares(t *testing.T) {
	m := testMap(t)
	v := mustBuild(t, testConfig(m, testPool(
		t, "w", Weighted, "a 192.0.2.1 1", "a 2001:db8::1 1", "b 192.0.2.2 3", "b 2001:db8::2 3", "c 192.0.2.3 0", "c 2001:db8::3 0",
	)))
	var counts [3]int
	const n = 40000
	for i := range n {
		client := Client{Resolver: netip.AddrFrom4([4]byte{1, 0, byte(i >> 8), byte(i)}), Now: uint64(i/1000) * 300}
		var d4, d6 Decision
		v.Decide(0, &client, edge.IPv4, &d4)
		v.Decide(0, &client, edge.IPv6, &d6)
		if d4.PoP != d6.PoP {
			t.Fatalf("resolver %v: PoP %d for IPv4, %d for IPv6", client.Resolver, d4.PoP, d6.PoP)
		}
		counts[d4.PoP]++
	}
	if share := float64(counts[0]) / n; share < 0.24 || share > 0.26 || counts[2] != 0 {
		t.Errorf("counts %v: want a quarter, three quarters, none", counts)
	}
}

func TestAnswersFromOnePoP(t *testing.T) {
	m := testMap(t, net{"1.0.0.0/8", "a"})
	two := testPool(t, "two", Closest, "a 192.0.2.1 5", "a 192.0.2.2 5", "a 192.0.2.3 1", "b 192.0.2.9")
	two.Answers = 2
	v := mustBuild(t, testConfig(m, two))
	counts := map[string]int{}
	client := ecs("1.2.3.0/24")
	for i := range uint64(10000) {
		client.Rand = mix(i)
		var d Decision
		v.Decide(0, &client, edge.IPv4, &d)
		if d.N != 2 || d.Endpoints[0] == d.Endpoints[1] {
			t.Fatalf("endpoints %v, want two different ones", d.Endpoints[:d.N])
		}
		for _, id := range d.Endpoints[:2] {
			counts[v.Endpoints()[id].Address.String()]++
		}
	}
	if counts["192.0.2.9"] != 0 || counts["192.0.2.3"] > 4000 || counts["192.0.2.1"] < 7000 || counts["192.0.2.2"] < 7000 {
		t.Errorf("counts %v: want shares by weight, and none from the other PoP", counts)
	}
}

func TestBuildRefuses(t *testing.T) {
	m := testMap(t)
	for _, tc := range []struct {
		pools []Pool
		want  string
	}{
		{[]Pool{testPool(t, "p", Closest, "x 192.0.2.1")}, `unknown PoP "x"`},
		{[]Pool{testPool(t, "p", Closest, "- 192.0.2.1")}, "policy closest needs its PoP"},
		{[]Pool{testPool(t, "p", Failover, "- @q")}, `unknown pool "q"`},
		{[]Pool{testPool(t, "p", Failover, "- @q"), testPool(t, "q", Failover, "- @p")}, "contains itself"},
		{[]Pool{testPool(t, "p", Failover, "a 192.0.2.1", "a x.")}, "both addresses and CNAME targets"},
		{[]Pool{{Name: "p", Map: "default", TTLMin: 1, TTLMax: 1}}, "answers 0: want 1 to 16"},
		{[]Pool{{Name: "p", Map: "default", Answers: 1}}, "want 0 < min <= max"},
		{[]Pool{{Name: "p", Map: "other", Answers: 1, TTLMin: 1, TTLMax: 1}}, `unknown map "other"`},
	} {
		if _, err := Build(testConfig(m, tc.pools...)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error %v, want %q", err, tc.want)
		}
	}
	cfg := testConfig(m, testPool(t, "p", Closest, "e 192.0.2.1"))
	cfg.PoPs = append(slices.Clone(fleet), edge.PoP{Name: "e"})
	if _, err := Build(cfg); err == nil || !strings.Contains(err.Error(), "it lacks PoP e; build it again") {
		t.Errorf("error %v, want one about PoP e", err)
	}
}

// TestExplainAgrees holds that a trace tells of the decision that is made.
func TestExplainAgrees(t *testing.T) {
	m := testMap(t, net{"1.0.0.0/8", "a b"}, net{"1.1.0.0/16", "b"})
	v := mustBuild(t, testConfig(m, testPool(t, "www", Closest, "a 192.0.2.1", "b 192.0.2.2", "b 2001:db8::2", "c 192.0.2.3")))
	for _, s := range []string{"1.1.1.0/24", "1.2.0.0/16", "8.8.8.0/24", "10.0.0.0/8", "2a00::/32"} {
		for _, family := range []edge.Family{edge.IPv4, edge.IPv6} {
			client := ecs(s)
			var d Decision
			v.Decide(0, &client, family, &d)
			again, tr := v.Explain(0, &client, family)
			if d != again {
				t.Errorf("%s: Explain decides %+v, Decide %+v", s, again, d)
			}
			chosen := slices.IndexFunc(tr.Stages[0].Candidates, func(c Candidate) bool { return c.Chosen })
			if chosen < 0 || tr.Stages[0].Candidates[chosen].Name != tr.PoP || tr.Scope != d.Scope {
				t.Errorf("%s: the trace names %+v", s, tr)
			}
			for _, c := range tr.Stages[0].Candidates {
				if c.Reason == "" {
					t.Errorf("%s: candidate %s has no reason", s, c.Name)
				}
			}
		}
	}
}

func TestDecideAllocatesNothing(t *testing.T) {
	m := testMap(t, net{"1.0.0.0/8", "a b"}, net{"1.1.0.0/16", "b"})
	v := mustBuild(t, testConfig(
		m,
		testPool(t, "closest", Closest, "a 192.0.2.1", "b 192.0.2.2", "b 2001:db8::2", "c 192.0.2.3"),
		testPool(t, "failover", Failover, "a 192.0.2.1", "b 192.0.2.2"),
		testPool(t, "weighted", Weighted, "a 192.0.2.1", "b 192.0.2.2"),
		testPool(t, "sticky", Sticky, "a 192.0.2.1", "b 192.0.2.2"),
		testPool(t, "nested", Closest, "a @weighted", "c @sticky"),
	))
	var d Decision
	for i := range v.Pools() {
		for _, s := range []string{"1.1.1.0/24", "1.0.0.0/8", "2a00:1::/32", "2002:101:100::/40", "10.0.0.0/8"} {
			client := ecs(s)
			if n := testing.AllocsPerRun(100, func() { v.Decide(i, &client, edge.IPv4, &d) }); n != 0 {
				t.Errorf("pool %s, client %s: %v allocations, want 0", v.Pool(i).Name, s, n)
			}
		}
	}
}

func TestDistanceOrder(t *testing.T) {
	got := byDistance(fleet, []bool{true, true, true, true}, 2)
	if want := []uint16{2, 1, 0, 3}; !slices.Equal(got, want) {
		t.Errorf("order from c: %v, want %v", got, want)
	}
}
