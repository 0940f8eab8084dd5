package bgp

import (
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// ask reads an operation as "KIND VIP|all TARGET [local] [force] [at=HH:MM] [for=DURATION]".
func ask(t *testing.T, text string) Operation {
	t.Helper()
	words := strings.Fields(text)
	o := Operation{Kind: OperationKind(words[0]), Reason: "new kernel", Actor: "ada", Since: noon}
	if words[1] != "all" {
		o.VIP = words[1]
	}
	if node, ok := strings.CutPrefix(words[2], "node/"); ok {
		o.Node = node
	} else {
		o.PoP = strings.TrimPrefix(words[2], "pop/")
	}
	for _, w := range words[3:] {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "local":
			o.Local = true
		case "force":
			o.Force = true
		case "at":
			at, err := time.Parse("15:04", value)
			if err != nil {
				t.Fatal(err)
			}
			o.Since = noon.Truncate(24 * time.Hour).Add(time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute)
		case "for":
			d, err := time.ParseDuration(value)
			if err != nil {
				t.Fatal(err)
			}
			o.Until = o.Since.Add(d)
		default:
			t.Fatalf("%q?", w)
		}
	}
	o, err := NewOperation(o)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}

func asks(t *testing.T, text string) (all []Operation) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, ask(t, line))
		}
	}
	return all
}

// TestInForce says which of several operations fra1 goes by for ns1 at noon.
func TestInForce(t *testing.T) {
	for _, tc := range []struct{ all, want string }{
		{"", "none"},
		{"drain ns1 node/fra1", "drain ns1 on node/fra1"},
		{"drain all pop/fra", "drain all VIPs on pop/fra"},
		{"drain ns2 node/fra1", "none"},
		{"drain ns1 node/fra2", "none"},
		{"drain all pop/ams", "none"},
		{"drain ns1 node/fra1\nhold ns1 node/fra1", "hold ns1 on node/fra1"},
		{"drain ns1 node/fra1 local\nhold ns1 node/fra1", "drain ns1 on node/fra1"},
		{"drain all node/fra1\nannounce ns1 node/fra1 local", "announce ns1 on node/fra1"},
		{"drain all node/fra1 local\nannounce ns1 node/fra1 local", "drain all VIPs on node/fra1"},
		{"drain all node/fra1\nmaintenance all pop/fra for=1h force", "maintenance all VIPs on pop/fra"},
		{"drain all node/fra1 at=11:00\nmaintenance all pop/fra for=1h at=10:00", "maintenance all VIPs on pop/fra"},
		{"maintenance all node/fra1 at=12:01 for=1h", "none"},
		{"maintenance all node/fra1 at=12:00 for=1h", "maintenance all VIPs on node/fra1"},
		{"maintenance all node/fra1 at=03:00 for=1h", "maintenance all VIPs on node/fra1"}, // overdue: still in force
		{"hold all node/fra1 at=03:00 for=1h", "hold all VIPs on node/fra1"},
	} {
		got := "none"
		if o := InForce(asks(t, tc.all), Member{"fra1", "fra"}, "ns1", noon); o != nil {
			got = o.What()
		}
		if got != tc.want {
			t.Errorf("%q: in force %q, want %q", tc.all, got, tc.want)
		}
	}
}

// TestExpiredMaintenance: a window that ends while the node is drained raises an
// alarm and leaves it drained.
func TestExpiredMaintenance(t *testing.T) {
	all := asks(t, "maintenance all node/fra1 at=11:00 for=1h")
	fra1 := Member{"fra1", "fra"}
	for _, tc := range []struct {
		at   time.Time
		want string
	}{
		{noon.Add(-time.Second), ""},
		{noon, `maintenance all VIPs on node/fra1 by ada: "new kernel", since 2026-03-01T11:00:00Z until 2026-03-01T12:00:00Z (` + all[0].ID +
			`): its time ran out at 2026-03-01T12:00:00Z, and it is still drained: undrain it, or ask again with more time`},
	} {
		if got := all[0].Overdue(tc.at); got != tc.want {
			t.Errorf("at %s: alarm %q, want %q", clock(tc.at), got, tc.want)
		}
	}
	if o := InForce(all, fra1, "ns1", noon.AddDate(1, 0, 0)); o == nil || o.Kind != Maintenance {
		t.Errorf("a year later %v is in force, want the maintenance", o)
	}
	if stay, ended, err := End(all, Ending{Kinds: Undrain, Node: "fra1"}); err != nil || len(stay) != 0 || len(ended) != 1 {
		t.Errorf("undrain: %v stay, %v ended, %v", stay, ended, err)
	}
}

func TestEnd(t *testing.T) {
	all := asks(t, `
		drain ns1 node/fra1
		maintenance all node/fra2 for=1h
		hold ns1 pop/fra
		announce ns2 node/fra1 local
		hold all node/fra1 local
		hold all node/fra1`)
	nothing := "nothing of that is in force to end; there is, each with what ends it:\n"
	for _, tc := range []struct {
		what   string
		ending Ending
		want   string
	}{
		{"undrain fra1", Ending{Kinds: Undrain, Node: "fra1"}, "drain ns1 on node/fra1"},
		{"undrain ns1 on fra1", Ending{Kinds: Undrain, Node: "fra1", VIP: "ns1"}, "drain ns1 on node/fra1"},
		{"undrain ns2 on fra1", Ending{Kinds: Undrain, Node: "fra1", VIP: "ns2"}, nothing},
		{"undrain ns1 on fra2", Ending{Kinds: Undrain, Node: "fra2", VIP: "ns1"}, `it is about all VIPs, not only "ns1": end it whole: edged vip undrain node/fra2 --reason WHY`},
		{
			"undrain fra", Ending{Kinds: Undrain, PoP: "fra"}, nothing + "\t" +
				all[0].String() + ": edged vip undrain node/fra1 --vip ns1 --reason WHY\n\t" +
				all[1].String() + ": edged vip undrain node/fra2 --reason WHY\n\t" +
				all[2].String() + ": edged vip release pop/fra --vip ns1 --reason WHY\n\t" +
				all[3].String() + ": on fra1: edged vip release --local --vip ns2 --reason WHY\n\t" +
				all[4].String() + ": on fra1: edged vip release --local --reason WHY\n\t" +
				all[5].String() + ": edged vip release node/fra1 --reason WHY",
		},
		{"undrain by id", Ending{Kinds: Undrain, ID: all[1].ID}, "maintenance all VIPs on node/fra2"},
		{"undrain a hold by id", Ending{Kinds: Undrain, ID: all[2].ID}, nothing},
		{"release fra", Ending{Kinds: Release, PoP: "fra"}, "hold ns1 on pop/fra"},
		{"release fra1: what it was asked on itself stays", Ending{Kinds: Release, Node: "fra1"}, "hold all VIPs on node/fra1"},
		{"release fra1's own by id, from elsewhere", Ending{Kinds: Release, ID: all[4].ID}, nothing},
		{"release on fra1 itself", Ending{Kinds: Release, Node: "fra1", Local: true}, "hold all VIPs on node/fra1 local"},
		{"release ns2 on fra1 itself", Ending{Kinds: Release, Node: "fra1", VIP: "ns2", Local: true}, "announce ns2 on node/fra1 local"},
		{"release ns1 on fra1 itself", Ending{Kinds: Release, Node: "fra1", VIP: "ns1", Local: true}, "end it whole: on fra1: edged vip release --local --reason WHY"},
		{"release by id on fra1 itself", Ending{Kinds: Release, ID: all[3].ID, Node: "fra1", Local: true}, "announce ns2 on node/fra1 local"},
		{"undrain on fra1 itself", Ending{Kinds: Undrain, Node: "fra1", Local: true}, all[0].String() +
			": edged vip undrain node/fra1 --vip ns1 --reason WHY, or for this node alone edged vip undrain " + all[0].ID + " --local --reason WHY\n"},
		{"undrain by id on fra1 itself", Ending{Kinds: Undrain, ID: all[0].ID, Node: "fra1", Local: true}, "drain ns1 on node/fra1"},
	} {
		stay, ended, err := End(all, tc.ending)
		if err != nil {
			if !strings.Contains(err.Error(), tc.want) || len(stay) != len(all) {
				t.Errorf("%s: error %v with %d left, want %q with all", tc.what, err, len(stay), tc.want)
			}
			continue
		}
		got := ""
		for _, o := range ended {
			got += o.What()
			if o.Local {
				got += " local"
			}
		}
		if got != tc.want || len(stay) != len(all)-1 {
			t.Errorf("%s: ended %q, want %q", tc.what, got, tc.want)
		}
	}
	if _, _, err := End(nil, Ending{Kinds: Undrain, Node: "fra1"}); err == nil || err.Error() != "nothing is in force to end" {
		t.Errorf("nothing there: %v", err)
	}
}

// TestEndOfAHold: no announcement ends with a hold, and what the node goes by from then on
// is told.
func TestEndOfAHold(t *testing.T) {
	all := asks(t, `
		announce ns1 node/fra1 local
		hold ns1 node/fra1 local
		hold ns2 node/fra1 local
		hold all pop/fra`)
	e := Ending{Kinds: Release, Node: "fra1", VIP: "ns1", Local: true}
	want := "that is more than one, of which each ends by itself:\n\t" +
		all[0].String() + ": edged vip release " + all[0].ID + " --local --reason WHY\n\t" +
		all[1].String() + ": edged vip release " + all[1].ID + " --local --reason WHY"
	if stay, _, err := End(all, e); err == nil || err.Error() != want || len(stay) != len(all) {
		t.Errorf("error %v with %d left, want %q with all", err, len(stay), want)
	}
	e = Ending{Kinds: Release, ID: all[1].ID, Local: true}
	stay, ended, err := End(all, e)
	if err != nil || len(ended) != 1 || ended[0] != all[1] {
		t.Fatalf("ended %v, %v", ended, err)
	}
	if beside := e.Beside(stay, ended); len(beside) != 2 || beside[0] != all[0] || beside[1] != all[3] {
		t.Errorf("beside it stay %v, want the announcement and the PoP's hold", beside)
	}
}

func TestAdmit(t *testing.T) {
	f := fleetOf(t, `
		ams1 ns1=announced ns2=announced
		fra1 ns1=announced
		fra2 ns1=announced ns3=announced
	`)
	f.Nodes[2].States["ns7"] = LastResort // no plan names it any more
	for _, tc := range []struct{ what, all, ask, want string }{
		{"maintenance", "", "maintenance all node/fra1 for=1h", ""},
		{"drain of a PoP", "", "drain all pop/fra", ""},
		{
			"a second node", "maintenance all node/fra2 for=1h", "maintenance all node/fra1 for=1h",
			`maintenance all VIPs on node/fra1: fra1, fra2 would be out of ns1 at once, want at most 1: ` +
				`there is maintenance all VIPs on node/fra2 by ada: "new kernel", since 2026-03-01T12:00:00Z until 2026-03-01T13:00:00Z (`,
		},
		{"a second node by force", "maintenance all node/fra2 for=1h", "maintenance all node/fra1 for=1h force", ""},
		{"a second node that only drains", "drain all node/fra2", "maintenance all node/fra1 for=1h", "fra1, fra2 would be out of ns1 at once"},
		{"another VIP", "maintenance ns2 node/ams1 for=1h", "maintenance all node/fra1 for=1h", ""},
		{"one window after another", "maintenance all node/fra2 for=1h", "maintenance all node/fra1 at=13:00 for=1h", ""},
		{"windows that share a minute", "maintenance all node/fra2 for=61m", "maintenance all node/fra1 at=13:00 for=1h", "out of ns1 at once"},
		{"the other is overdue", "maintenance all node/fra2 at=10:00 for=1h", "maintenance all node/fra1 at=13:00 for=1h", "out of ns1 at once"},
		{"the other begins later", "maintenance all node/fra2 at=15:00 for=1h", "maintenance all node/fra1 at=13:00 for=1h", ""},
		{"a whole PoP", "", "maintenance ns1 pop/fra for=1h", "fra1, fra2 would be out of ns1 at once, want at most 1: take them one after another"},
		{"a whole PoP, one node of which has it", "", "maintenance ns3 pop/fra for=1h", ""},
		{"twice", "drain all node/fra1 at=11:00", "drain all node/fra1", ""},
		{"held", "hold ns1 pop/fra", "drain all node/fra1", "it contradicts hold ns1 on pop/fra by ada"},
		{"held elsewhere", "hold ns1 node/fra2", "drain all node/fra1", ""},
		{"held another VIP", "hold ns3 pop/fra", "drain ns1 node/fra2", ""},
		{"held by the fleet, drained on the node", "hold ns1 pop/fra", "drain all node/fra1 local", ""},
		{"held on the node, drained by the fleet", "hold ns1 node/fra1 local", "drain all pop/fra", "drain all VIPs on pop/fra: fra1 goes by its own hold ns1 on node/fra1 by ada"},
		{"announced on the node, drained by the fleet", "announce ns1 node/fra1 local", "maintenance all node/fra1 for=1h", "fra1 goes by its own announce ns1"},
		{"drained", "drain all pop/fra", "hold all node/fra1", "it contradicts drain all VIPs on pop/fra"},
		{"drained, announced on the node", "drain all node/fra1 local", "announce ns1 node/fra1 local", "it contradicts drain all VIPs on node/fra1"},
		{"held and announced", "hold ns9 node/fra1 local", "announce ns9 node/fra1 local", ""},
		{"another VIP of the node, in no plan", "", "drain ns7 node/fra2", ""},
		{"the same on a node that lacks it", "", "hold ns7 node/fra1", `no VIP is called "ns7"; did you mean "ns1"?`},
		{
			"longer, while another is out too", "maintenance all node/fra1 at=10:00 for=1h\nmaintenance all node/fra2 at=11:30 for=1h",
			"maintenance all node/fra1 for=1h", "",
		},
		{
			"longer, into the window of another", "maintenance all node/fra1 at=11:30 for=1h\nmaintenance all node/fra2 at=12:30 for=1h",
			"maintenance all node/fra1 for=1h", "fra1, fra2 would be out of ns1 at once",
		},
		{
			"of another VIP, while another is out", "maintenance ns9 node/fra1 at=10:00 for=1h\nmaintenance all node/fra2 at=11:30 for=1h",
			"maintenance all node/fra1 for=1h", "fra1, fra2 would be out of ns1 at once",
		},
		{
			"begun anew later, while another is out", "maintenance all node/fra1 at=10:00 for=1h\nmaintenance all node/fra2 at=11:30 for=3h",
			"maintenance all node/fra1 at=13:00 for=1h", "fra1, fra2 would be out of ns1 at once",
		},
		{"unknown node", "", "drain all node/fra9", `drain all VIPs on node/fra9: no node is called "fra9"; did you mean "fra1"?`},
		{"unknown PoP", "", "drain all pop/fro", `no PoP is called "fro"; did you mean "fra"?`},
		{"unknown VIP", "", "drain ns3 node/fra1", `no VIP is called "ns3"; did you mean "ns1"?`},
	} {
		err := Admit(ask(t, tc.ask), asks(t, tc.all), f, 0, noon)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: error %v, want %q", tc.what, err, tc.want)
		}
	}
	two := asks(t, "maintenance all node/fra2 for=1h")
	if err := Admit(ask(t, "maintenance all node/fra1 for=1h"), two, f, 2, noon); err != nil {
		t.Errorf("two at once, where two may be: %v", err)
	}
}

func TestOperationCheck(t *testing.T) {
	good := Operation{Kind: Drain, Node: "fra1", Reason: "disk", Actor: "ada", Since: noon}
	for _, tc := range []struct {
		change func(*Operation)
		want   string
	}{
		{func(*Operation) {}, ""},
		{func(o *Operation) { o.Kind = "stop" }, `unknown operation "stop"`},
		{func(o *Operation) { o.Node = "" }, `want a node or a PoP, got node "" and PoP ""`},
		{func(o *Operation) { o.PoP = "fra" }, `got node "fra1" and PoP "fra"`},
		{func(o *Operation) { o.Reason = "" }, `reason "": want one line of 1 to 200 octets: say --reason`},
		{func(o *Operation) { o.Reason = "a\nb" }, `reason "a\nb"`},
		{func(o *Operation) { o.Actor = strings.Repeat("a", 65) }, "1 to 64 octets"},
		{func(o *Operation) { o.VIP = "NS1" }, `"NS1" cannot be the name of a VIP`},
		{func(o *Operation) { o.Since = time.Time{} }, "it does not say since when"},
		{func(o *Operation) { o.Until = noon }, "which is not after 2026-03-01T12:00:00Z"},
		{func(o *Operation) { o.Kind = Maintenance }, "it has no end: say how long it takes"},
		{func(o *Operation) { o.Kind, o.Local = Announce, true }, "want one VIP, on one node, and --local"},
		{func(o *Operation) { o.Kind, o.Force = Hold, true }, "there is nothing to force"},
	} {
		o := good
		tc.change(&o)
		_, err := NewOperation(o)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("error %v, want %q", err, tc.want)
		}
	}
	o := ask(t, "drain all node/fra1")
	o.Reason = "another"
	if err := o.Check(); err == nil || !strings.Contains(err.Error(), "its ID is") {
		t.Errorf("altered after it was made: %v", err)
	}
}

// TestUndrains: what has a VIP out, now or later, and would not by another name.
func TestUndrains(t *testing.T) {
	at := Member{"fra1", "fra"}
	op := func(kind OperationKind, vip, node, pop string, since time.Duration) Operation {
		o := Operation{Kind: kind, VIP: vip, Node: node, PoP: pop, Reason: "work", Actor: "ada", Since: noon.Add(since)}
		if kind == Maintenance {
			o.Until = o.Since.Add(time.Hour)
		}
		o, err := NewOperation(o)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	drain := op(Drain, "ns1", "fra1", "", 0)
	for what, tc := range map[string]struct {
		all  []Operation
		want string
	}{
		"nothing":                {nil, ""},
		"a drain":                {[]Operation{drain}, "drain ns1 on node/fra1"},
		"of all VIPs":            {[]Operation{op(Drain, "", "", "fra", 0)}, ""},
		"of another node":        {[]Operation{op(Drain, "ns1", "ams1", "", 0)}, ""},
		"of the other VIP":       {[]Operation{op(Drain, "ns2", "fra1", "", 0)}, ""},
		"under a hold":           {[]Operation{op(Hold, "ns1", "fra1", "", 0), drain}, "drain ns1 on node/fra1"},
		"a hold":                 {[]Operation{op(Hold, "ns1", "fra1", "", 0)}, ""},
		"of both":                {[]Operation{drain, op(Maintenance, "ns2", "", "fra", 0)}, ""},
		"of the other one later": {[]Operation{drain, op(Maintenance, "ns2", "fra1", "", time.Hour)}, "drain ns1 on node/fra1"},
		"later":                  {[]Operation{op(Maintenance, "ns1", "fra1", "", time.Hour)}, "maintenance ns1 on node/fra1"},
		"later, of both":         {[]Operation{op(Maintenance, "ns1", "fra1", "", time.Hour), op(Maintenance, "ns2", "fra1", "", time.Hour)}, ""},
		"later still":            {[]Operation{op(Maintenance, "ns1", "fra1", "", time.Hour), op(Maintenance, "ns2", "fra1", "", 2*time.Hour)}, "maintenance ns1 on node/fra1"},
		"of both, one held":      {[]Operation{drain, op(Drain, "ns2", "fra1", "", 0), op(Hold, "ns2", "fra1", "", 0)}, "drain ns1 on node/fra1"},
		"now and later":          {[]Operation{op(Maintenance, "ns1", "fra1", "", time.Hour), drain}, "maintenance ns1 on node/fra1, drain ns1 on node/fra1"},
	} {
		var words []string
		for _, o := range Undrains(tc.all, at, "ns1", "ns2", noon) {
			words = append(words, o.What())
		}
		got := strings.Join(words, ", ")
		if got != tc.want {
			t.Errorf("%s: %q, want %q", what, got, tc.want)
		}
	}
}
