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
	Rows    []*row    `json:"rows"`
	Answers int       `json:"answers"`
	Bad     []string  `json:"bad"` // answers that were lost, or had no address
	Bars    []bar     `json:"bars"`
}

// row is how one node took one way to die.
type row struct {
	Way  string    `json:"way"`
	Node string    `json:"node"`
	PoP  string    `json:"pop"`
	Gone []float64 `json:"gone_s"` // from each death to the last answer with the server
	Back []float64 `json:"back_s"` // from each return to the first one
}

// row returns the one of a way and a node, and makes it if there is none.
func (r *report) row(way, node, pop string) *row {
	for _, have := range r.Rows {
		if have.Way == way && have.Node == node {
			return have
		}
	}
	r.Rows = append(r.Rows, &row{Way: way, Node: node, PoP: pop})
	return r.Rows[len(r.Rows)-1]
}

// bar is one thing that must hold: a value of at most limit.
type bar struct {
	What  string  `json:"what"`
	Limit float64 `json:"limit"`
	Value float64 `json:"value"`
	Met   bool    `json:"met"`
}

// goneBar is fall x interval + timeout + 2 s of gossip, at the defaults.
const goneBar = 3*2 + 1 + 2

func (r *report) judge() {
	add := func(what string, limit, value float64) {
		r.Bars = append(r.Bars, bar{what, limit, value, value <= limit})
	}
	var gone []float64
	for _, row := range r.Rows {
		gone = append(gone, row.Gone...)
	}
	add("s until no node names a dead server", goneBar, slices.Max(gone))
	add("times that an answer was lost or had no address", 0, float64(len(r.Bad)))
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
	fmt.Fprintf(w, "%d rounds, %s; %s; load average before: %s; %d answers\n\n", len(r.Rows[0].Gone), r.When.Format(time.DateOnly), r.Machine, r.Load, r.Answers)
	fmt.Fprint(w, "| server | node | PoP | last named, s after its death: median | most | named again, s after its return: median | most |\n|---|---|---|---:|---:|---:|---:|\n")
	for _, row := range r.Rows {
		fmt.Fprintf(w, "| %s | %s | %s | %.2f | %.2f | %.2f | %.2f |\n", row.Way, row.Node, row.PoP,
			median(row.Gone), slices.Max(row.Gone), median(row.Back), slices.Max(row.Back))
	}
	for _, b := range r.Bad {
		fmt.Fprintf(w, "\n%s\n", b)
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

// median is the middle one, the lower of two.
func median(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[(len(values)-1)/2]
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
