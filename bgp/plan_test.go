package bgp

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// testVIP is a VIP that needs two announcers in two PoPs.
func testVIP(name, prefix string) VIP {
	return VIP{
		Name: name, Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}, Port: 53, MinAnnouncers: 2, MinPoPs: 2,
		Hold: 30 * time.Second, Linger: 30 * time.Second, Ladder: []Rung{{Kind: Gshut}, {Kind: Prepend, Value: 3}, {Kind: Withdraw}},
	}
}

var (
	ns1 = testVIP("ns1", "198.51.100.53/32")
	ns2 = testVIP("ns2", "2001:db8::53/128")
	ns3 = testVIP("ns3", "203.0.113.53/32")
)

func altered(v VIP, change func(*VIP)) VIP {
	change(&v)
	return v
}

func planOf(node string, generation uint64, vips ...VIP) NodePlan {
	return NodePlan{Node: node, PoP: strings.TrimRight(node, "0123456789"), Generation: generation, VIPs: vips}
}

func names(p NodePlan) string {
	var all []string
	for _, v := range p.VIPs {
		all = append(all, v.Name)
	}
	return strings.Join(all, " ") + " without " + strings.Join(p.Without, " ")
}

// TestNodePlanLife follows the plan of a node over starts, plans and a restore.
func TestNodePlanLife(t *testing.T) {
	var p NodePlan
	expect := func(what string, generation uint64, want string) {
		t.Helper()
		if got := names(p); got != want || p.Generation != generation {
			t.Errorf("%s: generation %d with %q, want %d with %q", what, p.Generation, got, generation, want)
		}
	}
	p, added := First(NodePlan{Node: "fra1", PoP: "fra"}, []VIP{ns2, ns1})
	expect("first start", 1, "ns1 ns2 without ")
	if want := []string{"ns1", "ns2"}; !slices.Equal(added, want) {
		t.Errorf("added %q, want %q", added, want)
	}
	if p, added = First(p, []VIP{altered(ns1, func(v *VIP) { v.Hold = 0 })}); added != nil {
		t.Errorf("added %q at a start where the file names nothing new", added)
	}
	expect("the file drops ns2 and alters ns1: the stored plan wins", 1, "ns1 ns2 without ")
	if v, _ := p.VIP("ns1"); v.Hold != 30*time.Second {
		t.Errorf("ns1 has hold %s of the file, want that of the plan", v.Hold)
	}
	p, _ = First(p, []VIP{ns1, ns3})
	expect("a VIP that no plan names", 2, "ns1 ns2 ns3 without ")
	before := p
	p = Pending(p, []VIP{ns1, ns3}, []string{"ns1"})
	expect("a plan about ns1 leaves ns2 alone", 2, "ns1 ns2 ns3 without ")
	p = Pending(p, []VIP{ns1, ns3}, nil)
	expect("a plan that drops ns2", 3, "ns1 ns3 without ns2")
	p, _ = First(p, []VIP{ns1, ns2, ns3})
	expect("the file names ns2 again: only a plan brings it back", 3, "ns1 ns3 without ns2")
	p = p.Restored(before)
	expect("restored", 4, "ns1 ns2 ns3 without ")
	if p.ID() != before.ID() {
		t.Errorf("ID %s after restoring, want that of before, %s", p.ID(), before.ID())
	}
	p = Pending(p, nil, nil)
	expect("an empty file", 5, " without ns1 ns2 ns3")
}

// TestRestartAfterRollback: ns2 came by a plan that was taken back. Then the
// file still names it; a start must not announce it after all.
func TestRestartAfterRollback(t *testing.T) {
	prior := planOf("fra1", 1, ns1)
	next := Pending(prior, []VIP{ns1, ns2}, nil)
	restored := next.Restored(prior)
	if p, added := First(restored, []VIP{ns1, ns2}); added != nil || names(p) != "ns1 without ns2" {
		t.Errorf("the start after a rollback adds %q: %s", added, names(p))
	}
}

func TestCanReplace(t *testing.T) {
	stored := planOf("fra1", 4, ns1)
	for _, tc := range []struct {
		what    string
		plan    NodePlan
		restore bool
		want    string
	}{
		{"the next", planOf("fra1", 5, ns1, ns2), false, ""},
		{"the same again", stored, false, ""},
		{"the same again, restoring", stored, true, ""},
		{"one of another base", planOf("fra1", 6, ns2), false, "is generation 6, but fra1 has stored generation 4"},
		{"another of this generation", planOf("fra1", 4, ns2), false, "is generation 4, but fra1 has stored generation 4"},
		{"restoring over what was missed", planOf("fra1", 6, ns2), true, ""},
		{"restoring what is old", planOf("fra1", 3, ns2), true, "is generation 3, but fra1 has stored generation 4"},
		{"for another node", planOf("fra2", 5, ns1), false, `is for node "fra2", this is "fra1"`},
	} {
		err := tc.plan.CanReplace(stored, tc.restore)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: error %v, want %q", tc.what, err, tc.want)
		}
	}
}

var members = []Member{{"ams1", "ams"}, {"fra1", "fra"}, {"fra2", "fra"}}

func TestSelect(t *testing.T) {
	for selector, want := range map[string]string{
		"node/fra1": "fra1", "pop/fra": "fra1 fra2", "all": "ams1 fra1 fra2", "node/fra2, pop/ams": "ams1 fra2", "pop/fra,node/fra1": "fra1 fra2",
		"": "no node is selected: name node/NAME, pop/NAME, or all", "  ": "no node is selected: name node/NAME, pop/NAME, or all",
		"node/fra3":     `selector "node/fra3": no node is called "fra3"; did you mean "fra1"?`,
		"pop/fr":        `selector "pop/fr": no PoP is called "fr"; did you mean "fra"?`,
		"fra1":          `selector "fra1": "fra1" selects nothing: write node/NAME, pop/NAME, or all`,
		"node/":         `selector "node/": "node/" selects nothing: write node/NAME, pop/NAME, or all`,
		"node/fra1,":    `selector "node/fra1,": "" selects nothing: write node/NAME, pop/NAME, or all`,
		"node/*":        `selector "node/*": no node is called "*"; known here: ams1, fra1, fra2`,
		"all,node/ams2": `selector "all,node/ams2": no node is called "ams2"; did you mean "ams1"?`,
	} {
		got, err := Select(selector, members)
		text := strings.Join(got, " ")
		if err != nil {
			text = err.Error()
		}
		if text != want {
			t.Errorf("Select(%q): %q, want %q", selector, text, want)
		}
	}
	if _, err := Select("all", nil); err == nil || err.Error() != `selector "all": the fleet has no members` {
		t.Errorf("all of nobody: %v", err)
	}
}

var (
	torA    = Peer{Name: "tor-a", Groups: []string{"fabric"}, Session: "192.0.2.1 AS 64500, hold 9s"}
	torB    = Peer{Name: "tor-b", Groups: []string{"fabric"}, Session: "192.0.2.2 AS 64500, hold 9s"}
	transit = Peer{Name: "transit", Session: "192.0.2.9 AS 64999, hold 9s"}

	over4     = Peer{Name: "a4", Only4: true}
	over6     = Peer{Name: "a6", Only6: true} // takes no IPv4 routes
	over6both = Peer{Name: "b6"}
)

// TestDiff reads as the table that people see.
func TestDiff(t *testing.T) {
	tagged := altered(ns1, func(v *VIP) { v.Communities = []Community{64512<<16 | 100} })
	for _, tc := range []struct {
		what          string
		before, after []VIP
		peers, then   []Peer
		want          string
	}{
		{"nothing", []VIP{ns1}, []VIP{ns1}, []Peer{torA}, []Peer{torA}, ""},
		{
			"announce at all peers", nil,
			[]VIP{ns1},
			[]Peer{torA, torB},
			[]Peer{torA, torB},
			"+ fra1  ns1  198.51.100.53/32  tor-a tor-b  announce: plain\n",
		},
		{
			"withdraw",
			[]VIP{ns1, ns2},
			[]VIP{ns2},
			[]Peer{torA},
			[]Peer{torA},
			"- fra1  ns1  198.51.100.53/32  tor-a  withdraw: plain\n",
		},
		{
			"other attributes",
			[]VIP{ns1},
			[]VIP{tagged},
			[]Peer{torA},
			[]Peer{torA},
			"~ fra1  ns1  198.51.100.53/32  tor-a  attributes: plain -> 64512:100\n",
		},
		{
			"fewer peers hear it",
			[]VIP{ns1},
			[]VIP{altered(ns1, func(v *VIP) { v.Groups = []string{"fabric"} })},
			[]Peer{torA, transit},
			[]Peer{torA, transit},
			"~ fra1  ns1                             settings: groups all -> groups fabric\n" +
				"- fra1  ns1  198.51.100.53/32  transit  withdraw: plain\n",
		},
		{
			"nobody hears it", nil,
			[]VIP{altered(ns1, func(v *VIP) { v.Groups = []string{"fabric"} })},
			[]Peer{transit},
			[]Peer{transit},
			"+ fra1  ns1  198.51.100.53/32    announce: plain\n",
		},
		{
			"each family where it goes", nil,
			[]VIP{altered(ns1, func(v *VIP) { v.Prefixes = append(slices.Clone(v.Prefixes), netip.MustParsePrefix("2001:db8::53/128")) })},
			[]Peer{over4, over6, over6both},
			[]Peer{over4, over6, over6both},
			"+ fra1  ns1  198.51.100.53/32  a4 b6  announce: plain\n+ fra1  ns1  2001:db8::53/128  a6 b6  announce: plain\n",
		},
		{
			"settings",
			[]VIP{ns1},
			[]VIP{altered(ns1, func(v *VIP) { v.MinAnnouncers, v.Ladder = 3, nil })},
			[]Peer{torA},
			[]Peer{torA},
			"~ fra1  ns1      settings: min_announcers 2, ladder gshut; prepend 3; withdraw -> min_announcers 3, ladder none\n",
		},
		{
			"another prefix",
			[]VIP{ns1},
			[]VIP{altered(ns1, func(v *VIP) { v.Prefixes = ns3.Prefixes })},
			[]Peer{torA},
			[]Peer{torA},
			"- fra1  ns1  198.51.100.53/32  tor-a  withdraw: plain\n+ fra1  ns1  203.0.113.53/32   tor-a  announce: plain\n",
		},
		{
			"sessions",
			[]VIP{ns1},
			[]VIP{ns1},
			[]Peer{torA, torB},
			[]Peer{altered2(torA, "192.0.2.1 AS 64500, hold 3s"), transit},
			"! fra1                         tor-a    session-reset: 192.0.2.1 AS 64500, hold 9s -> 192.0.2.1 AS 64500, hold 3s\n" +
				"! fra1                         tor-b    session-reset: 192.0.2.2 AS 64500, hold 9s -> none\n" +
				"! fra1                         transit  session-reset: none -> 192.0.2.9 AS 64999, hold 9s\n" +
				"+ fra1  ns1  198.51.100.53/32  transit  announce: plain\n" +
				"- fra1  ns1  198.51.100.53/32  tor-b    withdraw: plain\n",
		},
	} {
		var b strings.Builder
		writeChanges(&b, Diff(planOf("fra1", 1, tc.before...), planOf("fra1", 2, tc.after...), tc.peers, tc.then))
		if b.String() != tc.want {
			t.Errorf("%s:\n%swant\n%s", tc.what, b.String(), tc.want)
		}
	}
}

func altered2(p Peer, session string) Peer {
	p.Session = session
	return p
}

func TestComeAndGo(t *testing.T) {
	two := altered(ns1, func(v *VIP) { v.Prefixes = append(slices.Clone(v.Prefixes), ns2.Prefixes...) })
	fabric := altered(ns1, func(v *VIP) { v.Groups = []string{"fabric"} })
	for _, tc := range []struct {
		what          string
		before, after []VIP
		peers         []Peer
		prefixes      string
		joins, leaves string
	}{
		{"comes", nil, []VIP{ns1}, []Peer{torA}, "198.51.100.53/32/", "ns1", ""},
		{"goes", []VIP{ns1}, nil, []Peer{torA}, "/198.51.100.53/32", "", "ns1"},
		{"one of two prefixes goes", []VIP{two}, []VIP{ns1}, []Peer{torA}, "/2001:db8::53/128", "", "ns1"},
		{"a prefix more", []VIP{ns1}, []VIP{two}, []Peer{torA}, "2001:db8::53/128/", "", ""},
		{"a prefix goes over to another VIP", []VIP{two}, []VIP{ns1, ns2}, []Peer{torA}, "2001:db8::53/128/2001:db8::53/128", "ns2", "ns1"},
		{"one peer still hears it", []VIP{ns1}, []VIP{fabric}, []Peer{torA, transit}, "/", "", ""},
		{"no peer hears it any more", []VIP{ns1}, []VIP{fabric}, []Peer{transit}, "/198.51.100.53/32", "", "ns1"},
		{"goes from a node without peers", []VIP{ns1}, nil, nil, "/198.51.100.53/32", "", "ns1"},
	} {
		s := NodeStep{Prior: planOf("fra1", 1, tc.before...), Plan: planOf("fra1", 2, tc.after...)}
		s.Adds, s.Drops = comeAndGo(s.Prior, s.Plan, tc.peers)
		if got := PrefixWords(s.Adds) + "/" + PrefixWords(s.Drops); got != tc.prefixes {
			t.Errorf("%s: adds and drops %q, want %q", tc.what, got, tc.prefixes)
		}
		if got, want := strings.Join(s.Joins(), " ")+"/"+strings.Join(s.Leaves(), " "), tc.joins+"/"+tc.leaves; got != want {
			t.Errorf("%s: joins and leaves %q, want %q", tc.what, got, want)
		}
	}
}

func wish(node string, stored, file []VIP) NodeWish {
	return NodeWish{Stored: planOf(node, 1, stored...), File: file, Peers: []Peer{torA}, FilePeers: []Peer{torA}}
}

// TestPlanShowsWhatElseIsPending: an edit touches more than was selected, which
// the plan must show.
func TestPlanShowsWhatElseIsPending(t *testing.T) {
	answers := []NodeWish{
		wish("ams1", []VIP{ns1}, nil),
		wish("fra1", []VIP{ns1, ns2}, []VIP{ns1, ns3}),
		wish("fra2", []VIP{ns1}, []VIP{ns1}),
	}
	f, err := Plan(Selection{Nodes: "pop/fra", VIPs: []string{"ns3"}}, members, answers)
	if err != nil {
		t.Fatal(err)
	}
	var in, beside strings.Builder
	writeChanges(&in, f.Changes)
	writeChanges(&beside, f.Beside)
	if want := "+ fra1  ns3  203.0.113.53/32  tor-a  announce: plain\n"; in.String() != want {
		t.Errorf("changes\n%swant\n%s", in.String(), want)
	}
	if want := "- ams1  ns1  198.51.100.53/32  tor-a  withdraw: plain\n- fra1  ns2  2001:db8::53/128  tor-a  withdraw: plain\n"; beside.String() != want {
		t.Errorf("beside\n%swant\n%s", beside.String(), want)
	}
	if got := f.Nodes(); !slices.Equal(got, []string{"fra1"}) {
		t.Errorf("nodes %q: fra2 has nothing to change", got)
	}
	var again FleetPlan
	if b, err := json.Marshal(f); err != nil {
		t.Error(err)
	} else if err := json.Unmarshal(b, &again); err != nil || !reflect.DeepEqual(again, f) {
		t.Errorf("through JSON comes (%v)\n%+v\nwant\n%+v", err, again, f)
	}
}

// TestFirst: the prefixes that a plan is the first to announce are those that no plan
// of any node has, as far as all have answered.
func TestFirst(t *testing.T) {
	members := []Member{{"ams1", "ams"}, {"fra1", "fra"}, {"fra2", "fra"}}
	answers := []NodeWish{
		wish("ams1", []VIP{ns1}, []VIP{ns1, ns2, ns3}), wish("fra1", []VIP{ns1}, []VIP{ns1, ns2, ns3}), wish("fra2", []VIP{ns1, ns3}, []VIP{ns1, ns3}),
	}
	p, err := Plan(Selection{Nodes: "all"}, members, answers)
	if err != nil || !slices.Equal(p.First, ns2.Prefixes) {
		t.Errorf("got %v, %v, want %v", p.First, err, ns2.Prefixes)
	}
	p, err = Plan(Selection{Nodes: "node/ams1"}, members, answers[:2])
	if err != nil || p.First != nil || len(p.Steps) != 1 {
		t.Errorf("with a node that did not answer: got %v, %v, want none", p.First, err)
	}
}

func TestPlanErrors(t *testing.T) {
	answers := []NodeWish{wish("fra1", []VIP{ns1}, []VIP{ns1}), wish("ams1", []VIP{ns1}, []VIP{altered(ns1, func(v *VIP) { v.Port = 0 })})}
	if _, err := Plan(Selection{Nodes: "node/fra1", VIPs: []string{"ns1", ""}}, members, answers); err == nil || err.Error() != "the name of a VIP is empty: name VIPs, or none to mean all" {
		t.Errorf("about an empty name: error %v", err)
	}
	for _, tc := range []struct{ selector, only, want string }{
		{"", "", "no node is selected: name node/NAME, pop/NAME, or all"},
		{"all", "", `plan of "ams1": VIP "ns1": port 0: want 1 to 65535`},
		{"pop/fra", "", `node "fra2" did not answer: bring it back, or select others`},
		{"node/fra1", "ns9", `no VIP is called "ns9"; did you mean "ns1"?`},
	} {
		_, err := Plan(Selection{Nodes: tc.selector, VIPs: strings.Fields(tc.only)}, members, answers)
		if err == nil || err.Error() != tc.want {
			t.Errorf("plan for %q about %q: error %v, want %q", tc.selector, tc.only, err, tc.want)
		}
	}
}

func TestPlanCheck(t *testing.T) {
	with := func(change func(*VIP)) NodePlan { return planOf("fra1", 1, altered(ns1, change)) }
	prefix := func(s string) NodePlan {
		return with(func(v *VIP) { v.Prefixes = []netip.Prefix{netip.MustParsePrefix(s)} })
	}
	ladder := func(rungs ...Rung) NodePlan { return with(func(v *VIP) { v.Ladder = rungs }) }
	for _, tc := range []struct {
		plan NodePlan
		want string
	}{
		{planOf("fra1", 1, ns1, ns2, ns3), ""},
		{planOf("fra1", 1), ""},
		{prefix("0.0.0.0/0"), "prefix 0.0.0.0/0 is no host route: want /32 or /128"},
		{prefix("198.51.100.0/24"), "prefix 198.51.100.0/24 is no host route"},
		{prefix("127.0.0.1/32"), "prefix 127.0.0.1/32: no other node can reach that address"},
		{prefix("224.0.0.1/32"), "no other node can reach"},
		{with(func(v *VIP) { v.Prefixes = nil }), "0 prefixes, want 1 to 16"},
		{with(func(v *VIP) { v.Prefixes = append(v.Prefixes, v.Prefixes...) }), "prefix 198.51.100.53/32 is there twice"},
		{with(func(v *VIP) { v.MinAnnouncers = 0 }), "min_announcers 0: want at least 1"},
		{with(func(v *VIP) { v.MinPoPs = 3 }), "min_pops 3: want 1 to min_announcers, which is 2"},
		{with(func(v *VIP) { v.Hold = -1 }), "hold -1ns: want 0 to 1h0m0s"},
		{with(func(v *VIP) { v.Linger = 2 * time.Hour }), "linger 2h0m0s: want 0 to 1h0m0s"},
		{with(func(v *VIP) { v.Name = "NS1" }), "want a name of 1 to 63"},
		{with(func(v *VIP) { v.Communities = []Community{0xFFFFFF01} }), "community 65535:65281 is a well-known or reserved one"},
		{with(func(v *VIP) { v.Groups = []string{"a b"} }), `"a b" cannot be the name of a group`},
		{ladder(Rung{}, Rung{Kind: Gshut}), "rung 1 of the ladder withdraws: nothing can come after it"},
		{ladder(Rung{Kind: Prepend, Value: 11}), "rung 1 of the ladder prepends 11 times: want 1 to 10"},
		{ladder(Rung{Kind: SetMED}), "rung 1 of the ladder: med 0 with the value 0"},
		{ladder(Rung{Kind: AddCommunity, Value: 5}), "rung 1 of the ladder: 0:5 is a well-known or reserved community"},
		{ladder(Rung{Kind: "local-pref", Value: 200}), `unknown kind "local-pref"`},
		{planOf("fra1", 1, ns2, ns1), `VIP "ns1" stands behind "ns2": want each once, by name`},
		{planOf("fra1", 1, ns1, altered(ns2, func(v *VIP) { v.Prefixes = ns1.Prefixes })), `prefix 198.51.100.53/32 is in VIP "ns1" and in "ns2"`},
		{planOf("", 1), `"" cannot be the name of a node`},
		{NodePlan{Node: "fra1", PoP: "fra", VIPs: []VIP{ns1}, Without: []string{"ns1"}}, `leaves out "ns1"`},
	} {
		err := tc.plan.Check()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("error %v, want %q", err, tc.want)
		}
	}
}

// FuzzPending: from any stored plan, the plan for any file is valid,
// keeps what it is not about, and asked again for the same wants nothing more.
func FuzzPending(f *testing.F) {
	f.Add(uint8(0b011), uint8(0b101), uint8(0), uint8(0b010))
	f.Add(uint8(0b111), uint8(0), uint8(0b001), uint8(0))
	all := []VIP{ns1, ns2, ns3}
	pick := func(bits uint8) (vips []VIP) {
		for i, v := range all {
			if bits&(1<<i) != 0 {
				vips = append(vips, v)
			}
		}
		return vips
	}
	f.Fuzz(func(t *testing.T, stored, file, without, only uint8) {
		s := planOf("fra1", 3, pick(stored)...)
		for _, v := range pick(without &^ stored) {
			s.Without = append(s.Without, v.Name)
		}
		var about []string
		for _, v := range pick(only) {
			about = append(about, v.Name)
		}
		next := Pending(s, pick(file), about)
		if err := next.Check(); err != nil {
			t.Fatal(err)
		}
		if again := Pending(next, pick(file), about); again.Generation != next.Generation {
			t.Errorf("the same again is generation %d after %d", again.Generation, next.Generation)
		}
		for _, v := range all {
			_, was := s.VIP(v.Name)
			_, is := next.VIP(v.Name)
			want := slices.ContainsFunc(pick(file), func(o VIP) bool { return o.Name == v.Name })
			if len(about) > 0 && !slices.Contains(about, v.Name) {
				want = was
			}
			if is != want {
				t.Errorf("%s in the plan: %v, want %v", v.Name, is, want)
			}
			if was && !is != slices.Contains(next.Without, v.Name) && was {
				t.Errorf("%s left out: %v", v.Name, next.Without)
			}
		}
	})
}
