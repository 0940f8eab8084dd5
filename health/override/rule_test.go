package override

import (
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"edged/edge"
)

// testFleet has three PoPs in Europe and two in North America, with two
// endpoints each in the pool www and one each in api, and a node each.
func testFleet() Fleet {
	f := Fleet{PoPs: []edge.PoP{
		{Name: "ams", Continent: "EU", Capacity: 300},
		{Name: "fra", Continent: "EU", Capacity: 300},
		{Name: "lon", Continent: "EU", Capacity: 100},
		{Name: "iad", Continent: "NA", Capacity: 200},
		{Name: "sjc", Continent: "NA", Capacity: 100},
	}}
	for i, p := range f.PoPs {
		at := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(10*i) + last}) }
		f.Endpoints = append(f.Endpoints,
			Endpoint{Pool: "www", PoP: p.Name, Address: at(1)},
			Endpoint{Pool: "www", PoP: p.Name, Address: at(2)},
			Endpoint{Pool: "api", PoP: p.Name, Node: p.Name + "1", Address: at(3)})
		f.Nodes = append(f.Nodes, Node{Name: p.Name + "1", PoP: p.Name})
	}
	return f
}

func mustRule(t *testing.T, atLeast int, most, of, per string) Rule {
	t.Helper()
	r, err := ParseRule(atLeast, most, of, per)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// wish returns an override as typed, with an ID and version.
func wish(t testing.TB, node string, version uint64, words ...string) Override {
	t.Helper()
	q, err := ParseRequest(words[0], words[1:], Flags{Reason: "fibre work", Owner: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	o := q.override()
	o.ID, o.Version, o.Created = ID{node, 1, version}, version, start
	return o
}

// setOf returns a set of overrides.
func setOf(t *testing.T, all ...Override) *Set {
	t.Helper()
	s := NewSet()
	for _, o := range all {
		if err := s.add(record{change: change{put: &o}}, start); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestParseRule(t *testing.T) {
	for _, tc := range []struct {
		atLeast       int
		most, of, per string
		want          string
	}{
		{2, "", "pops", "continent", "at least 2 pops per continent"},
		{1, "", "endpoints", "", "at least 1 endpoints per fleet"},
		{0, "30%", "capacity", "", "drained at most 30% of capacity"},
		{0, "0%", "pops", "fleet", "drained at most 0% of pops"},

		{0, "", "pops", "", `error: at_least is 0: want 1 or more, or drained_at_most in its place`},
		{-1, "", "pops", "", `error: at_least is -1: want 1 or more, or drained_at_most in its place`},
		{1, "", "nodes", "", `error: at_least is of "nodes": want pops or endpoints`},
		{1, "", "pops", "country", `error: at_least is per "country": want continent or fleet`},
		{1, "30%", "pops", "", `error: a rule has both at_least and drained_at_most: make two of it`},
		{0, "30", "pops", "", `error: drained_at_most "30" is not a share: write one from 0% to 100%`},
		{0, "101%", "pops", "", `error: drained_at_most "101%" is not a share: write one from 0% to 100%`},
		{0, "30%", "endpoints", "", `error: drained_at_most is of "endpoints": want capacity or pops`},
		{0, "30%", "pops", "continent", `error: drained_at_most is per "continent": want fleet`},
	} {
		r, err := ParseRule(tc.atLeast, tc.most, tc.of, tc.per)
		got := r.String()
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != tc.want {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

func TestPlanNamesRuleAndNumbers(t *testing.T) {
	twoPoPs := mustRule(t, 2, "", "pops", "continent")
	third := mustRule(t, 0, "30%", "capacity", "")
	manyEndpoints := mustRule(t, 12, "", "endpoints", "fleet")
	halfPoPs := mustRule(t, 0, "40%", "pops", "")
	for _, tc := range []struct {
		what  string
		rule  Rule
		have  []Override
		words []string
		want  string // "" = allowed
	}{
		{"one of three", twoPoPs, nil, []string{"drain", "pop/fra"}, ""},
		{
			"second of three", twoPoPs,
			[]Override{wish(t, "a", 1, "drain", "pop/ams")},
			[]string{"drain", "pop/fra"},
			`drain pop/fra breaks rule "at least 2 pops per continent": 1 of 3 pops in EU would stay in service, want 2 (out: ams, fra)`,
		},
		{
			"one of two elsewhere", twoPoPs, nil,
			[]string{"force-down", "pop/iad"},
			`force-down pop/iad breaks rule "at least 2 pops per continent": 1 of 2 pops in NA would stay in service, want 2 (out: iad)`,
		},
		{
			"a glob, in two places", twoPoPs, nil,
			[]string{"drain", "pop/*"},
			`drain pop/* breaks rule "at least 2 pops per continent": 0 of 3 pops in EU would stay in service, want 2 (out: ams, fra, lon); ` +
				`rule "at least 2 pops per continent": 0 of 2 pops in NA would stay in service, want 2 (out: iad, sjc)`,
		},
		{"30 of 100", third, nil, []string{"drain", "pop/fra"}, ""},
		{
			"40 of 100", third,
			[]Override{wish(t, "a", 1, "drain", "pop/lon")},
			[]string{"drain", "pop/fra"},
			`drain pop/fra breaks rule "drained at most 30% of capacity": 40.0% would be out of service (400 of 1000), want at most 30% (out: fra, lon)`,
		},
		{
			"a third of each PoP", third, nil,
			[]string{"force-down", "pool/api"},
			`force-down pool/api breaks rule "drained at most 30% of capacity": 33.2% would be out of service (332 of 1000), want at most 30% (out: ams, fra, lon, iad, sjc)`,
		},
		{
			"weight 0 counts as out", third, nil,
			[]string{"weight", "pool/www", "0"},
			`weight pool/www 0 breaks rule "drained at most 30% of capacity": 66.5% would be out of service (665 of 1000), want at most 30% (out: ams, fra, lon, iad, sjc)`,
		},
		{"weight 1 does not", third, nil, []string{"weight", "pool/www", "1"}, ""},
		{"the newest weight counts", third, []Override{wish(t, "a", 1, "weight", "pop/fra", "0")}, []string{"weight", "pop/fra", "5"}, ""},
		{
			"a pool", manyEndpoints, nil,
			[]string{"drain", "pool/api"},
			`drain pool/api breaks rule "at least 12 endpoints per fleet": 10 of 15 endpoints in the fleet would stay in service, want 12 (out: 5 endpoints)`,
		},
		{"all endpoints of a PoP", manyEndpoints, nil, []string{"drain", "pop/sjc"}, ""},
		{
			"all nodes of three PoPs", halfPoPs,
			[]Override{wish(t, "a", 1, "drain", "node/ams1"), wish(t, "a", 2, "drain", "pop/fra")},
			[]string{"drain", "node/lon1"},
			`drain node/lon1 breaks rule "drained at most 40% of pops": 60.0% would be out of service (3 of 5), want at most 40% (out: ams, fra, lon)`,
		},
		{"what is out already", twoPoPs, []Override{wish(t, "a", 1, "drain", "pop/ams")}, []string{"force-down", "pop/ams"}, ""},
		{"force-up takes nothing out", twoPoPs, []Override{wish(t, "a", 1, "drain", "pop/ams")}, []string{"force-up", "pop/*"}, ""},
		{"a pin takes nothing out", twoPoPs, nil, []string{"pin-prefix", "203.0.113.0/24", "pop/iad"}, ""},
	} {
		s := setOf(t, tc.have...)
		o := wish(t, "b", 9, tc.words...)
		_, err := s.Plan(o, []Rule{tc.rule}, testFleet(), start)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || err.Error() != tc.want) {
			t.Errorf("%s: error %v\nwant %s", tc.what, err, tc.want)
		}
		var broken *RuleError
		if tc.want != "" && !errors.As(err, &broken) {
			t.Errorf("%s: %T is no RuleError", tc.what, err)
		}
	}
}

// TestPlanRuleBrokenAnyway has rules that the fleet breaks without overrides:
// only what makes it worse is refused.
func TestPlanRuleBrokenAnyway(t *testing.T) {
	r := []Rule{mustRule(t, 3, "", "pops", "continent")}
	if _, err := NewSet().Plan(wish(t, "a", 1, "drain", "pop/sjc"), r, testFleet(), start); err == nil {
		t.Error("a drain that makes a broken rule worse passes")
	}
	if _, err := NewSet().Plan(wish(t, "a", 1, "drain", "endpoint/www/198.51.100.31"), r, testFleet(), start); err != nil {
		t.Errorf("a drain that leaves the rule as it was: %v", err)
	}
}

func TestPlanUnknown(t *testing.T) {
	for _, tc := range [][]string{
		{`drain pop/frx: nothing in the fleet matches "pop/frx": there are pop/ams, pop/fra, pop/iad, pop/lon, pop/sjc`, "drain", "pop/frx"},
		{`drain pool/web: nothing in the fleet matches "pool/web": there are pool/api, pool/www`, "drain", "pool/web"},
		{`drain node/x*: nothing in the fleet matches "node/x*": there are node/ams1, node/fra1, node/iad1, node/lon1, node/sjc1`, "drain", "node/x*"},
		{
			`weight endpoint/www/192.0.2.1 5: nothing in the fleet matches "endpoint/www/192.0.2.1": there are endpoint/api/198.51.100.13, endpoint/api/198.51.100.23, endpoint/api/198.51.100.3, endpoint/api/198.51.100.33, endpoint/api/198.51.100.43, endpoint/www/198.51.100.1, endpoint/www/198.51.100.11, endpoint/www/198.51.100.12 and 7 more`,
			"weight", "endpoint/www/192.0.2.1", "5",
		},
		{`pin-prefix 203.0.113.0/24 pop/frx: pop "frx" is not in the fleet: there are pop/ams, pop/fra, pop/iad, pop/lon, pop/sjc`, "pin-prefix", "203.0.113.0/24", "pop/frx"},
	} {
		_, err := NewSet().Plan(wish(t, "a", 1, tc[1:]...), nil, testFleet(), start)
		if err == nil || err.Error() != tc[0] {
			t.Errorf("%v: %v\nwant %s", tc[1:], err, tc[0])
		}
	}
}

func TestPlanEffect(t *testing.T) {
	r := []Rule{mustRule(t, 2, "", "pops", "continent"), mustRule(t, 0, "30%", "capacity", "")}
	e, err := NewSet().Plan(wish(t, "a", 1, "drain", "pop/fra"), r, testFleet(), start)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(e.PoPs, []string{"fra"}) || len(e.Endpoints) != 3 || e.Nodes != nil {
		t.Errorf("matched %v, %v, %v", e.PoPs, e.Endpoints, e.Nodes)
	}
	got, _ := json.Marshal(e.Rules)
	const want = `[{"rule":"at least 2 pops per continent","where":"EU","all":3,"before":3,"after":2,"out":"fra","broken":false},` +
		`{"rule":"at least 2 pops per continent","where":"NA","all":2,"before":2,"after":2,"out":"none","broken":false},` +
		`{"rule":"drained at most 30% of capacity","where":"the fleet","all":1000,"before":1000,"after":700,"out":"fra","broken":false}]`
	if string(got) != want {
		t.Errorf("rules\n%s\nwant\n%s", got, want)
	}
}

// TestCapacityExtremes has capacities that overflow a naive sum, and none.
func TestCapacityExtremes(t *testing.T) {
	f := testFleet()
	r := []Rule{mustRule(t, 0, "30%", "capacity", "")}
	for i := range f.PoPs {
		f.PoPs[i].Capacity = math.MaxInt64
	}
	o := wish(t, "a", 1, "drain", "pop/fra")
	if _, err := NewSet().Plan(o, r, f, start); err != nil {
		t.Errorf("one of five huge PoPs: %v", err)
	}
	if _, err := setOf(t, o).Plan(wish(t, "a", 2, "drain", "pop/ams"), r, f, start); err == nil {
		t.Error("two of five huge PoPs pass 30%")
	}
	for i := range f.PoPs {
		f.PoPs[i].Capacity = 0
	}
	_, err := setOf(t, o).Plan(wish(t, "a", 2, "drain", "pop/ams"), r, f, start)
	const want = `drain pop/ams breaks rule "drained at most 30% of capacity": 40.0% would be out of service (2 of 5), want at most 30% (out: ams, fra)`
	if err == nil || err.Error() != want {
		t.Errorf("PoPs without a capacity count alike: %v\nwant %s", err, want)
	}
}
