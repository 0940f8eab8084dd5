package estimate

import (
	"math"
	"slices"
)

// sorter sorts by value, then by weight, in memory of its own. A model sorts some
// hundred million values, so few of them are sorted by comparing without a call,
// many by counting digits. Neither takes more than n log n, whatever the values.
type sorter struct {
	spare []weighted
	count *[sortDigits][1 << sortBits]uint32 // made when it is needed
}

// Lists up to these lengths are sorted by insertion and by merging.
const (
	shortList  = 12
	mediumList = 256
)

// The digits of a value, from the lowest bit.
const (
	sortBits   = 11
	sortDigits = (64 + sortBits - 1) / sortBits
)

func (w weighted) less(other weighted) bool {
	return w.value < other.value || w.value == other.value && w.weight < other.weight
}

func (s *sorter) sort(values []weighted) {
	switch n := len(values); {
	case n <= shortList:
		insert(values)
	case n <= mediumList:
		s.merge(values)
	default:
		s.radix(values)
		for i := 0; i < n; {
			j := i + 1
			for j < n && values[j].value == values[i].value {
				j++
			}
			if j-i > 1 {
				s.merge(values[i:j])
			}
			i = j
		}
	}
}

func insert(values []weighted) {
	for i := 1; i < len(values); i++ {
		v, k := values[i], i
		for ; k > 0 && v.less(values[k-1]); k-- {
			values[k] = values[k-1]
		}
		values[k] = v
	}
}

// room returns spare memory for n values.
func (s *sorter) room(n int) []weighted {
	s.spare = slices.Grow(s.spare[:0], n)
	return s.spare[:n]
}

// merge inserts within short lists and merges these, two by two.
func (s *sorter) merge(values []weighted) {
	n := len(values)
	for i := 0; i < n; i += shortList {
		insert(values[i:min(n, i+shortList)])
	}
	from, to := values, s.room(n)
	for length := shortList; length < n; length *= 2 {
		for i := 0; i < n; i += 2 * length {
			mergeTwo(to[i:], from[i:min(n, i+length)], from[min(n, i+length):min(n, i+2*length)])
		}
		from, to = to, from
	}
	if &from[0] != &values[0] {
		copy(values, from)
	}
}

func mergeTwo(to, a, b []weighted) {
	for len(a) > 0 && len(b) > 0 {
		if b[0].less(a[0]) {
			to[0], b = b[0], b[1:]
		} else {
			to[0], a = a[0], a[1:]
		}
		to = to[1:]
	}
	copy(to, a)
	copy(to[len(a):], b)
}

// ordered returns bits that ascend as values do; both zeros have the same.
func ordered(value float64) uint64 {
	b := math.Float64bits(value + 0) // -0 + 0 is 0
	if b>>63 == 1 {
		return ^b
	}
	return b | 1<<63
}

// radix sorts by value alone, the lowest digit first. A digit that is the same in all
// is skipped.
func (s *sorter) radix(values []weighted) {
	if s.count == nil {
		s.count = new([sortDigits][1 << sortBits]uint32)
	}
	clear(s.count[:])
	for i := range values {
		b := ordered(values[i].value)
		for d := range s.count {
			s.count[d][b>>(d*sortBits)&(1<<sortBits-1)]++
		}
	}
	from, to := values, s.room(len(values))
	for d := range s.count {
		start, shift := &s.count[d], d*sortBits
		if start[ordered(from[0].value)>>shift&(1<<sortBits-1)] == uint32(len(from)) {
			continue
		}
		sum := uint32(0)
		for i, n := range start {
			start[i] = sum
			sum += n
		}
		for i := range from {
			at := &start[ordered(from[i].value)>>shift&(1<<sortBits-1)]
			to[*at] = from[i]
			*at++
		}
		from, to = to, from
	}
	if &from[0] != &values[0] {
		copy(values, from)
	}
}
