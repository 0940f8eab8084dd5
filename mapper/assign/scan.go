package assign

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
)

// chunk is how many units a goroutine takes at a time.
const chunk = 1 << 14

// parallel calls do for all units, chunk by chunk, on all processors, and
// merge for each goroutine's state when it is done.
func parallel[T any](units int, start func() T, do func(state T, from, to int), merge func(T)) {
	chunks := (units + chunk - 1) / chunk
	workers := min(runtime.GOMAXPROCS(0), chunks)
	var next atomic.Int64
	var merging sync.Mutex // guards what merge writes to
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			state := start()
			for {
				c := int(next.Add(1)) - 1
				if c >= chunks {
					break
				}
				do(state, c*chunk, min(units, (c+1)*chunk))
			}
			merging.Lock()
			defer merging.Unlock()
			merge(state)
		})
	}
	wg.Wait()
}

// sums is what a scan adds up.
type sums struct {
	prices [maxPoPs]int32 // a copy, so that the index needs no check
	load   [maxPoPs]int64
	margin []int64 // at first*pops+second, the demand of units whose second choice is within the window
	value  int64   // demand times the least sum of cost and price, costBias included
}

// scan lets every stride-th unit choose at the prices, and adds up what comes
// of it. The window is in price units.
func (s *solver) scan(prices []int32, stride int, window int32) *sums {
	pops := len(prices)
	start := func() *sums {
		state := &sums{margin: make([]int64, pops*pops)}
		copy(state.prices[:], prices)
		return state
	}
	total := start()
	parallel((len(s.demand)+stride-1)/stride, start, func(state *sums, from, to int) {
		for i := from; i < to; i++ {
			u := i * stride
			first, second := uint32(0), uint32(0)
			key, next := int32(math.MaxInt32), int32(math.MaxInt32)
			for _, c := range s.packed[s.first[u]:s.first[u+1]] {
				switch k := costOf(c) + state.prices[c&popMask]; {
				case k < key:
					first, second = c, first
					key, next = k, key
				case k < next:
					second, next = c, k
				}
			}
			demand := int64(s.demand[u])
			state.load[first&popMask] += demand
			state.value += demand * int64(key)
			if next-key <= window {
				state.margin[int(popOf(first))*pops+int(popOf(second))] += demand
			}
		}
	}, func(state *sums) {
		for pop := range prices {
			total.load[pop] += state.load[pop]
		}
		for i, demand := range state.margin {
			total.margin[i] += demand
		}
		total.value += state.value
	})
	return total
}

// choose gives every unit the candidate with the least sum of cost and price,
// the first of equals.
func (s *solver) choose() {
	prices := new([maxPoPs]int32)
	copy(prices[:], s.prices)
	none := func() struct{} { return struct{}{} }
	parallel(len(s.demand), none, func(_ struct{}, from, to int) {
		for u := from; u < to; u++ {
			key := int32(math.MaxInt32)
			for i, c := range s.packed[s.first[u]:s.first[u+1]] {
				if k := costOf(c) + prices[c&popMask]; k < key {
					s.choice[u], key = uint8(i), k
				}
			}
		}
	}, func(struct{}) {})
}
