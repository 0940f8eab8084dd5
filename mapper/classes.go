package mapper

import (
	"cmp"
	"slices"

	"edged/maps"
)

// classes interns rankings, and makes one of those that hardly differ. Rankings
// whose times come from other levels stay apart, so that a map can tell.
type classes struct {
	list   []maps.Ranking
	levels []string // by ranking: of each hop's time, as maps.Origin has it
	uses   []int
	id     map[string]uint32
	key    []byte
}

func newClasses() *classes { return &classes{id: map[string]uint32{}} }

// of returns the id of a ranking and counts its use; origin says where the time of
// one of its hops comes from.
func (c *classes) of(r maps.Ranking, origin func(pop uint16) maps.Origin) uint32 {
	c.key = append(c.key[:0], byte(r.Order), byte(r.Order>>8), byte(r.Order>>16), byte(r.Order>>24))
	for _, h := range r.Hops {
		c.key = append(c.key, byte(h.PoP), byte(h.PoP>>8), byte(h.RTT), byte(h.RTT>>8))
	}
	levels := len(c.key)
	for _, h := range r.Hops {
		c.key = append(c.key, origin(h.PoP).Level())
	}
	id, ok := c.id[string(c.key)]
	if !ok {
		id = uint32(len(c.list))
		c.list = append(c.list, r)
		c.levels = append(c.levels, string(c.key[levels:]))
		c.uses = append(c.uses, 0)
		c.id[string(c.key)] = id
	}
	c.uses[id]++
	return id
}

// nearly is how far times of rankings that are made one may differ, in half
// milliseconds: less than a millisecond.
const nearly = 1

// join makes one of rankings that have the same PoPs in one order and nearly the
// same times from the same levels. The most used of them stands for the others. Where a ranking is full,
// or has all PoPs, the order by distance behind it says nothing, or next to nothing,
// and need not be the same. It returns the new ids by the old ones, and leaves
// only the rankings that stand.
func (c *classes) join(pops int) (ids []uint32) {
	byUse := make([]uint32, len(c.list))
	for i := range byUse {
		byUse[i] = uint32(i)
	}
	slices.SortFunc(byUse, func(a, b uint32) int { return cmp.Or(cmp.Compare(c.uses[b], c.uses[a]), cmp.Compare(a, b)) })
	stands := map[string][]uint32{} // those that stand, by what must be the same and the first time
	ids = make([]uint32, len(c.list))
	for _, id := range byUse {
		ids[id] = c.stand(stands, id, pops)
	}
	// The ids of those that stand go by where they were used first.
	renamed := make([]uint32, len(c.list))
	kept := c.list[:0]
	for id, stand := range ids {
		if uint32(id) == stand {
			renamed[id] = uint32(len(kept))
			kept = append(kept, c.list[id])
		}
	}
	for id, stand := range ids {
		ids[id] = renamed[stand]
	}
	c.list = kept
	return ids
}

// stand returns the ranking that stands for one: one that stands already, or
// itself.
func (c *classes) stand(stands map[string][]uint32, id uint32, pops int) uint32 {
	r := c.list[id]
	order := r.Order
	if order != maps.NoOrder && len(r.Hops) == min(pops, maps.MaxHops) {
		order = 0
	}
	c.key = append(c.key[:0], byte(order), byte(order>>8), byte(order>>16), byte(order>>24))
	for _, h := range r.Hops {
		c.key = append(c.key, byte(h.PoP), byte(h.PoP>>8))
	}
	c.key = append(c.key, c.levels[id]...)
	if len(r.Hops) == 0 {
		return id
	}
	first := r.Hops[0].RTT
	at := len(c.key)
	for _, near := range []uint16{first, first - 1, first + 1} {
		c.key = append(c.key[:at], byte(near), byte(near>>8))
		for _, other := range stands[string(c.key)] {
			if alike(r.Hops, c.list[other].Hops) {
				return other
			}
		}
	}
	c.key = append(c.key[:at], byte(first), byte(first>>8))
	stands[string(c.key)] = append(stands[string(c.key)], id)
	return id
}

// alike reports whether all times are nearly the same; one that is not known is
// only like another.
func alike(a, b []maps.Hop) bool {
	for i := range a {
		x, y := int(a[i].RTT), int(b[i].RTT)
		if (x == 0) != (y == 0) || x-y > nearly || y-x > nearly {
			return false
		}
	}
	return true
}
