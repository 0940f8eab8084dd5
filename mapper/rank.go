package mapper

import (
	"cmp"
	"slices"

	"edged/maps"
)

// wanted is a ranking that runs have: an outlook's, with a PoP first.
type wanted struct {
	outlook uint32
	pop     uint16
}

// ask numbers what runs have, by its first use, and puts the numbers into the runs.
// uses says how many runs have each.
func ask(spaces []*space, outlooks int) (list []wanted, uses []int) {
	type asked struct {
		pop uint16
		id  uint32 // 1 + the number; 0: none yet
	}
	first := make([]asked, outlooks) // what was asked of each first, which mostly is all that is
	others := map[wanted]uint32{}
	add := func(w wanted) uint32 {
		list, uses = append(list, w), append(uses, 0)
		return uint32(len(list)) - 1
	}
	for _, s := range spaces {
		for i := range s.runs {
			r := &s.runs[i]
			w := wanted{s.leaves[r.leaf].outlook, r.pop}
			switch f := &first[w.outlook]; {
			case f.id == 0:
				r.class = add(w)
				*f = asked{w.pop, r.class + 1}
			case f.pop == w.pop:
				r.class = f.id - 1
			default:
				id, ok := others[w]
				if !ok {
					id = add(w)
					others[w] = id
				}
				r.class = id
			}
			uses[r.class]++
		}
	}
	return list, uses
}

// rank gives every run its ranking.
func (b *builder) rank() *classes {
	spaces := b.clients[:]
	if b.resolvers[0] != b.clients[0] {
		spaces = slices.Concat(spaces, b.resolvers[:])
	}
	list, uses := ask(spaces, len(b.outlooks))
	rankings := make([]maps.Ranking, len(list))
	inParallel(len(list), func(i int) { rankings[i] = b.ranking(&b.outlooks[list[i].outlook], list[i].pop) })
	c := newClasses()
	ids := make([]uint32, len(list))
	for i, w := range list {
		ids[i] = c.of(rankings[i], b.outlooks[w.outlook].origin)
		c.uses[ids[i]] += uses[i]
	}
	if b.in.Tolerance > 0 {
		joined := c.join(len(b.in.PoPs))
		for i, id := range ids {
			ids[i] = joined[id]
		}
	}
	for _, s := range spaces {
		for i := range s.runs {
			s.runs[i].class = ids[s.runs[i].class]
		}
	}
	return c
}

// ranking returns an outlook's ranking with a PoP first. Behind it come the hops
// whose times are known, by their cost, and then the others.
func (b *builder) ranking(o *outlook, pop uint16) maps.Ranking {
	r := maps.Ranking{Hops: o.hops, Order: o.order}
	if !o.measured && !b.guesses() {
		r.Hops = nil
		if pop != noPoP && pop != b.orders.list[o.order][0] {
			r.Hops = []maps.Hop{{PoP: pop}}
		}
		return r
	}
	at := slices.IndexFunc(o.hops, func(h maps.Hop) bool { return h.PoP == pop })
	if at < 0 || at == 0 && !b.shares.limited {
		return r
	}
	r.Hops = slices.Clone(o.hops)
	first := r.Hops[at]
	copy(r.Hops[1:at+1], r.Hops[:at])
	r.Hops[0] = first
	if at < int(o.timed) {
		slices.SortStableFunc(r.Hops[1:o.timed], func(a, b2 maps.Hop) int { return cmp.Compare(b.shares.cost(a), b.shares.cost(b2)) })
	}
	return r
}

// orders returns the orders that rankings use, the first used first, and has
// the rankings name them so.
func (c *classes) orders(all [][]uint16) [][]uint16 {
	used := make([]uint32, len(all)) // 1 + the new id; 0: not used
	var kept [][]uint16
	for i := range c.list {
		r := &c.list[i]
		if r.Order == maps.NoOrder {
			continue
		}
		if used[r.Order] == 0 {
			kept = append(kept, all[r.Order])
			used[r.Order] = uint32(len(kept))
		}
		r.Order = used[r.Order] - 1
	}
	return kept
}

// pricing returns what the map says of each PoP's load; nil when nothing was
// held to capacities.
func (b *builder) pricing(c *classes) []maps.Pricing {
	if !b.shares.limited {
		return nil
	}
	list := make([]maps.Pricing, len(b.in.PoPs))
	leaving := make([][]float64, len(list)) // by PoP and steps lost
	for pop, l := range b.shares.limits {
		list[pop] = maps.Pricing{Price: b.shares.prices[pop], Soft: l.held, Hard: max(l.hard, l.held)}
		leaving[pop] = make([]float64, maps.MaxLeaving+1)
	}
	for _, s := range b.clients {
		for v, r := range s.goes() {
			if r.pop == noPoP {
				continue
			}
			list[r.pop].Demand += v.demand
			if lost := b.lost(c.list[r.class].Hops); lost <= maps.MaxLeaving {
				leaving[r.pop][lost] += v.demand
			}
		}
	}
	for pop := range list {
		for steps, demand := range leaving[pop] {
			if demand > 0 {
				list[pop].Leaving = append(list[pop].Leaving, maps.Leaving{Steps: uint32(steps), Demand: demand})
			}
		}
	}
	return list
}

// lost returns how many steps are lost by going to the second choice, prices
// included; more than maps.MaxLeaving when there is none.
func (b *builder) lost(hops []maps.Hop) int {
	const never = maps.MaxLeaving + 1
	if len(hops) == 0 || hops[0].RTT == 0 {
		return never
	}
	lost := never
	for _, h := range hops[1:] {
		if h.RTT == 0 {
			break
		}
		lost = min(lost, max(0, b.shares.cost(h)-b.shares.cost(hops[0]))/perStep)
	}
	return lost
}
