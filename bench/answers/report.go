//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// report is everything that one run found.
type report struct {
	When     time.Time           `json:"when"`
	Machine  string              `json:"machine"`
	Versions map[string]string   `json:"versions"`
	Rounds   int                 `json:"rounds"`
	Seconds  float64             `json:"seconds_per_load"`
	Nets     map[string]int      `json:"nets"` // per regime
	Rows     []*row              `json:"rows"`
	Notes    map[string]string   `json:"not_measured"` // server → why not
	Startup  map[string]float64  `json:"startup_ms"`
	RSS      map[string][2]int64 `json:"rss_and_peak_bytes"`
	Swaps    []swapResult        `json:"swaps,omitempty"`
	SwapNote string              `json:"swap_note,omitempty"`
	Bars     []bar               `json:"bars"`
}

// bar is one thing that must hold.
type bar struct {
	What  string  `json:"what"`
	Limit float64 `json:"limit"`
	Value float64 `json:"value"`
	Note  string  `json:"note,omitempty"` // why there is no value
	Met   bool    `json:"met"`
}

// median returns the middle value, and the spread: (largest - smallest) / median.
func median(values []float64) (mid, spread float64) {
	if len(values) == 0 {
		return 0, 0
	}
	v := slices.Sorted(slices.Values(values))
	mid = (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	if mid > 0 {
		spread = (v[len(v)-1] - v[0]) / mid
	}
	return mid, spread
}

func (r *row) perQuery() (mid, spread float64) {
	var v []float64
	for _, m := range r.Runs {
		v = append(v, m.PerQuery)
	}
	return median(v)
}

// middle returns the median over the runs of one figure.
func (r *row) middle(figure func(measurement) float64) float64 {
	var v []float64
	for _, m := range r.Runs {
		v = append(v, figure(m))
	}
	mid, _ := median(v)
	return mid
}

// loss returns the share of the questions that got no answer.
func (r *row) loss() float64 {
	lost, sent := 0, 0
	for _, m := range r.Runs {
		lost, sent = lost+m.Lost, sent+m.Sent
	}
	return float64(lost) / float64(max(1, sent))
}

func (r *report) row(regime, server string) *row {
	for _, x := range r.Rows {
		if x.Regime == regime && x.Server == server && len(x.Runs) > 0 {
			return x
		}
	}
	return nil
}

// ratio returns one server's cost against another's in a regime.
func (r *report) ratio(regime, server, to string) (float64, bool) {
	a, b := r.row(regime, server), r.row(regime, to)
	if a == nil || b == nil {
		return 0, false
	}
	x, _ := a.perQuery()
	y, _ := b.perQuery()
	return x / y, y > 0
}

// judge fills in the bars.
func (r *report) judge() {
	atMost := func(what string, limit, value float64, known bool) {
		b := bar{What: what, Limit: limit, Note: "not measured"}
		if known {
			b.Value, b.Met, b.Note = value, value <= limit, ""
		}
		r.Bars = append(r.Bars, b)
	}
	for _, c := range []struct {
		regime, to string
		limit      float64
	}{{"A", "gdnsd", 0.85}, {"A", "echo", 1.10}, {"B", "gdnsd", 0.65}, {"B", "echo", 1.15}, {"C", "echo", 1.10}, {"D", "gdnsd", 0.80}} {
		if r.Nets[c.regime] == 0 {
			continue
		}
		value, ok := r.ratio(c.regime, "edged", c.to)
		atMost(fmt.Sprintf("%s: edged / %s, CPU per query", c.regime, c.to), c.limit, value, ok)
	}
	for _, key := range []string{"A", "B", "C", "D"} {
		e, g := r.row(key, "edged"), r.row(key, "gdnsd")
		if e != nil && g != nil {
			atMost(key+": edged's loss in percent, at most gdnsd's", 100*g.loss(), 100*e.loss(), true)
		}
	}
	if r.Nets["E"] == 0 {
		return
	}
	e, g := r.RSS["edged"], r.RSS["gdnsd"]
	atMost("memory: edged / gdnsd, resident after the loads", 0.5, float64(e[0])/float64(max(1, g[0])), e[0] > 0 && g[0] > 0)
	start, ok := r.Startup["edged"]
	atMost("start: ms to the first right answer", 1000, start, ok)
	var took, slowest, bad, ownTook, ownSlowest float64
	for _, s := range r.Swaps {
		took, slowest, bad = max(took, s.ReloadMs+s.MixedMs), max(slowest, s.WorstMs), bad+float64(s.Lost+s.Wrong+s.BackAgain)
		ownTook, ownSlowest = max(ownTook, s.OwnReload), max(ownSlowest, s.OwnWorst)
	}
	swapped := len(r.Swaps) > 0 && r.SwapNote == ""
	atMost("map swap: ms from SIGHUP until only the new map answers", 50, took, swapped)
	atMost("map swap: the same without pauses of the processor", 50, ownTook, swapped)
	atMost("map swap: slowest answer in ms", 10, slowest, swapped)
	atMost("map swap: the same without pauses", 10, ownSlowest, swapped)
	atMost("map swap: queries lost or wrong", 0, bad, swapped)
}

// failures lists what makes the command fail: wrong answers and missed bars.
func (r *report) failures() []string {
	var list []string
	for _, x := range r.Rows {
		if x.Verdict.Wrong > 0 {
			list = append(list, fmt.Sprintf("%s, %s: %d of %d replies are wrong: %s", x.Regime, x.Server, x.Verdict.Wrong, x.Verdict.Checked, x.Verdict.First))
		}
	}
	if key, spread := r.unrest(); spread > maxSpread {
		list = append(list, fmt.Sprintf("%s: the echo's own cost varies by %.0f %%: the machine was not quiet, so the figures mean little", key, 100*spread))
	}
	for _, b := range r.Bars {
		if !b.Met {
			list = append(list, fmt.Sprintf("missed: %s: %.4g, limit %.4g %s", b.What, b.Value, b.Limit, b.Note))
		}
	}
	return list
}

// maxSpread is how much the echo's cost may vary between rounds: it does the
// same each time, so more than that is the machine's doing.
const maxSpread = 0.10

// unrest returns the regime in which the echo's cost varied most, and by how
// much of its median.
func (r *report) unrest() (key string, worst float64) {
	for _, x := range r.Rows {
		if _, spread := x.perQuery(); x.Server == "echo" && spread > worst {
			key, worst = x.Regime, spread
		}
	}
	return key, worst
}

func (r *report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// writeMarkdown writes the tables as they can stand in bench/README.md.
func (r *report) writeMarkdown(w io.Writer, servers []*server) {
	fmt.Fprintf(w, "%s, %s; %d rounds of %g s, medians.\n", r.When.Format("2006-01-02"), r.Machine, r.Rounds, r.Seconds)
	for _, part := range [][]regime{regimes300k, regimes1M} {
		for _, reg := range part {
			if r.Nets[reg.key] == 0 {
				continue
			}
			fmt.Fprintf(w, "\n**%s. %s; %d prefixes**\n\n", reg.key, reg.title, r.Nets[reg.key])
			fmt.Fprintln(w, "| server | µs CPU/query | in user space | spread | / gdnsd | / echo | queries per CPU-second | q/s | lost | replies |")
			fmt.Fprintln(w, "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|")
			for _, s := range servers {
				if reg.takes(s) {
					fmt.Fprintln(w, r.line(reg, s))
				}
			}
		}
	}
	if r.Nets["E"] > 0 {
		fmt.Fprintf(w, "\n**E. start and memory; %d prefixes**\n\n| server | first right answer, ms | resident, MB | highest, MB |\n|---|---:|---:|---:|\n", r.Nets["E"])
		for _, s := range servers {
			if start, ok := r.Startup[s.name]; ok {
				m := r.RSS[s.name]
				fmt.Fprintf(w, "| %s | %.0f | %.1f | %.1f |\n", s.label, start, float64(m[0])/1e6, float64(m[1])/1e6)
			}
		}
		for i, s := range r.Swaps {
			if i == 0 {
				fmt.Fprintf(w, "\nMap swap at %d q/s, half of the most:\n\n| new map after SIGHUP, ms | without pauses | both maps answer for, ms | slowest answer, ms | without pauses | slowest before, ms | longest pause of the server's processor, ms | loader held up for, ms | answered | lost | wrong |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n", s.Rate)
			}
			fmt.Fprintf(w, "| %.1f | %.1f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %d | %d | %d |\n", s.ReloadMs, s.OwnReload, s.MixedMs, s.WorstMs, s.OwnWorst, s.QuietMs, s.AwayMs, s.StallMs, s.Answered, s.Lost, s.Wrong+s.BackAgain)
		}
		if r.SwapNote != "" {
			fmt.Fprintf(w, "\nMap swap: %s.\n", r.SwapNote)
		}
	}
	fmt.Fprint(w, "\n| bar | limit | got | |\n|---|---:|---:|---|\n")
	for _, b := range r.Bars {
		got, met := fmt.Sprintf("%.4g", b.Value), "met"
		if b.Note != "" {
			got = b.Note
		}
		if !b.Met {
			met = "**missed**"
		}
		fmt.Fprintf(w, "| %s | %.4g | %s | %s |\n", b.What, b.Limit, got, met)
	}
	var names []string
	for _, s := range servers {
		if v := r.Versions[s.name]; v != "" {
			names = append(names, s.label+": "+v)
		}
	}
	fmt.Fprintf(w, "\nVersions: %s.\n", strings.Join(names, "; "))
}

func (r *report) line(reg regime, s *server) string {
	x := r.row(reg.key, s.name)
	if x == nil {
		note := r.Notes[s.name]
		for _, y := range r.Rows {
			if y.Regime == reg.key && y.Server == s.name && y.Note != "" {
				note = y.Note
			}
		}
		return fmt.Sprintf("| %s | %s | | | | | | | | |", s.label, note)
	}
	mid, spread := x.perQuery()
	user := x.middle(func(m measurement) float64 { return m.PerQuery * m.User })
	against := func(to string) string {
		if v, ok := r.ratio(reg.key, s.name, to); ok {
			return fmt.Sprintf("%.2f", v)
		}
		return ""
	}
	replies := fmt.Sprintf("%d right", x.Verdict.Checked-x.Verdict.Wrong)
	if x.Verdict.Wrong > 0 {
		replies = fmt.Sprintf("**WRONG** %d of %d: %s", x.Verdict.Wrong, x.Verdict.Checked, x.Verdict.First)
	}
	return fmt.Sprintf("| %s | %.2f | %.2f | %.0f %% | %s | %s | %.0f | %.0f | %.3f %% | %s |",
		s.label, mid, user, 100*spread, against("gdnsd"), against("echo"), 1e6/mid, x.middle(func(m measurement) float64 { return m.QPS }), 100*x.loss(), replies)
}

var versionNumber = regexp.MustCompile(`\d+\.\d+\.\d+`)

// version asks a program for its version.
func version(s *server) string {
	path, err := find(s.binary)
	if err != nil || s.binary == "" {
		return ""
	}
	flag := map[string]string{"nsd": "-v", "knot": "--version", "pdns": "--version", "gdnsd": "-h", "edged": "version"}[s.name]
	out, _ := exec.Command(path, flag).CombinedOutput()
	return versionNumber.FindString(string(out))
}
