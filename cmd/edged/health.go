package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"edged/edge"
	"edged/health"
)

// healthReport is what a node knows of its endpoints: the JSON of /v1/health.
type healthReport struct {
	Node        string           `json:"node"`
	Fleet       string           `json:"fleet"` // empty: the node goes by its own checks
	Incarnation uint64           `json:"incarnation"`
	Frozen      string           `json:"frozen,omitempty"` // why verdicts are kept as they are
	Hash        string           `json:"hash"`             // nodes that agree have the same
	Differences []string         `json:"differences"`      // nodes that answered otherwise when they were last compared
	Targets     []targetReport   `json:"targets"`
	Observers   []observerReport `json:"observers"`
}

type targetReport struct {
	ID        health.TargetID `json:"id"`
	Target    string          `json:"target"`
	Endpoints []string        `json:"endpoints"` // pool/address
	Verdict   edge.Verdict    `json:"verdict"`
	Reason    string          `json:"reason,omitempty"`
	Since     time.Time       `json:"since"`
	Next      float64         `json:"next_seconds"` // at least until it may turn
	Decided   string          `json:"decided"`
	Votes     []voteReport    `json:"votes"`
}

type voteReport struct {
	Observer string       `json:"observer"`
	PoP      string       `json:"pop"`
	Verdict  edge.Verdict `json:"verdict"`
	Reason   string       `json:"reason,omitempty"`
	Fresh    bool         `json:"fresh"`
	Suspect  string       `json:"suspect,omitempty"` // why the vote does not count
}

type observerReport struct {
	Name    string  `json:"name"`
	PoP     string  `json:"pop"`
	Fresh   bool    `json:"fresh"`
	Age     float64 `json:"age_seconds"` // since it was heard
	Suspect string  `json:"suspect,omitempty"`
	Targets int     `json:"targets"`
	Down    int     `json:"down"`
}

// Verdicts implements admin.Node.
func (n *node) Verdicts() any {
	l, view, targets := n.serving(), n.fleet.View(), n.fleet.Targets()
	r := healthReport{
		Node: l.config.Node.Name, Fleet: n.started.Fleet.Name, Incarnation: n.fleet.Incarnation(),
		Frozen: view.Frozen, Hash: fmt.Sprintf("%016x", view.Hash),
		Targets: []targetReport{}, Observers: []observerReport{}, Differences: []string{},
	}
	n.mu.Lock()
	r.Differences = append(r.Differences, n.differences...)
	n.mu.Unlock()
	endpoints := map[health.TargetID][]string{}
	for e, id := range l.watched {
		name := e.cname
		if e.address.IsValid() {
			name = e.address.String()
		}
		endpoints[id] = append(endpoints[id], e.pool+"/"+name)
	}
	names := targetNames(targets)
	for id, s := range view.Targets {
		t := targetReport{
			ID: id, Target: names[id], Endpoints: endpoints[id], Verdict: s.Verdict, Reason: s.Reason,
			Since: s.Since.UTC(), Next: s.Next.Seconds(), Decided: s.Decided, Votes: []voteReport{},
		}
		slices.Sort(t.Endpoints)
		for _, v := range s.Votes {
			t.Votes = append(t.Votes, voteReport{v.Observer, v.PoP, v.Verdict, v.Reason, v.Fresh, v.Suspect})
		}
		r.Targets = append(r.Targets, t)
	}
	slices.SortFunc(r.Targets, func(a, b targetReport) int { return cmp.Or(cmp.Compare(a.Target, b.Target), cmp.Compare(a.ID, b.ID)) })
	for _, o := range view.Observers {
		r.Observers = append(r.Observers, observerReport{o.Name, o.PoP, o.Fresh, o.Age.Seconds(), o.Suspect, o.Targets, o.Down})
	}
	return r
}

// transition is one element of the JSON of /v1/health/history.
type transition struct {
	health.Transition
	What string `json:"what,omitempty"` // the target in words; empty: it is not in use any more
}

// History implements admin.Node.
func (n *node) History() any {
	names := targetNames(n.fleet.Targets())
	out := []transition{}
	for _, t := range n.fleet.History() {
		out = append(out, transition{Transition: t, What: names[t.Target]})
	}
	return out
}

// watchEvery is how often "edged health --watch" asks.
const watchEvery = time.Second

func healthCommand() *cobra.Command {
	var f nodeFlags
	var asJSON, watch, history bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "show how fit the endpoints are, and who says so",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if history {
				var past []transition
				return f.show(cmd, "/v1/health/history", asJSON, &past, func(w io.Writer) { writeHistory(w, past) })
			}
			for {
				var r healthReport
				err := f.show(cmd, "/v1/health", asJSON, &r, func(w io.Writer) {
					if watch {
						fmt.Fprint(w, "\x1b[H\x1b[2J") // home, and clear the screen
					}
					r.writeText(w, colours(w))
				})
				if err != nil || !watch {
					return err
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(watchEvery):
				}
			}
		},
	}
	f.add(cmd)
	configFlag(cmd, &f.config)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&watch, "watch", false, "ask again every second")
	cmd.Flags().BoolVar(&history, "history", false, "show the last changes of verdicts")
	cmd.MarkFlagsMutuallyExclusive("watch", "history")
	cmd.MarkFlagsMutuallyExclusive("watch", "json")
	return cmd
}

// writeText writes the report for a person.
func (r *healthReport) writeText(w io.Writer, colour bool) {
	from := "by its own checks"
	if r.Fleet != "" {
		from = "in fleet " + r.Fleet
	}
	fmt.Fprintf(w, "node %s %s, view %s\n", r.Node, from, r.Hash)
	if r.Frozen != "" {
		fmt.Fprintf(w, "%s\n", paint(colour, edge.Failing, "frozen: "+r.Frozen))
	}
	for _, d := range r.Differences {
		fmt.Fprintf(w, "%s\n", paint(colour, edge.Degraded, "difference: "+d))
	}
	rows := [][]string{{"target", "verdict", "since", "votes", "endpoints", "reason"}}
	verdicts := []edge.Verdict{edge.OK}
	for _, t := range r.Targets {
		rows = append(rows, []string{
			t.Target, t.Verdict.String(), t.Since.Format(time.RFC3339), votesText(t.Votes), strings.Join(t.Endpoints, " "),
			strings.TrimPrefix(cmp.Or(t.Reason, t.doubt())+"; "+t.Decided, "; "),
		})
		verdicts = append(verdicts, t.Verdict)
	}
	fmt.Fprintln(w)
	writeRows(w, rows, func(i int, line string) string { return paint(colour && i > 0, verdicts[i], line) })
	if r.Fleet == "" {
		return
	}
	rows = [][]string{{"observer", "pop", "heard", "targets", "down", ""}}
	bad := []edge.Verdict{edge.OK}
	for _, o := range r.Observers {
		heard, v := fmt.Sprintf("%.0f s ago", o.Age), edge.OK
		switch {
		case o.Fresh:
		case o.Age == 0:
			heard, v = "never", edge.Failing
		default:
			heard, v = heard+", stale", edge.Failing
		}
		if o.Suspect != "" {
			v = edge.Degraded
		}
		rows = append(rows, []string{o.Name, o.PoP, heard, fmt.Sprint(o.Targets), fmt.Sprint(o.Down), o.Suspect})
		bad = append(bad, v)
	}
	fmt.Fprintln(w)
	writeRows(w, rows, func(i int, line string) string { return paint(colour && i > 0, bad[i], line) })
}

// doubt tells of observers that say ok and have something to add: that they go by
// what they found earlier.
func (t *targetReport) doubt() string {
	var words []string
	for _, v := range t.Votes {
		if v.Verdict == edge.OK && v.Reason != "" {
			words = append(words, v.Observer+": "+v.Reason)
		}
	}
	return strings.Join(words, "; ")
}

// votesText is who says what: "3 ok, 2 dead", and in brackets what does not
// count.
func votesText(votes []voteReport) string {
	counts, ignored := map[edge.Verdict]int{}, 0
	for _, v := range votes {
		if v.Fresh && v.Suspect == "" {
			counts[v.Verdict]++
		} else {
			ignored++
		}
	}
	var words []string
	for _, v := range sortedKeys(counts) {
		words = append(words, fmt.Sprintf("%d %s", counts[v], v))
	}
	if ignored > 0 {
		words = append(words, fmt.Sprintf("(%d not counted)", ignored))
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

func writeHistory(w io.Writer, history []transition) {
	rows := [][]string{{"at", "target", "from", "to", "reason"}}
	for _, t := range history {
		rows = append(rows, []string{t.At.UTC().Format(time.RFC3339), cmp.Or(t.What, t.Target.String()), t.From.String(), t.To.String(), t.Reason})
	}
	writeRows(w, rows, func(_ int, line string) string { return line })
}

// oneLine keeps what others wrote from breaking a table.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// writeRows writes a table, each line as finish makes it.
func writeRows(w io.Writer, rows [][]string, finish func(i int, line string) string) {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				io.WriteString(table, "\t")
			}
			io.WriteString(table, oneLine(cell))
		}
		fmt.Fprintln(table)
	}
	table.Flush()
	for i, line := range strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n") {
		fmt.Fprintln(w, finish(i, strings.TrimRight(line, " ")))
	}
}
