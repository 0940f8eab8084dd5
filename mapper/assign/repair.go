package assign

import (
	"cmp"
	"math"
	"slices"
)

// far is the cost of a path that does not exist.
const far = math.MaxInt32 / 4

// repairRounds bounds the rounds of one repair: it ends much earlier, except
// where units are so large that few fit.
const repairRounds = 60

// nearMoves is what units may lose more than the first of those that move, in
// price units: there is no need to sort all units of a PoP.
const nearMoves = 4 * perMs

// repair moves units until no PoP is above its limit. It returns nil, or a set
// of PoPs whose units have no candidate outside it and are too many for it. It
// gives up where single units are too large to fit anywhere.
func (s *solver) repair() (stuck []bool) {
	for range repairRounds {
		if s.overload() == 0 {
			return nil
		}
		g := s.steps()
		if stuck := s.stuck(g, s.paths(g, 1)); stuck != nil {
			return stuck
		}
		// Ends of paths that have little room would take many rounds to fill. Of
		// the units, first those are looked at that lose little.
		moved := false
		for room := s.overload(); !moved && room > 0; room /= 4 {
			moved = s.push(g, s.paths(g, room), nearMoves)
		}
		if !moved && !s.push(g, s.paths(g, 1), far) {
			return nil
		}
	}
	return nil
}

// overload returns the demand above limits.
func (s *solver) overload() (sum int64) {
	for pop := range s.load {
		sum += max(0, -s.room(pop))
	}
	return sum
}

// graph says, for PoPs from and to at from*pops+to, the least that a unit at
// from costs more at to, prices included: of all units, and of those for which
// there is room. It is far when there is none.
type graph struct{ any, fitting []int32 }

func (s *solver) steps() graph {
	pops := len(s.limit)
	none := slices.Repeat([]int32{far}, pops*pops)
	g := graph{slices.Clone(none), slices.Clone(none)}
	parallel(len(s.demand), func() graph {
		return graph{slices.Clone(none), slices.Clone(none)}
	}, func(state graph, begin, end int) {
		for u := begin; u < end; u++ {
			from, base := s.at(u)
			for _, c := range s.packed[s.first[u]:s.first[u+1]] {
				to := popOf(c)
				if to == from || s.demand[u] == 0 {
					continue
				}
				step, extra := int(from)*pops+int(to), costOf(c)+s.prices[to]-base
				state.any[step] = min(state.any[step], extra)
				if s.fits(u, int(to)) {
					state.fitting[step] = min(state.fitting[step], extra)
				}
			}
		}
	}, func(state graph) {
		for i := range none {
			g.any[i] = min(g.any[i], state.any[i])
			g.fitting[i] = min(g.fitting[i], state.fitting[i])
		}
	})
	return g
}

// at returns where a unit is, and what it costs there with the price.
func (s *solver) at(u int) (pop uint16, key int32) {
	c := s.packed[s.first[u]+uint32(s.choice[u])]
	return popOf(c), costOf(c) + s.prices[popOf(c)]
}

// fits says whether a PoP has room for a unit.
func (s *solver) fits(u, to int) bool { return int64(s.demand[u]) <= s.room(to) }

// path says where units of a PoP go on their way to room.
type path struct {
	cost int32 // far: there is none
	next int   // the PoP that comes first on it
	last bool  // and that is its end, where units must fit
}

// paths returns each PoP's cheapest path to one that has at least so much room,
// and some unit to fit in. The cost of the end is less the higher its price is,
// since filling it saves the price.
func (s *solver) paths(g graph, room int64) []path {
	pops := len(s.limit)
	paths := make([]path, pops)
	done := make([]bool, pops)
	for from := range paths {
		paths[from] = path{cost: far}
		for to := range paths {
			if step := g.fitting[from*pops+to]; step < far && s.room(to) >= room {
				if cost := max(0, step) - s.prices[to]; cost < paths[from].cost {
					paths[from] = path{cost, to, true}
				}
			}
		}
	}
	for range pops { // Dijkstra, from the ends backwards
		via := -1
		for pop, path := range paths {
			if !done[pop] && path.cost < far && (via < 0 || path.cost < paths[via].cost) {
				via = pop
			}
		}
		if via < 0 {
			break
		}
		done[via] = true
		for from := range paths {
			if step := g.any[from*pops+via]; step < far && !done[from] {
				if cost := paths[via].cost + max(0, step); cost < paths[from].cost {
					paths[from] = path{cost, via, false}
				}
			}
		}
	}
	return paths
}

// stuck returns the PoPs that some of those above their limits lead to, when
// these have less room together than is too much, or no path leads to it; nil
// when there are none.
func (s *solver) stuck(g graph, paths []path) []bool {
	for pop := range paths {
		if s.room(pop) >= 0 {
			continue
		}
		set := s.reachable(g, pop)
		if paths[pop].cost >= far || s.short(set) {
			return set
		}
	}
	return nil
}

// reachable returns the PoPs that units of a PoP could be moved to, directly or
// by making others move on. No unit in them has a candidate outside.
func (s *solver) reachable(g graph, pop int) []bool {
	pops := len(s.limit)
	set := make([]bool, pops)
	set[pop] = true
	queue := []int{pop}
	for i := 0; i < len(queue); i++ {
		for to := range set {
			if !set[to] && g.any[queue[i]*pops+to] < far {
				set[to] = true
				queue = append(queue, to)
			}
		}
	}
	return set
}

// short reports whether a set of PoPs is given more than its limits together.
func (s *solver) short(set []bool) bool {
	over := int64(0)
	for pop, in := range set {
		switch {
		case in && !s.limited(pop):
			return false
		case in:
			over -= s.room(pop)
		}
	}
	return over > 0
}

// push moves units off each PoP that is above its limit along its path, the
// cheapest paths first. Units that lose more than the window beyond what the first
// does are left out. It reports whether any left a PoP above its limit.
func (s *solver) push(g graph, paths []path, window int32) (moved bool) {
	on := make([]bool, len(paths)) // on the path of a PoP above its limit
	var over []int
	for pop := range paths {
		if s.room(pop) >= 0 || paths[pop].cost >= far {
			continue
		}
		over = append(over, pop)
		for at := pop; !on[at]; at = paths[at].next {
			if on[at] = true; paths[at].last {
				break
			}
		}
	}
	slices.SortStableFunc(over, func(a, b int) int { return cmp.Compare(paths[a].cost, paths[b].cost) })
	queues := make([][]move, len(paths))
	for _, m := range s.moves(func(extra int32, from, to int) bool {
		if !on[from] || paths[from].next != to {
			return false
		}
		least := g.any[from*len(paths)+to]
		if paths[from].last {
			least = g.fitting[from*len(paths)+to]
		}
		return extra+s.prices[to]-s.prices[from]-least <= window
	}) {
		from, _ := s.at(int(m.unit))
		queues[from] = append(queues[from], m)
	}
	for _, pop := range over {
		for s.room(pop) < 0 && s.step(paths, queues, pop) {
			moved = true
		}
	}
	return moved
}

// step moves one unit of a PoP to the next on its path, the cheapest that fits
// there. To make one fit, the next PoP does the same first: so no PoP is overrun
// on the way.
func (s *solver) step(paths []path, queues [][]move, pop int) bool {
	for {
		to := paths[pop].next
		for i, m := range queues[pop] {
			if s.fits(int(m.unit), to) {
				s.move(int(m.unit), m.to)
				queues[pop] = slices.Delete(queues[pop], i, i+1)
				return true
			}
		}
		if paths[pop].last || !s.step(paths, queues, to) {
			return false
		}
	}
}

// a move is a unit, a candidate that it may go to, and what that costs.
type move struct {
	extra int32
	unit  uint32
	to    uint8
}

// moves returns the moves that may be made, the cheapest first, prices not
// counted.
func (s *solver) moves(may func(extra int32, from, to int) bool) (all []move) {
	parallel(len(s.demand), func() *[]move { return new([]move) }, func(state *[]move, begin, end int) {
		for u := begin; u < end; u++ {
			at, _ := s.at(u)
			from := int(at)
			if s.demand[u] == 0 {
				continue
			}
			list := s.packed[s.first[u]:s.first[u+1]]
			base := costOf(list[s.choice[u]])
			for i, c := range list {
				extra := costOf(c) - base
				if to := int(popOf(c)); to != from && may(extra, from, to) {
					*state = append(*state, move{extra, uint32(u), uint8(i)})
				}
			}
		}
	}, func(state *[]move) { all = append(all, *state...) })
	slices.SortFunc(all, func(a, b move) int {
		return cmp.Or(cmp.Compare(a.extra, b.extra), cmp.Compare(a.unit, b.unit), cmp.Compare(a.to, b.to))
	})
	return all
}

// move gives a unit another of its candidates.
func (s *solver) move(u int, to uint8) {
	from, _ := s.at(u)
	s.choice[u] = to
	pop, _ := s.at(u)
	s.load[from] -= int64(s.demand[u])
	s.load[pop] += int64(s.demand[u])
}

// pullBack gives units a cheaper PoP where there is room for them after all.
func (s *solver) pullBack() {
	for u := range s.demand {
		list := s.packed[s.first[u]:s.first[u+1]]
		best := int(s.choice[u])
		for i, c := range list {
			if costOf(c) < costOf(list[best]) && s.fits(u, int(popOf(c))) {
				best = i
			}
		}
		if best != int(s.choice[u]) {
			s.move(u, uint8(best))
		}
	}
}
