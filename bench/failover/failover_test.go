//go:build linux

package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"edged/test/fleet/rig"
)

// The test's binary stands in for the command's, also as the web servers.
func TestMain(m *testing.M) {
	rig.Main()
	os.Exit(m.Run())
}

// One round: the figures are there; how good they are is not looked at.
func TestSmallRun(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	if err := rig.Possible(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no fleet can run here: %v", err)
		}
		t.Skipf("no fleet can run here: %v", err)
	}
	var out strings.Builder
	if err := run(t.Context(), 1, true, &out); err != nil && !strings.HasPrefix(err.Error(), "missed: ") {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	if len(r.Nodes) != nodes {
		t.Fatalf("%d nodes, want %d", len(r.Nodes), nodes)
	}
	for _, n := range r.Nodes {
		if len(n.Gone) != 1 || n.Gone[0] <= 0 || len(n.Back) != 1 || n.Back[0] <= 0 || n.Questions == 0 {
			t.Errorf("%s: gone after %v, back after %v, %d questions; want one of each, above 0, and some", n.Node, n.Gone, n.Back, n.Questions)
		}
	}
}

func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		last row
		want []string
	}{
		"good": {row{Gone: []float64{9, 1}, Back: []float64{20, 1}}, nil},
		"late": {row{Gone: []float64{1, 9.01}, Back: []float64{1, 1}}, []string{"s until no node names a dead server: 9.01, want at most 9"}},
		"lost": {row{Gone: []float64{1, 1}, Back: []float64{1, 1}, Bad: []string{"n2: lost"}}, []string{"times that an answer was lost or had no address: 1, want at most 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := report{Nodes: []*row{{Node: "n1", Gone: []float64{2, 3}, Back: []float64{8, 9}}, &c.last}}
			r.judge()
			if got := r.missed(); !slices.Equal(got, c.want) {
				t.Errorf("missed %q, want %q", got, c.want)
			}
			var out strings.Builder
			r.writeMarkdown(&out)
			if want := "| n1 |  | 2.00 | 3.00 | 8.00 | 9.00 | 0 | 0 |\n"; !strings.HasPrefix(out.String(), "2 rounds, ") || !strings.Contains(out.String(), want) {
				t.Errorf("the report lacks %q:\n%s", want, out.String())
			}
		})
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{4, 2}, 2}, {[]float64{9, 1, 5}, 5}} {
		if got := median(c.of); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.of, got, c.want)
		}
	}
}

func TestRoundsOutOfBounds(t *testing.T) {
	for _, rounds := range []int{0, maxRounds + 1} {
		if err := run(t.Context(), rounds, false, nil); err == nil {
			t.Errorf("%d rounds are taken", rounds)
		}
	}
}
