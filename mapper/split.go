package mapper

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"edged/maps"
)

// Split is a range of clients of one kind with one line of demand that was too much
// for one PoP.
type Split struct {
	From   netip.Addr `json:"from"`
	To     netip.Addr `json:"to"`
	Demand float64    `json:"demand"`
	PoPs   []PoPShare `json:"pops"` // the largest share first
}

// PoPShare is what a PoP has of something, 0 to 1.
type PoPShare struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"`
}

// MaxSplits is how many ranges a report lists.
const MaxSplits = 20

// splits returns the ranges that were cut and have more than one PoP now, those with
// the largest demand first, and the demand of all of them.
func (b *builder) splits() (list []Split, demand float64) {
	list = []Split{}
	for _, s := range b.clients {
		cuts, at := s.pieces, 0
		by, sum := map[uint16]float64{}, 0.0
		for v, run := range s.goes() {
			if len(cuts) == 0 {
				break
			}
			if at >= cuts[0].from {
				by[run.pop] += v.demand
				sum += v.demand
			}
			if at++; at < cuts[0].to {
				continue
			}
			if len(by) > 1 {
				list = append(list, b.splitOf(s, cuts[0], by, sum))
				demand += sum
			}
			clear(by)
			cuts, sum = cuts[1:], 0
		}
	}
	slices.SortStableFunc(list, func(a, b Split) int { return cmp.Compare(b.Demand, a.Demand) })
	return list[:min(len(list), MaxSplits)], demand
}

// splitOf describes one range by the demand that each PoP got of it.
func (b *builder) splitOf(s *space, p pieces, by map[uint16]float64, sum float64) Split {
	last := s.addr(maps.Addr6{Hi: ^uint64(0), Lo: ^uint64(0)})
	if end, more := s.end(s.served[p.to-1].leaf); more {
		last = s.addr(end).Prev()
	}
	split := Split{From: s.addr(s.leaves[s.served[p.from].leaf].start), To: last, Demand: sum}
	for pop, demand := range by {
		split.PoPs = append(split.PoPs, PoPShare{b.in.PoPs[pop].Name, demand / sum})
	}
	slices.SortFunc(split.PoPs, func(a, b PoPShare) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Name, b.Name))
	})
	return split
}

// addr returns an address of the space.
func (s *space) addr(a maps.Addr6) netip.Addr {
	if s.bits == 128 {
		return a.Addr()
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(a.Lo))
	return netip.AddrFrom4(b)
}
