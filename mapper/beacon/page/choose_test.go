package page

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// many samples leave nothing of a guess.
const many = 4096

// fleet has 20 PoPs, 10 ms apart.
func fleet(samples int) []Candidate {
	var list []Candidate
	for i := range 20 {
		list = append(list, Candidate{PoP: fmt.Sprintf("p%02d", i), RTT: float64(10 * (i + 1)), Samples: samples})
	}
	return list
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name    string
		list    []Candidate
		inForce int
		want    int
	}{
		{"many", fleet(0), 3, 4},
		{"the last in force", fleet(many), 19, 4},
		{"three", fleet(0)[:3], 1, 3},
		{"one", fleet(0)[:1], 0, 1},
		{"none", nil, 0, 0},
		{"no times", []Candidate{{PoP: "a"}, {PoP: "b"}, {PoP: "c"}, {PoP: "d"}, {PoP: "e"}}, 0, 4},
	} {
		for seed := range uint64(200) {
			got := Choose(slices.Clone(c.list), c.inForce, 4, seed)
			if len(got) != c.want || len(got) > 0 && got[0] != c.list[c.inForce].PoP {
				t.Fatalf("%s: %v, want %d with the one in force first", c.name, got, c.want)
			}
			sorted := slices.Sorted(slices.Values(got))
			if len(slices.Compact(sorted)) != len(got) {
				t.Fatalf("%s: %v has one twice", c.name, got)
			}
			if again := Choose(slices.Clone(c.list), c.inForce, 4, seed); !slices.Equal(got, again) {
				t.Fatalf("%s: seed %d gives %v and then %v", c.name, seed, got, again)
			}
		}
	}
}

// TestChooseSeeds holds choices, the same on all machines.
func TestChooseSeeds(t *testing.T) {
	mixed := fleet(many) // guesses among what is known
	mixed[4].Samples, mixed[5].Samples, mixed[6].Samples = 0, 2, 0
	for _, c := range []struct {
		name    string
		list    []Candidate
		inForce int
		want    [6]string // by seed
	}{
		{"guesses", fleet(0), 0, [6]string{
			"p00 p02 p01 p03", "p00 p01 p03 p04", "p00 p01 p04 p03",
			"p00 p02 p01 p03", "p00 p02 p01 p06", "p00 p02 p05 p04",
		}},
		{"few samples", fleet(3), 0, [6]string{
			"p00 p02 p01 p04", "p00 p01 p04 p06", "p00 p01 p06 p05",
			"p00 p01 p02 p05", "p00 p02 p01 p08", "p00 p01 p08 p07",
		}},
		{"many samples", fleet(many), 0, [6]string{
			"p00 p06 p02 p03", "p00 p03 p06 p07", "p00 p03 p07 p06",
			"p00 p06 p02 p04", "p00 p06 p02 p08", "p00 p05 p08 p07",
		}},
		{"guesses among many samples", mixed, 0, [6]string{
			"p00 p05 p03 p04", "p00 p04 p06 p07", "p00 p04 p06 p07",
			"p00 p04 p03 p06", "p00 p05 p03 p06", "p00 p04 p08 p07",
		}},
		{"another in force", mixed, 4, [6]string{
			"p04 p02 p00 p01", "p04 p00 p02 p03", "p04 p00 p03 p02",
			"p04 p01 p00 p02", "p04 p02 p00 p05", "p04 p01 p03 p05",
		}},
	} {
		for seed, want := range c.want {
			if got := strings.Join(Choose(c.list, c.inForce, 4, uint64(seed)), " "); got != want {
				t.Errorf("%s, seed %d: %s, want %s", c.name, seed, got, want)
			}
		}
	}
}

// TestChooseAllocates holds how much a choice allocates: what it returns, two
// lists of figures, and one more under the race detector.
func TestChooseAllocates(t *testing.T) {
	list := fleet(2)
	if n := testing.AllocsPerRun(100, func() { Choose(list, 0, 4, 1) }); n > 4 {
		t.Errorf("%v allocations, want 4 at most", n)
	}
}

// drawn counts how often each PoP is in 10,000 sessions.
func drawn(list []Candidate, inForce int) map[string]int {
	count := map[string]int{}
	for seed := range uint64(10_000) {
		for _, pop := range Choose(list, inForce, 4, seed) {
			count[pop]++
		}
	}
	return count
}

// TestChooseByGain holds what the draw is for: what may be better is measured
// more often, what is not known well more often than what is, and everything now
// and then.
func TestChooseByGain(t *testing.T) {
	guessed := drawn(fleet(0), 2)
	if guessed["p00"] < guessed["p05"] || guessed["p05"] < guessed["p09"] {
		t.Errorf("closer ones are drawn less: %v", guessed)
	}
	for _, c := range fleet(0) {
		if n := guessed[c.PoP]; n < 80 { // a quarter of the sessions, one of some 17
			t.Errorf("%s is drawn in %d of 10000 sessions, want 80 or more", c.PoP, n)
		}
	}
	if far := guessed["p10"]; far > 400 {
		t.Errorf("p10, which is not near, is drawn in %d of 10000 sessions", far)
	}
	one := fleet(many)
	one[6].Samples = 0 // a wide guess among sharp ones
	mixed := drawn(one, 0)
	if mixed["p06"] < 2*mixed["p05"] {
		t.Errorf("p06, which is guessed, is drawn %d times, and p05, which is measured, %d", mixed["p06"], mixed["p05"])
	}
}

func TestDeviation(t *testing.T) {
	for _, c := range []struct {
		rtt     float64
		samples int
		want    float64
	}{
		{0, 0, 10.05},
		{100, 0, 35.51}, // a guess
		{20, 1, 10.79},
		{20, 4, 7.00},
		{20, 12, 4.62},
		{20, 64, 2.73},
		{20, many, 2.01},
		{100, 1, 25.47},
		{100, 12, 11.41},
		{100, many, 6.02},
	} {
		if got := deviation(c.rtt, c.samples); math.Abs(got-c.want) > 0.005 {
			t.Errorf("%v ms of %d samples: deviation %.3f ms, want %.2f", c.rtt, c.samples, got, c.want)
		}
	}
}

// TestExpectedGain holds gains to sums over a grid.
func TestExpectedGain(t *testing.T) {
	list := []Candidate{{"a", 20, 0}, {"b", 15, many}, {"c", 40, 2}, {"d", 300, many}}
	gains := gainsOver(list, 0)
	for i, c := range list {
		sd1, sd2 := deviation(20, 0), deviation(c.RTT, c.Samples)
		sum, weight := 0.0, 0.0
		for x := -6.0; x <= 6; x += 0.05 {
			for y := -6.0; y <= 6; y += 0.05 {
				w := normal(x) * normal(y)
				sum += w * max(0, 20+sd1*x-c.RTT-sd2*y)
				weight += w
			}
		}
		if want := max(leastEI, sum/weight); gains[i] < 0.98*want || gains[i] > 1.02*want {
			t.Errorf("%s may gain %.3f ms, want %.3f", c.PoP, gains[i], want)
		}
	}
	if gains[3] != leastEI {
		t.Errorf("what is 280 ms farther may gain %v ms, want %v", gains[3], leastEI)
	}
}
