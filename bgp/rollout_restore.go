package bgp

import (
	"fmt"
	"slices"
	"time"
)

// restore returns the calls that give nodes back what they had: all at once, those of
// the newest wave first. Whatever keeps one of them from it, and it may be what all is
// taken back for, is no reason to have the others wait. Once aborted, it is for those that are
// owed something; while paused for those that had it and lost it.
func (r *Rollout) restore(now time.Duration, facts map[string]NodeFacts) []Action {
	var actions []Action
	open := false
	for w := r.Wave; w >= 0 && (w == r.Wave || r.All); w-- {
		for _, node := range slices.Backward(r.Waves[w]) {
			p, f := r.Nodes[node], facts[node]
			if !p.Touched || p.Restored || !r.restores(p) {
				continue
			}
			s, _ := r.Plan.Step(node)
			back := r.back(s)
			if f.Reached {
				r.take(now, node, s, back, f)
			} else if now-p.reached >= unreachable && (!p.Unwritten || p.Left == written) {
				p.Left, p.Owed = fmt.Sprintf("not restored: it was not reached for %s; it will be when it can", unreachable), true
			}
			if p.Restored || !r.restores(p) || p.Unwritten && !r.forgot(now, p, s, f) || r.Phase == PhasePaused && !p.Unwritten {
				continue
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

// restores says whether a node is to be given back what it had, as things stand.
func (r *Rollout) restores(p *Progress) bool {
	return p.Owed || r.Phase == PhaseAborting && p.Left == ""
}

// unwritten is what is left of a node that has what it had before, but only until a restart.
const unwritten = "it has its earlier plan, but could not write it, and a restart forgets it"

// written is what is left of one until peers were told.
const written = "it has written its earlier plan, and is yet to do as that says"

// forgot says whether an unwritten node has what a restart brought back.
func (r *Rollout) forgot(now time.Duration, p *Progress, s NodeStep, f NodeFacts) bool {
	if !f.Reached || !r.undone(s, f) {
		return false
	}
	p.planned = now
	if p.Left == unwritten {
		p.Left = "a restart brought back what it had, and it is restored again"
	}
	return true
}

// undone says whether a node has the plan of the rollout or, where that is taken back once more by
// force, what it had after the first time.
func (r *Rollout) undone(s NodeStep, f NodeFacts) bool {
	return f.has(s.Plan) || r.Forced && f.has(s.Plan.Restored(s.Prior))
}

// sameRun is how soon two answers of a node follow each other that have no restart, and a plan
// after it, between them.
const sameRun = 3 * time.Second

// take notes how far the restoring of a node is that was reached just now.
func (r *Rollout) take(now time.Duration, node string, s NodeStep, back NodePlan, f NodeFacts) {
	p := r.Nodes[node]
	steady := p.held && now-p.reached <= sameRun
	p.reached, p.held = now, f.has(back) || p.held && p.Unwritten && f.Unstored
	switch {
	case f.has(back) && f.Unstored:
		p.Left, p.Owed, p.Unwritten, p.planned = unwritten, true, true, now
	case f.has(back) && f.Confirmed, p.Unwritten && f.has(s.Prior):
		p.restored("")
	case f.has(back) && now-p.planned >= reachWithin+goingDown(s, f):
		left := fmt.Sprintf("it stored its earlier plan, but waits for %s", orNothing(f.Waits))
		if len(r.Plan.First) > 0 && !r.GiveUp {
			left += "; what nobody announced before goes by rollback --force"
		}
		p.restored(left)
	case p.Unwritten && f.has(back):
		p.Left = written
	case p.Unwritten && (f.Unstored || r.undone(s, f)): // a plan that is not written either, or that of before
	case p.Unwritten && steady:
		p.restored("") // it has gone on since
	case !f.has(back) && !f.has(s.Plan) && !f.has(s.Prior) && !f.has(s.Plan.Restored(s.Prior)):
		p.Left, p.Owed, p.Unwritten = fmt.Sprintf("not restored: it has another plan now, generation %d (%s)", f.Generation, f.Plan), false, false
	case !f.has(back) && !p.Owed && now-p.planned >= reachWithin:
		p.Left = fmt.Sprintf("not restored: it has not stored its earlier plan in %s", reachWithin)
	}
}

// restored ends what is owed to a node; left: what is to be said all the same.
func (p *Progress) restored(left string) {
	p.Restored, p.Left, p.Owed, p.Unwritten = true, left, false, false
}

// goingDown is how long the node may take to give up what it began to announce.
func goingDown(s NodeStep, f NodeFacts) time.Duration {
	return NodeStep{Prior: s.Plan, Drops: s.Adds}.drain(f)
}
