package shed

import (
	"time"

	"edged/maps"
)

// Price is what a PoP costs beside its round-trip time, in microseconds, 0 to
// MaxPrice.
type Price int32

// The bounds of prices.
const (
	MaxPrice Price = 64_000
	step     Price = 500 // of times in a map
)

// Epoch is how long prices hold, and turnEpochs how many epochs the same blocks
// stand at the margin.
const (
	Epoch      = 10 * time.Second
	turnEpochs = 360
)

// EpochOf returns the number of the epoch that a Unix time in seconds lies in.
func EpochOf(now uint64) uint64 { return now / uint64(Epoch/time.Second) }

// steps returns what a price is for one client block, in the steps of a map.
func (p Price) steps(block, epoch uint64, pop uint16) uint32 {
	whole, rest := uint32(p/step), uint64(p%step)
	if rest > 0 && mix(block^mix(Turn(epoch)^uint64(pop)<<48))%uint64(step) < rest {
		whole++
	}
	return whole
}

// Turn returns a number that changes when other blocks than before come to stand
// at the margin.
func Turn(epoch uint64) uint64 { return epoch / turnEpochs }

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Choose returns which of a ranking's hops a client block goes to: the one with
// the least sum of time and price, the first of equals. The block is a number
// that is its alone; prices are by PoP, and a PoP beyond them has none. Hops
// from the first on whose time is not known are not chosen, unless there is no
// other. Choose does not allocate. There must be a hop.
func Choose(hops []maps.Hop, prices []Price, block, epoch uint64) int {
	best, least := 0, ^uint32(0)
	for i, hop := range hops {
		if hop.RTT == 0 {
			break
		}
		cost := uint32(hop.RTT)
		if int(hop.PoP) < len(prices) {
			cost += prices[hop.PoP].steps(block, epoch, hop.PoP)
		}
		if cost < least {
			best, least = i, cost
		}
	}
	return best
}

// Order puts hops in the order in which a client block prefers them: the one that
// Choose chooses, the one that it would choose without that, and so on.
func Order(hops []maps.Hop, prices []Price, block, epoch uint64) {
	for i := range hops {
		first := i + Choose(hops[i:], prices, block, epoch)
		hop := hops[first]
		copy(hops[i+1:first+1], hops[i:first])
		hops[i] = hop
	}
}

// Divided says whether some client blocks may prefer hops in another order than
// other blocks, because a price lies between two steps.
func Divided(hops []maps.Hop, prices []Price) bool {
	for i, hop := range hops {
		if hop.RTT == 0 {
			continue // all before it come before it, whatever they cost
		}
		low, high := costs(hop, prices)
		for _, later := range hops[i+1:] {
			if later.RTT == 0 {
				break
			}
			lowLater, highLater := costs(later, prices)
			// Equals stay in their order.
			if (low <= highLater) != (high <= lowLater) {
				return true
			}
		}
	}
	return false
}

// costs returns the least and the most that a hop costs a client block.
func costs(hop maps.Hop, prices []Price) (low, high uint32) {
	low = uint32(hop.RTT)
	high = low
	if int(hop.PoP) < len(prices) {
		price := prices[hop.PoP]
		low += uint32(price / step)
		high += uint32((price + step - 1) / step)
	}
	return low, high
}

// Whole says whether a price is one for all client blocks.
func (p Price) Whole() bool { return p%step == 0 }

// Steps returns the price of a map, in microseconds, in the steps of its times.
func Steps(price uint32) uint32 { return price / uint32(step) }
