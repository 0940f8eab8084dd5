package mapper

import (
	"math"

	"edged/maps"
)

// Demand is given to PoPs by whole leaves, so a leaf with much of it cannot be shared
// out well, and one with more than a PoP should have not at all.
const (
	// pieceShare is how large a part of the least soft limit among a leaf's PoPs its
	// demand may be: a thirty-second, which is what a limit is raised by to spare.
	pieceShare = 1.0 / 32
	// mostPieces bounds what all leaves together are cut into, if a PoP is tiny.
	mostPieces = 1 << 16
)

// finestCut is the length of blocks that are not cut: resolvers tell no more of a
// client.
func (s *space) finestCut() int {
	if s.bits == 32 {
		return 24
	}
	return 48
}

// cut divides leaves with too much demand for their PoPs into aligned blocks of
// their addresses, over which it lies evenly. What has the same PoP in the end becomes
// one range again.
func (b *builder) cut() {
	if !b.shares.limited {
		return
	}
	total := 0.0
	for _, s := range b.clients {
		for _, v := range s.served {
			total += v.demand
		}
	}
	for _, s := range b.clients {
		s.cut(func(v served) float64 {
			return max(b.shares.piece(&b.outlooks[s.leaves[v.leaf].outlook]), total/mostPieces)
		})
	}
}

// piece returns how much demand a leaf should have at most, +Inf where it has no
// choice.
func (s *shares) piece(o *outlook) float64 {
	least := math.Inf(1)
	if o.timed < 2 {
		return least
	}
	for _, h := range o.hops[:o.timed] {
		if l := s.limits[h.PoP]; l.capacity > 0 {
			least = min(least, l.soft)
		}
	}
	return least * pieceShare
}

// cut divides the leaves that have more demand than most says. One that is a single
// block stays whole.
func (s *space) cut(most func(served) float64) {
	var leaves []leaf
	var all []served
	done := 0 // leaves that were taken over
	for _, v := range s.served {
		leaves = append(leaves, s.leaves[done:v.leaf+1]...)
		done = v.leaf + 1
		begin, least := len(all), most(v)
		if v.demand <= least {
			all = append(all, served{len(leaves) - 1, v.demand, v.now})
			continue
		}
		end, more := s.end(v.leaf)
		from, outlook := s.leaves[v.leaf].start, s.leaves[v.leaf].outlook
		size := sizeOf(from, end, more, s.bits)
		length := s.blocks(size * least / v.demand)
		for {
			to, inside := s.nextBlock(from, length)
			if !inside || more && !to.Less(end) {
				break
			}
			all = append(all, served{len(leaves) - 1, v.demand * sizeOf(from, to, true, s.bits) / size, v.now})
			leaves = append(leaves, leaf{start: to, outlook: outlook})
			from = to
		}
		all = append(all, served{len(leaves) - 1, v.demand * sizeOf(from, end, more, s.bits) / size, v.now})
		s.pieces = append(s.pieces, pieces{begin, len(all)})
	}
	if len(s.pieces) > 0 {
		s.leaves, s.served = append(leaves, s.leaves[done:]...), all
	}
}

// pieces are the served leaves, from one to before another, that one was cut into.
type pieces struct{ from, to int }

// end returns where a leaf ends, and false when that is the end of the space.
func (s *space) end(leaf int) (maps.Addr6, bool) {
	if leaf+1 < len(s.leaves) {
		return s.leaves[leaf+1].start, true
	}
	return maps.Addr6{}, false
}

// blocks returns the length of the largest blocks with so many addresses at most,
// but none that is finer than what is cut.
func (s *space) blocks(addresses float64) int {
	_, exponent := math.Frexp(addresses)
	return max(0, min(s.finestCut(), s.bits-(exponent-1)))
}

// nextBlock returns the first block of a length that begins behind an address, and
// false when the space has none. A block of IPv6 is a /64 or wider.
func (s *space) nextBlock(a maps.Addr6, length int) (maps.Addr6, bool) {
	if s.bits == 32 {
		step := uint64(1) << (32 - length)
		next := a.Lo&^(step-1) + step
		return maps.Addr6{Lo: next}, next < 1<<32
	}
	if length == 0 {
		return maps.Addr6{}, false
	}
	step := uint64(1) << (64 - length)
	next := a.Hi&^(step-1) + step
	return maps.Addr6{Hi: next}, next != 0
}
