//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// report is everything that one run found.
type report struct {
	When     time.Time `json:"when"`
	Machine  string    `json:"machine"`
	Load     string    `json:"load_average_before"`
	Targets  int       `json:"targets"`
	Interval float64   `json:"interval_s"`
	Rows     []*row    `json:"rows"`
	Bars     []bar     `json:"bars"`
}

// bar is one thing that must hold: a value of at most limit.
type bar struct {
	What  string  `json:"what"`
	Limit float64 `json:"limit"`
	Value float64 `json:"value"`
	Met   bool    `json:"met"`
}

// shareBar is how much of one CPU 10,000 HTTP checks every 2 s may take. Of
// another load it may take in proportion.
const shareBar = 0.50

// judge holds the last row, the HTTP checks, to the bars.
func (r *report) judge() {
	last := r.Rows[len(r.Rows)-1]
	rate := float64(r.Targets) / r.Interval
	missing := 1 - float64(last.Checks)/(rate*last.Seconds)
	add := func(what string, limit, value float64) {
		r.Bars = append(r.Bars, bar{what, limit, value, value <= limit})
	}
	add("share of the CPU", shareBar*rate/5000, last.Share)
	add("checks that failed", 0, float64(last.Failed))
	add("part of the checks that were late", 0.001, float64(last.Late)/float64(max(1, last.Checks)))
	add("part of the checks not made", 0.01, missing)
}

// missed lists the bars that do not hold.
func (r *report) missed() []string {
	var list []string
	for _, b := range r.Bars {
		if !b.Met {
			list = append(list, fmt.Sprintf("%s: %.4g, want at most %.4g", b.What, b.Value, b.Limit))
		}
	}
	return list
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
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
	fmt.Fprint(w, "\n| bar | limit | got | |\n|---|---:|---:|---|\n")
	for _, b := range r.Bars {
		verdict := "met"
		if !b.Met {
			verdict = "**missed**"
		}
		fmt.Fprintf(w, "| %s | %.4g | %.4g | %s |\n", b.What, b.Limit, b.Value, verdict)
	}
}

func machine() string {
	model := runtime.GOARCH
	cpus, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpus)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			model = strings.Trim(name, " \t:\n")
			break
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, Linux %s, %s", model, strings.TrimSpace(string(kernel)), runtime.Version())
}

// load returns the three load averages: what else was going on.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	words := strings.Fields(string(text))
	return strings.Join(words[:min(3, len(words))], " ")
}
