package bgp

import (
	"cmp"
	"fmt"
	"time"
)

// Step goes on, as far as the facts about the nodes allow, and returns the calls
// that are to be made now. It is for calling every second or so, and whenever
// something changed. A call that was not answered is simply asked for again.
func (r *Rollout) Step(now time.Duration, facts map[string]NodeFacts) []Action {
	if r.Phase == PhasePlanned {
		r.enter(PhasePreflight, now, "")
	}
	switch r.Phase {
	case PhasePreflight, PhaseActing, PhaseConfirming, PhaseBaking:
		if cause := r.watch(now, facts); cause != "" {
			r.abort(now, cause, false)
		}
	}
	switch r.Phase {
	case PhasePreflight:
		return r.preflight(now, facts)
	case PhaseActing:
		return r.act(now, facts)
	case PhaseConfirming:
		if r.every(func(node string) bool {
			return facts[node].Reached && r.stored(node, facts[node]) && facts[node].Confirmed
		}) &&
			r.probed() && r.every(func(node string) bool { return r.unseen(node, facts[node]) == "" }) {
			r.enter(PhaseBaking, now, "")
			r.gaugeMark(facts)
		}
	case PhaseBaking:
		if now-r.since < r.Bake || !r.every(func(node string) bool { return facts[node].Reached && r.asPlanned(node, facts[node]) }) {
			return nil // a node that stays away aborts, see watch
		}
		if r.Wave == len(r.Waves)-1 {
			r.enter(PhaseDone, now, "")
			return nil
		}
		r.Wave++
		r.nextSights()
		r.enter(PhasePreflight, now, "")
		return r.preflight(now, facts)
	case PhaseAborting, PhaseAborted, PhasePaused:
		return r.restore(now, facts)
	}
	return nil
}

// Result takes a node's answer to a call: refusal is why it refused, empty when
// it did what it was asked. A call that was lost has no result.
func (r *Rollout) Result(now time.Duration, node string, c Call, refusal string) {
	p := r.Nodes[node]
	switch {
	case p == nil:
	case p.Unwritten && refusal != "": // that is tried again
		p.Left = "it refuses to be restored: " + refusal
	case c == CallRestore && refusal != "" && (r.Phase == PhaseAborting || r.Phase == PhaseAborted):
		p.Left, p.Owed = "it refuses to be restored: "+refusal, now-p.planned < reachWithin // it may be starting
	case c == CallPreflight && r.Phase == PhasePreflight && refusal == "":
		p.ready = true
	case refusal != "" && (c == CallPreflight && r.Phase == PhasePreflight || c == CallApply && r.Phase == PhaseActing):
		r.abort(now, fmt.Sprintf("%s refuses its plan: %s", node, refusal), false)
	}
}

// every says whether something holds for all nodes of the wave.
func (r *Rollout) every(holds func(node string) bool) bool {
	for _, node := range r.Waves[r.Wave] {
		if !holds(node) {
			return false
		}
	}
	return true
}

// wave returns the calls for those nodes of the wave that still want one.
func (r *Rollout) wave(c Call, wants func(node string) bool) (actions []Action) {
	for _, node := range r.Waves[r.Wave] {
		if wants(node) {
			s, _ := r.Plan.Step(node)
			actions = append(actions, Action{Node: node, Call: c, Plan: s.Plan})
		}
	}
	return actions
}

func (r *Rollout) preflight(now time.Duration, facts map[string]NodeFacts) []Action {
	if !r.every(func(node string) bool { return r.Nodes[node].ready && facts[node].Reached }) {
		return r.wave(CallPreflight, func(node string) bool { return !r.Nodes[node].ready })
	}
	if r.Wave == 0 && len(r.Probes()) > 0 && now-r.since < probeFirst {
		return nil
	}
	r.enter(PhaseActing, now, "")
	r.gaugeBefore(facts)
	for _, node := range r.Waves[r.Wave] {
		r.Nodes[node].Touched, r.Nodes[node].Start = true, facts[node].Tally
	}
	return r.act(now, facts)
}

func (r *Rollout) act(now time.Duration, facts map[string]NodeFacts) []Action {
	stored := func(node string) bool {
		s, _ := r.Plan.Step(node)
		return facts[node].Reached && facts[node].has(s.Plan)
	}
	if r.every(stored) {
		// The time to do as planned counts from the acting on.
		since := r.since
		r.enter(PhaseConfirming, now, "")
		for _, node := range r.Waves[r.Wave] {
			r.Nodes[node].planned = since
		}
		return nil
	}
	return r.wave(CallApply, func(node string) bool { return !stored(node) })
}

// has says whether the node has stored the plan.
func (f NodeFacts) has(p NodePlan) bool { return f.Generation == p.Generation && f.Plan == p.ID() }

// stored says whether a node has stored its plan.
func (r *Rollout) stored(node string, f NodeFacts) bool {
	s, _ := r.Plan.Step(node)
	return f.has(s.Plan)
}

// asPlanned says whether a node has stored its plan, and does as it says.
func (r *Rollout) asPlanned(node string, f NodeFacts) bool {
	return r.stored(node, f) && f.Confirmed && r.unseen(node, f) == ""
}

// watch looks at the nodes of the wave, and returns why to abort, or "".
func (r *Rollout) watch(now time.Duration, facts map[string]NodeFacts) string {
	for _, node := range r.Waves[r.Wave] {
		f, p := facts[node], r.Nodes[node]
		if f.Reached {
			p.reached = now
		} else if now-p.reached >= unreachable {
			return fmt.Sprintf("%s was not reached for %s", node, unreachable)
		}
		if r.Phase == PhasePreflight && !p.ready && now-r.since >= reachWithin {
			return fmt.Sprintf("%s has not said in %s whether it can", node, reachWithin)
		}
		if r.Phase == PhasePreflight || !f.Reached {
			continue
		}
		s, _ := r.Plan.Step(node)
		if !f.has(s.Plan) && !(r.Phase == PhaseActing && f.has(s.Prior)) {
			return fmt.Sprintf("%s has another plan now: generation %d (%s)", node, f.Generation, f.Plan)
		}
		if why := p.Start.worse(f.Tally); why != "" {
			return node + " " + why
		}
		if r.asPlanned(node, f) {
			p.planned = now
		} else if within := reachWithin + s.drain(f); now-p.planned >= within {
			return fmt.Sprintf("%s does not do as planned, for %s: it waits for %s", node, within, orNothing(cmp.Or(f.Waits, r.unseen(node, f))))
		}
	}
	return cmp.Or(r.misrouted(now, facts), r.missed(facts))
}

func orNothing(waits string) string {
	if waits == "" {
		return "nothing that it tells"
	}
	return waits
}

// drain is how long the node may take to give up the VIPs that leave.
func (s NodeStep) drain(f NodeFacts) (longest time.Duration) {
	for _, name := range s.Leaves() {
		if v, ok := s.Prior.VIP(name); ok {
			longest = max(longest, v.Hold+f.AnswerTTL)
		}
	}
	return longest
}

// worse says in words what went wrong between two tallies of a node, or "".
func (t Tally) worse(now Tally) string {
	if now.Queries < t.Queries || now.Servfails < t.Servfails || now.Flaps < t.Flaps {
		return "restarted"
	}
	if n := now.Flaps - t.Flaps; n > 0 {
		return fmt.Sprintf("lost %s", Counted(int(n), "session"))
	}
	if why := t.Latency.slower(now.Latency); why != "" {
		return why
	}
	queries := now.Queries - t.Queries
	if queries < minQueries {
		return ""
	}
	before := 0.0
	if t.Queries > 0 {
		before = float64(t.Servfails) / float64(t.Queries)
	}
	share := float64(now.Servfails-t.Servfails) / float64(queries)
	if share <= maxServfail || share <= before {
		return ""
	}
	return fmt.Sprintf("answered %.1f %% of %d queries with SERVFAIL, want at most %.1f %% (before: %.1f %%)",
		100*share, queries, 100*maxServfail, 100*before)
}
