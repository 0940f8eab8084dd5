package mapper

import (
	"fmt"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edged/edge"
	"edged/geo/place"
	"edged/mapper/beacon"
	"edged/mapper/estimate"
)

// attempts are what one source tried: so many, of which so many failed, hours ago.
type attempts struct{ all, failed, hours int }

// TestFailing holds when a PoP is no candidate.
func TestFailing(t *testing.T) {
	many := func(n int, a attempts) (list []attempts) {
		for range n {
			list = append(list, a)
		}
		return list
	}
	for _, tt := range []struct {
		name string
		by   []attempts
		want bool
	}{
		{"none fails", many(100, attempts{5, 0, 0}), false},
		{"two sources say that all fail", append(many(3, attempts{5, 0, 0}), many(2, attempts{1000, 1000, 0})...), false},
		{"two sources are all there are", many(2, attempts{10, 10, 0}), false},
		{"three of three", many(3, attempts{1, 1, 0}), true},
		{"three of ten", append(many(7, attempts{1, 0, 0}), many(3, attempts{1, 1, 0})...), true},
		{"three of twenty: it may be less than 5 %", append(many(17, attempts{1, 0, 0}), many(3, attempts{1, 1, 0})...), true},
		{"three of thirty", append(many(27, attempts{1, 0, 0}), many(3, attempts{1, 1, 0})...), false},
		{"each fails once in fifty", many(500, attempts{50, 1, 0}), false},
		{"each fails once in ten", many(500, attempts{10, 1, 0}), true},
		{"three days ago, and not since", append(many(30, attempts{1, 0, 0}), many(10, attempts{1, 1, 72})...), false},
		{"today", append(many(30, attempts{1, 0, 72}), many(10, attempts{1, 1, 0})...), true},
	} {
		var sessions []estimate.Session
		var failed [][]estimate.Value
		all := 0
		for i, a := range tt.by {
			client := netip.AddrFrom4([4]byte{203, 0, byte(113 + i/250), byte(i % 250)})
			for k := range a.all {
				s := estimate.Session{Client: client, Weight: math.Exp2(-float64(a.hours) / beacon.HalfLife), Values: []estimate.Value{{PoP: 1, RTT: 20}}}
				var f []estimate.Value
				if k < a.failed {
					f, all = append(f, estimate.Value{PoP: 7}), all+1
				} else {
					s.Values = append(s.Values, estimate.Value{PoP: 7, RTT: 30})
				}
				sessions, failed = append(sessions, s), append(failed, f)
			}
		}
		list := failing(sessions, failed, all)
		if got := len(list) == 1 && list[0].PoP == 7; got != tt.want || len(list) > 1 {
			t.Errorf("%s: %+v, want left out: %v", tt.name, list, tt.want)
		}
	}
}

// TestWilsonLow holds the bound to published values (Newcombe 1998, table I: 81 of
// 263 and 15 of 148) and to its ends.
func TestWilsonLow(t *testing.T) {
	for _, tt := range []struct{ k, n, want float64 }{
		{81, 263, 0.2553}, {15, 148, 0.0624}, {0, 20, 0}, {3, 3, 0.4385},
	} {
		if got := wilsonLow(tt.k/tt.n, tt.n); math.Abs(got-tt.want) > 5e-5 {
			t.Errorf("%v of %v: at least %.4f, want %.4f", tt.k, tt.n, got, tt.want)
		}
	}
}

// unreachable are rows of ten clients of 203.0.113.0/24 for whom nyc is the fastest
// and, for failing of them, does not answer, and of one who reaches nothing.
func unreachable(failing int) []beacon.Row {
	var rows []beacon.Row
	for i := range 30 {
		for pop, rtt := range []uint16{900, 300, 2500} {
			r := beacon.Row{
				Session: uint64(i + 1), Time: 1_700_000_000 + int64(i), PoP: uint16(pop), RTT: rtt + uint16(10*(i%10)),
				Client: netip.AddrFrom4([4]byte{203, 0, 113, byte(i % 10)}),
			}
			if pop == 1 && i%10 < failing {
				r.RTT = 0
			}
			rows = append(rows, r)
		}
	}
	for pop := range uint16(3) {
		rows = append(rows, beacon.Row{Session: 99, Time: 1_700_000_050, PoP: pop, Client: netip.MustParseAddr("203.0.113.77")})
	}
	return rows
}

// TestPoPThatClientsDoNotReach: it is the fastest for those who reach it, and no
// candidate; with two that fail it stays.
func TestPoPThatClientsDoNotReach(t *testing.T) {
	pops := []edge.PoP{{Name: "fra", Lat: 50.1, Lon: 8.7}, {Name: "nyc", Lat: 40.7, Lon: -74}, {Name: "sin", Lat: 1.3, Lon: 103.8}}
	where := func(netip.Addr) place.Place {
		return place.Place{Lat: 45, Lon: -30, HasCoord: true, Country: "XX", ASN: 64500}
	}
	for _, tt := range []struct {
		failing int
		want    string
	}{
		{0, "nyc fra sin; 0 failures; left out []"},
		{2, "nyc fra sin; 6 failures; left out []"},
		{4, "fra sin; 12 failures; left out [{1 30 12 10 0.4 0.168}]"},
		{10, "fra sin; 30 failures; left out [{1 30 30 10 1 0.722}]"},
	} {
		dir := filepath.Join(t.TempDir(), "segments")
		w, err := beacon.NewWriter(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Append(beacon.Batch{ID: "b", PoPs: []string{"fra", "nyc", "sin"}, Rows: unreachable(tt.failing)}); err != nil {
			t.Fatal(err)
		}
		set, err := beacon.OpenAll(dir)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ReadBeacons(t.Context(), set, Reading{PoPs: pops, Locate: where})
		set.Close()
		if err != nil {
			t.Fatal(err)
		}
		if want := 90 - 3*tt.failing; m.Rows != want || m.Sessions != 30 {
			t.Errorf("%d fail: %d rows of %d sessions, want %d of 30", tt.failing, m.Rows, m.Sessions, want)
		}
		e := Estimate(m, pops, where, nil)
		nets := e.nets(func(netip.Addr) uint16 { return 1 }) // nyc is in force
		var names []string
		for _, h := range nets[0].Hops {
			names = append(names, pops[h.PoP].Name)
		}
		for i := range m.Units[0].Failing {
			f := &m.Units[0].Failing[i]
			f.AtLeast = math.Round(1000*f.AtLeast) / 1000
			f.Share = math.Round(1000*f.Share) / 1000
		}
		got := fmt.Sprintf("%s; %d failures; left out %v", strings.Join(names, " "), m.Failures, m.Units[0].Failing)
		if got != tt.want {
			t.Errorf("%d fail: %s, want %s", tt.failing, got, tt.want)
		}
		f := e.Failing(netip.MustParseAddr("203.0.113.200"), 1)
		if (f != nil) != (tt.failing > 2) || e.Failing(netip.MustParseAddr("203.0.113.200"), 0) != nil || e.Failing(netip.MustParseAddr("192.0.2.1"), 1) != nil {
			t.Errorf("%d fail: nyc is left out by %v", tt.failing, f)
		}
	}
}

// TestHeldSessionsSayWhatFails: sessions that are held back know what their unit fails
// to reach, by the others.
func TestHeldSessionsSayWhatFails(t *testing.T) {
	var rows []beacon.Row
	for _, r := range unreachable(4) {
		for again := range uint64(4) {
			r.Session += 100 * again
			rows = append(rows, r)
		}
	}
	dir := filepath.Join(t.TempDir(), "segments")
	w, err := beacon.NewWriter(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Append(beacon.Batch{ID: "b", PoPs: []string{"fra", "nyc", "sin"}, Rows: rows}); err != nil {
		t.Fatal(err)
	}
	set, err := beacon.OpenAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	m, err := ReadBeacons(t.Context(), set, Reading{PoPs: []edge.PoP{{Name: "fra"}, {Name: "nyc"}, {Name: "sin"}}, Part: Seen})
	if err != nil || len(m.Held) == 0 {
		t.Fatalf("%d sessions held back, error %v", len(m.Held), err)
	}
	for _, s := range m.Held {
		if len(s.Failing) != 1 || s.Failing[0].PoP != 1 {
			t.Errorf("session %d of a unit that fails to reach %v, want nyc", s.ID, s.Failing)
		}
	}
}

// TestNothingReached: a unit whose every candidate fails keeps them all.
func TestNothingReached(t *testing.T) {
	u := MeasuredUnit{Failing: []Failing{{PoP: 2}, {PoP: 5}}}
	for _, tt := range []struct{ pops, want []uint16 }{
		{[]uint16{2, 3, 5}, []uint16{3}}, {[]uint16{5, 2}, []uint16{5, 2}}, {nil, nil},
	} {
		var list []estimate.Estimate
		var got []uint16
		for _, pop := range tt.pops {
			list = append(list, estimate.Estimate{PoP: pop})
		}
		for _, e := range u.reachable(list) {
			got = append(got, e.PoP)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("of %v %v are left, want %v", tt.pops, got, tt.want)
		}
	}
}
