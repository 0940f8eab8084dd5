package health

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"edged/edge"
)

// Observer is one member's part of the matrix: what it said last of each
// target it checks, and whether that still counts.
type Observer struct {
	Name, PoP string

	// Fresh says that a record arrived lately, and Age how long ago, both by the
	// receiver's own monotonic clock.
	Fresh bool
	Age   time.Duration

	// Suspect is why the observer does not believe itself; empty: it does.
	Suspect string

	// Incarnation counts the observer's starts, Sequence its records since.
	Incarnation, Sequence uint64

	// Observations are read-only once handed over.
	Observations map[TargetID]Observation
}

// Fleet is who may be heard.
type Fleet struct {
	Self string // this node's name

	// Members are those of the configuration when Configured, else all that were
	// ever seen. A configured fleet believes nobody else, nor another PoP.
	Members    []Member
	Configured bool
}

// Input is all that a view is made from.
type Input struct {
	Fleet     Fleet
	Observers []Observer // in any order, this node's own among them
	Quorums   map[TargetID]Quorum
	Alone     bool // there is no fleet: this node's own checks decide
}

// View is what the fleet says of every target in use, as this node sees it. It
// is immutable.
type View struct {
	// Frozen is why this side of a partition may not judge: it sees no majority
	// of the members. Empty: it may. What follows from it is for each target's
	// Quorum.Partition to say.
	Frozen string

	Targets   map[TargetID]TargetState
	Observers []ObserverState // by name

	// Hash is over the pairs of target and verdict: nodes that agree have the
	// same.
	Hash uint64
}

// TargetState is what the fleet says of one target, and how it came to that.
type TargetState struct {
	Verdict edge.Verdict
	Reason  string
	Since   time.Time     // when this node first saw the verdict
	LastOK  time.Time     // when it was last up, while it is down; zero: not known
	Next    time.Duration // the least time until it may turn, so far as observers say; 0: any time
	Decided string        // for example "3 of 5 observers"
	Votes   []Vote        // by observer; those that did not count too
}

// ObserverState is what the fleet thinks of one member.
type ObserverState struct {
	Name, PoP string
	Seen      bool // it has been heard, now or earlier
	Fresh     bool
	Age       time.Duration // since it was last heard; 0 when it never was
	Suspect   string        // why it is not believed; empty: it is
	Targets   int           // that it checks
	Down      int           // of those, that it says are down
}

// BuildView judges every target of in.Quorums. From the same input it returns
// the same verdicts on any node at any time, but for those that in.Fleet, Alone
// and prev say: prev, which may be nil, is where kept verdicts come from. The
// time is for Since alone.
func BuildView(in Input, prev *View, now time.Time) *View {
	if prev == nil {
		prev = &View{}
	}
	observers := believable(in)
	why := suspects(observers)
	v := &View{
		Targets:   make(map[TargetID]TargetState, len(in.Quorums)),
		Observers: states(in.Fleet, observers, why),
	}
	if !in.Alone {
		v.Frozen = minority(in.Fleet, observers)
	}
	votes := gather(observers, why, in.Quorums)
	for t, q := range in.Quorums {
		s := judge(in, q, votes[t], v.Frozen)
		was, known := prev.Targets[t]
		if !known {
			was = TargetState{Verdict: edge.Unknown, Since: now}
		}
		if s.kept {
			s.verdict, s.reason = was.Verdict, was.Reason
			if was.Verdict == edge.Unknown {
				s.reason = reasonUnknown(votes[t])
			}
		}
		state := TargetState{Verdict: s.verdict, Reason: s.reason, Since: now, Next: next(votes[t]), Decided: s.decided, Votes: votes[t]}
		if state.Verdict == was.Verdict {
			state.Since = was.Since
		}
		switch {
		case !isDown(state.Verdict):
		case isUp(was.Verdict):
			state.LastOK = now
		default:
			state.LastOK = was.LastOK
		}
		v.Targets[t] = state
		v.Hash += mix(mix(uint64(t)) + uint64(state.Verdict)) // a sum: in any order
	}
	return v
}

// reasonUnknown is why a target that never had a verdict has none, if an
// observer says: for example that it lacks the right to probe it.
func reasonUnknown(votes []Vote) string {
	for i := range votes {
		if v := &votes[i]; v.counts() && v.Verdict == edge.Unknown && v.Reason != "" {
			return v.Reason
		}
	}
	return ""
}

// judge picks the rule for a target.
func judge(in Input, q Quorum, votes []Vote, frozen string) decision {
	switch {
	case in.Alone:
		return own(votes, in.Fleet.Self, "own check")
	case frozen == "" && q.Stated:
		return stated(votes)
	case frozen == "":
		return agree(votes, q)
	case q.Partition == Local:
		return own(votes, in.Fleet.Self, "own check, for "+frozen)
	case q.Partition == Majority:
		d := agree(votes, Quorum{})
		d.decided += ", for " + frozen
		return d
	}
	return decision{kept: true, decided: "frozen: " + frozen}
}

// believable returns the observers that may be heard, by name. In a configured
// fleet these are its members, each in the PoP that is configured.
func believable(in Input) []Observer {
	observers := slices.Clone(in.Observers)
	if in.Fleet.Configured {
		pops := make(map[string]string, len(in.Fleet.Members))
		for _, m := range in.Fleet.Members {
			pops[m.Name] = m.PoP
		}
		observers = slices.DeleteFunc(observers, func(o Observer) bool {
			_, member := pops[o.Name]
			return !member
		})
		for i := range observers {
			observers[i].PoP = pops[observers[i].Name]
		}
	}
	slices.SortFunc(observers, func(a, b Observer) int { return cmp.Compare(a.Name, b.Name) })
	return observers
}

// minority says why this side may not judge: less than half of the members are
// heard, this node counting as heard. Empty: it may.
func minority(f Fleet, observers []Observer) string {
	members := map[string]bool{f.Self: true} // name to whether it is heard
	for _, m := range f.Members {
		members[m.Name] = m.Name == f.Self
	}
	for _, o := range observers {
		if _, member := members[o.Name]; member && o.Fresh {
			members[o.Name] = true
		}
	}
	heard := 0
	for _, h := range members {
		if h {
			heard++
		}
	}
	if want := len(members)/2 + 1; heard < want {
		return fmt.Sprintf("%d of %d members are heard, want %d", heard, len(members), want)
	}
	return ""
}

// gather turns observers' observations into the votes on each target in use,
// each target's by observer.
func gather(observers []Observer, why map[string]string, inUse map[TargetID]Quorum) map[TargetID][]Vote {
	count := make(map[TargetID]int, len(inUse))
	total := 0
	for i := range observers {
		for t := range observers[i].Observations {
			if _, ok := inUse[t]; ok {
				count[t]++
				total++
			}
		}
	}
	votes := make(map[TargetID][]Vote, len(count))
	all := make([]Vote, total) // each target's are a part of it
	for t, n := range count {
		votes[t], all = all[:0:n], all[n:]
	}
	for i := range observers {
		o := &observers[i]
		suspect := why[o.Name]
		for t, obs := range o.Observations {
			if of, ok := votes[t]; ok {
				obs.Target = t
				votes[t] = append(of, Vote{Observer: o.Name, PoP: o.PoP, Observation: obs, Fresh: o.Fresh, Suspect: suspect})
			}
		}
	}
	return votes
}

// next is the least time until a vote that counts may turn.
func next(votes []Vote) time.Duration {
	least, found := time.Duration(0), false
	for i := range votes {
		if v := &votes[i]; v.counts() && (!found || v.Next < least) {
			least, found = v.Next, true
		}
	}
	return least
}

// states describes the members and the observers, by name.
func states(f Fleet, observers []Observer, why map[string]string) []ObserverState {
	all := make([]ObserverState, 0, max(len(f.Members), len(observers)))
	seen := make(map[string]bool, len(observers))
	for _, o := range observers {
		seen[o.Name] = true
		s := ObserverState{Name: o.Name, PoP: o.PoP, Seen: true, Fresh: o.Fresh, Age: o.Age, Suspect: why[o.Name], Targets: len(o.Observations)}
		for _, obs := range o.Observations {
			if isDown(obs.Verdict) {
				s.Down++
			}
		}
		all = append(all, s)
	}
	for _, m := range f.Members {
		if !seen[m.Name] {
			all = append(all, ObserverState{Name: m.Name, PoP: m.PoP})
		}
	}
	slices.SortFunc(all, func(a, b ObserverState) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Transition is a verdict that changed.
type Transition struct {
	At     time.Time    `json:"at"`
	Target TargetID     `json:"target"`
	From   edge.Verdict `json:"from"`
	To     edge.Verdict `json:"to"`
	Reason string       `json:"reason,omitempty"`
}

// Transitions lists what changed from one view to the next, by target. What
// prev does not know, or all when it is nil, was Unknown; targets that next does
// not know are no transitions.
func Transitions(prev, next *View) []Transition {
	if prev == nil {
		prev = &View{}
	}
	var changes []Transition
	for t, s := range next.Targets {
		from := edge.Unknown
		if was, known := prev.Targets[t]; known {
			from = was.Verdict
		}
		if s.Verdict != from {
			changes = append(changes, Transition{At: s.Since, Target: t, From: from, To: s.Verdict, Reason: s.Reason})
		}
	}
	slices.SortFunc(changes, func(a, b Transition) int { return cmp.Compare(a.Target, b.Target) })
	return changes
}
