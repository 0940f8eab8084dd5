// Package bars is what benchmarks share in their reports: the bars that figures
// must hold, and on what machine they were measured.
package bars

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// Bar is one thing that must hold: a value of at most Limit.
type Bar struct {
	Test  string  `json:"test,omitempty"` // of several in one report
	What  string  `json:"what"`
	Limit float64 `json:"limit"`
	Value float64 `json:"value"`
	Met   bool    `json:"met"`
}

// Bars are all bars of a report.
type Bars []Bar

// Add notes a value and what it must hold.
func (bs *Bars) Add(test, what string, limit, value float64) {
	*bs = append(*bs, Bar{test, what, limit, value, value <= limit})
}

// Missed says of each bar that does not hold what it is.
func (bs Bars) Missed() []string {
	var list []string
	for _, b := range bs {
		if !b.Met {
			list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s: %.4g, want at most %.4g", b.Test, b.What, b.Value, b.Limit)))
		}
	}
	return list
}

// WriteMarkdown writes the bars as a table, those of tests with their names.
func (bs Bars) WriteMarkdown(w io.Writer) {
	named := len(bs) > 0 && bs[0].Test != ""
	if named {
		fmt.Fprint(w, "\n| test | bar | limit | got | |\n|---|---|---:|---:|---|\n")
	} else {
		fmt.Fprint(w, "\n| bar | limit | got | |\n|---|---:|---:|---|\n")
	}
	for _, b := range bs {
		verdict := "met"
		if !b.Met {
			verdict = "**missed**"
		}
		if named {
			fmt.Fprintf(w, "| %s ", b.Test)
		}
		fmt.Fprintf(w, "| %s | %.4g | %.4g | %s |\n", b.What, b.Limit, b.Value, verdict)
	}
}

// WriteJSON writes a whole report for machines.
func WriteJSON(w io.Writer, report any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(report)
}

// Machine names the processor, how many there are, the kernel and Go.
func Machine() string {
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

// Load returns the three load averages: what else was going on.
func Load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	words := strings.Fields(string(text))
	return strings.Join(words[:min(3, len(words))], " ")
}
