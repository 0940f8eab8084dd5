package page

import (
	"fmt"
	"slices"
	"testing"
)

// fleet has 20 PoPs, 10 ms apart.
func fleet(measured bool) []Candidate {
	var list []Candidate
	for i := range 20 {
		list = append(list, Candidate{PoP: fmt.Sprintf("p%02d", i), RTT: float64(10 * (i + 1)), Measured: measured})
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
		{"many", fleet(false), 3, 4},
		{"the last in force", fleet(true), 19, 4},
		{"three", fleet(false)[:3], 1, 3},
		{"one", fleet(false)[:1], 0, 1},
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
	guessed := drawn(fleet(false), 2)
	if guessed["p00"] < guessed["p05"] || guessed["p05"] < guessed["p09"] {
		t.Errorf("closer ones are drawn less: %v", guessed)
	}
	for _, c := range fleet(false) {
		if n := guessed[c.PoP]; n < 80 { // a quarter of the sessions, one of some 17
			t.Errorf("%s is drawn in %d of 10000 sessions, want 80 or more", c.PoP, n)
		}
	}
	if far := guessed["p10"]; far > 400 {
		t.Errorf("p10, which is not near, is drawn in %d of 10000 sessions", far)
	}
	one := fleet(true)
	one[6].Measured = false // a wide guess among sharp ones
	mixed := drawn(one, 0)
	if mixed["p06"] < 2*mixed["p05"] {
		t.Errorf("p06, which is guessed, is drawn %d times, and p05, which is measured, %d", mixed["p06"], mixed["p05"])
	}
}

// TestExpectedGain holds gains to sums over a grid.
func TestExpectedGain(t *testing.T) {
	list := []Candidate{{"a", 20, false}, {"b", 15, true}, {"c", 40, false}, {"d", 300, true}}
	gains := gainsOver(list, 0)
	for i, c := range list {
		sd1, sd2 := deviation(20, false), deviation(c.RTT, c.Measured)
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
