package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// fleetOf makes a fleet from lines "NODE VIP=STATE …", of nodes in the PoPs that
// their names begin with, all with generation 1 of the VIPs named.
func fleetOf(t *testing.T, text string) Fleet {
	t.Helper()
	var f Fleet
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		n := FleetNode{Stored: planOf(words[0], 1), States: map[string]State{}}
		n.Member = Member{n.Stored.Node, n.Stored.PoP}
		for _, w := range words[1:] {
			name, state, _ := strings.Cut(w, "=")
			s, err := ParseState(state)
			if err != nil {
				t.Fatal(err)
			}
			n.States[name] = s
			n.Stored.VIPs = append(n.Stored.VIPs, vipNamed(name))
		}
		f.Nodes = append(f.Nodes, n)
	}
	return f
}

func vipNamed(name string) VIP {
	var n int
	if _, err := fmt.Sscanf(name, "ns%d", &n); err != nil {
		panic(err)
	}
	return testVIP(name, fmt.Sprintf("198.51.100.%d/32", 52+n))
}

// planFor plans that the selected nodes announce the VIPs named, and no others.
func planFor(t *testing.T, f Fleet, selector, vips string) FleetPlan {
	t.Helper()
	var file []VIP
	for _, name := range strings.Fields(vips) {
		file = append(file, vipNamed(name))
	}
	var members []Member
	var answers []NodeWish
	for _, n := range f.Nodes {
		members = append(members, n.Member)
		answers = append(answers, NodeWish{Stored: n.Stored, File: file, Peers: []Peer{torA, torB}, FilePeers: []Peer{torA, torB}})
	}
	p, err := Plan(Selection{Nodes: selector}, members, answers)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const four = `
	ams1 ns1=announced
	fra1 ns1=announced
	fra2 ns1=announced
	lhr1 ns1=announced
`

// TestRefusals has each rule broken, by name, object and numbers.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		what           string
		fleet          string
		selector, vips string
		change         func(*FleetPlan, *Fleet, *Limits)
		want           string // of all rules broken
	}{
		{"one of four leaves", four, "node/fra1", "", nil, ""},
		{"a VIP more", four, "all", "ns1 ns2", nil, ""},
		{
			"no selector", four, "node/fra1", "",
			func(p *FleetPlan, _ *Fleet, _ *Limits) { p.Selector = "" },
			"empty: plan: it selects no node: name node/NAME, pop/NAME, or all",
		},
		{"nothing to do", four, "all", "ns1", nil, `empty: plan: it changes nothing on "all"`},
		{
			"the node took another plan meanwhile", four, "node/fra1", "",
			func(_ *FleetPlan, f *Fleet, _ *Limits) {
				f.Nodes[1].Stored = planOf("fra1", 2, vipNamed("ns1"), vipNamed("ns4"))
			},
			"stale: fra1: it has generation 2 (" + planOf("fra1", 2, vipNamed("ns1"), vipNamed("ns4")).ID() + "), the plan was made over generation 1 (" +
				planOf("fra1", 1, vipNamed("ns1")).ID() + "): plan again",
		},
		{
			"the node lost its plan", four, "node/fra1", "",
			func(_ *FleetPlan, f *Fleet, _ *Limits) { f.Nodes[1].Stored = NodePlan{Node: "fra1", PoP: "fra"} },
			"stale: fra1: it does not answer, so nobody knows its plan: bring it back, or select others",
		},
		{
			"the node left the fleet", four, "node/fra1", "",
			func(_ *FleetPlan, f *Fleet, _ *Limits) { f.Nodes = append(f.Nodes[:1:1], f.Nodes[2:]...) },
			"stale: fra1: it is not in the fleet: plan again",
		},
		{
			"another plan for the node", four, "node/fra1", "",
			func(_ *FleetPlan, f *Fleet, _ *Limits) {
				f.InFlight = []InFlight{{Plan: "99aa", Coordinator: "ams1", Nodes: []string{"fra1"}, VIPs: []string{"ns7"}}}
			},
			"overlap: fra1: plan 99aa, which ams1 rolls out, changes this node too: wait for it, or abort it",
		},
		{
			"another plan for the VIP", four, "node/fra1", "",
			func(_ *FleetPlan, f *Fleet, _ *Limits) {
				f.InFlight = []InFlight{{Plan: "99aa", Coordinator: "ams1", Nodes: []string{"lhr1"}, VIPs: []string{"ns1"}}}
			},
			"overlap: ns1: plan 99aa, which ams1 rolls out, changes this VIP too: wait for it, or abort it",
		},
		{
			"another plan for other things", four, "node/fra1", "",
			func(_ *FleetPlan, f *Fleet, _ *Limits) {
				f.InFlight = []InFlight{{Plan: "99aa", Coordinator: "ams1", Nodes: []string{"lhr1"}, VIPs: []string{"ns7"}}}
			},
			"",
		},
		{
			"two of four leave", four, "pop/fra", "", nil,
			"wide: ns1: routes of 2 of 4 announcers would change or go (50 %), want at most 25 %: " + wideHint,
		},
		{"two of four leave, as said", four, "pop/fra", "", func(_ *FleetPlan, _ *Fleet, l *Limits) { l.AllowWide = true }, ""},
		{
			"six VIPs", four, "node/fra1", "ns1 ns2 ns3 ns4 ns5 ns6 ns7", nil,
			"wide: plan: 6 VIPs would change, want at most 5: name fewer, or say --allow-wide",
		},
		{
			"below the minimum, which --allow-wide does not allow", four, "pop/fra,node/ams1", "",
			func(_ *FleetPlan, _ *Fleet, l *Limits) { l.AllowWide = true },
			"minimum: ns1: ams1, fra1, fra2 would leave, and 1 of 4 announce it, want at least 2",
		},
		{
			"the last announcers", four, "all", "", func(_ *FleetPlan, _ *Fleet, l *Limits) { l.AllowWide = true },
			"last: ns1: ams1, fra1, fra2, lhr1 would leave, and nobody announce it as planned, want at least 2: to give it up on purpose, say --give-up 198.51.100.53/32",
		},
		{
			"the last announcer", "fra1 ns1=announced", "node/fra1", "", nil,
			"last: ns1: fra1 would leave, and nobody announce it as planned, want at least 2: to give it up on purpose, say --give-up 198.51.100.53/32",
		},
		{"it is drained everywhere already", "fra1 ns1=withdrawn\nams1 ns1=withdrawn", "all", "", nil, ""},
		{
			"one PoP would be left", "ams1 ns1=announced\nfra1 ns1=announced\nfra2 ns1=announced", "node/ams1", "", nil,
			"minimum: ns1: ams1 would leave, and 1 PoP announce it, want at least 2",
		},
		{
			"what is degraded or a last resort does not count", "ams1 ns1=announced\nfra1 ns1=degraded\nlhr1 ns1=last-resort\nfra2 ns1=announced", "node/ams1", "", nil,
			"minimum: ns1: ams1 would leave, and 1 of 2 announce it, want at least 2",
		},
		{
			"the last resorts", "ams1 ns1=last-resort\nfra1 ns1=last-resort\nlhr1 ns1=degraded", "all", "",
			func(_ *FleetPlan, _ *Fleet, l *Limits) { l.AllowWide = true },
			"last: ns1: ams1, fra1, lhr1 would leave, and nobody announce it as planned, want at least 2: to give it up on purpose, say --give-up 198.51.100.53/32",
		},
		{
			"those that are degraded, beside one that is not", "ams1 ns1=announced\nfra1 ns1=degraded\nlhr1 ns1=degraded", "pop/fra,pop/lhr", "",
			func(_ *FleetPlan, _ *Fleet, l *Limits) { l.AllowWide = true },
			"minimum: ns1: fra1, lhr1 would leave, and 1 of 1 announce it, want at least 2",
		},
		{
			"others that no peer hears do not count", four, "node/fra1", "",
			func(_ *FleetPlan, f *Fleet, _ *Limits) {
				for i := range f.Nodes {
					f.Nodes[i].Out = map[string][]netip.Prefix{}
				}
				f.Nodes[0].Out["ns1"] = vipNamed("ns1").Prefixes
			},
			"minimum: ns1: fra1 would leave, and 1 of 1 announce it, want at least 2",
		},
		{
			"the only ones, while their routers are away", "ams1 ns1=announced\nfra1 ns1=announced", "all", "",
			func(_ *FleetPlan, f *Fleet, l *Limits) {
				f.Nodes[0].Out, f.Nodes[1].Out, l.AllowWide = map[string][]netip.Prefix{}, map[string][]netip.Prefix{}, true
			},
			"last: ns1: ams1, fra1 would leave, and nobody announce it as planned, want at least 2: to give it up on purpose, say --give-up 198.51.100.53/32",
		},
		{
			"what never answered, beside what does", "ams1 ns1=announced\nfra1 ns1=announced", "all", "",
			func(_ *FleetPlan, f *Fleet, l *Limits) {
				for i := range f.Nodes {
					f.Nodes[i].Answered = map[string][]netip.Prefix{"ns1": {netip.MustParsePrefix("2001:db8::53/128")}}
					f.Nodes[i].Out = f.Nodes[i].Answered
				}
				l.AllowWide = true
			},
			"",
		},
		{
			"what answered, while the routers of its family are away", "ams1 ns1=announced\nfra1 ns1=announced", "all", "",
			func(_ *FleetPlan, f *Fleet, l *Limits) {
				for i := range f.Nodes {
					f.Nodes[i].Out = map[string][]netip.Prefix{"ns1": {netip.MustParsePrefix("2001:db8::53/128")}}
				}
				l.AllowWide = true
			},
			"last: ns1: ams1, fra1 would leave, and nobody announce it as planned, want at least 2: to give it up on purpose, say --give-up 198.51.100.53/32",
		},
		{
			"the plan itself lowers the minimum", "ams1 ns1=announced\nfra1 ns1=announced", "node/ams1", "",
			func(_ *FleetPlan, f *Fleet, _ *Limits) { f.Nodes[1].Stored.VIPs[0].MinAnnouncers = 1 },
			"minimum: ns1: ams1 would leave, and 1 of 2 announce it, want at least 2",
		},
		{
			"malformed", four, "node/fra1", "ns1 ns2",
			func(p *FleetPlan, _ *Fleet, _ *Limits) { p.Steps[0].Plan.VIPs[1].Port = 0 },
			`malformed: fra1: plan of "fra1": VIP "ns2": port 0: want 1 to 65535`,
		},
	} {
		f, limits := fleetOf(t, tc.fleet), Limits{}
		p := planFor(t, f, tc.selector, tc.vips)
		if tc.change != nil {
			tc.change(&p, &f, &limits)
		}
		v := Judge(p, f, limits)
		var broken []string
		for _, b := range v.Broken {
			broken = append(broken, b.String())
		}
		if got := strings.Join(broken, "\n"); got != tc.want {
			t.Errorf("%s: broken\n%s\nwant\n%s", tc.what, got, tc.want)
		}
		if err := v.Err(); (err == nil) != v.OK() || err != nil && err.Error() != "plan refused: "+strings.Join(broken, "; ") {
			t.Errorf("%s: error %v", tc.what, err)
		}
	}
}

const wideHint = "select fewer nodes, such as pop/NAME or node/NAME, or say --allow-wide: it goes in waves anyway"

// TestWidth: whatever routers hear otherwise counts, for what all nodes do wrong alike
// needs nobody to leave.
func TestWidth(t *testing.T) {
	const eight = four + "lhr2 ns1=announced\nnyc1 ns1=announced\nnyc2 ns1=announced\nsin1 ns1=announced\nsin2 ns1=degraded"
	recolour := func(v *VIP) { v.Communities = []Community{64512<<16 | 200} }
	second := netip.MustParsePrefix("2001:db8::53/128")
	for _, tc := range []struct {
		what, fleet, selector string
		edit                  func(*VIP)
		want                  string // the numbers; empty: it may be applied
	}{
		{"another community on all", four, "all", recolour, "4 of 4 announcers would change or go (100 %)"},
		{"in a PoP that is half", four, "pop/fra", recolour, "2 of 4 announcers would change or go (50 %)"},
		{"on one node", four, "node/fra1", recolour, ""},
		{"in a PoP that is a quarter", eight, "pop/fra", recolour, ""},
		{"on one more", eight, "pop/fra,node/lhr1", recolour, "3 of 9 announcers would change or go (33 %)"},
		{"on one that is degraded", eight, "pop/fra,node/sin2", recolour, "3 of 9 announcers would change or go (33 %)"},
		{"on one that is withdrawn", "ams1 ns1=announced\nfra1 ns1=withdrawn", "all", recolour, ""},
		{"to fewer peers", four, "all", func(v *VIP) { v.Groups = []string{"fabric"} }, "4 of 4 announcers would change or go (100 %)"},
		{"a prefix more", four, "all", func(v *VIP) { v.Prefixes = append(v.Prefixes, second) }, ""},
		{"settings", four, "all", func(v *VIP) { v.Hold, v.MinAnnouncers = time.Minute, 3 }, ""},
		{"another port", four, "all", func(v *VIP) { v.Port = 5353 }, "4 of 4 announcers would change or go (100 %)"},
		{"another port on one node", four, "node/fra1", func(v *VIP) { v.Port = 5353 }, ""},
	} {
		f := fleetOf(t, tc.fleet)
		file := vipNamed("ns1")
		tc.edit(&file)
		var members []Member
		var answers []NodeWish
		for _, n := range f.Nodes {
			members = append(members, n.Member)
			answers = append(answers, NodeWish{Stored: n.Stored, File: []VIP{file}, Peers: []Peer{torA, transit}, FilePeers: []Peer{torA}})
		}
		p, err := Plan(Selection{Nodes: tc.selector}, members, answers)
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		if tc.want != "" {
			want = "plan refused: wide: ns1: routes of " + tc.want + ", want at most 25 %: " + wideHint
		}
		got := ""
		if err := Judge(p, f, Limits{}).Err(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", tc.what, got, want)
		}
		if err := Judge(p, f, Limits{AllowWide: true}).Err(); err != nil {
			t.Errorf("%s, as said: %v", tc.what, err)
		}
		if strings.Contains(tc.what, "port") {
			continue // clients see that, whatever peers hear
		}
		for i := range p.Changes {
			p.Changes[i].Peers = nil
		}
		if err := Judge(p, f, Limits{}).Err(); err != nil {
			t.Errorf("%s, which no peer hears: %v", tc.what, err)
		}
	}
}

// TestNoteOfTooFew: a prefix that too few nodes have yet may be announced, and the plan says
// what comes of it.
func TestNoteOfTooFew(t *testing.T) {
	f := fleetOf(t, "ams1 ns1=announced\nfra1 ns1=announced\nfra2 ns1=announced")
	p := planFor(t, f, "pop/fra", "ns1 ns2")
	v := Judge(p, f, Limits{})
	const want = "ns2 is announced by 2 nodes in 1 PoP then, want 2 in 2: until there are as many, no node that announces it can be drained without --force"
	if !v.OK() || !slices.Equal(v.Notes, []string{want}) || !strings.Contains(p.Text(v), "\nnote: "+want+"\nverdict: may be applied\n") {
		t.Errorf("notes %q, broken %v:\n%s", v.Notes, v.Broken, p.Text(v))
	}
	if v := Judge(planFor(t, f, "all", "ns1 ns2"), f, Limits{}); len(v.Notes) > 0 {
		t.Errorf("on all nodes: %q", v.Notes)
	}
}

// TestRetire: what all nodes lose is counted by itself, and goes when the operator says
// so; the prefixes that stay need nobody's permission.
func TestRetire(t *testing.T) {
	second := netip.MustParsePrefix("2001:db8::53/128")
	both := vipNamed("ns1")
	both.Prefixes = append(both.Prefixes, second)
	f := fleetOf(t, four)
	for i := range f.Nodes {
		f.Nodes[i].Stored.VIPs[0] = both
	}
	plan := func(nodes string, giveUp ...netip.Prefix) (FleetPlan, error) {
		var members []Member
		var answers []NodeWish
		for _, n := range f.Nodes {
			members = append(members, n.Member)
			answers = append(answers, NodeWish{Stored: n.Stored, File: []VIP{vipNamed("ns1")}, Peers: []Peer{torA}, FilePeers: []Peer{torA}})
		}
		return Plan(Selection{Nodes: nodes, GiveUp: giveUp}, members, answers)
	}
	for _, tc := range []struct {
		what, nodes string
		giveUp      []netip.Prefix
		want        string
	}{
		{
			"on all nodes", "all", nil,
			"verdict: refused\n  last: ns1: ams1, fra1, fra2, lhr1 would leave 2001:db8::53/128, and nobody announce it as planned, want at least 2: " +
				"to give it up on purpose, say --give-up 2001:db8::53/128\n",
		},
		{
			"on all but one", "pop/fra,pop/ams", nil,
			"verdict: refused\n  minimum: ns1: ams1, fra1, fra2 would leave 2001:db8::53/128, and 1 of 4 announce it, want at least 2\n",
		},
		{"on purpose", "all", []netip.Prefix{second}, "verdict: may be applied\n"},
		{"the first nodes, on purpose", "pop/fra,pop/ams", []netip.Prefix{second}, "verdict: may be applied\n"},
	} {
		p, err := plan(tc.nodes, tc.giveUp...)
		if err != nil {
			t.Fatal(err)
		}
		text := p.Text(Judge(p, f, Limits{AllowWide: true}))
		if _, got, _ := strings.Cut(text, "\nverdict"); "verdict"+got != tc.want {
			t.Errorf("%s: %s, want %s", tc.what, got, tc.want)
		}
		for _, s := range p.Steps {
			if !slices.Equal(s.Plan.GiveUp, tc.giveUp) {
				t.Errorf("%s: %s gives up %v, want %v", tc.what, s.Plan.Node, s.Plan.GiveUp, tc.giveUp)
			}
		}
	}

	p, err := plan("pop/fra", second)
	if err != nil {
		t.Fatal(err)
	}
	p.ID, p.Beside = "1234", nil
	const want = `plan 1234 for pop/fra: 2 nodes, 2 changes
- fra1  ns1  2001:db8::53/128  tor-a  withdraw: plain
- fra2  ns1  2001:db8::53/128  tor-a  withdraw: plain

VIP                   where    announcers now  after  at least
ns1 198.51.100.53/32  fleet    4               4      2 in 2 PoPs
ns1 198.51.100.53/32  pop/ams  1               1
ns1 198.51.100.53/32  pop/fra  2               2
ns1 198.51.100.53/32  pop/lhr  1               1
ns1 2001:db8::53/128  fleet    4               2  given up
ns1 2001:db8::53/128  pop/ams  1               1
ns1 2001:db8::53/128  pop/fra  2               0
ns1 2001:db8::53/128  pop/lhr  1               1

verdict: may be applied
`
	if got := p.Text(Judge(p, f, Limits{AllowWide: true})); got != want {
		t.Errorf("text\n%s\nwant\n%s", got, want)
	}
	if same, err := plan("pop/fra"); err != nil || same.ID == p.ID {
		t.Errorf("a plan that gives nothing up has the ID of one that does: %s, %v", same.ID, err)
	}

	for giveUp, want := range map[string]string{
		"198.51.100.53/32": "198.51.100.53/32 is not to be given up: what the plan takes from the selected nodes is 2001:db8::53/128",
		"2001:db8::54/128": "2001:db8::54/128 is not to be given up: what the plan takes from the selected nodes is 2001:db8::53/128",
	} {
		if _, err := plan("all", netip.MustParsePrefix(giveUp)); err == nil || err.Error() != want {
			t.Errorf("giving up %s: %v, want %s", giveUp, err, want)
		}
	}
	for i := range f.Nodes {
		f.Nodes[i].Stored.VIPs[0] = vipNamed("ns1")
	}
	const nothing = "2001:db8::53/128 is not to be given up: the plan takes no prefix from the selected nodes"
	if _, err := plan("all", second); err == nil || err.Error() != nothing {
		t.Errorf("giving up what nobody has: %v, want %s", err, nothing)
	}
}

// TestMoveCounts: as many come as go, so the numbers hold, and all see them.
func TestMoveCounts(t *testing.T) {
	f := fleetOf(t, "ams1 ns1=announced\nfra1 ns1=announced\nfra2\nlhr1 ns1=announced")
	p := planFor(t, f, "node/fra1", "")
	come := planFor(t, f, "node/fra2", "ns1")
	p.Steps, p.Changes = append(p.Steps, come.Steps...), append(p.Changes, come.Changes...)
	p.ID, p.Selector, p.Beside = "1234", "pop/fra", nil
	const want = `plan 1234 for pop/fra: 2 nodes, 4 changes
- fra1  ns1  198.51.100.53/32  tor-a tor-b  withdraw: plain
+ fra2  ns1  198.51.100.53/32  tor-a tor-b  announce: plain

VIP  where    announcers now  after  at least
ns1  fleet    3               3      2 in 2 PoPs
ns1  pop/ams  1               1
ns1  pop/fra  1               1
ns1  pop/lhr  1               1

verdict: may be applied
`
	if got := p.Text(Judge(p, f, Limits{})); got != want {
		t.Errorf("text\n%s\nwant\n%s", got, want)
	}
}

func TestTextOfRefused(t *testing.T) {
	f := fleetOf(t, "ams1 ns1=announced\nfra1 ns1=announced")
	p := planFor(t, f, "node/fra1", "")
	p.ID = "1234"
	const want = `plan 1234 for node/fra1: 1 node, 2 changes
- fra1  ns1  198.51.100.53/32  tor-a tor-b  withdraw: plain

pending too, but not in this plan:
- ams1  ns1  198.51.100.53/32  tor-a tor-b  withdraw: plain

VIP  where    announcers now  after  at least
ns1  fleet    2               1      2 in 2 PoPs
ns1  pop/ams  1               1
ns1  pop/fra  1               0

verdict: refused
  minimum: ns1: fra1 would leave, and 1 of 2 announce it, want at least 2
`
	if got := p.Text(Judge(p, f, Limits{})); got != want {
		t.Errorf("text\n%s\nwant\n%s", got, want)
	}
}
