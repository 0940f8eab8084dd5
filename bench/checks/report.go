//go:build linux

package main

import (
	"fmt"
	"io"
	"time"

	"edged/bench/bars"
)

// report is everything that one run found.
type report struct {
	When     time.Time `json:"when"`
	Machine  string    `json:"machine"`
	Load     string    `json:"load_average_before"`
	Targets  int       `json:"targets"`
	Interval float64   `json:"interval_s"`
	Rows     []*row    `json:"rows"`
	Bars     bars.Bars `json:"bars"`
}

// shareBar is how much of one CPU 10,000 HTTP checks every 2 s may take. Of
// another load it may take in proportion.
const shareBar = 0.50

// judge holds the last row, the HTTP checks, to the bars.
func (r *report) judge() {
	last := r.Rows[len(r.Rows)-1]
	rate := float64(r.Targets) / r.Interval
	missing := 1 - float64(last.Checks)/(rate*last.Seconds)
	r.Bars.Add("", "share of the CPU", shareBar*rate/5000, last.Share)
	r.Bars.Add("", "checks that failed", 0, float64(last.Failed))
	r.Bars.Add("", "part of the checks that were late", 0.001, float64(last.Late)/float64(max(1, last.Checks)))
	r.Bars.Add("", "part of the checks not made", 0.01, missing)
}

func (r *report) writeMarkdown(w io.Writer) {
	fmt.Fprintf(w, "%d targets every %gs, %s; %s; load average before: %s\n\n", r.Targets, r.Interval, r.When.Format(time.DateOnly), r.Machine, r.Load)
	fmt.Fprint(w, "| probe | share of one CPU | busiest interval | µs CPU/check | checks | failed | began within, ms: half | 99 % | all | late | connections opened before | in "+
		fmt.Sprintf("%.0f s", r.Rows[0].Seconds)+" | resident, MB |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, row := range r.Rows {
		failed := fmt.Sprint(row.Failed)
		if row.Failed > 0 {
			failed += " (" + row.Fault + ")"
		}
		fmt.Fprintf(w, "| %s | %.3f | %.3f | %.1f | %d | %s | %.1f | %.1f | %.1f | %d | %d | %d | %.1f |\n", row.Way, row.Share, row.Busiest, row.PerCheck,
			row.Checks, failed, row.Delay50, row.Delay99, row.DelayMax, row.Late, row.Opened, row.Reopened, float64(row.Resident)/1e6)
	}
	r.Bars.WriteMarkdown(w)
}
