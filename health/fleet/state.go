package fleet

import (
	"slices"
	"time"

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

// Statement is what a member said of itself last.
type Statement struct{ Member, PoP, Reason string }

// Statements returns what each member said last of the target that stands for
// something of its own PoP, whether it is heard still or not. A member of the
// configuration is in the PoP that is configured.
func (f *Fleet) Statements(of func(pop string) health.TargetID) (all []Statement) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pops := map[string]string{}
	for _, m := range f.plan.Members {
		pops[m.Name] = m.PoP
	}
	for _, o := range f.matrix.Observers(time.Now()) {
		pop, member := pops[o.Name]
		switch {
		case f.plan.Members == nil:
			pop = o.PoP
		case !member:
			continue
		}
		if said, ok := o.Observations[of(pop)]; ok {
			all = append(all, Statement{o.Name, pop, said.Reason})
		}
	}
	return all
}
