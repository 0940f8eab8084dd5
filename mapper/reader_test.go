package mapper

import (
	"context"
	"errors"
	"iter"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"edged/edge"
	"edged/mapper/beacon"
	"edged/mapper/estimate"
)

var readPoPs = []edge.PoP{{Name: "ams"}, {Name: "fra"}, {Name: "nyc"}, {Name: "sin"}}

// measuredSet writes sessions of a few units over some hours and opens them. PoP old
// is not in the fleet.
func measuredSet(t *testing.T) *beacon.Set {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	var rows []beacon.Row
	for id := range 600 {
		client := netip.AddrFrom4([4]byte{198, 51, byte(rng.IntN(7)), byte(rng.IntN(12))})
		if id%5 == 0 {
			client = netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 5: byte(rng.IntN(3)), 15: byte(rng.IntN(9))})
		}
		at := time.Date(2026, 6, 17, rng.IntN(9), 0, 0, 0, time.UTC).Unix()
		mile := rng.IntN(500)
		for _, pop := range rng.Perm(5)[:1+rng.IntN(4)] {
			rows = append(rows, beacon.Row{
				Session: uint64(id) + 1, Time: at + 7, Client: client, Resolver: netip.AddrFrom4([4]byte{9, 9, 9, byte(id % 3)}),
				PoP: uint16(pop), RTT: uint16(100 + 300*pop + mile + rng.IntN(100)),
			})
		}
	}
	dir := t.TempDir()
	w, err := beacon.NewWriter(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Append(beacon.Batch{ID: "b", PoPs: []string{"ams", "fra", "nyc", "sin", "old"}, Rows: rows}); err != nil {
		t.Fatal(err)
	}
	set, err := beacon.OpenAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	return set
}

// halve lets the rows of hosts below 4 count half, and those of hosts above 9 not.
func halve(_ beacon.Session, r beacon.Row) float64 {
	switch host := r.Client.AsSlice()[len(r.Client.AsSlice())-1]; {
	case host < 4:
		return 0.5
	case host > 9:
		return 0
	}
	return 1
}

// plainUnits is the slow twin of ReadBeacons: all sessions at once, and medians of
// weights that are not rounded.
func plainUnits(t *testing.T, set *beacon.Set) map[beacon.Unit][]estimate.Cell {
	t.Helper()
	sessions := map[beacon.Unit][]estimate.Session{}
	for s, err := range set.Sessions() {
		if err != nil {
			t.Fatal(err)
		}
		hours := float64(set.Hours[len(set.Hours)-1].Start.Unix()-s.Time()/3600*3600) / 3600
		session := estimate.Session{Client: beacon.SourceOf(s.Rows[0].Client).Prefix().Addr(), Weight: math.Pow(0.5, hours/24)}
		for _, r := range s.Rows {
			at := slices.IndexFunc(readPoPs, func(p edge.PoP) bool { return p.Name == s.PoPs[r.PoP] })
			if counts := halve(s, r); at >= 0 && counts > 0 {
				session.Values = append(session.Values, estimate.Value{PoP: uint16(at), RTT: float64(r.RTT) / 10, Less: 1 - counts})
			}
		}
		if u := beacon.UnitOf(s.Rows[0].Client); len(session.Values) > 0 {
			sessions[u] = append(sessions[u], session)
		}
	}
	units := map[beacon.Unit][]estimate.Cell{}
	for u, list := range sessions {
		samples, cells := estimate.Correct(list, nil)
		for i := range cells {
			c := &cells[i]
			var own []estimate.Sample
			for _, s := range samples {
				if s.PoP == c.PoP {
					own = append(own, s)
					c.Weight += s.Weight
				}
			}
			c.Samples = len(own)
			slices.SortFunc(own, func(a, b estimate.Sample) int { return int(a.Tenths) - int(b.Tenths) })
			upTo := 0.0
			for _, s := range slices.Backward(own) { // the largest with less than half below
				if upTo += s.Weight; upTo >= c.Weight/2 {
					c.RTT = float64(s.Tenths) / 10
					break
				}
			}
			for _, s := range own {
				c.Spread += s.Weight / c.Weight * math.Abs(float64(s.Tenths)/10-c.RTT)
			}
		}
		units[u] = cells
	}
	return units
}

func TestReadBeaconsMatchesPlain(t *testing.T) {
	set := measuredSet(t)
	want := plainUnits(t, set)
	m, err := ReadBeacons(t.Context(), set, Reading{PoPs: readPoPs, Weigh: halve, Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Units) != len(want) || len(want) != 10 {
		t.Fatalf("%d units, want %d and 10", len(m.Units), len(want))
	}
	near := func(a, b, within float64) bool { return math.Abs(a-b) <= within }
	for i, u := range m.Units {
		if i > 0 && m.Units[i-1].Unit >= u.Unit {
			t.Errorf("unit %v after %v", u.Unit, m.Units[i-1].Unit)
		}
		ok := slices.EqualFunc(u.Cells, want[u.Unit], func(a, b estimate.Cell) bool {
			// A weight is rounded by less than 1/4095 for each sample.
			return a.PoP == b.PoP && a.RTT == b.RTT && a.Samples == b.Samples && a.Sources == b.Sources && a.High == b.High &&
				near(a.Weight, b.Weight, 0.001) && near(a.Spread, b.Spread, 0.05) && a.P90 >= a.RTT
		})
		if !ok {
			t.Errorf("%v:\n%+v, want\n%+v", u.Unit, u.Cells, want[u.Unit])
		}
	}
	rows, unknown, refused, lowered, asked := 0, 0, 0, 0, 0.0
	for s := range set.Sessions() {
		for _, r := range s.Rows {
			switch counts := halve(s, r); {
			case s.PoPs[r.PoP] == "old":
				unknown++
			case counts == 0:
				refused++
			default:
				rows++
				if counts < 1 {
					lowered++
				}
			}
		}
	}
	for _, r := range m.Resolvers {
		for _, n := range r.Units {
			asked += n
		}
	}
	if m.Rows != rows || m.Unknown != unknown || m.Refused != refused || m.Lowered != lowered || len(m.Resolvers) != 3 || int(asked) != m.Sessions {
		t.Errorf("%d rows, %d unknown, %d refused, %d lowered, %v of %d sessions by %d resolvers; want %d, %d, %d, %d, all by 3",
			m.Rows, m.Unknown, m.Refused, m.Lowered, asked, m.Sessions, len(m.Resolvers), rows, unknown, refused, lowered)
	}
}

// losing is an engine that changes what it was given, or errs.
type losing struct {
	change func([]beacon.Cell) []beacon.Cell
	err    error
}

func (l losing) Begin(ctx context.Context) (beacon.Aggregation, error) {
	a, err := beacon.Embedded{}.Begin(ctx)
	return losingAggregation{a, l}, err
}

type losingAggregation struct {
	beacon.Aggregation
	losing
}

func (l losingAggregation) Cells() iter.Seq2[beacon.Cell, error] {
	return func(yield func(beacon.Cell, error) bool) {
		var cells []beacon.Cell
		for c := range l.Aggregation.Cells() {
			cells = append(cells, c)
		}
		for _, c := range l.change(cells) {
			if !yield(c, nil) {
				return
			}
		}
		if l.err != nil {
			yield(beacon.Cell{}, l.err)
		}
	}
}

// TestReadBeaconsNeverInPart: whatever an engine leaves out or makes up, there are
// no measurements.
func TestReadBeaconsNeverInPart(t *testing.T) {
	set := measuredSet(t)
	for _, tt := range []struct {
		name   string
		engine losing
		want   string
	}{
		{"nothing lost", losing{change: func(c []beacon.Cell) []beacon.Cell { return c }}, ""},
		{"the last cell", losing{change: func(c []beacon.Cell) []beacon.Cell { return c[:len(c)-1] }}, "the engine has fewer cells than were measured"},
		{"the first cell", losing{change: func(c []beacon.Cell) []beacon.Cell { return c[1:] }}, "samples of 198.51.0.0/24 and pop 1, want "},
		{"a sample", losing{change: func(c []beacon.Cell) []beacon.Cell { c[3].Count--; return c }}, "samples of 198.51.0.0/24 and pop 3, want "},
		{"one too many", losing{change: func(c []beacon.Cell) []beacon.Cell { return append(c, beacon.Cell{Unit: 1}) }}, "the engine has a cell of 0.0.1.0/24 that nobody measured"},
		{"an error", losing{change: func(c []beacon.Cell) []beacon.Cell { return c[:5] }, err: errors.New("cut")}, "cannot aggregate beacons: cut"},
	} {
		_, err := ReadBeacons(t.Context(), set, Reading{PoPs: readPoPs, Engine: tt.engine})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestWeightsAddUp: thirds of a weight are whole again, in sum, and what weighs
// next to nothing makes no sample.
func TestWeightsAddUp(t *testing.T) {
	corrected := []estimate.Sample{{PoP: 1, Weight: 1.0 / 7}, {PoP: 1, Weight: 1.0 / 7}, {PoP: 1, Weight: 5.0 / 7}, {PoP: 2, Weight: 0.0001}, {PoP: 4, Weight: 1}}
	samples, cells := weighted(9, corrected, []estimate.Cell{{PoP: 1}, {PoP: 2}, {PoP: 4}})
	want := []beacon.Sample{{Unit: 9, PoP: 1, Weight: 585}, {Unit: 9, PoP: 1, Weight: 585}, {Unit: 9, PoP: 1, Weight: 2925}, {Unit: 9, PoP: 4, Weight: 4095}}
	if !slices.Equal(samples, want) {
		t.Errorf("samples %v, want %v", samples, want)
	}
	if len(cells) != 2 || cells[0].Samples != 3 || cells[1].PoP != 4 {
		t.Errorf("cells %+v", cells)
	}
}
