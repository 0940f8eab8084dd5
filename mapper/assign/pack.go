package assign

// A candidate is packed into 32 bits: its cost in halves of 0.1 ms, raised by
// costBias so that a discount cannot make it negative, above the index of its
// PoP. Prices, and costs when they are added to prices, count in 1/32 of that.
const (
	popBits  = 12
	popMask  = 1<<popBits - 1
	subBits  = 5
	costBias = 2*minGain + 1
	perMs    = 20 << subBits // price units in a millisecond
	maxPrice = MaxPrice * perMs
)

// MaxPrice is the highest price there is, in ms.
const MaxPrice = 6000

// A unit stays with its incumbent unless another PoP is better by more than
// both: beyond that, a change is worth the caches and connections it loses.
// The figures are from sweeping rules over measured series (decision 0030).
const (
	minGain   = 30 // 0.1 ms
	gainShare = 10 // 1/10 of the incumbent's time
)

// maxCandidates keeps the place of a choice in a byte.
const maxCandidates = 255

func popOf(packed uint32) uint16 { return uint16(packed & popMask) }

// costOf returns the cost in price units, bias included.
func costOf(packed uint32) int32 { return int32(packed>>popBits) << subBits }

// pack applies the discounts and packs the candidates.
func pack(p *Problem) []uint32 {
	packed := make([]uint32, len(p.Candidates))
	for u := range p.Demand {
		incumbent, margin := None, uint16(0)
		if p.Incumbent != nil {
			incumbent = p.Incumbent[u]
		}
		if p.Margin != nil {
			margin = p.Margin[u]
		}
		for i := p.First[u]; i < p.First[u+1]; i++ {
			c := p.Candidates[i]
			cost := 2*uint32(c.RTT) + costBias
			if c.PoP == incumbent {
				cost -= discount(c.RTT, margin)
			}
			packed[i] = cost<<popBits | uint32(c.PoP)
		}
	}
	return packed
}

// discount returns what is taken off an incumbent's cost: half a step more than
// a gain must exceed, so that an equal does not win. It is no more than leaves a
// cost.
func discount(rtt, margin uint16) uint32 {
	gain := max(minGain, uint32(rtt/gainShare), uint32(margin))
	return 2*min(gain, uint32(rtt)+minGain) + 1
}
