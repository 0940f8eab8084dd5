package mapper

import (
	"math"

	"edged/geo/place"
	"edged/maps"
)

// outlook is what is known of the clients in a range of addresses: the PoPs that
// may serve them.
type outlook struct {
	hops     []maps.Hop // best first; may be empty
	order    uint32     // of all PoPs by distance, or maps.NoOrder
	timed    uint8      // so many hops, from the first on, have times, which ascend
	measured bool
	origins  []maps.Origin // of the hops; nil: not known
	margin   uint16        // 0.1 ms that another PoP must gain over the one in force; 0: what is usual
}

// newOutlook counts the hops that may take each other's place. Hops out of the
// order of their times are somebody's will, and stay as they are.
func newOutlook(hops []maps.Hop, order uint32, measured bool) outlook {
	o := outlook{hops: hops, order: order, measured: measured}
	for i, h := range hops {
		if h.RTT == 0 || i > 0 && h.RTT < hops[i-1].RTT {
			break
		}
		o.timed++
	}
	return o
}

// leaf is a range of addresses that have one outlook, up to the next leaf or the
// end of the space.
type leaf struct {
	start   maps.Addr6
	outlook uint32
	choice  uint8 // of the outlook's hops; 0 if there is none
}

// served is a leaf with demand.
type served struct {
	leaf   int
	demand float64
	now    uint16 // the PoP in force; noPoP: none
}

// noPoP is the index of no PoP.
const noPoP = math.MaxUint16

// space is one family's addresses in one table.
type space struct {
	bits   int
	leaves []leaf
	served []served // ascending
	pieces []pieces // of served leaves that were one, ascending
	runs   []run
}

// lay lays networks over places, and cuts the result where demand changes.
func (b *builder) lay(s *space, nets []Net, table Tables, places segments[uint32], demand segments[density]) {
	flat := flattenNets(nets, table)
	s.leaves = make([]leaf, 0, len(flat)+len(places)+len(demand))
	ids := map[uint32]uint32{} // of the outlooks of the network at hand, by order
	last := noNet
	for i, j, k := 0, 0, 0; ; {
		start := later(later(flat[i].start, places[j].start), demand[k].start)
		id := places[j].value
		if net := flat[i].value; net != noNet {
			if net != last {
				clear(ids)
				last = net
			}
			id = b.outlookOf(ids, &nets[net], b.outlooks[id].order)
		}
		// The end of what begins here is the least of what comes next.
		next, more := maps.Addr6{}, false
		sooner := func(start maps.Addr6) {
			if !more || start.Less(next) {
				next, more = start, true
			}
		}
		if i+1 < len(flat) {
			sooner(flat[i+1].start)
		}
		if j+1 < len(places) {
			sooner(places[j+1].start)
		}
		if k+1 < len(demand) {
			sooner(demand[k+1].start)
		}
		if d := demand[k].value; d.line != noLine {
			s.served = append(s.served, served{len(s.leaves), d.perAddress * sizeOf(start, next, more, s.bits), noPoP})
		}
		s.leaves = append(s.leaves, leaf{start: start, outlook: id})
		if !more {
			return
		}
		if i+1 < len(flat) && flat[i+1].start == next {
			i++
		}
		if j+1 < len(places) && places[j+1].start == next {
			j++
		}
		if k+1 < len(demand) && demand[k+1].start == next {
			k++
		}
	}
}

func later(a, b maps.Addr6) maps.Addr6 {
	if a.Less(b) {
		return b
	}
	return a
}

// outlookOf returns the id of a network's outlook where places have an order.
func (b *builder) outlookOf(ids map[uint32]uint32, n *Net, order uint32) uint32 {
	id, ok := ids[order]
	if !ok {
		id = uint32(len(b.outlooks))
		ids[order] = id
		o := newOutlook(n.Hops, order, true)
		o.margin, o.origins = n.margin, n.origins
		b.outlooks = append(b.outlooks, o)
	}
	return id
}

// sizeOf returns how many addresses there are from start to next, or to the end
// of the space.
func sizeOf(start, next maps.Addr6, more bool, bits int) float64 {
	switch {
	case !more && bits == 32:
		return float64(1<<32 - start.Lo)
	case !more:
		return math.Ldexp(float64(^start.Hi), 64) + float64(^start.Lo) + 1
	}
	// Differences of whole numbers: that of two large floats has no small digits, and
	// a /128 would have no address.
	hi, lo := next.Hi-start.Hi, next.Lo-start.Lo
	if next.Lo < start.Lo {
		hi--
	}
	return math.Ldexp(float64(hi), 64) + float64(lo)
}

// spot is a kind of place: what is known about its clients is the same.
type spot struct {
	order uint32
	guess guessKey
}

// spots gives each kind of place an id, and keeps one place of each.
type spots struct {
	orders *orders
	model  *Estimates // nil: PoPs are not guessed
	ids    map[spot]uint32
	list   []spot
	places []place.Place
}

func newSpots(orders *orders, model *Estimates) *spots {
	unknown := spot{order: maps.NoOrder}
	return &spots{orders, model, map[spot]uint32{unknown: unknownPlace}, []spot{unknown}, []place.Place{{}}}
}

// id returns the id of what a place is like.
func (s *spots) id(p place.Place) uint32 {
	if !p.HasCoord {
		return unknownPlace
	}
	k := spot{order: s.orders.at(p)}
	if s.model != nil {
		p, k.guess = s.model.snap(p)
	}
	id, ok := s.ids[k]
	if !ok {
		id = uint32(len(s.list))
		s.ids[k] = id
		s.list = append(s.list, k)
		s.places = append(s.places, p)
	}
	return id
}
