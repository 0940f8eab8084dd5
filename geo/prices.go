package geo

import (
	"fmt"
	"iter"
	"math"
	"slices"

	"edged/edge"
	"edged/geo/shed"
	"edged/maps"
)

// Prices are what PoPs cost above the prices that maps were made with: a client
// prefers the PoP with the least sum of round-trip time and price (package
// geo/shed). They count with maps that have a section of prices, and move only
// those clients to whose block the map says round-trip times.
type Prices struct {
	Live  []shed.Price // by PoP; shorter: the PoPs beyond have none
	Epoch uint64       // that they hold in: it decides which blocks stand at a margin
	Why   []string     // by PoP, in words, for explanations; may be shorter
}

// blockBits4 and blockBits6 are the lengths of the blocks that a ranking at the
// margin of a price is divided into. In one range there are about mostIn of them
// at most: in a longer one they are larger. What a table has beyond maxPieces is
// not divided.
const (
	blockBits4 = 20
	blockBits6 = 32
	maxPieces  = 1 << 20
	mostIn     = 1 << 12
)

// pricing is what a cover was built with. The zero value is without prices.
type pricing struct {
	live  []shed.Price // by PoP, those outside the cover's set left out; nil: none
	epoch uint64
}

// same says whether covers built with either are the same.
func (p pricing) same(o pricing) bool {
	return slices.Equal(p.live, o.live) &&
		(shed.Turn(p.epoch) == shed.Turn(o.epoch) || !slices.ContainsFunc(p.live, func(price shed.Price) bool { return !price.Whole() }))
}

// pricingOf returns the prices that count for a map and a set of PoPs.
func (b *builder) pricingOf(m *maps.Map, set []bool) pricing {
	prices := b.view.cfg.Prices
	var live []shed.Price
	for pop, price := range prices.Live {
		if price > 0 && pop < len(set) && set[pop] {
			if live == nil {
				live = make([]shed.Price, len(set))
			}
			live[pop] = price
		}
	}
	if live == nil || m.Prices() == nil {
		return pricing{}
	}
	return pricing{live, prices.Epoch}
}

// priced returns the hops of a ranking within the set, by the fleet's PoPs, with
// the map's prices in their times. None costs less than the first: the map chose
// that one.
func (b *coverBuilder) priced(r maps.Ranking) []maps.Hop {
	prices := b.cover.src.Map.Prices()
	b.hops = b.hops[:0]
	for _, hop := range r.Hops {
		pop := b.popOf[hop.PoP]
		if pop == noPoP {
			continue
		}
		if hop.RTT > 0 {
			cost := uint32(hop.RTT) + shed.Steps(prices[hop.PoP].Price)
			if len(b.hops) > 0 {
				cost = max(cost, uint32(b.hops[0].RTT))
			}
			hop.RTT = uint16(min(cost, math.MaxUint16))
		}
		b.hops = append(b.hops, maps.Hop{PoP: pop, RTT: hop.RTT})
	}
	return b.hops
}

// divide notes which rankings of the map stand at the margin of a price.
func (b *coverBuilder) divide() {
	b.divided, b.pieces = nil, map[uint32]maps.Row{}
	if !slices.ContainsFunc(b.cover.pricing.live, func(p shed.Price) bool { return !p.Whole() }) {
		return
	}
	for id := range b.cover.src.Map.Rankings() {
		if shed.Divided(b.priced(b.cover.src.Map.Ranking(uint32(id))), b.cover.pricing.live) {
			if b.divided == nil {
				b.divided = make([]bool, b.cover.src.Map.Rankings())
			}
			b.divided[id] = true
		}
	}
}

// piece returns the row that stands for a divided ranking in a block of clients.
func (b *coverBuilder) piece(ranking uint32, block uint64) maps.Row {
	class := b.class(b.cover.src.Map.Ranking(ranking), 0, block)
	row, ok := b.pieces[class]
	if !ok {
		row = maps.MakeRow(uint32(len(b.classes)), false)
		b.classes = append(b.classes, class)
		b.pieces[class] = row
	}
	return row
}

// pieces4 cuts the IPv4 ranges of divided rankings.
func (b *coverBuilder) pieces4(t *maps.Ranges4) *maps.Ranges4 {
	if b.divided == nil {
		return t
	}
	rows := func(yield func(maps.Addr6, maps.Row) bool) {
		for start, row := range t.All() {
			if !yield(maps.Addr6{Hi: uint64(start)}, row) {
				return
			}
		}
	}
	var cut maps.Builder4
	for at, row := range b.cut(rows, 1<<(32-blockBits4), math.MaxUint32) {
		cut.Add(uint32(at.Hi), row)
	}
	return cut.Finish()
}

// pieces6 cuts the IPv6 ranges of divided rankings.
func (b *coverBuilder) pieces6(t *maps.Ranges6) *maps.Ranges6 {
	if b.divided == nil {
		return t
	}
	var cut maps.Builder6
	for at, row := range b.cut(t.All(), 1<<(64-blockBits6), math.MaxUint64) {
		cut.Add(at.Hi, at.Lo, row)
	}
	return cut.Finish()
}

// cut divides the ranges of divided rankings at the multiples of step. Starts
// have their key, which is last at most, in the top half.
func (b *coverBuilder) cut(rows iter.Seq2[maps.Addr6, maps.Row], step, last uint64) iter.Seq2[maps.Addr6, maps.Row] {
	return func(yield func(maps.Addr6, maps.Row) bool) {
		left := uint64(maxPieces)
		var from maps.Addr6
		var row maps.Row
		pending := false
		// emit yields the range before a key; beyond: the one up to the end.
		emit := func(before uint64, beyond bool) bool {
			to := last // the last key at which a piece may begin
			if !beyond {
				to = max(from.Hi, before-1)
			}
			step := step
			for (to-from.Hi)/step >= mostIn {
				step *= 2
			}
			pieces := (to-from.Hi)/step + 2 // at most
			switch {
			case !b.isDivided(row):
				return yield(from, row)
			case pieces > left:
				return yield(from, b.piece(row.Ranking(), blockOf(from)))
			}
			left -= pieces
			for at := from; ; {
				if !yield(at, b.piece(row.Ranking(), blockOf(at))) {
					return false
				}
				next := (at.Hi/step + 1) * step
				if next == 0 || next > to { // 0: beyond 64 bits
					return true
				}
				at = maps.Addr6{Hi: next}
			}
		}
		for start, next := range rows {
			if pending && !emit(start.Hi, false) {
				return
			}
			from, row, pending = start, next, true
		}
		if pending {
			emit(0, true)
		}
	}
}

// blockOf makes a number that is a block's alone of where it begins.
func blockOf(at maps.Addr6) uint64 {
	if at.Lo == 0 {
		return at.Hi
	}
	return at.Hi ^ mix(at.Lo)
}

func (b *coverBuilder) isDivided(row maps.Row) bool {
	return int(row.Ranking()) < len(b.divided) && b.divided[row.Ranking()]
}

// prices returns the price that the map was made with for a PoP of the fleet, and
// the one above it, in milliseconds.
func (c *cover) prices(pop uint16) (mapped, live float64) {
	if prices := c.src.Map.Prices(); prices != nil {
		if i := slices.IndexFunc(c.src.Map.PoPs(), func(p edge.PoP) bool { return p.Name == c.fleet[pop].Name }); i >= 0 {
			mapped = float64(prices[i].Price) / 1000
		}
	}
	if c.pricing.live != nil {
		live = float64(c.pricing.live[pop]) / 1000
	}
	return mapped, live
}

// price tells of a PoP's price, in words; nothing when it has none.
func (p *pool) price(v *View, pop uint16) string {
	if p.Policy != Closest || pop == noPoP || p.cover.pricing.live == nil || p.cover.pricing.live[pop] == 0 {
		return ""
	}
	text := fmt.Sprintf("+%.1f ms", float64(p.cover.pricing.live[pop])/1000)
	if why := v.cfg.Prices.Why; int(pop) < len(why) && why[pop] != "" {
		text += " (" + why[pop] + ")"
	}
	return text
}

// unpriced returns the candidate that the client would have without prices; -1
// when prices have no part in the choice, or nobody can say.
func (s *selector) unpriced(at *Location) int {
	if at == nil || s.pool.cover.pricing.live == nil || at.Plurality {
		return -1
	}
	plain := *s.pool.cover
	plain.pricing = pricing{}
	b := coverBuilder{cover: &plain}
	if b.translate(plain.src.Map.PoPs(), plain.fleet) != nil {
		return -1 // not reached: the cover was built from the same
	}
	key := b.key(plain.src.Map.Ranking(at.ranking), plain.pinned[s.at.class], 0)
	open := s.pool.open[slotAny]
	for _, pop := range slices.Concat(key.head[:key.n], plain.tails[key.head[0]]) {
		if open[pop] >= 0 {
			return int(open[pop])
		}
	}
	return -1
}
