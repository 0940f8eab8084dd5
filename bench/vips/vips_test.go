//go:build linux

package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"edged/test/lab"
)

// The test's binary stands in for the command's, also as the announcers.
func TestMain(m *testing.M) {
	lab.Main()
	os.Exit(m.Run())
}

// One round of what needs no whole edge, and of H2: the figures are there; how good
// they are is looked at where that does not depend on the machine.
func TestSmallRun(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	if err := lab.Possible(lab.BIRD, lab.FRR, lab.ExaBGP); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no lab can run here: %v", err)
		}
		t.Skipf("no lab can run here: %v", err)
	}
	var out strings.Builder
	err := run(t.Context(), options{only: []string{"B1", "B2", "B4", "H2"}, rounds: 1, json: true}, &out)
	if err != nil && (!strings.HasPrefix(err.Error(), "missed: ") || strings.Contains(err.Error(), "H2")) {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	times := map[string]int{}
	for _, f := range r.Figures {
		times[f.Test] += len(f.Values)
		if strings.Contains(f.What, "FIB") && slices.Min(f.Values) <= 0 {
			t.Errorf("%s %s: %v, want above 0", f.Test, f.What, f.Values)
		}
	}
	if times["B1"] != 8 || times["B2"] != 3 || times["B4"] != 6 || times["H2"] != 3 {
		t.Errorf("%v figures, want 8 of B1, 3 of B2, 6 of B4 and 3 of H2", times)
	}
}

func TestReport(t *testing.T) {
	b := bench{id: "B5", report: &report{}}
	b.add("kill -9: lost", "queries", []float64{0, 3}, most(2))
	b.add("kill -9: window", "ms", []float64{2.5, 0}, most(20), most95(20))
	want := []string{"B5 kill -9: lost, queries: most: 3, want at most 2"}
	if got := b.report.Bars.Missed(); !slices.Equal(got, want) {
		t.Errorf("missed %q, want %q", got, want)
	}
	var out strings.Builder
	b.report.writeMarkdown(&out)
	for _, line := range []string{
		"| B5 | kill -9: window | ms | 2 | 0 | 2.5 | 2.5 |\n",
		"| B5 | kill -9: lost, queries: most | 2 | 3 | **missed** |\n",
		"| B5 | kill -9: window, ms: 95 of 100 | 20 | 2.5 | met |\n",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("the report lacks %q:\n%s", line, out.String())
		}
	}
}

func TestQuantile(t *testing.T) {
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64(100-i))
	}
	for _, c := range []struct {
		of      []float64
		q, want float64
	}{{[]float64{3}, 0.5, 3}, {[]float64{4, 2}, 0.5, 2}, {[]float64{9, 1, 5}, 0.5, 5}, {hundred, 0.95, 95}, {hundred, 1, 100}, {[]float64{1, 2}, 0.95, 2}} {
		if got := quantile(c.of, c.q); got != c.want {
			t.Errorf("quantile %v of %v is %v, want %v", c.q, c.of, got, c.want)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		o    options
		want string
	}{
		{options{rounds: 0}, "0 rounds"},
		{options{rounds: maxRounds + 1}, "1001 rounds"},
		{options{rounds: 1, only: []string{"B99"}}, `"B99"`},
	} {
		if err := run(t.Context(), c.o, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want an error with %s", c.o, err, c.want)
		}
	}
}
