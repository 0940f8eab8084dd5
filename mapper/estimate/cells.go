package estimate

import (
	"math"
	"net/netip"
	"slices"
	"sync"
)

// Session is what one client measured in one go.
type Session struct {
	Client netip.Addr // the source: samples of one client count as one voice
	Weight float64    // of each sample, 1 for a fresh one, less with age
	Values []Value
}

// Value is one round trip.
type Value struct {
	PoP  uint16
	RTT  float64 // ms
	Less float64 // the part of the session's weight that it counts less with, 0 to below 1
}

// Cell is what is known about one PoP from one unit.
type Cell struct {
	PoP     uint16
	RTT     float64 // upper weighted median of the corrected round trips, ms
	P90     float64 // their 90th percentile, ms
	Weight  float64 // of the samples
	Samples int
	Sources int     // clients
	Spread  float64 // mean distance of the samples from RTT, ms
	High    float64 // RTT as it would be if two sources were not believed, ms; +Inf below three sources
}

// least is the least round trip that is believed of a PoP when two sources may
// lie. Of five sources three are honest, so that the median lies among what those
// say; among fewer, what the levels above say is a voice as well.
func (c Cell) least(parent float64) float64 {
	if c.Sources > 2*liars {
		return 0
	}
	return min(parent, c.High)
}

// minPaired is the fewest PoPs of a session that tell its last mile: with two,
// taking it out adds as much noise as it removes.
const minPaired = 3

// rounds of the two-way fit. It moves little after three.
const rounds = 8

// Sample is a round trip less its session's last mile.
type Sample struct {
	PoP    uint16
	Tenths int16   // of a millisecond; it may be below 0
	Weight float64 // above 0; what a source has for a PoP weighs as much as one in all
}

// Correct takes the last miles out of the sessions of one unit. It returns the
// samples, PoP by PoP, and a cell for each PoP, by PoP, of which it knows Sources
// and High: the other fields are what an aggregation makes of the samples. The
// expected round trips say what differs between PoPs before anything was measured;
// nil stands for nothing known.
//
// The two-way fit is Tukey's median polish: a session's last mile is the median
// of what its values have above the cells, a cell is the median of the values
// less their last miles, and so on in turn. The unit's typical last mile stays
// in the cells, so they are round trips that a client there would see.
func Correct(sessions []Session, expected func(pop uint16) float64) ([]Sample, []Cell) {
	if expected == nil {
		expected = func(uint16) float64 { return 0 }
	}
	f := twoWays.Get().(*twoWay)
	defer f.release()
	f.begin(sessions, expected)
	for range rounds {
		f.fitSessions()
		if !f.fitCells() { // and never would again
			break
		}
	}
	return f.result()
}

// twoWay is a fit in progress.
type twoWay struct {
	sessions []Session
	client   []int32   // of each session; who they are does not matter
	pops     []uint16  // measured ones, ascending
	at       [][]int   // position in pops of each value of each session
	level    []float64 // of each PoP, ms
	lastMile []float64 // of each session above the unit's typical one, ms
	medians
	scratch []weighted  // of one median
	all     []weighted  // of the typical last mile
	column  [][]reading // of each PoP

	flatAt   []int     // what at is cut from
	readings []reading // what column is cut from
	said     []uint64  // of one PoP
	heard    []float64 // of one PoP
}

// twoWays have the memory of fits before: there are as many fits as units.
var twoWays = sync.Pool{New: func() any { return new(twoWay) }}

// release lets others use the memory.
func (f *twoWay) release() {
	f.sessions = nil
	twoWays.Put(f)
}

// resize returns a slice of n with the memory of another, where that is enough. What
// it holds is not said.
func resize[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }

// reading is one value's place in the fit.
type reading struct {
	session, value int
	weight         float64 // a source's samples of one PoP weigh as much as one
}

// begin makes a fit that has not begun to fit.
func (f *twoWay) begin(sessions []Session, expected func(uint16) float64) {
	f.sessions = sessions
	f.at, f.lastMile = resize(f.at, len(sessions)), resize(f.lastMile, len(sessions))
	clear(f.lastMile)
	f.numberClients()
	all := f.pops[:0]
	for i := range sessions {
		for _, v := range sessions[i].Values {
			all = append(all, v.PoP)
		}
	}
	slices.Sort(all)
	n := len(all)
	f.column, f.readings, f.flatAt = f.column[:0], resize(f.readings, n), resize(f.flatAt, n)
	for i := 0; i < n; {
		j := i
		for j < n && all[j] == all[i] {
			j++
		}
		f.column = append(f.column, f.readings[i:i:j])
		i = j
	}
	f.pops = slices.Compact(all)
	at := f.flatAt
	for i := range sessions {
		s := &sessions[i]
		f.at[i], at = at[:len(s.Values):len(s.Values)], at[len(s.Values):]
		for j, v := range s.Values {
			p, _ := slices.BinarySearch(f.pops, v.PoP)
			f.at[i][j] = p
			f.column[p] = append(f.column[p], reading{i, j, s.Weight * (1 - v.Less)})
		}
	}
	f.level = f.level[:0]
	for i, p := range f.pops {
		f.level = append(f.level, expected(p))
		f.share(f.column[i])
	}
}

// few is how many are compared one with another, and not in a map.
const few = 16

// numberClients gives the sessions of one client one number.
func (f *twoWay) numberClients() {
	f.client = resize(f.client, len(f.sessions))
	if len(f.sessions) <= few {
		for i := range f.sessions {
			k := 0
			for f.sessions[k].Client != f.sessions[i].Client {
				k++
			}
			f.client[i] = int32(k)
		}
		return
	}
	numbers := map[netip.Addr]int32{}
	for i := range f.sessions {
		number, ok := numbers[f.sessions[i].Client]
		if !ok {
			number = int32(len(numbers))
			numbers[f.sessions[i].Client] = number
		}
		f.client[i] = number
	}
}

// share makes the samples of one source weigh as much as one.
func (f *twoWay) share(column []reading) {
	if len(column) <= few {
		var count [few]float64
		for i, r := range column {
			for _, other := range column {
				if f.client[other.session] == f.client[r.session] {
					count[i]++
				}
			}
		}
		for i := range column {
			column[i].weight /= count[i]
		}
		return
	}
	count := map[int32]float64{}
	for _, r := range column {
		count[f.client[r.session]]++
	}
	for i := range column {
		column[i].weight /= count[f.client[column[i].session]]
	}
}

func (f *twoWay) fitSessions() {
	all := f.all[:0]
	for i := range f.sessions {
		s := &f.sessions[i]
		if len(s.Values) < minPaired {
			continue
		}
		f.scratch = f.scratch[:0]
		for j, v := range s.Values {
			f.scratch = append(f.scratch, weighted{v.RTT - f.level[f.at[i][j]], 1})
		}
		f.lastMile[i] = f.middle(f.scratch)
		all = append(all, weighted{f.lastMile[i], s.Weight})
	}
	if len(all) == 0 {
		return
	}
	f.all = all
	typical := f.middle(all)
	for i := range f.sessions {
		if len(f.sessions[i].Values) >= minPaired {
			f.lastMile[i] -= typical
		}
	}
}

// fitCells reports whether any level has changed.
func (f *twoWay) fitCells() (changed bool) {
	for p := range f.pops {
		level := f.middle(f.corrected(p))
		changed = changed || level != f.level[p]
		f.level[p] = level
	}
	return changed
}

// corrected returns a PoP's values less their sessions' last miles.
func (f *twoWay) corrected(p int) []weighted {
	f.scratch = f.scratch[:0]
	for _, r := range f.column[p] {
		s := &f.sessions[r.session]
		f.scratch = append(f.scratch, weighted{s.Values[r.value].RTT - f.lastMile[r.session], r.weight})
	}
	return f.scratch
}

func (f *twoWay) result() ([]Sample, []Cell) {
	n := 0
	for _, column := range f.column {
		n += len(column)
	}
	samples, cells := make([]Sample, 0, n), make([]Cell, len(f.pops))
	for p, pop := range f.pops {
		from := len(samples)
		for _, r := range f.column[p] {
			ms := f.sessions[r.session].Values[r.value].RTT - f.lastMile[r.session]
			samples = append(samples, Sample{pop, tenths(ms), r.weight})
		}
		voices := f.voices(f.column[p], samples[from:])
		cells[p] = Cell{PoP: pop, Sources: len(voices), High: high(voices)}
	}
	return samples, cells
}

// tenths rounds to tenths of a millisecond. What is out of range, 3.2 s, is
// further from everything than any other value.
func tenths(ms float64) int16 {
	return int16(min(max(math.Round(10*ms), math.MinInt16+1), math.MaxInt16))
}

// voices returns what each source says about a PoP: one median each, in ms,
// ascending, good until the next one. The samples are those of the column.
func (f *twoWay) voices(column []reading, samples []Sample) []float64 {
	// The client is above the value, whose order is that of unsigned numbers then.
	said := f.said[:0]
	for i, r := range column {
		said = append(said, uint64(f.client[r.session])<<16|uint64(uint16(samples[i].Tenths)^1<<15))
	}
	slices.Sort(said)
	voices := f.heard[:0]
	for i := 0; i < len(said); {
		j := i
		for j < len(said) && said[j]>>16 == said[i]>>16 {
			j++
		}
		voices = append(voices, float64(int16(uint16(said[i+(j-i)/2])^1<<15))/10)
		i = j
	}
	slices.Sort(voices)
	f.said, f.heard = said, voices
	return voices
}

// liars is how many sources together may say anything without effect.
const liars = 2

// high is the upper median of the voices and of two more that say the most:
// whatever two of the voices are, the honest ones' median is not above it.
func high(voices []float64) float64 {
	at := (len(voices) + liars) / 2
	if at >= len(voices) {
		return math.Inf(1)
	}
	return voices[at]
}
