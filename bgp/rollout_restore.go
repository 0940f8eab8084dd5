package bgp

import (
	"fmt"
	"slices"
	"time"
)

// restore returns the calls that give nodes back what they had: all at once, those of
// the newest wave first. Whatever keeps one of them from it, and it may be what all is
// taken back for, is no reason to have the others wait.
func (r *Rollout) restore(now time.Duration, facts map[string]NodeFacts) []Action {
	var actions []Action
	open := false
	for w := r.Wave; w >= 0 && (w == r.Wave || r.All); w-- {
		for _, node := range slices.Backward(r.Waves[w]) {
			p, f := r.Nodes[node], facts[node]
			if !p.Touched || p.Restored || p.Left != "" && !p.Owed || r.Phase == PhaseAborted && !p.Owed {
				continue
			}
			s, _ := r.Plan.Step(node)
			back := r.back(s)
			if f.Reached {
				r.take(now, node, s, back, f)
			} else if now-p.reached >= unreachable && p.Left != unwritten {
				p.Left, p.Owed = fmt.Sprintf("not restored: it was not reached for %s; it will be when it can", unreachable), true
			}
			if p.Restored || p.Left != "" && !p.Owed {
				continue
			}
			if p.Left == unwritten {
				if !f.Reached || !f.has(s.Plan) {
					continue
				}
				p.planned = now // it has lost what it got back
			}
			if !f.Reached || !f.has(back) {
				actions = append(actions, Action{Node: node, Call: CallRestore, Plan: back})
			}
			open = open || !p.Owed
		}
	}
	if r.Phase == PhaseAborting && !open {
		r.Phase, r.since = PhaseAborted, now
	}
	return actions
}

// unwritten is what is left of a node that a restart takes back to the plan of the rollout. Then
// it is restored again.
const unwritten = "it has its earlier plan, but could not write it, and a restart forgets it"

// take notes how far the restoring of a node is that was reached just now.
func (r *Rollout) take(now time.Duration, node string, s NodeStep, back NodePlan, f NodeFacts) {
	p := r.Nodes[node]
	p.reached = now
	switch {
	case f.has(back) && f.Unstored:
		p.Left, p.Owed = unwritten, true
	case f.has(back) && f.Confirmed:
		p.Restored, p.Left, p.Owed = true, "", false
	case f.has(back) && now-p.planned >= reachWithin+undone(s, f):
		p.Restored, p.Owed = true, false
		p.Left = fmt.Sprintf("it stored its earlier plan, but waits for %s", orNothing(f.Waits))
		if len(r.Plan.First) > 0 && !r.GiveUp {
			p.Left += "; what nobody announced before goes by rollback --force"
		}
	case p.Left == unwritten && f.Generation > back.Generation && !f.Unstored:
		p.Restored, p.Left, p.Owed = true, "", false // it has gone on since
	case p.Left == unwritten: // somebody else's plan, which is not written either, or one of before all that
	case !f.has(back) && !f.has(s.Plan) && !f.has(s.Prior) && !f.has(s.Plan.Restored(s.Prior)):
		p.Left, p.Owed = fmt.Sprintf("not restored: it has another plan now, generation %d (%s)", f.Generation, f.Plan), false
	case !f.has(back) && !p.Owed && now-p.planned >= reachWithin:
		p.Left = fmt.Sprintf("not restored: it has not stored its earlier plan in %s", reachWithin)
	}
}

// undone is how long the node may take to give up what it began to announce.
func undone(s NodeStep, f NodeFacts) time.Duration {
	return NodeStep{Prior: s.Plan, Drops: s.Adds}.drain(f)
}
