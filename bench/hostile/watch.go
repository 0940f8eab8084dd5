package main

import (
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

const (
	goodShare  = 99.0 // percent of the good questions that must be answered right
	growth     = 1.20 // typical memory of the last fifth over that after the warm-up
	burst      = 2.00 // the most memory over the typical after the warm-up
	slack      = 32   // descriptors and goroutines beside one per connection
	perConn    = 3    // goroutines that one connection may hold
	windowPart = 5    // the warm-up, at most a minute, and the windows compared are a fifth
)

// watched is what was seen of one attack.
type watched struct {
	length       time.Duration
	limit        int // connections that edged may hold
	quiet, after usage
	early, late  []int64 // resident sets in the fifth after the warm-up, and in the last
	peak         usage   // the largest of each after the warm-up
	packets      []atomic.Int64
	opened       []atomic.Int64
	udp, tcp     tally
	lived        bool
	stopped      error
	log          string
}

// see takes one look at the process into account.
func (w *watched) see(u usage, since time.Duration) {
	window := w.length / windowPart
	warm := min(time.Minute, window)
	if since < warm {
		return
	}
	if since < warm+window {
		w.early = append(w.early, u.rss)
	}
	if since >= w.length-window {
		w.late = append(w.late, u.rss)
	}
	w.peak.rss = max(w.peak.rss, u.rss)
	w.peak.descriptors = max(w.peak.descriptors, u.descriptors)
	w.peak.goroutines = max(w.peak.goroutines, u.goroutines)
}

// typical returns the median: a garbage-collected process breathes, and a single
// look at it says little.
func typical(rss []int64) float64 {
	if len(rss) == 0 {
		return 0
	}
	return float64(slices.Sorted(slices.Values(rss))[len(rss)/2])
}

func (t *tally) share() float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return share(t.right, t.asked)
}

// faults lists what must not be.
func (w *watched) faults() []string {
	var list []string
	bad := func(when bool, format string, a ...any) {
		if when {
			list = append(list, fmt.Sprintf(format, a...))
		}
	}
	bad(!w.lived, "edged died; its last words:\n%s", w.log)
	bad(w.lived && w.stopped != nil, "edged did not end cleanly: %v", w.stopped)
	for name, t := range map[string]*tally{"udp": &w.udp, "tcp": &w.tcp} {
		bad(t.asked == 0, "no good question was asked over %s", name)
		bad(t.wrong > 0, "%d wrong answers over %s, the first: %s", t.wrong, name, t.fault)
		bad(t.share() < goodShare, "%.2f %% of the good questions over %s were answered right, want %.0f %%", t.share(), name, goodShare)
	}
	early, late := typical(w.early), typical(w.late)
	bad(late > growth*early, "memory grew from %.1f MB after the warm-up to %.1f MB at the end", early/1e6, late/1e6)
	bad(float64(w.peak.rss) > burst*early, "memory rose to %.1f MB from a typical %.1f MB", float64(w.peak.rss)/1e6, early/1e6)
	bad(w.peak.descriptors > w.quiet.descriptors+w.limit+slack, "%d descriptors, %d at rest, with a limit of %d connections", w.peak.descriptors, w.quiet.descriptors, w.limit)
	bad(w.peak.goroutines > w.quiet.goroutines+perConn*w.limit+slack, "%d goroutines, %d at rest, with a limit of %d connections", w.peak.goroutines, w.quiet.goroutines, w.limit)
	bad(w.after.descriptors > w.quiet.descriptors+slack, "%d descriptors are left after the flood, %d at rest", w.after.descriptors, w.quiet.descriptors)
	bad(w.after.goroutines > w.quiet.goroutines+slack, "%d goroutines are left after the flood, %d at rest", w.after.goroutines, w.quiet.goroutines)
	return list
}

// write writes the tables.
func (w *watched) write(out io.Writer) {
	fmt.Fprintf(out, "%v of bad packets and slow connections\n\n| packets | sent |\n|---|---:|\n", w.length)
	var total int64
	for i, a := range attacks {
		total += w.packets[i].Load()
		fmt.Fprintf(out, "| %s | %d |\n", a.name, w.packets[i].Load())
	}
	fmt.Fprintf(out, "| **all** (%.0f per second) | %d |\n\n| slow connections | opened |\n|---|---:|\n", float64(total)/w.length.Seconds(), total)
	for i, s := range slows {
		fmt.Fprintf(out, "| %s | %d |\n", s.name, w.opened[i].Load())
	}
	fmt.Fprint(out, "\n| good questions | asked | right | at the first try | wrong | slowest |\n|---|---:|---:|---:|---:|---:|\n")
	for _, g := range []struct {
		name string
		t    *tally
	}{{"udp", &w.udp}, {"tcp", &w.tcp}} {
		fmt.Fprintf(out, "| %s | %d | %.3f %% | %.3f %% | %d | %v |\n", g.name, g.t.asked, g.t.share(), share(g.t.firstTry, g.t.asked), g.t.wrong, g.t.slowest.Round(time.Millisecond))
	}
	fmt.Fprint(out, "\n| edged | before | most | after |\n|---|---:|---:|---:|\n")
	fmt.Fprintf(out, "| resident, MB (typical: %.1f after the warm-up, %.1f at the end) | %.1f | %.1f | %.1f |\n", typical(w.early)/1e6, typical(w.late)/1e6, float64(w.quiet.rss)/1e6, float64(w.peak.rss)/1e6, float64(w.after.rss)/1e6)
	fmt.Fprintf(out, "| descriptors | %d | %d | %d |\n", w.quiet.descriptors, w.peak.descriptors, w.after.descriptors)
	fmt.Fprintf(out, "| goroutines | %d | %d | %d |\n", w.quiet.goroutines, w.peak.goroutines, w.after.goroutines)
}
