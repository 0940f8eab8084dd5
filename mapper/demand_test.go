package mapper

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"edged/mapper/beacon"
	"edged/mapper/simulate"
)

// Units without a line count by their sessions, as many requests/s each as those with
// one; a line of 0 is a line.
func TestComplete(t *testing.T) {
	units := []MeasuredUnit{}
	for _, u := range []struct {
		addr     string
		sessions int
	}{{"192.0.2.1", 10}, {"198.51.100.1", 30}, {"203.0.113.1", 20}, {"203.0.112.1", 60}, {"2001:db8::", 5}} {
		units = append(units, MeasuredUnit{Unit: beacon.UnitOf(netip.MustParseAddr(u.addr)), Sessions: u.sessions})
	}
	line := func(prefix string, requests float64) simulate.Demand {
		return simulate.Demand{Prefix: netip.MustParsePrefix(prefix), Requests: requests}
	}
	// 192.0.2.0/24 makes 5, 198.51.100.0/24 7 and 203.0.113.0/24 0 with 60 sessions: 0.2 each.
	demand := []simulate.Demand{line("192.0.2.0/25", 5), line("198.51.100.0/23", 14), line("203.0.113.0/24", 0), line("10.0.0.0/8", 9)}
	all, added := Complete(demand, units)
	want := append(demand[:4:4], line("203.0.112.0/24", 12), line("2001:db8::/48", 1))
	if !reflect.DeepEqual(all, want) || added != 13 {
		t.Errorf("got %v and %v more, want %v and 13", all, added, want)
	}
	for name, list := range map[string][]simulate.Demand{
		"unknown":                       nil,
		"of no unit":                    {line("10.0.0.0/8", 9)},
		"nothing for those with a line": {line("192.0.2.0/24", 0)},
		"of all":                        {line("0.0.0.0/0", 9), line("::/0", 1)},
	} {
		if all, added := Complete(list, units); added != 0 || !reflect.DeepEqual(all, list) {
			t.Errorf("demand %s: got %v and %v more, want it as it is", name, all, added)
		}
	}
}

// The report says how much of the address space is in no load.
func TestUncounted(t *testing.T) {
	pops := twoPoPs(1000, 1000)
	nets, err := ReadNets(strings.NewReader("10.0.0.0/8,near:10 far:20\n10.1.0.0/25,far\n"), "n", pops)
	if err != nil {
		t.Fatal(err)
	}
	_, r := mustBuild(t, Input{PoPs: pops, Nets: nets, Demand: []simulate.Demand{
		{Prefix: netip.MustParsePrefix("10.0.0.0/9"), Requests: 1}, {Prefix: netip.MustParsePrefix("192.0.2.0/24"), Requests: 1},
	}})
	if r.Ranked != 65536 || r.Uncounted != 32768 || r.Assumed != 0 {
		t.Errorf("%v of %v blocks are uncounted and %v requests/s assumed, want 32768 of 65536 and 0", r.Uncounted, r.Ranked, r.Assumed)
	}
	if _, r := mustBuild(t, Input{PoPs: pops, Nets: nets}); r.Ranked != 65536 || r.Uncounted != 0 {
		t.Errorf("without demand %v of %v blocks are uncounted, want 0 of 65536", r.Uncounted, r.Ranked)
	}
}
