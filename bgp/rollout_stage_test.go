package bgp

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeNode is a node that stores plans at once and does as they say 3 s later.
type fakeNode struct {
	NodeStatus
	stored   NodePlan
	ready    time.Duration // when it does as planned
	away     bool          // it answers nothing
	deaf     bool          // it answers for its status only
	stuck    bool          // it never does as planned
	drained  bool          // it announces nothing, as an operator wants it
	refuses  string
	servfail float64 // of its answers
	gets     uint64  // queries a second to ns2
}

// stage is a rollout among such nodes, second by second.
type stage struct {
	t       *testing.T
	now     time.Duration
	rollout *Rollout
	nodes   map[string]*fakeNode
	log     []string // of phases, calls that were carried out, and what failed
}

// newStage rolls ns1 out on the nodes, which have another VIP, ns2.
func newStage(t *testing.T, nodes string) *stage {
	t.Helper()
	return newStageOf(t, nodes, []VIP{ns1, ns2})
}

// newStageOf rolls VIPs out on nodes that have ns2.
func newStageOf(t *testing.T, nodes string, vips []VIP) *stage {
	t.Helper()
	s := &stage{t: t, nodes: map[string]*fakeNode{}}
	p := FleetPlan{ID: "p1"}
	for _, name := range strings.Fields(nodes) {
		prior := planOf(name, 4, ns2)
		next := Pending(prior, vips, nil)
		step := NodeStep{Prior: prior, Plan: next}
		step.Adds, step.Drops = comeAndGo(prior, next, []Peer{torA})
		p.Steps = append(p.Steps, step)
		p.Changes = append(p.Changes, Diff(prior, next, []Peer{torA}, []Peer{torA})...)
		n := &fakeNode{stored: prior, servfail: 0.001}
		n.Queries, n.Servfails = 100_000, 100
		s.nodes[name] = n
	}
	r, err := NewRollout(p, 60*time.Second, "ada", "more capacity")
	if err != nil {
		t.Fatal(err)
	}
	s.rollout = r
	return s
}

func (s *stage) say(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf("%d %s", s.now/time.Second, fmt.Sprintf(format, args...)))
}

// second runs one second: what is known is an answer of now.
func (s *stage) second() {
	facts := map[string]NodeFacts{}
	for name, n := range s.nodes {
		if t := n.Traffic["ns2"]; n.gets > 0 || t.Total > 0 {
			n.Traffic = map[string]Traffic{"ns2": {Total: t.Total + n.gets, Minute: 60 * n.gets}}
		}
		n.Queries += 200
		n.Servfails += uint64(200 * n.servfail)
		n.Generation, n.Plan = n.stored.Generation, n.stored.ID()
		n.Confirmed = s.now >= n.ready && !n.stuck
		n.Out = map[string][]netip.Prefix{}
		for _, v := range n.stored.VIPs {
			if !n.drained {
				n.Out[v.Name] = v.Prefixes
			}
		}
		n.Waits = ""
		if !n.Confirmed {
			n.Waits = "a session"
		}
		facts[name] = NodeFacts{Reached: !n.away, NodeStatus: n.NodeStatus}
	}
	before := s.rollout.Phase
	wave := s.rollout.Wave
	actions := s.rollout.Step(s.now, facts)
	if r := s.rollout; r.Phase != before || r.Wave != wave {
		s.say("%s wave %d%s", r.Phase, r.Wave+1, map[bool]string{true: ": " + r.Cause}[r.Cause != ""])
	}
	for _, a := range actions {
		n := s.nodes[a.Node]
		if n.away || n.deaf {
			continue
		}
		refusal := n.refuses
		if err := a.Plan.CanReplace(n.stored, a.Call == CallRestore); err != nil {
			refusal = err.Error()
		}
		if refusal == "" && a.Call != CallPreflight {
			n.stored, n.ready = a.Plan, s.now+3*time.Second
			s.say("%s %s generation %d", a.Call, a.Node, a.Plan.Generation)
		}
		s.rollout.Result(s.now, a.Node, a.Call, refusal)
	}
	s.now += time.Second
}

func (s *stage) run(until string, most int) {
	s.t.Helper()
	for range most {
		from := len(s.log)
		s.second()
		if slices.ContainsFunc(s.log[from:], func(line string) bool { return strings.Contains(line, until) }) {
			return
		}
	}
	s.t.Errorf("no %q in %d s; the log:\n%s", until, most, strings.Join(s.log, "\n"))
}

func (s *stage) expect(want string) {
	s.t.Helper()
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(want), "\n") {
		lines = append(lines, strings.TrimSpace(line))
	}
	if got := strings.Join(s.log, "\n"); got != strings.Join(lines, "\n") {
		s.t.Errorf("log\n%s\nwant\n%s", got, strings.Join(lines, "\n"))
	}
}

// restored holds that a node has what it had before it all.
func (s *stage) restored(nodes ...string) {
	s.t.Helper()
	for _, name := range nodes {
		if step, _ := s.rollout.Plan.Step(name); s.nodes[name].stored.ID() != step.Prior.ID() {
			s.t.Errorf("%s has %s, want what it had before", name, names(s.nodes[name].stored))
		}
	}
}

// FuzzRollout throws events at a rollout in any order. Whatever happens, it does
// nothing while paused, it survives being kept, and a rollback with all nodes in
// reach gives back what they had.
func FuzzRollout(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 9, 9, 2, 9, 3, 9})
	f.Add([]byte("08")) // what nothing was counted of, kept
	f.Add([]byte{9, 9, 9, 0x14, 9, 0x25, 5, 9, 9, 0x36, 7, 8})
	f.Fuzz(func(t *testing.T, events []byte) {
		s := newStage(t, "ams1 ams2 fra1 lhr1")
		s.rollout.Bake = 5 * time.Second
		all := s.rollout.Plan.Nodes()
		for _, e := range events[:min(len(events), 60)] {
			n := s.nodes[all[int(e>>4)%len(all)]]
			switch e & 15 {
			case 0:
				n.away = !n.away
			case 1:
				n.deaf = !n.deaf
			case 2:
				n.stuck = !n.stuck
			case 3:
				n.Flaps++
			case 4:
				_ = s.rollout.Pause(s.now, "ada", "x")
			case 5:
				_ = s.rollout.Resume(s.now, "root", "go on")
			case 6:
				_ = s.rollout.Abort(s.now, "ada", "x")
			case 7:
				_ = s.rollout.Rollback(s.now, "ada", "x", false)
			case 8:
				b, err := json.Marshal(s.rollout)
				if err != nil {
					t.Fatal(err)
				}
				var again *Rollout
				if err := json.Unmarshal(b, &again); err != nil {
					t.Fatal(err)
				}
				if c, _ := json.Marshal(again); !reflect.DeepEqual(b, c) {
					t.Fatalf("through JSON:\n%s\n%s", b, c)
				}
				s.rollout = again
				s.rollout.Loaded()
			}
			for range 1 + e>>5 {
				was, log := s.rollout.Phase, len(s.log)
				s.second()
				if was == PhasePaused && len(s.log) != log {
					t.Fatalf("paused, and then %q", s.log[log:])
				}
			}
		}
		for _, n := range s.nodes {
			n.away, n.deaf, n.stuck = false, false, false
		}
		if s.rollout.Rollback(s.now, "ada", "end", false) != nil {
			return // nothing was touched, or all is restored
		}
		for i := 0; i < 400 && !s.rollout.Ended(); i++ {
			s.second()
		}
		for _, name := range all {
			if step, _ := s.rollout.Plan.Step(name); s.nodes[name].stored.ID() != step.Prior.ID() {
				t.Errorf("%s was rolled back, but has %s; log\n%s", name, names(s.nodes[name].stored), strings.Join(s.log, "\n"))
			}
		}
	})
}
