package beacon

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

func TestLimitShares(t *testing.T) {
	for _, tt := range []struct {
		weights []float64
		share   float64
		want    []float64
	}{
		{nil, 0.5, []float64{}},
		{[]float64{0, 0}, 0.5, []float64{0, 0}},
		{[]float64{7}, 0.5, []float64{7}},
		{[]float64{7, 100}, 0.5, []float64{7, 7}},
		{[]float64{7, 0, 100}, 0.5, []float64{7, 0, 7}},
		{[]float64{100, 10, 20}, 0.5, []float64{30, 10, 20}},
		{[]float64{100, 10, 20}, 1, []float64{100, 10, 20}},
		{[]float64{100, 10, 20}, 1.0 / 3, []float64{10, 10, 10}},
		{[]float64{100, 90, 5, 5}, 0.4, []float64{20, 20, 5, 5}},
		{[]float64{50, 50, 1}, 0.5, []float64{50, 50, 1}},
		{[]float64{51, 50, 1}, 0.5, []float64{51, 50, 1}},
		{[]float64{60, 50, 1}, 0.5, []float64{51, 50, 1}},
	} {
		got := LimitShares(tt.weights, tt.share)
		if !slices.EqualFunc(got, tt.want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
			t.Errorf("%v at %v: %v, want %v", tt.weights, tt.share, got, tt.want)
		}
	}
	rng := rand.New(rand.NewPCG(1, 9))
	for range 2000 {
		var weights []float64
		for range 1 + rng.IntN(30) {
			weights = append(weights, math.Exp(3*rng.NormFloat64()))
		}
		share := 0.03 + rng.Float64()*0.9
		got, sum := LimitShares(weights, share), 0.0
		for i, w := range got {
			sum += w
			if w > weights[i] || w <= 0 {
				t.Fatalf("%v at %v: %v", weights, share, got)
			}
		}
		if largest := slices.Max(got); largest > share*sum*(1+1e-9) && largest > slices.Min(weights)*(1+1e-9) {
			t.Fatalf("%v at %v: %v has %v of %v", weights, share, got, largest, sum)
		}
	}
}

func TestSources(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"81.2.3.4", "81.2.3.4", true},
		{"81.2.3.4", "81.2.3.5", false},
		{"2a00:1:2:3::1", "2a00:1:2:3:ffff::", true},
		{"2a00:1:2:3::1", "2a00:1:2:4::1", false},
		{"::1", "0.0.0.1", false},
	} {
		a, b := netip.MustParseAddr(tt.a), netip.MustParseAddr(tt.b)
		if got := SourceOf(a) == SourceOf(b); got != tt.same {
			t.Errorf("%s and %s: the same source %v, want %v", a, b, got, tt.same)
		}
		if SourceOf(a).unit() != UnitOf(a) {
			t.Errorf("source of %s is in %s", a, SourceOf(a).unit())
		}
	}
}

// TestLiarsAreLimited: one address that sends ten times what all others send does
// not move a median; and what it sends weighs as much as it may, however it is
// spread over hours and read by goroutines.
func TestLiarsAreLimited(t *testing.T) {
	var rows []Row
	add := func(client string, hour, n int, rtt uint16) {
		for i := range n {
			rows = append(rows, Row{
				Session: uint64(len(rows))*0x9e3779b97f4a7c15 + 1, Time: noon.Unix() + int64(hour)*hourLength + int64(i%3600),
				Client: netip.MustParseAddr(client), PoP: 1, RTT: rtt,
			})
		}
	}
	const hours = 4
	for hour := range hours {
		for host := range 50 { // within the allowance
			add(fmt.Sprintf("81.2.3.%d", host), hour, 1+host%SamplesAnHour, uint16(400+host))
		}
		add("81.2.3.200", hour, 1000, 10)
		add("2a00:1:2:3::1", hour, 500, 20) // alone in its unit
		add("2a00:1:2:3::2", hour, 500, 20) // the same source
	}
	dir := t.TempDir()
	appendRows(t, writer(t, dir), "b", fleet, rows)
	set, err := OpenAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	for _, weight := range []uint16{1, 1000} {
		plan := Plan{PoPs: fleet, Weight: func(Session, Row) uint16 { return weight }}
		if plan.Limits, err = FindLimits(t.Context(), set, plan, 3); err != nil {
			t.Fatal(err)
		}
		if plan.Limits.Sources() != 2 {
			t.Fatalf("%d sources are limited, want 2", plan.Limits.Sources())
		}
		// 50 hosts bring 99 samples an hour.
		honest := float64(hours * 99)
		allowed := max(hours*SamplesAnHour, SourceShare*(honest+hours*SamplesAnHour))
		liar := netip.MustParseAddr("81.2.3.200")
		pop := uint16(slices.Index(set.PoPs, fleet[1]))
		if got, want := plan.Limits.Factor(liar, pop), allowed/(hours*1000); math.Abs(got-want) > 1e-12 {
			t.Errorf("factor %v, want %v", got, want)
		}
		if got := plan.Limits.Factor(netip.MustParseAddr("81.2.3.7"), pop); got != 1 {
			t.Errorf("an honest source has the factor %v", got)
		}
		cells := collect(t, Aggregate(t.Context(), set, plan, Embedded{}, 3))
		if len(cells) != 2 || cells[0].P50 < 420 || cells[0].P50 > 427 {
			t.Fatalf("cells %+v, want a median among the honest", cells)
		}
		// An hour's rounding takes less than one unit of weight.
		want := (honest + allowed) * float64(weight)
		if got := float64(cells[0].Weight); got > want || got < want-hours {
			t.Errorf("weight %v, want %v", got, want)
		}
		alone := float64(hours*SamplesAnHour) * float64(weight)
		if got := float64(cells[1].Weight); got > alone || got < alone-hours {
			t.Errorf("alone: weight %v, want %v", got, alone)
		}
		if again := collect(t, Aggregate(t.Context(), set, plan, Embedded{}, 1)); !slices.Equal(again, cells) {
			t.Errorf("again %+v, want %+v", again, cells)
		}
	}
}

func TestLimitsOfAnotherSet(t *testing.T) {
	dir := t.TempDir()
	appendRows(t, writer(t, dir), "b", fleet, random(rand.New(rand.NewPCG(1, 1)), 50, 1))
	set, err := OpenAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	other := &Limits{pops: []string{"x"}, factors: map[sourceCell]float64{{}: 0.5}}
	for _, err := range Aggregate(t.Context(), set, Plan{PoPs: fleet, Limits: other}, Embedded{}, 1) {
		if err == nil || err.Error() != "aggregate beacons: the limits are those of another set" {
			t.Errorf("%v", err)
		}
	}
}
