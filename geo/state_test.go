package geo

import (
	"strings"
	"testing"
	"time"

	"edged/edge"
)

// states gives the members of a pool their states by address or nested pool,
// written as verdicts in words.
func states(t testing.TB, words map[string]string) Verdicts {
	t.Helper()
	byMember := map[string]State{}
	for member, word := range words {
		verdict, err := edge.ParseVerdict(word)
		if err != nil {
			t.Fatal(err)
		}
		byMember[member] = State{Verdict: verdict}
	}
	return func(_ string, m Member) State { return byMember[m.CNAME+m.Pool+addrText(m.Address)] }
}

// verdicts parses "a4 dead, b4 drained" into states of members that are
// abbreviated by PoP and family.
func verdicts(t testing.TB, text string) Verdicts {
	t.Helper()
	words := map[string]string{}
	for item := range strings.SplitSeq(text, ", ") {
		short, word, _ := strings.Cut(item, " ")
		words[abbreviated[short]] = word
	}
	return states(t, words)
}

var abbreviated = map[string]string{
	"a4": "192.0.2.1", "a6": "2001:db8::1", "b4": "192.0.2.2", "b6": "2001:db8::2", "c4": "192.0.2.3", "c6": "2001:db8::3",
}

// abcPool has an endpoint of each family in a, b and c; the map of the tests
// that use it ranks them in this order.
func abcPool(t testing.TB, policy Policy) Pool {
	return testPool(t, "www", policy, "a 192.0.2.1", "a 2001:db8::1", "b 192.0.2.2", "b 2001:db8::2", "c 192.0.2.3", "c 2001:db8::3")
}

// TestFailOpen has nothing better than failing. The operator's drain of b while
// the rest fails is acceptance test h: fail-open must not undo it.
func TestFailOpen(t *testing.T) {
	m := testMap(t, net{"1.0.0.0/8", "a b c"})
	const rest = ", a6 ok, b6 ok, c6 ok"
	const all6 = ", a6 dead, b6 dead, c6 dead"
	for _, tc := range []struct {
		order    FailOpenOrder
		drained  bool
		fallback bool
		states   string
		want     string
	}{
		{Ranked, false, false, "a4 dead, b4 drained, c4 dead" + rest, "192.0.2.1 /8 ecs"},
		{Ranked, true, false, "a4 dead, b4 drained, c4 dead" + rest, "192.0.2.1 /8 ecs"},
		{Ranked, false, false, "a4 drained, b4 drained, c4 failing" + rest, "192.0.2.3 /8 ecs"},
		{Ranked, false, false, "a4 disabled, b4 drained, c4 unknown" + rest, "192.0.2.3 /8 ecs"},
		{Ranked, false, false, "a4 disabled, b4 drained, c4 disabled" + rest, "no data /0 none"},
		{Ranked, true, false, "a4 disabled, b4 drained, c4 disabled" + rest, "192.0.2.2 /8 ecs"},
		{Ranked, true, false, "a4 disabled, b4 drained, c4 dead" + rest, "192.0.2.3 /8 ecs"},
		{Ranked, false, true, "a4 dead, b4 dead, c4 dead" + all6, "192.0.2.1 /8 ecs"},
		{Ranked, false, true, "a4 disabled, b4 drained, c4 disabled, a6 drained, b6 drained, c6 drained", "fallback /0 none"},
		{Ranked, false, true, "a4 disabled, b4 drained, c4 disabled" + rest, "no data /0 none"},
		{ToFallback, false, true, "a4 dead, b4 failing, c4 dead" + all6, "fallback /0 none"},
		{ToFallback, false, false, "a4 dead, b4 failing, c4 dead" + all6, "192.0.2.1 /8 ecs"},
		{ToFallback, false, true, "a4 dead, b4 unknown, c4 dead" + all6, "192.0.2.2 /8 ecs"},
		{ToFallback, true, true, "a4 disabled, b4 drained, c4 disabled, a6 drained, b6 drained, c6 drained", "fallback /0 none"},
		// IPv6 is fine: a CNAME, which answers for all types, would take it away.
		{ToFallback, false, true, "a4 dead, b4 failing, c4 dead" + rest, "192.0.2.1 /8 ecs"},
	} {
		for _, policy := range []Policy{Closest, Failover} {
			pool := abcPool(t, policy)
			pool.FailOpen = FailOpen{Order: tc.order, Drained: tc.drained}
			if tc.fallback {
				pool.FallbackCNAME = "last.example.net."
			}
			cfg := testConfig(m, pool)
			cfg.Verdicts = verdicts(t, tc.states)
			want := tc.want
			if policy == Failover {
				want = strings.Replace(want, "/8 ecs", "/0 none", 1)
			}
			if got := decideText(mustBuild(t, cfg), "www", ecs("1.2.3.0/24"), edge.IPv4); got != want {
				t.Errorf("%v, drained %v, %s, policy %v: got %q, want %q", tc.order, tc.drained, tc.states, policy, got, want)
			}
		}
	}
}

// TestFailOpenToLastKnown has all endpoints failing. Those within a minute of
// the last one that was ok fell with it; the map ranks a, b, c.
func TestFailOpenToLastKnown(t *testing.T) {
	m := testMap(t, net{"1.0.0.0/8", "a b c"})
	start := time.Unix(1_800_000_000, 0)
	for _, tc := range []struct {
		what   string
		lastOK [3]time.Duration // of a, b and c after start; below 0: not known
		order  FailOpenOrder
		want   string
	}{
		{"c fell last", [3]time.Duration{0, time.Minute, time.Hour}, LastKnown, "192.0.2.3"},
		{"b and c fell together", [3]time.Duration{0, time.Hour, time.Hour + time.Minute}, LastKnown, "192.0.2.2"},
		{"b fell a second too early for that", [3]time.Duration{0, time.Hour - time.Second, time.Hour + time.Minute}, LastKnown, "192.0.2.3"},
		{"only b is known to have worked", [3]time.Duration{-1, 0, -1}, LastKnown, "192.0.2.2"},
		{"none is", [3]time.Duration{-1, -1, -1}, LastKnown, "192.0.2.1"},
		{"ranked asks nobody", [3]time.Duration{0, time.Minute, time.Hour}, Ranked, "192.0.2.1"},
	} {
		pool := testPool(t, "www", Closest, "a 192.0.2.1", "b 192.0.2.2", "c 192.0.2.3")
		pool.FailOpen.Order = tc.order
		cfg := testConfig(m, pool)
		cfg.Verdicts = func(_ string, m Member) State {
			s := State{Verdict: edge.Dead}
			if after := tc.lastOK[m.PoP[0]-'a']; after >= 0 {
				s.LastOK = start.Add(after)
			}
			return s
		}
		if got := decideText(mustBuild(t, cfg), "www", ecs("1.2.3.0/24"), edge.IPv4); got != tc.want+" /8 ecs" {
			t.Errorf("%s: got %q, want %s", tc.what, got, tc.want)
		}
	}
}

// TestUpFraction has three endpoints of IPv4 and one of IPv6 in a, which the map
// ranks before b.
func TestUpFraction(t *testing.T) {
	m := testMap(t, net{"1.0.0.0/8", "a b"})
	for _, tc := range []struct {
		fraction float64
		states   map[string]string
		v4, v6   string
	}{
		{0.5, map[string]string{"192.0.2.11": "dead"}, "192.0.2.12,192.0.2.13", "2001:db8::1"},
		{0.5, map[string]string{"192.0.2.11": "dead", "192.0.2.12": "dead"}, "192.0.2.2", "2001:db8::1"},
		{0, map[string]string{"192.0.2.11": "dead", "192.0.2.12": "dead"}, "192.0.2.13", "2001:db8::1"},
		{1.0 / 3, map[string]string{"192.0.2.11": "dead", "192.0.2.12": "dead"}, "192.0.2.13", "2001:db8::1"},
		{0.5, map[string]string{"192.0.2.11": "drained", "192.0.2.12": "unknown"}, "192.0.2.2", "2001:db8::1"},
		// With nothing better elsewhere what is ok in a is still what a answers.
		{0.5, map[string]string{"192.0.2.11": "degraded", "192.0.2.12": "dead", "192.0.2.2": "degraded"}, "192.0.2.13", "2001:db8::1"},
		{0.5, map[string]string{"192.0.2.11": "dead", "192.0.2.12": "dead", "192.0.2.2": "dead"}, "192.0.2.13", "2001:db8::1"},
		{1, map[string]string{"2001:db8::1": "dead"}, "192.0.2.11,192.0.2.12,192.0.2.13", "2001:db8::2"},
	} {
		for _, policy := range []Policy{Closest, Failover} {
			pool := testPool(t, "www", policy, "a 192.0.2.11", "a 192.0.2.12", "a 192.0.2.13", "a 2001:db8::1", "b 192.0.2.2", "b 2001:db8::2")
			pool.Answers, pool.UpFraction = MaxAnswers, tc.fraction
			cfg := testConfig(m, pool)
			cfg.Verdicts = states(t, tc.states)
			v := mustBuild(t, cfg)
			for family, want := range map[edge.Family]string{edge.IPv4: tc.v4, edge.IPv6: tc.v6} {
				got, _, _ := strings.Cut(decideText(v, "www", ecs("1.2.3.0/24"), family), " ")
				if policy == Failover { // which answers with one
					want, _, _ = strings.Cut(want, ",")
				}
				if policy == Failover && tc.states["192.0.2.11"] == "degraded" && family == edge.IPv4 {
					want = "192.0.2.11" // degraded like 192.0.2.13 is taken to be, and before it
				}
				if got != want {
					t.Errorf("fraction %v, %v, policy %v, %v: got %s, want %s", tc.fraction, tc.states, policy, family, got, want)
				}
			}
		}
	}
}

// TestStatesOfNestedPools has an operator's word about a pool as the member of
// another, and a check's, which counts for nothing there.
func TestStatesOfNestedPools(t *testing.T) {
	m := testMap(t, net{"1.0.0.0/8", "a b"})
	weight := uint32(0)
	for _, tc := range []struct {
		state State
		want  string
	}{
		{State{}, "192.0.2.1 /8 ecs"},
		{State{Verdict: edge.Dead}, "192.0.2.1 /8 ecs"},
		{State{Verdict: edge.Drained}, "192.0.2.2 /8 ecs"},
		{State{Verdict: edge.Disabled}, "192.0.2.2 /8 ecs"},
		{State{Weight: &weight}, "192.0.2.1 /8 ecs"},
	} {
		cfg := testConfig(m, testPool(t, "inner", Failover, "- 192.0.2.1"), testPool(t, "outer", Closest, "a @inner", "b 192.0.2.2"))
		cfg.Verdicts = func(pool string, m Member) State {
			if pool == "outer" && m.Pool == "inner" {
				return tc.state
			}
			return State{}
		}
		if got := decideText(mustBuild(t, cfg), "outer", ecs("1.2.3.0/24"), edge.IPv4); got != tc.want {
			t.Errorf("state %+v: got %q, want %q", tc.state, got, tc.want)
		}
	}
}

// TestWeightsOfStates drains one of two endpoints by weight, and gives a
// configured weight of 0 one.
func TestWeightsOfStates(t *testing.T) {
	m := testMap(t)
	weights := map[string]uint32{"192.0.2.1": 0, "192.0.2.3": 100}
	cfg := testConfig(m, testPool(t, "w", Weighted, "a 192.0.2.1 5", "b 192.0.2.2 0", "c 192.0.2.3 0"))
	cfg.Verdicts = func(_ string, m Member) (s State) {
		if w, ok := weights[addrText(m.Address)]; ok {
			s.Weight = &w
		}
		return s
	}
	v := mustBuild(t, cfg)
	for i := range uint64(1000) {
		client := ecs("1.2.3.0/24")
		client.Now = i * 300
		if got, want := decideText(v, "w", client, edge.IPv4), "192.0.2.3 /0 none"; got != want {
			t.Fatalf("got %q, want %q, the only one with weight", got, want)
		}
	}
	for i, want := range []uint32{0, 0, 100} {
		if got := v.Endpoints()[i].Weight; got != want {
			t.Errorf("weight of endpoint %d is %d, want %d", i, got, want)
		}
	}
}

// TestTTL has pools with a TTL of 30 to 300 seconds, the inner one with 10 to
// 200.
func TestTTL(t *testing.T) {
	m := testMap(t, net{"1.0.0.0/8", "a b"})
	for _, tc := range []struct {
		what       string
		a, b, deep uint32 // of the outer's endpoints, and of the inner's
		nested     bool
		want       uint32
		why        string
	}{
		{"no limit", 0, 0, 0, false, 300, "the pool's max"},
		{"the least counts, whoever asks", 100, 40, 0, false, 40, "192.0.2.2 of pool outer may change in 40 s"},
		{"not above max", 1000, 2000, 0, false, 300, "the pool's max"},
		{"not below min", 100, 3, 0, false, 30, "the pool's min; 192.0.2.2 of pool outer may change in 3 s"},
		{"the inner's max", 0, 0, 0, true, 200, "the max of pool inner"},
		{"the inner's endpoint", 100, 0, 50, true, 50, "192.0.2.9 of pool inner may change in 50 s"},
		{"the inner's endpoint, below the outer's min", 0, 0, 20, true, 30, "the pool's min; 192.0.2.9 of pool inner may change in 20 s"},
	} {
		members := []string{"a 192.0.2.1", "b 192.0.2.2"}
		if tc.nested {
			members = append(members, "c @inner")
		}
		inner := testPool(t, "inner", Failover, "c 192.0.2.9")
		inner.TTLMin, inner.TTLMax = 10, 200
		cfg := testConfig(m, inner, testPool(t, "outer", Closest, members...))
		ttls := map[string]uint32{"192.0.2.1": tc.a, "192.0.2.2": tc.b, "192.0.2.9": tc.deep}
		cfg.Verdicts = func(_ string, m Member) State { return State{TTL: ttls[addrText(m.Address)]} }
		v := mustBuild(t, cfg)
		for _, client := range []string{"1.2.3.0/24", "50.1.1.0/24"} {
			for _, family := range []edge.Family{edge.IPv4, edge.IPv6} { // addresses and no data
				c := ecs(client)
				d, tr := v.Explain(1, &c, family)
				if d.TTL != tc.want || v.TTL(1) != tc.want || tr.TTLWhy != tc.why {
					t.Errorf("%s: %s, %v: TTL %d (%s), of the pool %d; want %d (%s)", tc.what, client, family, d.TTL, tr.TTLWhy, v.TTL(1), tc.want, tc.why)
				}
			}
		}
	}
}

// TestExplainTellsWhoSaysSo looks at what a trace has beside the choice.
func TestExplainTellsWhoSaysSo(t *testing.T) {
	m := testMap(t, net{"1.0.0.0/8", "a b c"})
	pool := testPool(t, "www", Closest, "a 192.0.2.1", "b 192.0.2.2", "b 192.0.2.21", "b 192.0.2.22", "c @inner")
	pool.UpFraction = 0.5
	cfg := testConfig(m, testPool(t, "inner", Failover, "- 192.0.2.3"), pool)
	said := map[string]State{
		"192.0.2.1":  {Verdict: edge.Drained, Why: "override fra1-7-1 of ops: new racks"},
		"192.0.2.2":  {Verdict: edge.Dead, Why: "3 of 5 observers: connection refused", TTL: 10},
		"192.0.2.21": {Verdict: edge.Dead, Why: "4 of 5 observers: no answer within 1s"},
		"192.0.2.3":  {Why: "5 of 5 observers", TTL: 6},
	}
	cfg.Verdicts = func(_ string, m Member) State { return said[addrText(m.Address)] }
	client := ecs("1.2.3.0/24")
	_, tr := mustBuild(t, cfg).Explain(1, &client, edge.IPv4)
	want := []struct{ name, reason, members string }{
		{"a", "override fra1-7-1 of ops: new racks", "192.0.2.1 drained: override fra1-7-1 of ops: new racks"},
		{
			"b", "verdict degraded; others are ok; 1 of 3 IPv4 endpoints in the PoP ok, a share below 0.5",
			"192.0.2.2 dead: 3 of 5 observers: connection refused; 192.0.2.21 dead: 4 of 5 observers: no answer within 1s; 192.0.2.22 ok: ",
		},
		{"c/inner", "ranked first for this client, among those with verdict ok", "192.0.2.3 ok: 5 of 5 observers"},
	}
	for i, c := range tr.Stages[0].Candidates {
		var members []string
		for _, s := range c.Members {
			members = append(members, s.Member+" "+s.Verdict.String()+": "+s.Why)
		}
		if got := strings.Join(members, "; "); c.Name != want[i].name || c.Reason != want[i].reason || got != want[i].members {
			t.Errorf("candidate %d: %s, %s, %s\nwant %v", i, c.Name, c.Reason, got, want[i])
		}
	}
	for _, tc := range []struct {
		verdict   edge.Verdict
		open      FailOpen
		fallback  string
		why, each string
	}{
		{edge.Drained, FailOpen{}, "last.", "every endpoint is drained: the pool's fallback last. answers", "so says ops"},
		{edge.Disabled, FailOpen{Drained: true}, "last.", "every endpoint is disabled: the pool's fallback last. answers", "so says ops"},
		{
			edge.Dead,
			FailOpen{Order: ToFallback},
			"last.", "no endpoint is better than failing or dead: the pool fails open to its fallback last.",
			"verdict failing or dead; the fallback comes before it",
		},
		{edge.Drained, FailOpen{}, "", "every endpoint of this family is drained, for every client alike", "so says ops"},
	} {
		pool := testPool(t, "www", Failover, "a 192.0.2.1")
		pool.FallbackCNAME, pool.FailOpen = tc.fallback, tc.open
		cfg := testConfig(m, pool)
		cfg.Verdicts = func(string, Member) State { return State{Verdict: tc.verdict, Why: "so says ops"} }
		_, tr := mustBuild(t, cfg).Explain(0, &client, edge.IPv4)
		c := tr.Stages[0].Candidates[0]
		if tr.Why != tc.why || c.Chosen || c.Reason != tc.each || c.Members[0] != (MemberState{"192.0.2.1", tc.verdict, 100, "so says ops", 0}) {
			t.Errorf("%v, %+v: %q, candidate %+v\nwant %q, %q", tc.verdict, tc.open, tr.Why, c, tc.why, tc.each)
		}
	}
}

func TestFailOpenOrderWords(t *testing.T) {
	for _, o := range []FailOpenOrder{Ranked, LastKnown, ToFallback} {
		if back, err := ParseFailOpenOrder(o.String()); err != nil || back != o {
			t.Errorf("%v parses as %v (%v)", o, back, err)
		}
	}
	if _, err := ParseFailOpenOrder("random"); err == nil || !strings.Contains(err.Error(), `unknown fail-open order "random"`) {
		t.Errorf("error %v", err)
	}
}
