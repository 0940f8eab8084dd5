//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"edged/bench/bars"
)

// report is everything that one run found.
type report struct {
	When    time.Time `json:"when"`
	Machine string    `json:"machine"`
	Load    string    `json:"load_average_before"`
	Figures []figure  `json:"figures"`
	Bars    bars.Bars `json:"bars"`
}

// figure is one thing that was measured several times.
type figure struct {
	Test   string    `json:"test"`
	What   string    `json:"what"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"`
}

// add notes a figure, with what must hold of it.
func (b *bench) add(what, unit string, values []float64, limits ...limit) {
	b.report.Figures = append(b.report.Figures, figure{b.id, what, unit, values})
	for _, l := range limits {
		b.report.Bars.Add(b.id, fmt.Sprintf("%s, %s: %s", what, unit, l.name), l.at, l.of(values))
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

func (r *report) writeMarkdown(w io.Writer) {
	fmt.Fprintf(w, "%s; %s; load average before: %s\n\n", r.When.Format(time.DateOnly), r.Machine, r.Load)
	fmt.Fprint(w, "| test | figure | unit | times | median | 95 of 100 | most |\n|---|---|---|---:|---:|---:|---:|\n")
	for _, f := range r.Figures {
		fmt.Fprintf(w, "| %s | %s | %s | %d | %.3g | %.3g | %.3g |\n", f.Test, f.What, f.Unit, len(f.Values),
			quantile(f.Values, 0.5), quantile(f.Values, 0.95), slices.Max(f.Values))
	}
	r.Bars.WriteMarkdown(w)
}

// quantile is the value that a share q of all is not above.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	i := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
