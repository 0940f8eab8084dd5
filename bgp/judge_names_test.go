package bgp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// A prefix counts whatever VIP it is announced for, and may go over from one to another.

// judged plans and judges, with any width, what files want on the nodes selected.
func judged(t *testing.T, f Fleet, selector string, peers []Peer, file func(n FleetNode) []VIP) (FleetPlan, Verdict) {
	t.Helper()
	var members []Member
	var answers []NodeWish
	for _, n := range f.Nodes {
		members = append(members, n.Member)
		answers = append(answers, NodeWish{Stored: n.Stored, File: file(n), Peers: peers, FilePeers: peers})
	}
	p, err := Plan(Selection{Nodes: selector}, members, answers)
	if err != nil {
		t.Fatal(err)
	}
	return p, Judge(p, f, Limits{AllowWide: true})
}

// also is the VIP ns2 that has other prefixes beside its own.
func also(prefixes ...netip.Prefix) VIP {
	v := vipNamed("ns2")
	v.Prefixes = append(slices.Clone(prefixes), v.Prefixes...)
	return v
}

// TestJudgeRename: a VIP that gets another name leaves nobody: the address goes over. It is wide.
func TestJudgeRename(t *testing.T) {
	f := fleetOf(t, four)
	renamed := vipNamed("ns1")
	renamed.Name = "anycast"
	for _, tc := range []struct {
		selector string
		narrow   bool // enough to be applied without --allow-wide
	}{{"all", false}, {"pop/fra", false}, {"node/fra1", true}} {
		p, v := judged(t, f, tc.selector, []Peer{torA}, func(FleetNode) []VIP { return []VIP{renamed} })
		if !v.OK() || Judge(p, f, Limits{}).OK() != tc.narrow {
			t.Errorf("%s: wide %v, else %v", tc.selector, v.Err(), Judge(p, f, Limits{}).Err())
		}
		const want = "+ fra1  anycast  198.51.100.53/32  tor-a  take over from ns1: plain\n- fra1  ns1      198.51.100.53/32  tor-a  goes over to anycast\n"
		if text := p.Text(v); !strings.Contains(text, want) {
			t.Errorf("%s: %s, want %s in it", tc.selector, text, want)
		}
	}
}

// TestJudgeTakeovers: what goes over to a VIP that is not announced as planned, or that no peer hears
// it from, leaves.
func TestJudgeTakeovers(t *testing.T) {
	for _, state := range []string{"announced", "degraded", "last-resort", "draining"} {
		f := fleetOf(t, strings.ReplaceAll("ams1 ns1=announced ns2=X\nfra1 ns1=announced ns2=X\nfra2 ns1=announced ns2=X", "X", state))
		_, v := judged(t, f, "all", []Peer{torA}, func(FleetNode) []VIP { return []VIP{also(vipNamed("ns1").Prefixes...)} })
		if v.OK() != (state == "announced") {
			t.Errorf("ns2 is %s: %v", state, v.Err())
		}
	}

	six := netip.MustParsePrefix("2001:db8::53/128")
	f := fleetOf(t, "ams1 ns1=announced ns2=announced\nfra1 ns1=announced ns2=announced\nfra2 ns1=announced ns2=announced")
	for i := range f.Nodes {
		f.Nodes[i].Stored.VIPs[0].Prefixes = []netip.Prefix{six}
		f.Nodes[i].Stored.VIPs[1].Groups = []string{"four"}
	}
	peers := []Peer{{Name: "both"}, {Name: "four", Groups: []string{"four"}, Only4: true}}
	_, v := judged(t, f, "all", peers, func(FleetNode) []VIP {
		merged := also(six)
		merged.Groups = []string{"four"}
		return []VIP{merged}
	})
	if v.OK() {
		t.Error("nobody would hear IPv6 any more, and it may be applied")
	}
}

// TestJudgeMergeBesideOne: a merge into a VIP that one node of six has out, or not well, leaves five.
func TestJudgeMergeBesideOne(t *testing.T) {
	const fleet = "ams1 ns1=announced ns2=announced\nams2 ns1=announced ns2=announced\nfra1 ns1=announced ns2=announced\n" +
		"fra2 ns1=announced ns2=announced\nlhr1 ns1=announced ns2=announced\nlhr2 ns1=announced ns2="
	for state, note := range map[string]string{
		"degraded":  "lhr2: 198.51.100.53/32 goes over to ns2, which is degraded there, and does not count",
		"withdrawn": "lhr2: 198.51.100.53/32 goes over to ns2, which an operator wants out there, and is withdrawn",
	} {
		f := fleetOf(t, fleet+state)
		if state == "withdrawn" {
			f.Nodes[5].Drained = []string{"ns2"}
		}
		_, v := judged(t, f, "all", []Peer{torA}, func(FleetNode) []VIP { return []VIP{also(vipNamed("ns1").Prefixes...)} })
		at := slices.IndexFunc(v.Counts, func(c Count) bool {
			return c.VIP == "ns2" && slices.Equal(c.Prefixes, vipNamed("ns1").Prefixes) && c.PoP == ""
		})
		if !v.OK() || !slices.Equal(v.Notes, []string{note}) || at < 0 || v.Counts[at].After != 5 {
			t.Errorf("%s: %v, notes %q, counts %+v", state, v.Err(), v.Notes, v.Counts)
		}
	}
}

// TestJudgeLastOfName: the last node that has a VIP by its old name may leave when others have the
// address by another one.
func TestJudgeLastOfName(t *testing.T) {
	for others, want := range map[int]string{
		3: "",
		1: "minimum: ns1: fra2 would leave, and 1 of 2 announce it, want at least 2",
	} {
		f := fleetOf(t, strings.Join(strings.Split("ams1 ns2=announced\nams2 ns2=announced\nfra1 ns2=announced\nfra2 ns1=announced", "\n")[3-others:], "\n"))
		for i := range others {
			f.Nodes[i].Stored.VIPs[0].Prefixes = vipNamed("ns1").Prefixes
		}
		_, v := judged(t, f, "node/fra2", []Peer{torA}, func(FleetNode) []VIP { return nil })
		got := ""
		for _, b := range v.Broken {
			got += b.String()
		}
		if got != want {
			t.Errorf("%d others: %q, want %q", others, got, want)
		}
	}
}

// TestJudgeComers: a node does not count for what comes to a VIP that it has not announced, or that an
// operator wants out there.
func TestJudgeComers(t *testing.T) {
	for _, state := range []string{"announced", "degraded", "last-resort", "draining", "withdrawn"} {
		f := fleetOf(t, "ams1 ns2=announced\nfra1 ns2=announced\nlhr1 ns2="+state)
		for i := range 2 {
			f.Nodes[i].Stored.VIPs[0] = also(vipNamed("ns1").Prefixes...)
		}
		_, v := judged(t, f, "all", []Peer{torA}, func(n FleetNode) []VIP {
			if n.Name == "ams1" { // it leaves, and lhr1 comes
				return []VIP{vipNamed("ns2")}
			}
			return []VIP{also(vipNamed("ns1").Prefixes...)}
		})
		if v.OK() != (state == "announced") {
			t.Errorf("ns2 is %s: %v, %+v", state, v.Err(), v.Counts)
		}
	}

	f := fleetOf(t, "ams1 ns1=announced\nfra1 ns1=announced\nfra2")
	f.Nodes[2].Drained = []string{"ns1"}
	p, v := judged(t, f, "all", []Peer{torA}, func(n FleetNode) (file []VIP) {
		if n.Name != "fra1" {
			file = []VIP{vipNamed("ns1")}
		}
		return file
	})
	if v.OK() {
		t.Errorf("one leaves and the one that comes is drained, and it may be applied:\n%s", p.Text(v))
	}
}

// TestJudgeStrictestName: the strictest minimum of all that have the address counts, whatever their
// VIPs are called.
func TestJudgeStrictestName(t *testing.T) {
	f := fleetOf(t, "ams1 ns1=announced\nfra1 ns1=announced\nlhr1 ns2=announced")
	for i := range f.Nodes {
		f.Nodes[i].Stored.VIPs[0].MinAnnouncers = 3
	}
	last := &f.Nodes[2].Stored.VIPs[0]
	last.Prefixes, last.MinAnnouncers, last.MinPoPs = vipNamed("ns1").Prefixes, 1, 1
	_, v := judged(t, f, "node/lhr1", []Peer{torA}, func(FleetNode) []VIP { return nil })
	if want := "plan refused: minimum: ns2: lhr1 would leave, and 2 of 3 announce it, want at least 3"; v.OK() || v.Err().Error() != want {
		t.Errorf("%v, want %q", v.Err(), want)
	}
}

// TestJudgeOverlapOfNames: two plans that take one address from nodes that have it by different names
// rely on each other's nodes.
func TestJudgeOverlapOfNames(t *testing.T) {
	f := fleetOf(t, "ams1 ns1=announced\nfra1 ns1=announced\nlhr1 ns2=announced")
	f.Nodes[2].Stored.VIPs[0].Prefixes = vipNamed("ns1").Prefixes
	none := func(FleetNode) []VIP { return nil }
	first, v := judged(t, f, "node/lhr1", []Peer{torA}, none)
	if !v.OK() {
		t.Error(v.Err())
	}
	f.InFlight = []InFlight{{Plan: "99aa", Coordinator: "lhr1", Nodes: first.Nodes(), VIPs: first.VIPs(), Prefixes: first.Prefixes()}}
	_, v = judged(t, f, "node/ams1", []Peer{torA}, none)
	const want = "plan refused: overlap: 198.51.100.53/32: plan 99aa, which lhr1 rolls out, changes this prefix too: wait for it, or abort it"
	if v.OK() || v.Err().Error() != want {
		t.Errorf("%v, want %q", v.Err(), want)
	}
}

// TestJudgeRenameOfUnwell: a node that does not announce a VIP as planned counts no more under a new name.
func TestJudgeRenameOfUnwell(t *testing.T) {
	renamed := vipNamed("ns1")
	renamed.Name = "anycast"
	for _, state := range []string{"announced", "degraded", "last-resort", "withdrawn", "bound", "draining", "unanswered"} {
		f := fleetOf(t, "ams1 ns1="+strings.Replace(state, "unanswered", "announced", 1)+"\nfra1 ns1=announced\nfra2 ns1=announced")
		if state == "unanswered" {
			f.Nodes[0].Answered, f.Nodes[0].Out = map[string][]netip.Prefix{}, map[string][]netip.Prefix{}
		}
		_, v := judged(t, f, "all", []Peer{torA}, func(n FleetNode) []VIP {
			if n.Name == "fra2" {
				return nil
			}
			return []VIP{renamed}
		})
		if v.OK() != (state == "announced") {
			t.Errorf("%s: %v, %+v", state, v.Err(), v.Counts)
		}
	}
}

// TestJudgeDrainedName: a node that has a VIP drained does not get its address by another name, also
// where no peer would hear that.
func TestJudgeDrainedName(t *testing.T) {
	for _, groups := range [][]string{nil, {"nowhere"}} {
		f := fleetOf(t, "ams1 ns1=withdrawn\nfra1 ns1=announced\nfra2 ns1=announced\nlhr1 ns1=announced")
		drain, err := NewOperation(Operation{Kind: Drain, VIP: "ns1", Node: "ams1", Reason: "work", Actor: "ann", Since: noon})
		if err != nil {
			t.Fatal(err)
		}
		f.Nodes[0].Drained, f.Nodes[0].Operations, f.Now = []string{"ns1"}, []Operation{drain}, noon
		renamed := vipNamed("ns1")
		renamed.Name, renamed.Groups = "anycast", groups
		_, v := judged(t, f, "node/ams1", []Peer{torA}, func(FleetNode) []VIP { return []VIP{renamed} })
		const want = "plan refused: drained: ams1: an operator wants ns1 out there, and anycast would announce 198.51.100.53/32: " +
			"end that (drain ns1 on node/ams1 since 2026-03-01T12:00:00Z) by edged vip undrain, or leave the node out of the plan"
		if v.OK() || v.Err().Error() != want {
			t.Errorf("groups %v: %v, want %q", groups, v.Err(), want)
		}
	}
}
