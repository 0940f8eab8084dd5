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
	if len(r.Rows) != nodes*len(ways) || r.Answers == 0 {
		t.Fatalf("%d rows, want %d nodes and %d ways to die; %d answers", len(r.Rows), nodes, len(ways), r.Answers)
	}
	for _, row := range r.Rows {
		if len(row.Gone) != 1 || row.Gone[0] <= 0 || len(row.Back) != 1 || row.Back[0] <= 0 {
			t.Errorf("%s, %s: gone after %v, back after %v; want one of each, above 0", row.Way, row.Node, row.Gone, row.Back)
		}
	}
}

func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		last row
		bad  []string
		want []string
	}{
		"good": {row{Gone: []float64{9, 1}, Back: []float64{20, 1}}, nil, nil},
		"late": {row{Gone: []float64{1, 9.01}, Back: []float64{1, 1}}, nil, []string{"s until no node names a dead server: 9.01, want at most 9"}},
		"lost": {row{Gone: []float64{1, 1}, Back: []float64{1, 1}}, []string{"n2: lost"}, []string{"times that an answer was lost or had no address: 1, want at most 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := report{Bad: c.bad, Rows: []*row{{Way: "killed", Node: "n1", Gone: []float64{2, 3}, Back: []float64{8, 9}}, &c.last}}
			r.judge()
			if got := r.Bars.Missed(); !slices.Equal(got, c.want) {
				t.Errorf("missed %q, want %q", got, c.want)
			}
			var out strings.Builder
			r.writeMarkdown(&out)
			if want := "| killed | n1 |  | 2.00 | 3.00 | 8.00 | 9.00 |\n"; !strings.HasPrefix(out.String(), "2 rounds, ") || !strings.Contains(out.String(), want) {
				t.Errorf("the report lacks %q:\n%s", want, out.String())
			}
		})
	}
}

func TestRow(t *testing.T) {
	var r report
	first := r.row("killed", "n1", "fra")
	if r.row("killed", "n2", "iad") == first || r.row("stopped", "n1", "fra") == first || r.row("killed", "n1", "fra") != first || len(r.Rows) != 3 {
		t.Errorf("rows %+v, want one for each way and node", r.Rows)
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
