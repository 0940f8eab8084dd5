package mapper

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"

	"edged/edge"
	"edged/mapper/beacon"
	"edged/mapper/estimate"
)

// A PoP is no candidate for a unit whose attempts to reach it fail too often: when
// the lower end of the interval that holds the true share of failures in 95 of 100
// cases (Wilson's score) is above MostFailures. Two sources that lie together change
// nothing.
const (
	MostFailures   = 0.05
	failingSources = 3
	wilsonZ        = 1.96
)

// failedMs is what an attempt that fails counts as beside round trips, ms: the
// longest that is believed.
const failedMs = 3000

// Failing is a PoP that a unit's clients fail to reach too often.
type Failing struct {
	PoP      uint16
	Attempts int
	Failures int
	Sources  int     // that tried
	Share    float64 // of failures, by sources, those of late more than others
	AtLeast  float64 // the share that they prove, above MostFailures
}

// failing returns the PoPs that are no candidates for a unit, ascending, by its
// sessions and by what failed in each, which are so many attempts in all.
func failing(sessions []estimate.Session, failed [][]estimate.Value, all int) []Failing {
	if all < failingSources { // as in most units
		return nil
	}
	t := tries{}
	for i, s := range sessions {
		t.add(s, failed[i])
	}
	return t.failing()
}

// tries counts a unit's attempts, by PoP and source.
type tries map[uint16]map[netip.Addr]*tried

// tried is what one source tried of one PoP.
type tried struct {
	attempts, failures int
	weight, failed     float64 // of the attempts, and of those that failed
	newest             float64 // the largest weight of one
}

// add counts the attempts of a session. One that reached no PoP tells of its client
// alone, so the caller leaves it out.
func (t tries) add(s estimate.Session, failed []estimate.Value) {
	for _, v := range s.Values {
		t.of(v.PoP, s.Client).count(s.Weight*(1-v.Less), false)
	}
	for _, v := range failed {
		t.of(v.PoP, s.Client).count(s.Weight*(1-v.Less), true)
	}
}

func (t tries) of(pop uint16, source netip.Addr) *tried {
	if t[pop] == nil {
		t[pop] = map[netip.Addr]*tried{}
	}
	if t[pop][source] == nil {
		t[pop][source] = &tried{}
	}
	return t[pop][source]
}

func (t *tried) count(weight float64, failed bool) {
	t.attempts++
	t.weight += weight
	t.newest = max(t.newest, weight)
	if failed {
		t.failures++
		t.failed += weight
	}
}

// failing returns the PoPs that are no candidates, ascending.
func (t tries) failing() (list []Failing) {
	for _, pop := range slices.Sorted(maps.Keys(t)) {
		if f, ok := judgeTries(pop, t[pop]); ok {
			list = append(list, f)
		}
	}
	return list
}

// judgeTries sums up what sources tried. Each has one voice, which is as strong as
// its newest attempt.
func judgeTries(pop uint16, by map[netip.Addr]*tried) (f Failing, failing bool) {
	f = Failing{PoP: pop, Sources: len(by)}
	failed, share, sum, squares := 0, 0.0, 0.0, 0.0
	for _, source := range slices.SortedFunc(maps.Keys(by), netip.Addr.Compare) {
		s := by[source]
		f.Attempts += s.attempts
		f.Failures += s.failures
		if s.failures > 0 {
			failed++
		}
		if s.weight > 0 {
			share += float64(s.newest * (s.failed / s.weight))
			sum += s.newest
			squares += float64(s.newest * s.newest)
		}
	}
	if failed < failingSources || sum == 0 {
		return f, false
	}
	f.Share = share / sum
	f.AtLeast = wilsonLow(f.Share, sum*sum/squares)
	return f, f.AtLeast > MostFailures
}

// wilsonLow returns the lower end of Wilson's score interval for a share seen in n
// trials (Wilson, Probable inference, 1927).
func wilsonLow(share, n float64) float64 {
	z := wilsonZ * wilsonZ / n
	return (share + z/2 - wilsonZ*math.Sqrt(float64(share*(1-share))/n+float64(z*z)/(4*wilsonZ*wilsonZ))) / (1 + z)
}

// reachable leaves out of a unit's estimates the PoPs that its clients fail to
// reach, unless nothing is left then.
func (u *MeasuredUnit) reachable(list []estimate.Estimate) []estimate.Estimate {
	if len(u.Failing) == 0 {
		return list
	}
	var kept []estimate.Estimate
	for _, e := range list {
		if u.failing(e.PoP) == nil {
			kept = append(kept, e)
		}
	}
	if len(kept) == 0 {
		return list
	}
	return kept
}

// failing returns why a PoP is no candidate; nil: it may be one.
func (u *MeasuredUnit) failing(pop uint16) *Failing { return failingAmong(u.Failing, pop) }

// failingAmong finds a PoP in a list by PoP; nil: it is not there.
func failingAmong(list []Failing, pop uint16) *Failing {
	i, found := slices.BinarySearchFunc(list, pop, func(f Failing, pop uint16) int { return cmp.Compare(f.PoP, pop) })
	if !found {
		return nil
	}
	return &list[i]
}

// FailingAt is a PoP that is no candidate at a unit.
type FailingAt struct {
	Unit beacon.Unit
	PoP  string
}

func (f FailingAt) String() string { return fmt.Sprintf("%s at %v", f.PoP, f.Unit) }

// FailingAt returns the PoPs that are no candidates somewhere, by unit.
func (m *Measurements) FailingAt(pops []edge.PoP) (list []FailingAt) {
	for _, u := range m.Units {
		for _, f := range u.Failing {
			list = append(list, FailingAt{u.Unit, pops[f.PoP].Name})
		}
	}
	return list
}

// Failing returns why a PoP is no candidate for an address; nil: it may be one.
func (e *Estimates) Failing(addr netip.Addr, pop uint16) *Failing {
	unit := beacon.UnitOf(addr)
	i, found := slices.BinarySearchFunc(e.units, unit, func(u MeasuredUnit, unit beacon.Unit) int { return cmp.Compare(u.Unit, unit) })
	if !found {
		return nil
	}
	return e.units[i].failing(pop)
}
