package mapper

import (
	"math"
	"net/netip"

	"edged/mapper/estimate"
	"edged/maps"
)

// HeldSession is a session that no estimate has seen, so that maps can be judged by
// it. Its values' PoPs are indexes of the fleet.
type HeldSession struct {
	ID      uint64
	Client  netip.Addr
	Values  []estimate.Value
	Failing []Failing // PoPs that are no candidates for its unit, by PoP
}

// heldShare: one session in so many is held back.
const heldShare = 20

// HeldBack reports whether a session, by its number, is one that is held back from
// estimates. It is always the same twentieth, so that the map before was not
// made from it either.
func HeldBack(session uint64) bool {
	session ^= session >> 32
	session *= 0x9e3779b97f4a7c15 // Fibonacci hashing: the high bits depend on all
	return session>>32%heldShare == 0
}

// Part says which sessions are read.
type Part uint8

// The parts. Seen puts what was held back into Measurements.Held.
const (
	Whole  Part = iota
	Seen        // without those that are held back
	Unseen      // only those
)

// takes reports whether a session is among those that are read.
func (p Part) takes(session uint64) bool { return p == Whole || HeldBack(session) == (p == Unseen) }

// HeldRegret is what two maps cost on sessions that neither was made from: what the
// first choices take above the best PoP of the session, as means. A session's
// values share its last mile, so their differences do not have it. Where clients fail to
// reach the choice before, what those took who did reach it says nothing against
// leaving it.
type HeldRegret struct {
	Sessions int     `json:"sessions"` // held back
	Compared int     `json:"compared"` // of them, those that measured both maps' first choices
	Weight   float64 `json:"weight"`   // of the latter: 1 each, less where a source brings too much
	Left     int     `json:"left"`     // not compared: the new map leaves a PoP that too many fail to reach
	Before   float64 `json:"before_ms"`
	After    float64 `json:"after_ms"`
}

// Worse returns how much more the new map costs, ms.
func (r HeldRegret) Worse() float64 { return r.After - r.Before }

// CompareHeld holds two maps against sessions. The indexes of their values are
// those of the new map's PoPs.
func CompareHeld(before, after *maps.Map, held []HeldSession) HeldRegret {
	index := map[string]uint16{}
	for i, p := range after.PoPs() {
		index[p.Name] = uint16(i)
	}
	r := HeldRegret{Sessions: len(held)}
	for _, s := range held {
		oldRow, _, _ := before.ECS().Lookup(s.Client)
		newRow, _, _ := after.ECS().Lookup(s.Client)
		first, ok := before.First(oldRow)
		if !ok {
			continue
		}
		old, ok := index[before.PoPs()[first].Name]
		if !ok {
			continue
		}
		new, ok := after.First(newRow)
		if !ok {
			continue
		}
		if failingAmong(s.Failing, old) != nil && failingAmong(s.Failing, new) == nil {
			r.Left++
			continue
		}
		best, was, is, weight := math.Inf(1), math.Inf(1), math.Inf(1), 1.0
		for _, v := range s.Values {
			weight = min(weight, 1-v.Less)
			best = min(best, v.RTT)
			if v.PoP == old {
				was = min(was, v.RTT)
			}
			if v.PoP == new {
				is = min(is, v.RTT)
			}
		}
		if math.IsInf(was, 1) || math.IsInf(is, 1) {
			continue
		}
		r.Compared++
		r.Weight += weight
		r.Before += float64(weight * (was - best))
		r.After += float64(weight * (is - best))
	}
	if r.Weight > 0 {
		r.Before /= r.Weight
		r.After /= r.Weight
	}
	return r
}
