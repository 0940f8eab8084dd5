package compress

import (
	"encoding/binary"
	"slices"
)

// Set is a set of PoPs that a Sets has made; equal sets are equal numbers.
type Set uint32

// Sets makes and remembers sets of PoPs. The zero value is ready to use. It is
// not safe for concurrent use.
type Sets struct {
	members [][]uint16 // ascending
	ids     map[string]Set
	meets   map[uint64]Set // by both numbers, the lesser first
	key     []byte
}

// Of returns the set of the PoPs, which may come in any order and repeat. It
// panics when there is none: some PoP must do.
func (s *Sets) Of(pops ...uint16) Set {
	if len(pops) == 0 {
		panic("compress: a set of no pops")
	}
	if !slices.IsSorted(pops) {
		pops = slices.Sorted(slices.Values(pops))
	}
	return s.intern(slices.Compact(pops))
}

// intern returns the set with these members, ascending and without repetition.
func (s *Sets) intern(pops []uint16) Set {
	s.key = s.key[:0]
	for _, pop := range pops {
		s.key = binary.LittleEndian.AppendUint16(s.key, pop)
	}
	id, ok := s.ids[string(s.key)]
	if !ok {
		if s.ids == nil {
			s.ids, s.meets = map[string]Set{}, map[uint64]Set{}
		}
		id = Set(len(s.members))
		s.members = append(s.members, slices.Clone(pops))
		s.ids[string(s.key)] = id
	}
	return id
}

// has reports whether a set has a PoP.
func (s *Sets) has(set Set, pop uint16) bool {
	_, ok := slices.BinarySearch(s.members[set], pop)
	return ok
}

// meet returns what two sets have in common, or all that either has when that
// is nothing.
func (s *Sets) meet(a, b Set) Set {
	if a == b {
		return a
	}
	if a > b {
		a, b = b, a
	}
	pair := uint64(a)<<32 | uint64(b)
	met, ok := s.meets[pair]
	if !ok {
		var common []uint16
		for _, pop := range s.members[a] {
			if s.has(b, pop) {
				common = append(common, pop)
			}
		}
		if common == nil {
			common = slices.Concat(s.members[a], s.members[b])
			slices.Sort(common)
		}
		met = s.intern(common)
		s.meets[pair] = met
	}
	return met
}
