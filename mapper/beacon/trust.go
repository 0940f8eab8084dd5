package beacon

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"

	"edged/edge"
)

// Trust says how far each row of a set is believed. It is found by FindTrust and
// does not change. The zero value believes all.
type Trust struct {
	limits    *Limits
	frauds    map[Source]bool
	misplaced map[Unit]bool
}

// FindTrust looks through a set for sources that bring too much (FindLimits) and
// for those that are faster than light from where they are said to be (Doubts).
// where says where a unit is, as far as that is known; it may be called by several
// goroutines. Nil: nobody knows. The set is read up to four times.
func FindTrust(ctx context.Context, set *Set, pops []edge.PoP, where func(Unit) (Point, bool), workers int) (*Trust, error) {
	limits, err := FindLimits(ctx, set, Plan{Weight: set.ageWeight()}, workers)
	if err != nil {
		return nil, err
	}
	t := &Trust{limits: limits, frauds: map[Source]bool{}, misplaced: map[Unit]bool{}}
	if where == nil {
		return t, nil
	}
	spots := remembered(spotOf(where))
	all := newDoubts(set, pops, spots)
	var mu sync.Mutex // guards all
	err = eachHour(ctx, set, workers, func(h *Hour) error {
		part := newDoubts(set, pops, spots)
		for s, err := range h.sessions(false) {
			if err != nil {
				return err
			}
			part.Add(s)
		}
		mu.Lock()
		defer mu.Unlock()
		all.join(part)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, s := range all.Sources() {
		t.frauds[s] = true
	}
	for _, u := range all.Places() {
		t.misplaced[u] = true
	}
	return t, nil
}

// remembered asks where a unit is once, whichever hours and goroutines ask.
func remembered(where func(Unit) spot) func(Unit) spot {
	type shard struct {
		mu      sync.Mutex // guards answers
		answers map[Unit]spot
	}
	shards := make([]shard, 64) // so that goroutines hardly wait for each other
	for i := range shards {
		shards[i].answers = map[Unit]spot{}
	}
	return func(u Unit) spot {
		s := &shards[u.turn(uint64(len(shards)))]
		s.mu.Lock()
		a, ok := s.answers[u]
		s.mu.Unlock()
		if !ok {
			a = where(u)
			s.mu.Lock()
			s.answers[u] = a
			s.mu.Unlock()
		}
		return a
	}
}

// HalfLife is the age at which a sample weighs half, in hours.
const HalfLife = 24

// ageWeight returns the weights of rows by their age, counted from the set's
// newest hour, so that the clock does not matter.
func (s *Set) ageWeight() func(Session, Row) uint16 {
	if len(s.Hours) == 0 {
		return nil
	}
	newest := s.Hours[len(s.Hours)-1].Start.Unix() / hourLength
	oldest := s.Hours[0].Start.Unix() / hourLength
	weights := make([]uint16, newest-oldest+1)
	for age := range weights {
		weights[age] = uint16(max(1, math.Round(MaxWeight*math.Exp2(-float64(age)/HalfLife))))
	}
	return func(_ Session, r Row) uint16 { return weights[max(0, newest-r.Time/hourLength)] }
}

// Weight returns how much of a row's weight counts: 1 is all, 0 nothing. The
// session is one of the set that FindTrust looked through.
func (t *Trust) Weight(_ Session, r Row) float64 {
	if t.frauds[SourceOf(r.Client)] {
		return 0
	}
	if t.limits == nil {
		return 1
	}
	return t.limits.Factor(r.Client, r.PoP)
}

// Misplaced reports whether a unit cannot be where it is said to be.
func (t *Trust) Misplaced(u Unit) bool { return t.misplaced[u] }

// Places returns the units that are misplaced, in order.
func (t *Trust) Places() []Unit {
	list := make([]Unit, 0, len(t.misplaced))
	for u := range t.misplaced {
		list = append(list, u)
	}
	slices.Sort(list)
	return list
}

// Frauds returns the sources that are not believed, in order.
func (t *Trust) Frauds() []Source {
	list := make([]Source, 0, len(t.frauds))
	for s := range t.frauds {
		list = append(list, s)
	}
	slices.SortFunc(list, compareSources)
	return list
}

// Limited returns the sources that brought more than they may to any cell, in
// order.
func (t *Trust) Limited() []Source {
	if t.limits == nil {
		return nil
	}
	var list []Source
	for at := range t.limits.factors {
		list = append(list, at.source)
	}
	slices.SortFunc(list, compareSources)
	return slices.Compact(list)
}

func compareSources(a, b Source) int {
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
}
