package mapper

import (
	"cmp"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"sync"

	"edged/mapper/beacon"
	"edged/maps"
)

// ResolverInput is what rankings of resolvers are made from. Clients whose queries
// say nothing of themselves are known by their resolver alone, so all of those
// behind one get one answer.
type ResolverInput struct {
	Resolvers []MeasuredResolver
	Units     []beacon.Unit                               // ascending
	Hops      func(unit int) []maps.Hop                   // a unit's ranking
	RTT       func() func(unit int, pop uint16) float64   // what tells one goroutine how far units are from any PoP, ms
	Place     func(resolver netip.Addr) []maps.Hop        // what the resolver's own place lets expect; may be none
	PlaceRTT  func(resolver netip.Addr, p uint16) float64 // from there to any PoP, ms; +Inf when the place is not known
	Demand    func(unit int) float64                      // requests/s that each session of a unit stands for; nil: 1
}

// ResolverScore says how well one answer serves all clients behind a resolver.
type ResolverScore struct {
	Resolver netip.Addr
	Sessions float64
	Demand   float64 // requests/s, or sessions when no demand is known
	Units    int     // client units behind it
	PoP      uint16  // the one answer
	RTT      float64 // mean of the clients with it, ms
	Regret   float64 // mean of what they lose to answers of their own, ms
	Hurt     float64 // share of the demand that loses more than 20 ms, 0 to 1
}

// Score is what client subnets in the resolver's queries would gain, in ms times
// demand.
func (s ResolverScore) Score() float64 { return s.Demand * s.Regret }

// NeedsECS reports whether one answer is wrong for many: three clients of ten lose
// more than 20 ms.
func (s ResolverScore) NeedsECS() bool { return s.Hurt > muchHurt }

const (
	hurtMs   = 20.0
	muchHurt = 0.3

	// resolverPrior is how many sessions the next wider word on a resolver counts:
	// that of its /24 or /48, and for this one that of the place.
	resolverPrior = 4.0

	// mixedPoPs is how many PoPs of a pool are compared, those that are among the
	// first three of most clients: a ranking has room for no more.
	mixedPoPs   = maps.MaxHops
	firstChoice = 3
)

// RankResolvers returns rankings for the /24s and /48s of resolvers, and for single
// ones that differ from theirs; and a score of each resolver, the highest first. A
// ranking is by the mean round trip of the clients, weighted by demand.
func RankResolvers(in ResolverInput) ([]Net, []ResolverScore) {
	var pools [][]MeasuredResolver
	sorted := slices.SortedFunc(slices.Values(in.Resolvers), func(a, b MeasuredResolver) int { return a.Addr.Compare(b.Addr) })
	for r := range slices.Values(sorted) {
		if n := len(pools); n > 0 && beacon.UnitOf(pools[n-1][0].Addr) == beacon.UnitOf(r.Addr) {
			pools[n-1] = append(pools[n-1], r)
		} else {
			pools = append(pools, []MeasuredResolver{r})
		}
	}
	results := make([]resolverPool, len(pools))
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			far := in.RTT()
			for i := w; i < len(pools); i += workers {
				results[i] = in.rankPool(pools[i], far)
			}
		})
	}
	wg.Wait()
	var nets []Net
	var scores []ResolverScore
	for _, r := range results {
		nets, scores = append(nets, r.nets...), append(scores, r.scores...)
	}
	slices.SortStableFunc(scores, func(a, b ResolverScore) int { return cmp.Compare(b.Score(), a.Score()) })
	return nets, scores
}

// resolverPool is what comes of the resolvers of one /24 or /48.
type resolverPool struct {
	nets   []Net
	scores []ResolverScore
}

// behind is one unit behind a resolver.
type behind struct {
	unit   int
	weight float64 // in sessions, shifted by demand
	demand float64
	rtt    []float64 // to each PoP that is compared, ms
}

func (in *ResolverInput) rankPool(pool []MeasuredResolver, far func(unit int, pop uint16) float64) (result resolverPool) {
	clients := make([][]behind, len(pool))
	var all []behind
	for i, r := range pool {
		clients[i] = in.behind(r)
		all = append(all, clients[i]...)
	}
	if len(all) == 0 {
		return result
	}
	pops := in.candidates(all, pool[0].Addr)
	// Each unit has a row of round trips, one for each of the pops.
	units := make([]int, len(all))
	for i, b := range all {
		units[i] = b.unit
	}
	slices.Sort(units)
	units = slices.Compact(units)
	rtt := in.roundTrips(units, pops, far)
	rowsOf := func(list []behind) {
		for i := range list {
			at, _ := slices.BinarySearch(units, list[i].unit)
			list[i].rtt = rtt[at*len(pops) : (at+1)*len(pops)]
		}
	}
	rowsOf(all)
	for _, list := range clients {
		rowsOf(list)
	}
	place := make([]float64, len(pops))
	for k, pop := range pops {
		place[k] = in.PlaceRTT(pool[0].Addr, pop)
	}
	shared := mix(all, len(pops), place)
	prefix := beacon.UnitOf(pool[0].Addr).Prefix()
	sharedHops := mixedHops(pops, shared)
	result.nets = append(result.nets, Net{Prefix: prefix, Hops: sharedHops, Tables: Resolver})
	for i, r := range pool {
		if len(clients[i]) == 0 {
			continue
		}
		mean := shared
		if len(pool) > 1 { // else it would hear its own word twice
			mean = mix(clients[i], len(pops), shared)
		}
		hops := mixedHops(pops, mean)
		if !slices.Equal(hops, sharedHops) {
			result.nets = append(result.nets, Net{Prefix: netip.PrefixFrom(r.Addr, r.Addr.BitLen()), Hops: hops, Tables: Resolver})
		}
		best := slices.Index(pops, hops[0].PoP)
		result.scores = append(result.scores, in.score(r, clients[i], pops[best], best))
	}
	return result
}

// manyUnits is how many units of a pool are work for all processors.
const manyUnits = 4096

// roundTrips returns a row for each unit, of what it takes to each of the pops, ms.
func (in *ResolverInput) roundTrips(units []int, pops []uint16, far func(unit int, pop uint16) float64) []float64 {
	rtt := make([]float64, len(units)*len(pops))
	fill := func(from, to int, far func(unit int, pop uint16) float64) {
		for u := from; u < to; u++ {
			hops, row := in.Hops(units[u]), rtt[u*len(pops):(u+1)*len(pops)]
			for k, pop := range pops {
				if h := slices.IndexFunc(hops, func(h maps.Hop) bool { return h.PoP == pop }); h >= 0 {
					row[k] = float64(hops[h].RTT) / 2
				} else {
					row[k] = far(units[u], pop)
				}
			}
		}
	}
	if len(units) < manyUnits {
		fill(0, len(units), far)
		return rtt
	}
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() { fill(w*len(units)/workers, (w+1)*len(units)/workers, in.RTT()) })
	}
	wg.Wait()
	return rtt
}

// behind returns the units behind a resolver that have estimates. Sessions say who
// is there, demand how much each matters: the weights add up to the sessions.
func (in *ResolverInput) behind(r MeasuredResolver) (list []behind) {
	sessions, demand := 0.0, 0.0
	for unit, n := range r.Units {
		i, ok := slices.BinarySearch(in.Units, unit)
		if !ok || len(in.Hops(i)) == 0 {
			continue
		}
		b := behind{unit: i, weight: n, demand: n}
		if in.Demand != nil {
			b.demand = in.Demand(i) * n
		}
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b behind) int { return cmp.Compare(a.unit, b.unit) })
	for _, b := range list {
		sessions, demand = sessions+b.weight, demand+b.demand
	}
	if demand > 0 {
		for i := range list {
			list[i].weight = list[i].demand * sessions / demand
		}
	}
	return list
}

// candidates returns the PoPs that may be best for clients, ascending.
func (in *ResolverInput) candidates(clients []behind, resolver netip.Addr) []uint16 {
	weight := map[uint16]float64{}
	add := func(hops []maps.Hop, w float64) {
		for _, h := range hops[:min(len(hops), firstChoice)] {
			weight[h.PoP] += w
		}
	}
	for _, b := range clients {
		add(in.Hops(b.unit), b.weight)
	}
	add(in.Place(resolver), resolverPrior)
	pops := make([]uint16, 0, len(weight))
	for pop := range weight {
		pops = append(pops, pop)
	}
	slices.SortFunc(pops, func(a, b uint16) int { return cmp.Or(cmp.Compare(weight[b], weight[a]), cmp.Compare(a, b)) })
	pops = pops[:min(len(pops), mixedPoPs)]
	slices.Sort(pops)
	return pops
}

// mix returns the mean round trip of clients to each PoP, with what is said in
// general as so many sessions more.
func mix(clients []behind, pops int, general []float64) []float64 {
	mean := make([]float64, pops)
	for k := range mean {
		sum, weight := 0.0, 0.0
		for _, b := range clients {
			sum += float64(b.weight * b.rtt[k])
			weight += b.weight
		}
		if !math.IsInf(general[k], 1) {
			sum += float64(resolverPrior * general[k])
			weight += resolverPrior
		}
		mean[k] = sum / weight
	}
	return mean
}

// mixedHops ranks PoPs by their means.
func mixedHops(pops []uint16, mean []float64) []maps.Hop {
	order := make([]int, len(pops))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(mean[a], mean[b]), cmp.Compare(pops[a], pops[b])) })
	hops := make([]maps.Hop, 0, maps.MaxHops)
	for _, k := range order[:min(len(order), maps.MaxHops)] {
		hops = append(hops, maps.Hop{PoP: pops[k], RTT: halfMs(mean[k])})
	}
	return hops
}

// halfMs writes a round trip as maps do. 0 would say that it is not known.
func halfMs(ms float64) uint16 { return uint16(min(max(math.Round(ms*2), 1), math.MaxUint16)) }

func (in *ResolverInput) score(r MeasuredResolver, clients []behind, pop uint16, at int) ResolverScore {
	s := ResolverScore{Resolver: r.Addr, Units: len(clients), PoP: pop}
	total := 0.0
	for _, b := range clients {
		got, best := b.rtt[at], math.Inf(1)
		for _, h := range in.Hops(b.unit) {
			best = min(best, float64(h.RTT)/2)
		}
		lost := max(0, got-best)
		total += b.weight
		s.Sessions += r.Units[in.Units[b.unit]]
		s.Demand += b.demand
		s.RTT += float64(b.weight * got)
		s.Regret += float64(b.weight * lost)
		if lost > hurtMs {
			s.Hurt += b.weight
		}
	}
	s.RTT, s.Regret, s.Hurt = s.RTT/total, s.Regret/total, s.Hurt/total
	return s
}
