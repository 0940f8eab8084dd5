package generate

import "math"

// A draw is made from a seed and the numbers of what it is for, so it does not
// depend on any other.
type draw uint64

// What draws are for.
const (
	forUnit = iota
	forCity
	forNetwork
	forPath
	forResidual
	forClient
	forSample
	forFraud
)

// of returns the draw for a thing.
func (d draw) of(what uint64, ids ...uint64) draw {
	h := mix(uint64(d) ^ mix(what))
	for _, id := range ids {
		h = mix(h ^ mix(id+0x632be59bd9b4e019))
	}
	return draw(h)
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// nth returns a further independent draw for the same thing.
func (d draw) nth(n uint64) draw { return draw(mix(uint64(d) + n*0xd1342543de82ef95)) }

// uniform is between 0 and 1, and neither.
func (d draw) uniform() float64 { return (float64(d>>12) + 0.5) / (1 << 52) }

// normal has mean 0 and deviation 1.
func (d draw) normal() float64 { return math.Sqrt2 * math.Erfinv(2*d.uniform()-1) }

// exponential has mean 1.
func (d draw) exponential() float64 { return -math.Log(d.uniform()) }

func (d draw) logNormal(median, sigma float64) float64 { return median * math.Exp(sigma*d.normal()) }

// below returns an index below n.
func (d draw) below(n int) int { return int(d.uniform() * float64(n)) }
