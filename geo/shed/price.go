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
	if rest > 0 && mix(block^mix(epoch/turnEpochs^uint64(pop)<<48))%uint64(step) < rest {
		whole++
	}
	return whole
}

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
