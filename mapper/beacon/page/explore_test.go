package page

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// block is a client block in a simulation: PoPs by distance, what the round trip
// to each really is, what a map guesses before anybody measured it, and what was
// measured.
type block struct {
	truth, guess []float64
	samples      [][]float64
}

// newBlock draws a block with three PoPs that are all alike, about 60 ms away,
// and seven that look farther, up to 123 ms. One of the seven is 40 ms away.
func newBlock(rng *rand.Rand) *block {
	b := &block{samples: make([][]float64, 10)}
	for i := range b.samples {
		guess := 60 + 7*float64(i)
		if i < 3 {
			guess = 60
		}
		b.guess = append(b.guess, guess)
		b.truth = append(b.truth, guess+2*rng.NormFloat64())
	}
	b.truth[3+rng.IntN(7)] = 40
	return b
}

// candidates is what a map that is built now says: the median of what was
// measured and the guess, which counts as one sample.
func (b *block) candidates() []Candidate {
	list := make([]Candidate, len(b.guess))
	for i, guess := range b.guess {
		n, rtt := len(b.samples[i]), guess
		if n > 0 {
			slices.Sort(b.samples[i])
			rtt = (float64(n)*b.samples[i][n/2] + guess) / float64(n+1)
		}
		list[i] = Candidate{PoP: fmt.Sprint(i), RTT: math.Round(2*rtt) / 2, Samples: n}
	}
	slices.SortStableFunc(list, func(a, b Candidate) int { return cmp.Compare(a.RTT, b.RTT) })
	return list
}

// explore lets sessions measure a block with a map that is rebuilt after each few,
// and returns what the first PoP of the last map loses against the best, ms.
func (b *block) explore(rng *rand.Rand, sessions, every int, known func([]Candidate) []Candidate) float64 {
	var list []Candidate
	for s := range sessions {
		if s%every == 0 {
			list = known(b.candidates())
		}
		for _, pop := range Choose(list, 0, 4, rng.Uint64()) {
			i := int(pop[0] - '0')
			b.samples[i] = append(b.samples[i], b.truth[i]+3*rng.ExpFloat64())
		}
	}
	return b.truth[b.candidates()[0].PoP[0]-'0'] - slices.Min(b.truth)
}

// asSure makes guesses as sure as what was measured once anything of a block was,
// which is all that a map without origins can say of it.
func asSure(list []Candidate) []Candidate {
	if slices.ContainsFunc(list, func(c Candidate) bool { return c.Samples > 0 }) {
		for i := range list {
			list[i].Samples = 4096
		}
	}
	return list
}

// TestExploreFindsTheBest simulates 300 blocks, each with fifteen sessions and a
// map that is rebuilt after every few of them: what is not known of a measured
// block has to be measured too, or a good PoP with a bad guess is not found.
func TestExploreFindsTheBest(t *testing.T) {
	const blocks, sessions = 300, 15
	found := func(every int, known func([]Candidate) []Candidate) (n int) {
		for i := range uint64(blocks) {
			b := newBlock(rand.New(rand.NewPCG(i, 1)))
			if b.explore(rand.New(rand.NewPCG(i, 2)), sessions, every, known) <= 5 {
				n++
			}
		}
		return n
	}
	asIs := func(list []Candidate) []Candidate { return list }
	for _, every := range []int{1, 3, 5} {
		n, sure := found(every, asIs), found(every, asSure)
		if n < blocks*93/100 || sure > blocks*78/100 {
			t.Errorf("a map after every %d: %d of %d blocks find their best, want 93 %%; %d when guesses count as sure, want 78 %% at most", every, n, blocks, sure)
		}
	}
}
