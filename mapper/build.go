package mapper

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"edged/edge"
	"edged/geo/place"
	"edged/maps"
)

// Input is what a map is built from.
type Input struct {
	PoPs     []edge.PoP
	Nets     []Net                                // as ReadNets gives them; may be empty
	Place    iter.Seq2[netip.Prefix, place.Place] // disjoint, ascending, v4 first; nil: no place is known
	Measured *Estimates                           // may be nil; Nets go before it
	Sources  []maps.Input                         // named in the map
	Created  time.Time

	// Progress, when set, is told what Build begins to do.
	Progress func(step string)
}

// Report says what a map came to hold.
type Report struct {
	Nets     int // measured networks
	Orders   int // different great-circle orders
	Rankings int // different rankings
	Ranges4  int // of the ECS table, cuts at /16 included
	Ranges6  int // of the ECS table, exceptions within a /64 not counted
}

// Build makes the contents of a map. It errs when there is no PoP, or too many
// of them, or more rankings than a map can hold.
func Build(in Input) (*maps.Contents, Report, error) {
	if n := len(in.PoPs); n == 0 || n > edge.MaxPoPs {
		return nil, Report{}, fmt.Errorf("cannot build a map of %d pops: want 1 to %d", n, edge.MaxPoPs)
	}
	progress := in.Progress
	if progress == nil {
		progress = func(string) {}
	}
	nets := slices.Clone(in.Nets)
	if in.Measured != nil {
		progress("ranking measured units")
		nets = append(nets, in.Measured.nets()...)
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
	b := &builder{
		nets4: nets[:split], nets6: nets[split:],
		orders: newOrders(in.PoPs), said: []said{{order: maps.NoOrder}}, measured: in.Measured, rankings: newRankings(),
	}

	progress("ordering places")
	b.places4, b.places6 = flattenPlaces(in.Place, b.say())
	progress(fmt.Sprintf("laying %d measured networks over %d place ranges", len(nets), len(b.places4)+len(b.places6)))
	ecs := b.table(ECS)
	resolver := ecs
	if slices.ContainsFunc(nets, func(n Net) bool { return n.Tables != Both }) {
		resolver = b.table(Resolver)
	}
	if len(b.rankings.list) > maps.MaxRankings {
		return nil, Report{}, errors.New("map has too many different rankings: round the round-trip times")
	}
	contents := &maps.Contents{
		PoPs: in.PoPs, Inputs: in.Sources, Created: in.Created,
		Orders: b.orders.list, Rankings: b.rankings.list, ECS: ecs, Resolver: resolver,
	}
	return contents, Report{
		Nets: len(nets), Orders: len(contents.Orders), Rankings: len(contents.Rankings),
		Ranges4: ecs.V4.Len(), Ranges6: ecs.V6.Len(),
	}, nil
}

// builder holds what both tables of a map are made from.
type builder struct {
	nets4, nets6     []Net
	places4, places6 segments[uint32]
	orders           *orders
	said             []said // by id
	measured         *Estimates
	rankings         *rankings
}

// said is what a place says about its addresses: the order of the PoPs by
// distance and, before it, those that measurements elsewhere let expect.
type said struct {
	order uint32
	hops  []maps.Hop
}

// say returns a function that gives what each place says an id.
func (b *builder) say() func(place.Place) uint32 {
	type key struct {
		order uint32
		hops  *maps.Hop
	}
	ids := map[key]uint32{{order: maps.NoOrder}: unknownPlace}
	return func(p place.Place) uint32 {
		k := key{order: b.orders.at(p)}
		var hops []maps.Hop
		if b.measured != nil {
			if hops = b.measured.at(p); len(hops) > 0 {
				k.hops = &hops[0]
			}
		}
		id, ok := ids[k]
		if !ok {
			id = uint32(len(b.said))
			ids[k] = id
			b.said = append(b.said, said{k.order, hops})
		}
		return id
	}
}

func (b *builder) table(table Tables) maps.Table {
	var v4 maps.Builder4
	for start, row := range b.merge(b.nets4, table, b.places4) {
		v4.Add(uint32(start.Lo), row)
	}
	var v6 maps.Builder6
	for start, row := range b.merge(b.nets6, table, b.places6) {
		v6.Add(start.Hi, start.Lo, row)
	}
	return maps.Table{V4: v4.Finish(), V6: v6.Finish()}
}

// merge lays networks over places: it yields a row wherever either changes.
func (b *builder) merge(nets []Net, table Tables, places segments[uint32]) iter.Seq2[maps.Addr6, maps.Row] {
	return func(yield func(maps.Addr6, maps.Row) bool) {
		flat := flattenNets(nets, table)
		for i, j := 0, 0; ; {
			start := flat[i].start
			if start.Less(places[j].start) {
				start = places[j].start
			}
			at := b.said[places[j].value]
			net := flat[i].value
			if net != noNet {
				at.hops = nets[net].Hops
			}
			if !yield(start, b.rankings.row(at.hops, at.order, net != noNet)) {
				return
			}
			// Step to whichever changes next, or both.
			nextNet, nextPlace := i+1 < len(flat), j+1 < len(places)
			switch {
			case !nextNet && !nextPlace:
				return
			case !nextPlace || nextNet && flat[i+1].start.Less(places[j+1].start):
				i++
			case !nextNet || places[j+1].start.Less(flat[i+1].start):
				j++
			default:
				i, j = i+1, j+1
			}
		}
	}
}

// rankings interns rankings.
type rankings struct {
	list []maps.Ranking
	id   map[string]uint32
	key  []byte
}

func newRankings() *rankings { return &rankings{id: map[string]uint32{}} }

// row returns the row for PoPs with their times and the order at the place
// behind them.
func (r *rankings) row(hops []maps.Hop, order uint32, measured bool) maps.Row {
	r.key = append(r.key[:0], byte(order), byte(order>>8), byte(order>>16), byte(order>>24))
	for _, h := range hops {
		r.key = append(r.key, byte(h.PoP), byte(h.PoP>>8), byte(h.RTT), byte(h.RTT>>8))
	}
	id, ok := r.id[string(r.key)]
	if !ok {
		id = uint32(len(r.list))
		r.list = append(r.list, maps.Ranking{Hops: hops, Order: order})
		r.id[string(r.key)] = id
	}
	return maps.MakeRow(id, measured)
}
