package mapper

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"edged/mapper/estimate"
	"edged/maps"
)

// origins says of the first estimates of a list, as many as a ranking has, where
// they come from.
func origins(list []estimate.Estimate) []maps.Origin {
	result := make([]maps.Origin, min(len(list), maps.MaxHops))
	for i := range result {
		result[i] = originOf(list[i])
	}
	return result
}

func originOf(e estimate.Estimate) maps.Origin {
	if e.Samples == 0 {
		return 0 // distance alone
	}
	return maps.MakeOrigin(uint8(e.Level)+1, e.Samples)
}

// LevelOf returns the level that a map's origin names, and whether it names one.
func LevelOf(o maps.Origin) (estimate.Level, bool) {
	level := estimate.Level(o.Level() - 1)
	return level, o.Level() > 0 && level <= estimate.Own
}

// origin returns where the time of one of the outlook's hops comes from.
func (o *outlook) origin(pop uint16) maps.Origin {
	for i, h := range o.hops {
		if h.PoP == pop && i < len(o.origins) {
			return o.origins[i]
		}
	}
	return 0
}

// origins says where the numbers of a map come from; nil when nothing was
// measured. Ranges that share a ranking have origins of the same levels, but for
// guesses that were merged, and of the numbers behind them it takes the least.
func (b *builder) origins(rankings []maps.Ranking) *maps.Origins {
	e := b.in.Measured
	if e == nil || len(e.units) == 0 {
		return nil
	}
	at, hops := make([]int, len(rankings)), 0
	for i, r := range rankings {
		at[i] = hops
		hops += len(r.Hops)
	}
	const unset = maps.Origin(0xff)
	o := &maps.Origins{Newest: time.Unix(e.newest, 0).UTC(), Hops: slices.Repeat([]maps.Origin{unset}, hops)}
	last := make([]uint32, len(b.outlooks)) // 1 + the ranking that took note of each last
	for _, s := range slices.Concat(b.clients[:], b.resolvers[:]) {
		for _, r := range s.runs {
			outlook := s.leaves[r.leaf].outlook
			if last[outlook] == r.class+1 {
				continue
			}
			last[outlook] = r.class + 1
			for i, h := range rankings[r.class].Hops {
				to := &o.Hops[at[r.class]+i]
				*to = min(*to, b.outlooks[outlook].origin(h.PoP))
			}
		}
	}
	for i, h := range o.Hops {
		if h == unset {
			o.Hops[i] = 0
		}
	}
	o.Units = b.unitOrigins(e)
	return o
}

// unitOrigins says what the clients of the units brought, of those with the most
// sessions if they are too many.
func (b *builder) unitOrigins(e *Estimates) []maps.UnitOrigin {
	order := make([]int, len(e.units))
	for i := range order {
		order[i] = i
	}
	if len(order) > maps.MaxUnitOrigins {
		slices.SortStableFunc(order, func(i, k int) int { return cmp.Compare(e.units[k].Sessions, e.units[i].Sessions) })
		order = order[:maps.MaxUnitOrigins]
	}
	list := make([]maps.UnitOrigin, len(order))
	inParallel(len(order), func(k int) {
		i := order[k]
		u := e.units[i]
		list[k] = maps.UnitOrigin{
			Prefix: u.Unit.Prefix(), Sessions: u.Sessions, Sources: u.Sources, Access: e.access[i], Age: int(u.Age + 0.5), Kept: b.kept(u),
		}
	})
	return list
}

// kept reports whether a unit's clients were not given the PoP that is best by
// time and price.
func (b *builder) kept(u MeasuredUnit) bool {
	s := b.clients[0]
	if !u.Unit.Is4() {
		s = b.clients[1]
	}
	first, _, _ := bounds(u.Unit.Prefix())
	l := s.leaves[sort.Search(len(s.leaves), func(i int) bool { return first.Less(s.leaves[i].start) })-1]
	o := &b.outlooks[l.outlook]
	return o.measured && len(o.hops) > 0 && int(l.choice) != b.shares.choose(o, noPoP)
}
