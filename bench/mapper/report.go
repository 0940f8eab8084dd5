package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
	"time"
)

// report is everything that one run found.
type report struct {
	When    time.Time `json:"when"`
	CPUs    int       `json:"cpus"`
	Figures []figure  `json:"figures"`

	part string // under measurement
}

// figure is one value, with what it must be if anything.
type figure struct {
	Part  string  `json:"part"`
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Bar   *bar    `json:"bar,omitempty"`
}

// bar is what a value must be: at most, or at least, a limit.
type bar struct {
	Most  bool    `json:"most"`
	Limit float64 `json:"limit"`
	Met   bool    `json:"met"`
}

func newReport() *report {
	return &report{When: time.Now().UTC(), CPUs: runtime.GOMAXPROCS(0)}
}

// add notes a value that nothing is asked of.
func (r *report) add(what string, value float64, unit string) {
	r.Figures = append(r.Figures, figure{r.part, what, value, unit, nil})
}

// most notes a value that must not be above a limit.
func (r *report) most(what string, value float64, unit string, limit float64) {
	r.Figures = append(r.Figures, figure{r.part, what, value, unit, &bar{true, limit, value <= limit}})
}

// least notes a value that must not be below a limit.
func (r *report) least(what string, value float64, unit string, limit float64) {
	r.Figures = append(r.Figures, figure{r.part, what, value, unit, &bar{false, limit, value >= limit}})
}

func (r *report) missed() (list []string) {
	for _, f := range r.Figures {
		if f.Bar != nil && !f.Bar.Met {
			list = append(list, f.Part+": "+f.What)
		}
	}
	return list
}

func (r *report) write(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	fmt.Fprintf(w, "%d processors\n\n", r.CPUs)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "part\twhat\tvalue\tunit\tbar")
	for _, f := range r.Figures {
		text := ""
		if b := f.Bar; b != nil {
			sign, verdict := ">=", "missed"
			if b.Most {
				sign = "<="
			}
			if b.Met {
				verdict = "met"
			}
			text = fmt.Sprintf("%s %g: %s", sign, b.Limit, verdict)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", f.Part, f.What, number(f.Value), f.Unit, text)
	}
	return table.Flush()
}

func number(v float64) string {
	if v == float64(int64(v)) {
		return fmt.Sprintf("%d", int64(v))
	}
	return fmt.Sprintf("%.4g", v)
}
