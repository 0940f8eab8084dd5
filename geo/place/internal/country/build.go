package country

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// A Builder makes Data out of a list of networks.
type Builder struct {
	v4, v6   sequence
	previous netip.Prefix
}

// Add says that a network is in a country. Networks must be disjoint and
// ascending, IPv4 first; addresses that no network names are in no known
// country. A /24 or /48 that holds several countries gets the one with the most
// addresses in it, or the first in the alphabet among equals.
func (b *Builder) Add(p netip.Prefix, code string) error {
	if !isCode(code) {
		return fmt.Errorf("network %s: %q is not a country: want two capital letters", p, code)
	}
	if p != p.Masked() || b.previous.IsValid() && (b.previous.Overlaps(p) || p.Addr().Less(b.previous.Addr())) {
		return fmt.Errorf("network %s comes after %s: want disjoint networks in ascending order", p, b.previous)
	}
	b.previous = p
	if p.Addr().Is4() {
		a4 := p.Addr().As4()
		b.v4.add(uint64(binary.BigEndian.Uint32(a4[:])>>8), 24-p.Bits(), code)
	} else {
		a16 := p.Addr().As16()
		b.v6.add(binary.BigEndian.Uint64(a16[:])>>16, 48-p.Bits(), code)
	}
	return nil
}

func isCode(s string) bool {
	return len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z'
}

// Finish returns the data. The Builder must not be used after it.
func (b *Builder) Finish(origin Origin) (*Data, error) {
	b.v4.finish(v4Cells)
	b.v6.finish(v6Cells)
	d := &Data{Origin: origin}
	d.codes = slices.Concat([]string{""}, b.v4.code, b.v6.code)
	slices.Sort(d.codes)
	d.codes = slices.Compact(d.codes)
	if len(d.codes) > 256 {
		return nil, fmt.Errorf("%d countries: the format has room for 255", len(d.codes)-1)
	}
	d.v4 = tableOf[uint32](&b.v4, d.codes)
	d.v6 = tableOf[uint64](&b.v6, d.codes)
	return d, nil
}

func tableOf[C uint32 | uint64](s *sequence, codes []string) table[C] {
	var t table[C]
	for i, start := range s.start {
		id, _ := slices.BinarySearch(codes, s.code[i])
		t.start = append(t.start, C(start))
		t.code = append(t.code, uint8(id))
	}
	return t
}

// sequence grows the ranges of one family, in cells.
type sequence struct {
	start []uint64
	code  []string
	next  uint64             // first cell that is not in a range yet
	mixed map[string]float64 // shares of cell next, when it is filled in parts
}

// add appends 2^log2 cells, or that fraction of one when log2 is negative.
func (s *sequence) add(cell uint64, log2 int, code string) {
	if s.mixed != nil && cell != s.next {
		s.settle()
	}
	if cell > s.next {
		s.extend(cell, "")
	}
	if log2 >= 0 {
		s.extend(cell+1<<log2, code)
		return
	}
	if s.mixed == nil {
		s.mixed = map[string]float64{}
	}
	share := 1.0
	for ; log2 < 0; log2++ {
		share /= 2
	}
	s.mixed[code] += share
}

// settle gives the mixed cell to its largest country.
func (s *sequence) settle() {
	best := ""
	for code, share := range s.mixed {
		if best == "" || share > s.mixed[best] || share == s.mixed[best] && code < best {
			best = code
		}
	}
	s.mixed = nil
	s.extend(s.next+1, best)
}

// extend lets all cells from next up to end (not included) be in a country.
func (s *sequence) extend(end uint64, code string) {
	if n := len(s.code); n == 0 || s.code[n-1] != code {
		s.start = append(s.start, s.next)
		s.code = append(s.code, code)
	}
	s.next = end
}

func (s *sequence) finish(cells uint64) {
	if s.mixed != nil {
		s.settle()
	}
	if s.next < cells {
		s.extend(cells, "")
	}
}
