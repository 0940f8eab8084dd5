package mapper

import (
	"iter"
	"math"
	"runtime"
	"slices"
	"sort"
	"sync"

	"edged/mapper/compress"
	"edged/maps"
)

// run is a range of addresses that have one PoP first, up to the next run or the
// end of the space. Its ranking is that of one of its leaves.
type run struct {
	start maps.Addr6
	leaf  int
	class uint32 // of rankings
	pop   uint16 // noPoP: none
}

// runsOf makes each leaf a run.
func (b *builder) runsOf(leaves []leaf) []run {
	runs := make([]run, len(leaves))
	for i, l := range leaves {
		runs[i] = run{start: l.start, pop: b.first(l), leaf: i}
	}
	return runs
}

// first returns the PoP that a leaf's clients go to, noPoP if nobody knows.
func (b *builder) first(l leaf) uint16 {
	o := &b.outlooks[l.outlook]
	switch {
	case len(o.hops) > 0:
		return o.hops[l.choice].PoP
	case o.order != maps.NoOrder:
		return b.orders.list[o.order][0]
	}
	return noPoP
}

// shrink merges neighbours that the tolerance does not part. Merging moves demand,
// so PoPs that are full take no part, and when one gets above its limit
// after all, what had come to it is held where it was and all is merged again;
// the last time nothing with demand moves.
func (b *builder) shrink(spaces []*space) {
	held := make([][]bool, len(spaces)) // by served leaf
	good := make([]*goodPoPs, len(spaces))
	for i, s := range spaces {
		held[i], good[i] = make([]bool, len(s.served)), b.newGoodPoPs()
	}
	for round := 0; ; round++ {
		for i, s := range spaces {
			s.runs = b.merge(s, held[i], good[i])
		}
		if !b.shares.limited || round == shrinkRounds || !b.hold(spaces, held, round+1 == shrinkRounds) {
			return
		}
	}
}

// shrinkRounds is how often neighbours are merged again at most.
const shrinkRounds = 2

// hold notes the leaves with demand that came to a PoP above its limit by being
// merged; or all, if there is any. It reports whether there is.
func (b *builder) hold(spaces []*space, held [][]bool, all bool) bool {
	load := make([]float64, len(b.shares.limits))
	for _, s := range spaces {
		for v, r := range s.goes() {
			if r.pop != noPoP {
				load[r.pop] += v.demand
			}
		}
	}
	over := make([]bool, len(load))
	any := false
	for pop, l := range b.shares.limits {
		// Of what the repair could not keep, nothing is to be kept here.
		over[pop] = l.capacity > 0 && load[pop] > max(l.held, b.shares.load(pop))*(1+1e-9)
		any = any || over[pop]
	}
	if !any {
		return false
	}
	for i, s := range spaces {
		n := 0
		for v, r := range s.goes() {
			if all || r.pop != noPoP && over[r.pop] && r.pop != b.first(s.leaves[v.leaf]) {
				held[i][n] = true
			}
			n++
		}
	}
	return true
}

// goes yields the leaves with demand, and the runs that they are in.
func (s *space) goes() iter.Seq2[served, run] {
	return func(yield func(served, run) bool) {
		at := 0
		for _, v := range s.served {
			start := s.leaves[v.leaf].start
			for at+1 < len(s.runs) && !start.Less(s.runs[at+1].start) {
				at++
			}
			if !yield(v, s.runs[at]) {
				return
			}
		}
	}
}

// merge merges the leaves of a space. Those that are held keep their PoP, and so do
// clients who stay with the one in force, being merged is no reason to move; and
// those who measured, whose times are not given up.
func (b *builder) merge(s *space, held []bool, good *goodPoPs) []run {
	unknown := good.sets.Of(noPoP)
	leaves := slices.Grow(good.leaves[:0], len(s.leaves))[:len(s.leaves)]
	good.leaves = leaves
	next := 0
	for i, l := range s.leaves {
		kind := free
		if next < len(s.served) && s.served[next].leaf == i {
			switch {
			case held[next] || s.served[next].now == b.first(l):
				kind = alone
			case b.shares.limited:
				kind = loaded
			}
			next++
		}
		pop := b.first(l)
		leaves[i] = compress.Leaf{Start: l.start, Best: pop, Good: unknown}
		if pop == noPoP {
			continue
		}
		leaves[i].Best, leaves[i].Good = good.of(l, kind, pop)
	}
	merged := compress.Merge(s.bits, leaves, &good.sets)
	parts := make([][]run, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for p := range parts {
		from, to := p*len(merged)/len(parts), (p+1)*len(merged)/len(parts)
		wg.Go(func() { parts[p] = b.splitAll(s, merged, from, to) })
	}
	wg.Wait()
	if len(parts) == 1 {
		return parts[0]
	}
	return slices.Concat(parts...)
}

// splitAll makes runs of those merged, from one to before another.
func (b *builder) splitAll(s *space, merged []compress.Run, from, to int) []run {
	runs := make([]run, 0, to-from+(to-from)/8)
	for i, m := range merged[from:to] {
		r := run{start: m.Start, pop: m.PoP, leaf: m.Leaf}
		if r.pop != noPoP {
			r.pop &^= asMeasured
		}
		end := len(s.leaves)
		if next := from + i + 1; next < len(merged) {
			end = s.after(merged[next].Start, m.Leaf)
		}
		runs = b.split(runs, s, r, end)
	}
	return runs
}

// after returns the first leaf that begins at an address or behind it; leaf is one
// that begins before.
func (s *space) after(start maps.Addr6, leaf int) int {
	return leaf + sort.Search(len(s.leaves)-leaf, func(i int) bool { return !s.leaves[leaf+i].start.Less(start) })
}

// split appends a run, cut where its ranking would be wrong for leaves; end is
// the leaf behind it.
func (b *builder) split(runs []run, s *space, r run, end int) []run {
	first := s.at(r.start, r.leaf)
	runs = append(runs, r)
	if r.pop == noPoP {
		return runs
	}
	now := r
	for i := first; i < end; i++ {
		l := s.leaves[i]
		if b.agrees(l, s.leaves[now.leaf], r.pop) {
			continue
		}
		next := run{start: l.start, pop: r.pop, leaf: i}
		if b.agrees(l, s.leaves[r.leaf], r.pop) {
			next.leaf = r.leaf
		}
		if i == first { // which may begin before the run
			next.start = r.start
			runs = runs[:len(runs)-1]
		}
		runs = append(runs, next)
		now = next
	}
	return runs
}

// at returns the leaf that holds an address; leaf is one that does not begin
// before it.
func (s *space) at(start maps.Addr6, leaf int) int {
	return sort.Search(leaf, func(i int) bool { return start.Less(s.leaves[i+1].start) })
}

// secondTolerance is how many times the tolerance a second choice may be worse
// than a leaf's own.
const secondTolerance = 5

// agrees reports whether a leaf's clients can have the ranking of another, whose
// first choice is given. Those who measured have rankings of their own; neighbours
// that turn out nearly the same become one range all the same (classes.join).
func (b *builder) agrees(l, other leaf, first uint16) bool {
	if l.outlook == other.outlook {
		return true
	}
	own, theirs := &b.outlooks[l.outlook], &b.outlooks[other.outlook]
	if own.measured || b.guesses() && !b.timesHold(own, theirs, first) {
		return false
	}
	second, ok := b.second(theirs, first)
	if !ok {
		return true
	}
	best, ok := b.second(own, first)
	if !ok {
		return true
	}
	for _, h := range own.hops[:own.timed] {
		if h.PoP == second.PoP {
			return float64(b.shares.cost(h)-b.shares.cost(best)) <= 1000*secondTolerance*b.in.Tolerance
		}
	}
	return false
}

// firstTolerance is how many times the tolerance the time of a first choice may be
// off a range's own guess.
const firstTolerance = 3

// timesHold reports whether the times of an outlook may be those of a range that
// only has guesses: that of the first choice off them by up to firstTolerance, the
// others by up to secondTolerance or a quarter. Of a PoP that the range does not
// list it is known that it takes as long as the last one, or longer.
func (b *builder) timesHold(own, theirs *outlook, first uint16) bool {
	for _, h := range theirs.hops {
		at := slices.IndexFunc(own.hops, func(o maps.Hop) bool { return o.PoP == h.PoP })
		listed := at >= 0
		if !listed {
			at = len(own.hops) - 1
		}
		if at < 0 {
			return false
		}
		guess := float64(own.hops[at].RTT) // half milliseconds, like the bounds
		bound := max(2*secondTolerance*b.in.Tolerance, guess/4)
		if h.PoP == first {
			bound = 2 * firstTolerance * b.in.Tolerance
		}
		off := float64(h.RTT) - guess
		if off < -bound || listed && off > bound {
			return false
		}
	}
	return true
}

// second returns the hop with the least cost but the first choice, and whether
// there is one.
func (b *builder) second(o *outlook, first uint16) (second maps.Hop, ok bool) {
	for _, h := range o.hops[:o.timed] {
		if h.PoP != first && (!ok || b.shares.cost(h) < b.shares.cost(second)) {
			second, ok = h, true
		}
	}
	return second, ok
}

// tolerable appends the PoPs that are good enough for a leaf: those whose cost is
// within the tolerance of the least. Of clients with demand, PoPs with a price are
// not: they are full. Nor does such a client leave a full PoP for a round trip that is
// longer by more than the tolerance: its room was dear.
func (b *builder) tolerable(l leaf, loaded bool, pops []uint16) []uint16 {
	o := &b.outlooks[l.outlook]
	hops := o.hops[:o.timed]
	if len(hops) == 0 || int(l.choice) >= len(hops) {
		return pops
	}
	least := math.MaxInt
	for _, h := range hops {
		least = min(least, b.shares.cost(h))
	}
	for i, h := range hops {
		if i == int(l.choice) || loaded && b.shares.prices[h.PoP] > 0 {
			continue
		}
		if loaded && float64((int(h.RTT)-int(hops[l.choice].RTT))*perStep) > 1000*b.in.Tolerance {
			continue
		}
		if float64(b.shares.cost(h)-least) <= 1000*b.in.Tolerance {
			pops = append(pops, h.PoP)
		}
	}
	return pops
}
