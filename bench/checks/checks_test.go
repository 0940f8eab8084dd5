//go:build linux

package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"edged/health/probe"
)

// The test's binary stands in for the command's, also as the server.
func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], []string{serveArgument}) {
		if err := serve(os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// A small run: the checks are made and pass; what they cost is not looked at.
func TestSmallRun(t *testing.T) {
	var out strings.Builder
	o := options{targets: 20, interval: 200 * time.Millisecond, length: 600 * time.Millisecond, json: true}
	if err := run(t.Context(), o, &out); err != nil && !strings.HasPrefix(err.Error(), "missed: ") {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	if len(r.Rows) != len(ways) {
		t.Fatalf("%d rows, want %d", len(r.Rows), len(ways))
	}
	for i, row := range r.Rows {
		opened := int64(0)
		if ways[i].asks {
			opened = 20
		}
		if row.Checks == 0 || row.Failed != 0 || row.Opened != opened || row.Reopened != 0 {
			t.Errorf("%s: %d checks, %d failed (%s), connections opened: %d and then %d; want some, none, %d and 0",
				row.Way, row.Checks, row.Failed, row.Fault, row.Opened, row.Reopened, opened)
		}
		if row.Share <= 0 || row.PerCheck <= 0 || row.Resident <= 0 {
			t.Errorf("%s: share %v, %v µs per check, %d octets resident: want all above 0", row.Way, row.Share, row.PerCheck, row.Resident)
		}
	}
	out.Reset()
	r.writeMarkdown(&out)
	if got, want := strings.Count(out.String(), "\n"), 2+2+len(ways)+1+2+len(r.Bars); got != want {
		t.Errorf("%d lines, want %d:\n%s", got, want, out.String())
	}
}

func TestJudge(t *testing.T) {
	good := row{Checks: 50_000, Seconds: 10, Share: 0.5}
	for name, c := range map[string]struct {
		change func(*row)
		want   []string
	}{
		"good":      {func(*row) {}, nil},
		"costly":    {func(r *row) { r.Share = 0.51 }, []string{"share of the CPU: 0.51, want at most 0.5"}},
		"failed":    {func(r *row) { r.Failed = 1 }, []string{"checks that failed: 1, want at most 0"}},
		"late":      {func(r *row) { r.Late = 100 }, []string{"part of the checks that were late: 0.002, want at most 0.001"}},
		"too few":   {func(r *row) { r.Checks = 49_000 }, []string{"part of the checks not made: 0.02, want at most 0.01"}},
		"too many":  {func(r *row) { r.Checks = 51_000 }, nil},
		"all of it": {func(r *row) { *r = row{Seconds: 10, Share: 1} }, []string{"share of the CPU: 1, want at most 0.5", "part of the checks not made: 1, want at most 0.01"}},
	} {
		t.Run(name, func(t *testing.T) {
			changed := good
			c.change(&changed)
			r := report{Targets: 10_000, Interval: 2, Rows: []*row{{Share: 9}, &changed}}
			r.judge()
			if got := r.Bars.Missed(); !slices.Equal(got, c.want) {
				t.Errorf("missed %q, want %q", got, c.want)
			}
		})
	}
}

func TestCost(t *testing.T) {
	a := moment{at: time.Unix(100, 0), cpu: 3 * time.Second, passed: 10, failed: 1, served: served{Connections: 20, Checks: 11}}
	b := moment{at: time.Unix(110, 0), cpu: 5 * time.Second, passed: 1008, failed: 3, served: served{Connections: 25, Checks: 1011}}
	a.stats.Late, b.stats.Late = 7, 10
	a.stats.Delays[0], b.stats.Delays[0] = 11, 911 // 900 within 0.1 ms
	b.stats.Delays[4] = 95                         // 95 within 1.6 ms
	b.stats.Delays[7] = 5                          // 5 within 12.8 ms
	want := row{
		Seconds: 10, Checks: 1000, Failed: 2, Share: 0.2, PerCheck: 2000,
		Delay50: 0.1, Delay99: 1.6, DelayMax: 12.8, Late: 3, Reopened: 5,
	}
	if got := cost(a, b); *got != want {
		t.Errorf("got %+v\nwant %+v", *got, want)
	}
}

func TestPercentile(t *testing.T) {
	var s probe.Stats
	if got := percentile(s.Delays[:], 0.5); got != 0.1 {
		t.Errorf("of nothing: %v, want the first bound", got)
	}
	s.Delays[0], s.Delays[3], s.Delays[len(s.Delays)-1] = 50, 49, 1
	for part, want := range map[float64]float64{0.5: 0.1, 0.51: 0.8, 0.99: 0.8, 1: 0} {
		if got := percentile(s.Delays[:], part); got != want {
			t.Errorf("%v of all: %v ms, want %v", part, got, want)
		}
	}
}
