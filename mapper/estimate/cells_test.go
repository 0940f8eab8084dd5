package estimate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func client(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }

// Cells has the samples of Correct aggregated, plainly.
func Cells(sessions []Session, expected func(pop uint16) float64) []Cell {
	samples, cells := Correct(sessions, expected)
	for i, c := range cells {
		var values []weighted
		for _, s := range samples {
			if s.PoP == c.PoP {
				values = append(values, weighted{float64(s.Tenths) / 10, s.Weight})
				c.Weight += s.Weight
			}
		}
		c.Samples, c.RTT, c.P90 = len(values), upperQuantile(values, 0.5), upperQuantile(values, 0.9)
		for _, v := range values {
			c.Spread += v.weight * math.Abs(v.value-c.RTT) / c.Weight
		}
		cells[i] = c
	}
	return cells
}

// upperQuantile returns the smallest value that has more than the share q of the
// weight at it or below. It sorts the values, of which there must be one.
func upperQuantile(values []weighted, q float64) float64 {
	total := 0.0
	for _, v := range values {
		total += v.weight
	}
	new(sorter).sort(values)
	sum := 0.0
	for _, v := range values {
		if sum += v.weight; sum > q*total {
			return v.value
		}
	}
	return values[len(values)-1].value
}

// session is what a client with a last mile sees of PoPs with true times.
func session(n int, lastMile float64, truth map[uint16]float64, pops ...uint16) Session {
	s := Session{Client: client(n), Weight: 1}
	for _, p := range pops {
		s.Values = append(s.Values, Value{PoP: p, RTT: truth[p] + lastMile})
	}
	return s
}

// Clients with fast access measured the far PoPs and those with slow access the
// near ones. Medians of what they saw put the far ones first; the fit does not.
func TestCellsTakeLastMilesOut(t *testing.T) {
	truth := map[uint16]float64{0: 10, 1: 14, 2: 20, 3: 30}
	sessions := []Session{
		session(1, 60, truth, 0, 1, 2), session(2, 50, truth, 0, 1, 3), session(3, 55, truth, 0, 1, 2),
		session(4, 1, truth, 1, 2, 3), session(5, 2, truth, 1, 2, 3), session(6, 3, truth, 0, 2, 3),
		session(7, 4, truth, 1, 2, 3),
	}
	cells := Cells(sessions, nil)
	if len(cells) != 4 {
		t.Fatalf("%d cells, want 4", len(cells))
	}
	for _, c := range cells[1:] {
		if got, want := c.RTT-cells[0].RTT, truth[c.PoP]-truth[0]; math.Abs(got-want) > 0.1 {
			t.Errorf("pop %d is %.2f ms above pop 0, want %.2f", c.PoP, got, want)
		}
	}
	if c := cells[0]; c.Samples != 4 || c.Sources != 4 || c.Weight != 4 {
		t.Errorf("cell %+v, want 4 samples of 4 sources", c)
	}
}

// Sessions of one or two PoPs do not tell their last mile: they count as seen.
func TestCellsOfSinglePoPsAreMedians(t *testing.T) {
	var sessions []Session
	for i, v := range []float64{30, 10, 50, 20} {
		sessions = append(sessions, Session{client(i), 1, []Value{{PoP: 7, RTT: v}}})
	}
	c := Cells(sessions, nil)[0]
	if c.RTT != 30 || c.P90 != 50 { // of 10 20 30 50 the upper of both medians
		t.Errorf("median %v and p90 %v, want 30 and 50", c.RTT, c.P90)
	}
}

// One source that reports often is one voice.
func TestCellsHearASourceOnce(t *testing.T) {
	var sessions []Session
	for range 50 {
		sessions = append(sessions, Session{client(1), 1, []Value{{PoP: 0, RTT: 1}}})
	}
	for i := range 2 {
		sessions = append(sessions, Session{client(2 + i), 1, []Value{{PoP: 0, RTT: 40}}})
	}
	if c := Cells(sessions, nil)[0]; c.RTT != 40 || c.Sources != 3 {
		t.Errorf("median %v of %d sources, want 40 of 3", c.RTT, c.Sources)
	}
}

// Whatever two of the sources say, High is not below the honest ones' median.
func TestHighHoldsAgainstTwoLiars(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		var sessions []Session
		var honest []float64
		for i := range 1 + rng.IntN(9) {
			v := float64(200+rng.IntN(1000)) / 10 // whole tenths, as samples are
			honest = append(honest, v)
			sessions = append(sessions, Session{client(i), 1, []Value{{PoP: 0, RTT: v}}})
		}
		slices.Sort(honest)
		for i := range 2 {
			sessions = append(sessions, Session{client(100 + i), 1, []Value{{PoP: 0, RTT: 200 * rng.Float64()}}})
		}
		if c := Cells(sessions, nil)[0]; c.High < honest[len(honest)/2] {
			t.Fatalf("high %v of %d sources, below the median of %v", c.High, c.Sources, honest)
		}
	}
}

func TestLeastAsksTheLevelsAbove(t *testing.T) {
	for _, tt := range []struct {
		sources            int
		high, parent, want float64
	}{
		{2, math.Inf(1), 50, 50}, // nothing but liars, perhaps
		{3, 30, 50, 30},
		{4, 60, 50, 50},
		{5, 60, 50, 0}, // three are honest: the median is safe
	} {
		if got := (Cell{Sources: tt.sources, High: tt.high}).least(tt.parent); got != tt.want {
			t.Errorf("%+v: least %v", tt, got)
		}
	}
}

// Both medians against a list in which each value stands as often as it weighs.
func TestMediansMatchPlain(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 2000 {
		var values []weighted
		var plain []float64
		for range 1 + rng.IntN(8) {
			v, n := float64(rng.IntN(10)), 1+rng.IntN(4)
			values = append(values, weighted{v, float64(n)})
			plain = append(plain, slices.Repeat([]float64{v}, n)...)
		}
		slices.Sort(plain)
		name := fmt.Sprint(plain)
		n := len(plain)
		if got := upperQuantile(values, 0.5); got != plain[n/2] {
			t.Fatalf("upper median of %s is %v", name, got)
		}
		if got, want := new(medians).middle(values), (plain[(n-1)/2]+plain[n/2])/2; got != want {
			t.Fatalf("middle of %s is %v, want %v", name, got, want)
		}
	}
}
