//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report is everything that one run found.
type report struct {
	When    time.Time `json:"when"`
	Machine string    `json:"machine"`
	Load    string    `json:"load_average_before"`
	Figures []figure  `json:"figures"`
	Bars    []bar     `json:"bars"`
}

// figure is one thing that was measured several times.
type figure struct {
	Test   string    `json:"test"`
	What   string    `json:"what"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"`
}

// bar is one thing that must hold: a value of at most limit.
type bar struct {
	Test  string  `json:"test"`
	What  string  `json:"what"`
	Limit float64 `json:"limit"`
	Value float64 `json:"value"`
	Met   bool    `json:"met"`
}

// add notes a figure, with what must hold of it.
func (b *bench) add(what, unit string, values []float64, limits ...limit) {
	b.report.Figures = append(b.report.Figures, figure{b.id, what, unit, values})
	for _, l := range limits {
		value := l.of(values)
		b.report.Bars = append(b.report.Bars, bar{b.id, fmt.Sprintf("%s, %s: %s", what, unit, l.name), l.at, value, value <= l.at})
	}
}

// limit is what a statistic of a figure may be at most.
type limit struct {
	name string
	of   func([]float64) float64
	at   float64
}

func most(at float64) limit { return limit{"most", slices.Max[[]float64], at} }
func most95(at float64) limit {
	return limit{"95 of 100", func(v []float64) float64 { return quantile(v, 0.95) }, at}
}

// missed lists the bars that do not hold.
func (r *report) missed() []string {
	var list []string
	for _, b := range r.Bars {
		if !b.Met {
			list = append(list, fmt.Sprintf("%s %s: %.4g, want at most %.4g", b.Test, b.What, b.Value, b.Limit))
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
	fmt.Fprintf(w, "%s; %s; load average before: %s\n\n", r.When.Format(time.DateOnly), r.Machine, r.Load)
	fmt.Fprint(w, "| test | figure | unit | times | median | 95 of 100 | most |\n|---|---|---|---:|---:|---:|---:|\n")
	for _, f := range r.Figures {
		fmt.Fprintf(w, "| %s | %s | %s | %d | %.3g | %.3g | %.3g |\n", f.Test, f.What, f.Unit, len(f.Values),
			quantile(f.Values, 0.5), quantile(f.Values, 0.95), slices.Max(f.Values))
	}
	fmt.Fprint(w, "\n| test | bar | limit | got | |\n|---|---|---:|---:|---|\n")
	for _, b := range r.Bars {
		verdict := "met"
		if !b.Met {
			verdict = "**missed**"
		}
		fmt.Fprintf(w, "| %s | %s | %.4g | %.4g | %s |\n", b.Test, b.What, b.Limit, b.Value, verdict)
	}
}

// quantile is the value that a share q of all is not above.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	i := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
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
	return fmt.Sprintf("%s, %d CPUs, Linux %s, %s", model, runtime.NumCPU(), strings.TrimSpace(string(kernel)), runtime.Version())
}

// load returns the three load averages: what else was going on.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	words := strings.Fields(string(text))
	return strings.Join(words[:min(3, len(words))], " ")
}
