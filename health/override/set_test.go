package override

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"edged/edge"
)

func viewText(t *testing.T, v *View) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestLaterIsSuspended has two overrides, accepted at once on two nodes, that
// are fine alone and break a rule together.
func TestLaterIsSuspended(t *testing.T) {
	rules := []Rule{mustRule(t, 2, "", "pops", "continent")}
	for _, tc := range []struct {
		what            string
		first, second   Override
		active, suspend string
	}{
		{"by node, at one version", wish(t, "ams1", 7, "drain", "pop/ams"), wish(t, "fra1", 7, "drain", "pop/fra"), "ams1-1-7", "fra1-1-7"},
		{"by version before node", wish(t, "ams1", 8, "drain", "pop/ams"), wish(t, "fra1", 7, "drain", "pop/fra"), "fra1-1-7", "ams1-1-8"},
	} {
		var texts []string
		for _, order := range [][]Override{{tc.first, tc.second}, {tc.second, tc.first}} {
			v := setOf(t, order...).View(rules, testFleet(), start)
			if len(v.Active) != 1 || v.Active[0].ID.String() != tc.active || len(v.Suspended) != 1 || v.Suspended[0].ID.String() != tc.suspend {
				t.Fatalf("%s: active %v, suspended %v", tc.what, v.Active, v.Suspended)
			}
			texts = append(texts, viewText(t, v))
		}
		if texts[0] != texts[1] {
			t.Errorf("%s: the order of arrival shows:\n%s\n%s", tc.what, texts[0], texts[1])
		}
	}
	s := setOf(t, wish(t, "ams1", 7, "drain", "pop/ams"), wish(t, "fra1", 7, "drain", "pop/fra"))
	v := s.View(rules, testFleet(), start)
	const why = `drain pop/fra breaks rule "at least 2 pops per continent": 1 of 3 pops in EU would stay in service, want 2 (out: ams, fra)`
	if v.Suspended[0].Why != why {
		t.Errorf("why %q", v.Suspended[0].Why)
	}
	fra := testFleet().Endpoints[3]
	if eff := v.Effective(fra); eff.Forced || eff.IDs != nil {
		t.Errorf("a suspended drain does something: %+v", eff)
	}
	// It applies once the earlier one is cleared.
	clearing := &Clearing{
		ID: ID{"lon1", 1, 1}, Version: 8, Cleared: []ID{{"ams1", 1, 7}}, Owner: "bob", Reason: "done",
		At: start, Keep: start.Add(KeepCleared),
	}
	if err := s.add(record{change: change{clear: clearing}}, start); err != nil {
		t.Fatal(err)
	}
	v = s.View(rules, testFleet(), start)
	if len(v.Suspended) != 0 || v.Effective(fra).Verdict != edge.Drained {
		t.Errorf("after the clear: %s", viewText(t, v))
	}
}

// TestOrderOfArrival takes random changes in random orders: the views must be
// equal, and what is active must keep the rules, counted by a slow twin.
func TestOrderOfArrival(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	rules := []Rule{mustRule(t, 2, "", "pops", "continent"), mustRule(t, 0, "35%", "capacity", "")}
	f := testFleet()
	nodes := []string{"ams1", "fra1", "lon1", "iad1", "sjc1"}
	suspended, cleared := 0, 0
	for round := range 300 {
		var changes []change
		var ids []ID
		for i := range 3 + r.IntN(8) {
			node := nodes[r.IntN(len(nodes))]
			// Few versions, so that many are equal; the counter keeps IDs apart.
			id, version := ID{node, 1, uint64(i + 1)}, uint64(1+r.IntN(3))
			if len(ids) > 0 && r.IntN(4) == 0 {
				cleared++
				changes = append(changes, change{clear: &Clearing{
					ID: id, Version: version, Cleared: []ID{ids[r.IntN(len(ids))]}, Owner: "o", Reason: "r",
					At: start, Keep: start.Add(KeepCleared),
				}})
				continue
			}
			pop := f.PoPs[r.IntN(len(f.PoPs))].Name
			o := wish(t, node, 1, [][]string{
				{"drain", "pop/" + pop},
				{"force-down", "pop/" + pop},
				{"weight", "pop/" + pop, fmt.Sprint(r.IntN(2))},
				{"force-up", "pool/www"},
				{"drain", fmt.Sprintf("endpoint/*/198.51.100.%d*", r.IntN(5))},
			}[r.IntN(5)]...)
			o.ID, o.Version = id, version
			if r.IntN(3) == 0 {
				o.Expires = start.Add(time.Duration(1+r.IntN(100)) * time.Second)
			}
			ids = append(ids, id)
			changes = append(changes, change{put: &o})
		}
		now := start.Add(time.Duration(r.IntN(100)) * time.Second)
		var want string
		for order := range 6 {
			r.Shuffle(len(changes), func(i, j int) { changes[i], changes[j] = changes[j], changes[i] })
			s := NewSet()
			for _, c := range changes {
				_ = s.add(record{change: c}, start)
				if r.IntN(5) == 0 {
					_ = s.add(record{change: c}, start) // again
				}
			}
			if r.IntN(2) == 0 {
				s.prune(now)
			}
			v := s.View(rules, f, now)
			if got := viewText(t, v); order == 0 {
				want = got
				suspended += len(v.Suspended)
				keepsRules(t, v, f)
			} else if got != want {
				t.Fatalf("round %d: views differ:\n%s\n%s", round, got, want)
			}
		}
	}
	if suspended < 100 || cleared < 100 {
		t.Errorf("%d suspended, %d cleared: the test sees little", suspended, cleared)
	}
}

// keepsRules counts the slow way what the active overrides leave: at least two
// PoPs per continent, at most 35% of capacity out.
func keepsRules(t *testing.T, v *View, f Fleet) {
	t.Helper()
	in, all, out := map[string]int{}, int64(0), int64(0)
	for _, p := range f.PoPs {
		gone, endpoints := 0, 0
		whole := false
		for _, o := range v.Active {
			whole = whole || (o.Action == Drain || o.Action == ForceDown) && o.Target.MatchesPoP(p.Name)
		}
		for _, e := range f.Endpoints {
			if e.PoP != p.Name {
				continue
			}
			endpoints++
			eff := v.Effective(e)
			if eff.Forced && eff.Verdict >= edge.Drained || eff.Weighted && eff.Weight == 0 {
				gone++
			}
		}
		if whole {
			gone = endpoints
		}
		if gone < endpoints {
			in[p.Continent]++
		}
		all += p.Capacity
		out += p.Capacity * int64(gone) / int64(endpoints)
	}
	if in["EU"] < 2 || in["NA"] < 2 || out*100 > all*35 {
		t.Fatalf("in service %v, out %d of %d: %s", in, out, all, viewText(t, v))
	}
}

func TestEffective(t *testing.T) {
	www := Endpoint{Pool: "www", PoP: "fra", Address: netip.MustParseAddr("198.51.100.11")}
	up, drain, down := []string{"force-up", "pool/www"}, []string{"drain", "pop/fra"}, []string{"force-down", "endpoint/www/198.51.100.11"}
	for _, tc := range []struct {
		what    string
		words   [][]string
		forced  bool
		verdict edge.Verdict
	}{
		{"none", nil, false, edge.OK},
		{"force-up", [][]string{up}, true, edge.OK},
		{"drain beats force-up", [][]string{up, drain}, true, edge.Drained},
		{"drain beats a later force-up", [][]string{drain, up}, true, edge.Drained},
		{"force-down beats all", [][]string{down, drain, up}, true, edge.Disabled},
		{"force-down beats all, come last", [][]string{up, drain, down}, true, edge.Disabled},
		{"another endpoint", [][]string{{"drain", "pop/ams"}, {"weight", "pool/api", "3"}}, false, edge.OK},
	} {
		var all []Override
		for i, words := range tc.words {
			all = append(all, wish(t, "a", uint64(i+1), words...))
		}
		eff := setOf(t, all...).View(nil, testFleet(), start).Effective(www)
		if eff.Forced != tc.forced || eff.Verdict != tc.verdict || eff.Weighted {
			t.Errorf("%s: %+v", tc.what, eff)
		}
	}
	o := wish(t, "fra1", 3, drain...)
	o.Expires = start.Add(2 * time.Hour)
	v := setOf(t, o, wish(t, "fra1", 4, "weight", "pool/www", "7"), wish(t, "fra1", 2, "weight", "pop/fra", "9")).View(nil, testFleet(), start)
	eff := v.Effective(www)
	const want = `drained by fra1-1-3: drain pop/fra by alice: "fibre work", until 2026-03-01T14:00:00Z; ` +
		`weight pop/fra 9 by alice: "fibre work", until cleared (fra1-1-2); ` +
		`weight pool/www 7 by alice: "fibre work", until cleared (fra1-1-4)`
	if eff.Text != want || eff.Weight != 7 || len(eff.IDs) != 3 {
		t.Errorf("%+v\nwant %s", eff, want)
	}
	if !v.Next.Equal(o.Expires) {
		t.Errorf("next %v", v.Next)
	}
}

func TestPins(t *testing.T) {
	v := setOf(t,
		wish(t, "b", 1, "pin-prefix", "203.0.113.0/24", "pop/fra"),
		wish(t, "a", 2, "pin-prefix", "203.0.113.0/24", "pop/ams"),
		wish(t, "a", 1, "pin-prefix", "203.0.113.0/24", "pop/lon"),
		wish(t, "a", 3, "pin-prefix", "203.0.112.0/20", "pop/iad"),
		wish(t, "a", 4, "pin-prefix", "2001:db8::/32", "pop/sjc")).View(nil, testFleet(), start)
	var got []string
	for _, p := range v.Pins() {
		got = append(got, fmt.Sprint(p.Prefix, " ", p.PoP, " ", p.ID))
	}
	const want = "203.0.112.0/20 iad a-1-3, 203.0.113.0/24 ams a-1-2, 2001:db8::/32 sjc a-1-4"
	if strings.Join(got, ", ") != want {
		t.Errorf("pins %v, want %s", got, want)
	}
}

func TestExpiry(t *testing.T) {
	o := wish(t, "a", 1, "drain", "pop/fra")
	o.Expires = start.Add(time.Hour).In(time.FixedZone("", 5*3600)) // an instant, wherever it is written
	s := setOf(t, o)
	fra := testFleet().Endpoints[3]
	for after, want := range map[time.Duration]bool{0: true, time.Hour - 1: true, time.Hour: false, 2 * time.Hour: false} {
		if got := s.View(nil, testFleet(), start.Add(after)).Effective(fra).Forced; got != want {
			t.Errorf("after %s: %v, want %v", after, got, want)
		}
	}
	if s.prune(start.Add(time.Hour - 1)) {
		t.Error("forgotten before its end")
	}
	if !s.prune(start.Add(time.Hour)) || len(s.live) != 0 {
		t.Error("kept after its end")
	}
	if err := s.add(record{change: change{put: &o}}, start.Add(time.Hour)); err != errPast {
		t.Errorf("taken again after its end: %v", err)
	}
}

func TestClearingIsKept(t *testing.T) {
	soon, endless, late := wish(t, "a", 1, "drain", "pop/fra"), wish(t, "a", 2, "drain", "pop/fra"), wish(t, "a", 3, "drain", "pop/fra")
	soon.Expires, late.Expires = start.Add(time.Minute), start.Add(5*time.Hour)
	for _, tc := range []struct {
		what string
		o    Override
		at   time.Time
		want time.Duration // after at
	}{
		{"ended meanwhile", soon, start.Add(2 * time.Minute), time.Hour},
		{"ends later", late, start.Add(2 * time.Hour), 4 * time.Hour},
		{"had no end", endless, start.Add(2 * time.Hour), 30 * 24 * time.Hour},
	} {
		s := setOf(t, tc.o)
		l := &Clearing{
			ID: ID{"b", 1, 1}, Version: 9, Cleared: []ID{tc.o.ID}, Owner: "o", Reason: "r",
			At: tc.at, Keep: keepUntil([]Override{tc.o}, tc.at),
		}
		if err := s.add(record{change: change{clear: l}}, tc.at); err != nil {
			t.Fatal(err)
		}
		if s.prune(tc.at.Add(tc.want - 1)); !s.gone[tc.o.ID] || s.add(record{change: change{put: &tc.o}}, tc.at.Add(tc.want-1)) != errPast {
			t.Errorf("%s: what was cleared comes back before %s", tc.what, tc.want)
		}
		if !s.prune(tc.at.Add(tc.want)) || len(s.gone) != 0 || len(s.clears) != 0 {
			t.Errorf("%s: kept longer than %s", tc.what, tc.want)
		}
	}
}

func TestNamed(t *testing.T) {
	s := setOf(t,
		wish(t, "a", 1, "drain", "pop/fra"), wish(t, "a", 2, "weight", "pop/fra", "3"), wish(t, "a", 3, "drain", "pop/*"),
		wish(t, "a", 4, "pin-prefix", "203.0.113.0/24", "pop/fra"), wish(t, "a", 5, "drain", "node/fra1"))
	for subject, want := range map[string]string{
		"pop/fra": "[a-1-1 a-1-2]", "pop/*": "[a-1-3]", "203.0.113.0/24": "[a-1-4]", "a-1-5": "[a-1-5]", "pop/ams": "[]",
	} {
		ids := []ID{}
		for _, o := range s.named(subject, start) {
			ids = append(ids, o.ID)
		}
		if fmt.Sprint(ids) != want {
			t.Errorf("%s: %v, want %s", subject, ids, want)
		}
	}
}

// TestLocalIsApart has a local override that would have the fleet's suspended
// if they were counted together.
func TestLocalIsApart(t *testing.T) {
	rules := []Rule{mustRule(t, 2, "", "pops", "continent")}
	local := wish(t, "a", 1, "drain", "pop/ams")
	local.Local = true
	s := setOf(t, local)
	if _, err := s.Plan(wish(t, "b", 2, "drain", "pop/fra"), rules, testFleet(), start); err != nil {
		t.Errorf("a local override counts against the fleet's: %v", err)
	}
	s = setOf(t, local, wish(t, "b", 2, "drain", "pop/fra"))
	v := s.View(rules, testFleet(), start)
	if len(v.Active) != 1 || v.Active[0].Local || len(v.Suspended) != 1 || !v.Suspended[0].Local {
		t.Errorf("%s", viewText(t, v))
	}
	again := wish(t, "a", 3, "drain", "pop/lon")
	again.Local = true
	if _, err := s.Plan(again, rules, testFleet(), start); err == nil {
		t.Error("a local override that breaks a rule with the fleet's passes")
	}
}
