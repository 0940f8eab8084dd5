package mapper

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"sync"
	"time"

	"edged/edge"
	"edged/geo/place"
	"edged/mapper/simulate"
	"edged/maps"
)

// Input is what a map is built from.
type Input struct {
	PoPs     []edge.PoP
	Nets     []Net                                // as ReadNets gives them; may be empty
	Place    iter.Seq2[netip.Prefix, place.Place] // disjoint, ascending, v4 first; nil: no place is known
	Measured *Estimates                           // may be nil; Nets go before it
	Spent    bool                                 // Measured is not needed after: see Estimates.release
	Sources  []maps.Input                         // named in the map
	Created  time.Time

	// InForce, when set, is the map whose first choices are kept where no other PoP
	// is clearly better (estimate.Margin), or where that many have to go.
	InForce *maps.Map
	// Demand is what clients ask for in requests per second. Measured completes it. If
	// it is nil, nobody knows: the PoPs' capacities cannot be kept then.
	Demand []simulate.Demand
	// Tolerance is by how much a first choice may be worse than the best, in ms, so
	// that neighbours become one. With 0 nothing is merged. What was measured is
	// merged only with what is nearly the same.
	Tolerance float64

	// Progress, when set, is told what Build begins to do.
	Progress func(step string)
}

// DefaultTolerance is the tolerance when nobody says, in ms: less than a round trip
// varies by from one minute to the next.
const DefaultTolerance = 2

// Build makes the contents of a map. It errs when there is no PoP, or too many
// of them, or more rankings than a map can hold.
func Build(in Input) (*maps.Contents, Report, error) {
	if n := len(in.PoPs); n == 0 || n > edge.MaxPoPs {
		return nil, Report{}, fmt.Errorf("cannot build a map of %d pops: want 1 to %d", n, edge.MaxPoPs)
	}
	if in.Progress == nil {
		in.Progress = func(string) {}
	}
	demand, unit, assumed := in.demand()
	if unit == Requests {
		in.Demand = demand
	}
	b := &builder{
		in: &in, unit: unit, assumed: assumed, orders: newOrders(in.PoPs), shares: newShares(in.PoPs, unit, in.Tolerance),
		inForce: newInForce(in.InForce, in.PoPs),
	}
	b.layAll(demand)
	if b.shares.limited {
		in.Progress("sharing out the demand")
		if err := b.shares.solve(b.outlooks, b.clients[:], in.InForce, in.PoPs); err != nil {
			return nil, Report{}, err
		}
	}
	b.chooseAll()
	b.shrinkAll()
	in.Progress("writing rankings")
	classes := b.rank()
	if len(classes.list) > maps.MaxRankings {
		return nil, Report{}, errors.New("map has too many different rankings: round the round-trip times")
	}
	contents := &maps.Contents{
		PoPs: in.PoPs, Inputs: in.Sources, Created: in.Created, Prices: b.pricing(classes),
		Orders: classes.orders(b.orders.list), Rankings: classes.list,
	}
	var writing sync.WaitGroup
	writing.Go(func() {
		contents.ECS = b.table(b.clients)
		contents.Resolver = contents.ECS
		if b.resolvers[0] != b.clients[0] {
			contents.Resolver = b.table(b.resolvers)
		}
	})
	origins := b.origins(contents.Rankings)
	writing.Wait()
	contents.Origins = origins
	return contents, b.report(contents), nil
}

// builder is a map in the making.
type builder struct {
	in       *Input
	unit     DemandUnit
	assumed  float64 // of the demand, what sessions let expect
	nets     int
	orders   *orders
	outlooks []outlook // those of places first
	shares   *shares
	inForce  *inForce
	// The client table and the resolver table, each of v4 and v6. They may be the
	// same.
	clients, resolvers [2]*space

	resolverScores []ResolverScore
}

// guesses reports whether what places let expect is written into the map. It is,
// as soon as more is known than distance, or when it decides who has room.
func (b *builder) guesses() bool { return b.in.Measured != nil || b.shares.limited }

// layAll makes the leaves of both tables.
func (b *builder) layAll(demand []simulate.Demand) {
	in := b.in
	nets := slices.Clone(in.Nets)
	model := in.Measured
	if model == nil && (b.guesses() || in.Tolerance > 0) {
		model = Estimate(&Measurements{}, in.PoPs, nil, nil)
	}
	// Places come one after another, which is work for one processor.
	spots := newSpots(b.orders, model)
	var places4, places6 segments[uint32]
	var flattening sync.WaitGroup
	flattening.Go(func() { places4, places6 = flattenPlaces(in.Place, spots.id) })
	if in.Measured != nil {
		in.Progress("ranking measured units")
		units := model.nets(b.inForce.ecs)
		in.Progress("ranking resolvers")
		var resolvers []Net
		resolvers, b.resolverScores = model.rankResolvers(units, in.Demand)
		nets = append(append(nets, units...), resolvers...)
	}
	if !slices.IsSortedFunc(nets, compareNets) {
		slices.SortFunc(nets, compareNets)
	}
	split, _ := slices.BinarySearchFunc(nets, true, func(n Net, _ bool) int {
		if n.Prefix.Addr().Is4() {
			return -1
		}
		return 1
	})
	b.nets = len(nets)

	in.Progress("ordering places")
	flattening.Wait()
	b.outlooks = make([]outlook, len(spots.list))
	inParallel(len(spots.list), func(i int) {
		var hops []maps.Hop
		var origins []maps.Origin
		if model != nil {
			hops, origins = model.at(spots.places[i])
		}
		b.outlooks[i] = newOutlook(hops, spots.list[i].order, false)
		b.outlooks[i].origins = origins
	})

	in.Progress(fmt.Sprintf("laying %d measured networks over %d place ranges", len(nets), len(places4)+len(places6)))
	lay := func(table Tables, demand []simulate.Demand) [2]*space {
		v4, v6 := &space{bits: 32}, &space{bits: 128}
		b.lay(v4, nets[:split], table, places4, flattenDemand(demand, 32))
		b.lay(v6, nets[split:], table, places6, flattenDemand(demand, 128))
		return [2]*space{v4, v6}
	}
	if in.Measured != nil && in.Spent {
		in.Measured.release()
	}
	b.clients = lay(ECS, demand)
	b.cut()
	for _, s := range b.clients {
		for i := range s.served {
			s.served[i].now = b.inForce.at(ECS, s, s.leaves[s.served[i].leaf].start)
		}
	}
	b.resolvers = b.clients
	if slices.ContainsFunc(nets, func(n Net) bool { return n.Tables != Both }) {
		b.resolvers = lay(Resolver, nil)
	}
}

// chooseAll gives every leaf its PoP at the prices.
func (b *builder) chooseAll() {
	usual := make([]uint8, len(b.outlooks))
	for i := range b.outlooks {
		usual[i] = uint8(b.shares.choose(&b.outlooks[i], noPoP))
	}
	given := b.shares.given
	choose := func(table Tables, s *space) {
		next := 0
		for i := range s.leaves {
			l := &s.leaves[i]
			o := &b.outlooks[l.outlook]
			l.choice = usual[l.outlook]
			switch has := next < len(s.served) && s.served[next].leaf == i; {
			case has && b.shares.limited:
				l.choice = uint8(given[next])
			case has:
				l.choice = uint8(b.shares.choose(o, s.served[next].now))
			case o.measured:
				l.choice = uint8(b.shares.choose(o, b.inForce.at(table, s, l.start)))
			}
			if next < len(s.served) && s.served[next].leaf == i {
				next++
			}
		}
		if len(given) > 0 {
			given = given[len(s.served):]
		}
	}
	for _, s := range b.clients {
		choose(ECS, s)
	}
	if b.resolvers[0] != b.clients[0] {
		for _, s := range b.resolvers {
			choose(Resolver, s)
		}
	}
}

// shrinkAll makes runs of leaves, of both tables at once.
func (b *builder) shrinkAll() {
	tables := [][2]*space{b.clients}
	if b.resolvers[0] != b.clients[0] {
		tables = append(tables, b.resolvers)
	}
	if b.in.Tolerance > 0 {
		ranges := 0
		for _, table := range tables {
			ranges += len(table[0].leaves) + len(table[1].leaves)
		}
		b.in.Progress(fmt.Sprintf("merging neighbours among %d ranges", ranges))
	}
	var wg sync.WaitGroup
	for _, table := range tables {
		wg.Go(func() {
			if b.in.Tolerance > 0 {
				b.shrink(table[:])
				return
			}
			for _, s := range table {
				s.runs = b.runsOf(s.leaves)
			}
		})
	}
	wg.Wait()
}

// table writes runs as a table of a map.
func (b *builder) table(spaces [2]*space) maps.Table {
	row := func(s *space, r run) maps.Row {
		return maps.MakeRow(r.class, b.outlooks[s.leaves[r.leaf].outlook].measured)
	}
	var v4 maps.Builder4
	for _, r := range spaces[0].runs {
		v4.Add(uint32(r.start.Lo), row(spaces[0], r))
	}
	var v6 maps.Builder6
	for _, r := range spaces[1].runs {
		v6.Add(r.start.Hi, r.start.Lo, row(spaces[1], r))
	}
	return maps.Table{V4: v4.Finish(), V6: v6.Finish()}
}
