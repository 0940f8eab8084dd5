package bgp

import (
	"testing"
	"time"
)

// TestBreaker plays leavings and returns: "3m +a -b" notes at 3 minutes that a
// announces and b does not.
func TestBreaker(t *testing.T) {
	type note struct {
		at    time.Duration
		words string // node names with a sign
		total int
		want  string
	}
	const three, four = "breaker open: 3 of 8 nodes left within 5m0s", "breaker open: 4 of 8 nodes left within 5m0s"
	for name, notes := range map[string][]note{
		"two may leave": {
			{0, "+a +b +c", 3, ""},
			{time.Minute, "-a -b", 3, ""},
		},
		"a third does": {
			{0, "+a +b +c +d", 8, ""},
			{1 * time.Minute, "-a -b", 8, ""},
			{2 * time.Minute, "-c", 8, three},
			{6*time.Minute - 1, "", 8, three},
			{6 * time.Minute, "", 8, ""}, // the first two left 5 minutes ago
		},
		"one at a time does not keep it open": {
			{0, "+a +b +c +d", 8, ""},
			{2 * time.Minute, "-a -b -c", 8, three},
			{4 * time.Minute, "-d", 8, four},
			{6 * time.Minute, "+a +b +c", 8, four},
			{7*time.Minute - 1, "", 8, four},
			{7 * time.Minute, "", 8, ""},
			{8 * time.Minute, "-a", 8, ""},
		},
		"not within five minutes": {
			{0, "+a +b +c", 8, ""},
			{1 * time.Minute, "-a", 8, ""},
			{4 * time.Minute, "-b", 8, ""},
			{6 * time.Minute, "-c", 8, ""},
		},
		"one that flaps is one": {
			{0, "+a", 8, ""},
			{1 * time.Minute, "-a +a -a +a -a +a -a", 8, ""},
		},
		"who never announced does not leave": {
			{0, "-a -b -c -d", 8, ""},
		},
		"who left and is out of the plan": {
			{0, "+a +b +c", 3, ""},
			{time.Minute, "-a -b -c", 1, "breaker open: 3 of 3 nodes left within 5m0s"},
		},
		"a fifth of twenty is four": {
			{0, "+a +b +c +d +e", 20, ""},
			{time.Minute, "-a -b -c -d", 20, ""},
			{2 * time.Minute, "-e", 20, "breaker open: 5 of 20 nodes left within 5m0s"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b Breaker
			for _, n := range notes {
				for i := 0; i+1 < len(n.words); i += 3 {
					b.Note(n.at, n.words[i+1:i+2], n.words[i] == '+')
				}
				if got := b.Open(n.at, n.total); got != n.want {
					t.Errorf("at %v after %q it says %q, want %q", n.at, n.words, got, n.want)
				}
			}
		})
	}
}
