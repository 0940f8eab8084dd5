package fleet

import (
	"slices"

	"edged/edge"
	"edged/health"
)

// State says something of this node itself, where others go by what is said (see
// health.Quorum.Stated): it is told at once when it changes, and renewed like
// what this node observes. A reason is at most health.MaxReason octets.
func (f *Fleet) State(id health.TargetID, v edge.Verdict, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := health.Observation{Target: id, Verdict: v, Reason: reason}
	if was, ok := f.stated[id]; ok && was == o {
		return
	}
	f.stated[id] = o
	f.gone = slices.DeleteFunc(f.gone, func(t health.TargetID) bool { return t == id })
	f.changed[id] = true
	f.poke()
}

// Unstate takes back what State said.
func (f *Fleet) Unstate(id health.TargetID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.stated[id]; !ok {
		return
	}
	delete(f.stated, id)
	delete(f.changed, id)
	f.gone = append(f.gone, id)
	f.poke()
}
