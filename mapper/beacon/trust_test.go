package beacon

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"edged/edge"
)

// TestTrust: of one folder, who brings too much counts less, who alone is faster
// than light does not count, and where three agree the place is doubted.
func TestTrust(t *testing.T) {
	var rows []Row
	add := func(client string, hour, n int, pop uint16, rtt uint16) {
		for i := range n {
			rows = append(rows, Row{
				Session: uint64(len(rows) + 1), Time: noon.Unix() + int64(hour)*hourLength + int64(i), PoP: pop,
				Client: netip.MustParseAddr(client), RTT: rtt,
			})
		}
	}
	const fra, sin = 1, 3
	for host := range 20 {
		add(fmt.Sprintf("81.2.3.%d", host), host%2, 2, fra, 200)
	}
	add("81.2.3.100", 0, 100, fra, 200)
	add("81.2.4.1", 0, 1, sin, 10) // Berlin to Singapore takes 99 ms at least
	add("81.2.4.2", 1, 1, sin, 1500)
	for host := range 3 {
		add(fmt.Sprintf("81.2.5.%d", host), host, 1, sin, 500) // in three different hours
	}
	add("81.2.6.1", 0, 1, sin, 10) // nobody knows where
	dir := t.TempDir()
	appendRows(t, writer(t, dir), "b", fleet, rows)
	set, err := OpenAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	pops := []edge.PoP{{Name: "fra", Lat: 50.11, Lon: 8.68}, {Name: "sin", Lat: 1.35, Lon: 103.82}}
	where := func(u Unit) (Point, bool) {
		return Point{52.52, 13.4}, u != UnitOf(netip.MustParseAddr("81.2.6.0"))
	}
	for _, workers := range []int{1, 3} {
		trust, err := FindTrust(t.Context(), set, pops, where, workers)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []struct{ what, list, want string }{
			{"limited", fmt.Sprint(trust.Limited()), "[81.2.3.100]"},
			{"frauds", fmt.Sprint(trust.Frauds()), "[81.2.4.1]"},
			{"places", fmt.Sprint(trust.Places()), "[81.2.5.0/24]"},
		} {
			if got.list != got.want {
				t.Errorf("%s: %s, want %s", got.what, got.list, got.want)
			}
		}
		if !trust.Misplaced(UnitOf(netip.MustParseAddr("81.2.5.9"))) || trust.Misplaced(UnitOf(netip.MustParseAddr("81.2.4.9"))) {
			t.Error("the wrong units are misplaced")
		}
		weights := map[string]float64{}
		for s, err := range set.Sessions() {
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range s.Rows {
				weights[r.Client.String()] = trust.Weight(s, r)
			}
		}
		// The busy one has three samples of its hour: the others bring 40, of which
		// those of the hour before weigh a little less.
		if w := weights["81.2.3.100"]; w != 0.03 {
			t.Errorf("a busy source counts %v, want 0.03", w)
		}
		for client, want := range map[string]float64{"81.2.3.4": 1, "81.2.4.1": 0, "81.2.4.2": 1, "81.2.5.1": 1, "81.2.6.1": 1} {
			if weights[client] != want {
				t.Errorf("%s counts %v, want %v", client, weights[client], want)
			}
		}
	}
	blind, err := FindTrust(t.Context(), set, pops, nil, 2)
	if err != nil || len(blind.Frauds())+len(blind.Places()) > 0 || len(blind.Limited()) != 1 {
		t.Errorf("without places: %v %v %v, %v", blind.Frauds(), blind.Places(), blind.Limited(), err)
	}
	if w := new(Trust).Weight(Session{}, rows[0]); w != 1 {
		t.Errorf("the zero value counts a row %v", w)
	}
}

func TestSourceText(t *testing.T) {
	for addr, want := range map[string]string{"81.2.3.4": "81.2.3.4", "2a00:1:2:3:4::5": "2a00:1:2:3::/64", "::1": "::/64"} {
		if got := SourceOf(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	p := SourceOf(netip.MustParseAddr("2a00:1:2:3:4::5")).Prefix()
	if !slices.Equal([]netip.Prefix{p}, []netip.Prefix{netip.MustParsePrefix("2a00:1:2:3::/64")}) {
		t.Error(p)
	}
}
