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
	Rows    []*row    `json:"rows"`
	Answers int       `json:"answers"`
	Bad     []string  `json:"bad"` // answers that were lost, or had no address
	Bars    bars.Bars `json:"bars"`
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

// goneBar is fall x interval + timeout + 2 s of gossip, at the defaults.
const goneBar = 3*2 + 1 + 2

func (r *report) judge() {
	var gone []float64
	for _, row := range r.Rows {
		gone = append(gone, row.Gone...)
	}
	r.Bars.Add("", "s until no node names a dead server", goneBar, slices.Max(gone))
	r.Bars.Add("", "times that an answer was lost or had no address", 0, float64(len(r.Bad)))
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
	r.Bars.WriteMarkdown(w)
}

// median is the middle one, the lower of two.
func median(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[(len(values)-1)/2]
}
