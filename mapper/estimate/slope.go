package estimate

import (
	"math"
	"slices"
	"sync"
)

// Pairs of PoPs that tell what distance costs.
const (
	apartKm    = 300  // nearer ones say nothing about distance
	leastSlope = 0.01 // ms per km
)

// slopeOf is the weighted median of ms per km between two PoPs of one unit, so
// that its access does not matter. A week has a hundred million of such pairs: when
// there are more than few, they are counted by their first bits, and only those
// that agree with the median in these are gathered.
func (m *Model) slopeOf(f *fitting, few int) float64 {
	pairs := func(i int, do func(value, weight float64)) {
		u, km := &m.units[i], f.of(f.km, i)
		if !u.Place.HasCoord {
			return
		}
		for j := range u.Cells {
			for k := range j {
				if d := km[j] - km[k]; math.Abs(d) > apartKm {
					do((u.Cells[j].RTT-u.Cells[k].RTT)/d, math.Abs(d))
				}
			}
		}
	}
	n := 0
	for i := range m.units {
		if cells := len(m.units[i].Cells); m.units[i].Place.HasCoord {
			n += cells * (cells - 1) / 2
		}
	}
	if n <= few {
		var all []weighted
		for i := range m.units {
			pairs(i, func(value, weight float64) { all = append(all, weighted{value, weight}) })
		}
		if len(all) == 0 {
			return firstSlope
		}
		return max(new(medians).middle(all), leastSlope)
	}
	counts := countPairs(len(m.units), pairs)
	total := 0
	for _, c := range counts {
		total += c
	}
	if total == 0 {
		return firstSlope
	}
	at, before := 0, 0
	for 2*(before+counts[at]) < total {
		before += counts[at]
		at++
	}
	return max(medianWithin(len(m.units), pairs, at, total-2*before), leastSlope)
}

// firstBits of a number as bits that ascend with it are its sign, its exponent and
// a few of its fraction: numbers that share them differ by less than a hundredth.
const firstBits = 19

func bin(value float64) int {
	b := math.Float64bits(value)
	if b>>63 == 1 {
		b = ^b
	} else {
		b |= 1 << 63
	}
	return int(b >> (64 - firstBits))
}

// metres makes weights whole, so that their order does not matter.
func metres(km float64) int { return int(math.Round(1000 * km)) }

// countPairs returns the weight of the pairs in each bin.
func countPairs(units int, pairs func(int, func(value, weight float64))) []int {
	var mu sync.Mutex // guards all
	var all [][]int
	inParallel(units, unitsAtOnce, func() func(int) {
		counts := make([]int, 1<<firstBits)
		mu.Lock()
		all = append(all, counts)
		mu.Unlock()
		count := func(value, weight float64) { counts[bin(value)] += metres(weight) }
		return func(i int) { pairs(i, count) }
	})
	sum := all[0]
	for _, counts := range all[1:] {
		for i, c := range counts {
			sum[i] += c
		}
	}
	return sum
}

// medianWithin returns the first value in a bin at which twice the weight up to it
// is more than half.
func medianWithin(units int, pairs func(int, func(value, weight float64)), at, half int) float64 {
	var mu sync.Mutex // guards all
	var all []weighted
	inParallel(units, unitsAtOnce, func() func(int) {
		return func(i int) {
			pairs(i, func(value, weight float64) {
				if bin(value) == at {
					mu.Lock()
					all = append(all, weighted{value, weight})
					mu.Unlock()
				}
			})
		}
	})
	new(sorter).sort(all)
	sum := 0
	i := slices.IndexFunc(all, func(w weighted) bool {
		sum += 2 * metres(w.weight)
		return sum >= half
	})
	return all[i].value
}

// fewPairs take no more memory than the cells.
const fewPairs = 1 << 20
