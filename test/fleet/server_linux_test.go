package fleet

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"edged/edge"
	"edged/test/fleet/rig"
)

// fiveNodes is the fleet of most tests.
var fiveNodes = rig.Config{Nodes: 5}

// failover is how long after a server's death no answer names it any more at the
// default settings: three failed checks 2 s apart, the last one's second of
// patience, and 2 s for the gossip.
const failover = 9 * time.Second

// A web server is killed while clients ask everywhere.
func TestServerDies(t *testing.T) {
	f := newFleet(t, fiveNodes)
	watches := f.watch(f.Nodes, "www")
	f.wait(10*time.Second, "every client has the nearest server", func() error { return f.Answered(watches, "www", nil) })

	victim := f.Server("fra")
	killed := time.Now()
	victim.Kill()
	next := map[string]string{"fra": "iad"}
	f.wait(15*time.Second, "its clients have another", func() error { return f.Answered(watches, "www", next) })
	f.waitAgreed(10*time.Second, f.Nodes, victim)
	f.hold(failover, "after the server was given up", func() error { return f.Answered(watches, "www", next) })
	for _, w := range watches {
		if took := w.LastNamed(victim.Address).Sub(killed); took > failover {
			t.Errorf("%s named the server for %v after its death, want %v at most", w.Node().Name, took, failover)
		}
	}

	f.must(victim.Start())
	f.wait(40*time.Second, "it is back", func() error { return f.Answered(watches, "www", nil) })
	for _, w := range watches {
		for _, q := range rig.Questions("www") {
			want := 1
			if q.Client == rig.Sites[0].Client {
				want = 3 // there, elsewhere, back
			}
			spans := w.Spans(q)
			if len(spans) != want {
				t.Errorf("%s, %s: %v, want %d spans", w.Node().Name, q, spans, want)
			}
			for _, s := range spans {
				if s.MinTTL < 1 || s.MaxTTL > 60 {
					t.Errorf("%s, %s: TTLs from %d to %d, want 1 to 60", w.Node().Name, q, s.MinTTL, s.MaxTTL)
				}
			}
		}
	}
	noneBad(t, watches)
}

// A node that starts knows from before, or from the others, what is dead.
func TestNodeRestarts(t *testing.T) {
	f := newFleet(t, fiveNodes)
	victim := f.Server("fra")
	victim.Kill()
	f.waitAgreed(time.Minute, f.Nodes, victim)

	next := map[string]string{"fra": "iad"}
	n := f.Nodes[0] // in the same PoP
	for _, how := range []struct {
		name  string
		nodes []*rig.Node
		end   func(*rig.Node) error
	}{
		{"one killed", f.Nodes[:1], func(n *rig.Node) error { n.Kill(); return nil }},
		{"one stopped", f.Nodes[:1], (*rig.Node).Stop},
		{"all killed", f.Nodes, func(n *rig.Node) error { n.Kill(); return nil }},
	} {
		f.waitSaved(how.nodes, 1)
		f.do("end", how.nodes, how.end)
		watches := f.watch(how.nodes, "www")
		f.do("start", how.nodes, (*rig.Node).Start)
		f.wait(time.Minute, how.name+" and started: it answers", func() error { return f.Answered(watches, "www", next) })
		f.waitAgreed(time.Minute, f.Nodes, victim)
		for _, w := range watches {
			w.Stop()
			if named := w.LastNamed(victim.Address); !named.IsZero() {
				t.Errorf("%s: after its restart, %s answered with the dead server: %v", how.name, w.Node().Name, w.Spans(rig.Questions("www")[0]))
			}
		}
	}

	// Without any state it hears from the others, before it answers.
	f.must(n.Stop())
	f.must(n.Forget())
	watches := f.watch([]*rig.Node{n}, "www")
	f.must(n.Start())
	f.wait(time.Minute, "started with nothing: it answers", func() error { return f.Answered(watches, "www", next) })
	f.waitAgreed(time.Minute, f.Nodes, victim)
	watches[0].Stop()
	if named := watches[0].LastNamed(victim.Address); !named.IsZero() {
		t.Errorf("started with nothing, %s answered with the dead server: %v", n.Name, watches[0].Spans(rig.Questions("www")[0]))
	}
}

// waitSaved waits until nodes have so many dead servers on disk. A verdict that
// is younger than a second may be lost with the process.
func (f *fleet) waitSaved(nodes []*rig.Node, dead int) {
	f.t.Helper()
	f.wait(5*time.Second, "the verdicts are saved", func() error {
		for _, n := range nodes {
			text, err := os.ReadFile(filepath.Join(n.Dir, "state", "health", "state.json"))
			if err != nil {
				return err
			}
			var state struct {
				Verdicts map[string]struct{ Verdict edge.Verdict }
			}
			if err := json.Unmarshal(text, &state); err != nil {
				return err
			}
			saved := 0
			for _, v := range state.Verdicts {
				if v.Verdict == edge.Failing || v.Verdict == edge.Dead {
					saved++
				}
			}
			if saved != dead {
				return fmt.Errorf("%s has saved that %d are, want %d", n.Name, saved, dead)
			}
		}
		return nil
	})
}
