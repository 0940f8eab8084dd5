package estimate

import (
	"math"
	"slices"
	"testing"
)

// TestTracesAddUp holds that each trace's parts make its numbers, at units and at
// places, and that traces come in the order of the estimates.
func TestTracesAddUp(t *testing.T) {
	units := []Unit{
		measured(at(50.08, 14.44, "CZ", 1), 80),
		measured(at(50.09, 14.45, "CZ", 1), 75, 3),
		measured(at(50.07, 14.43, "CZ", 2), 0, 8),
		measured(at(40.40, -3.70, "ES", 3)),
		measured(at(59.30, 18.10, "SE", 4), 5),
		{Place: at(48.2, 16.4, "AT", 5)},
	}
	units[4].Cells = units[4].Cells[:2]
	m := Fit(pops, units)
	check := func(name string, list []Estimate, traces []Trace) {
		t.Helper()
		if len(list) == 0 || len(list) != len(traces) {
			t.Fatalf("%s: %d traces of %d estimates", name, len(traces), len(list))
		}
		for k, tr := range traces {
			if tr.Estimate != list[k] {
				t.Errorf("%s: trace %d is of %+v, want %+v", name, k, tr.Estimate, list[k])
			}
			sum := tr.Line + tr.Access
			for _, s := range tr.Steps {
				sum += s.Add
				if s.Trust <= 0 || s.Trust >= 1 || s.Units < 1 {
					t.Errorf("%s: step %+v", name, s)
				}
			}
			if math.Abs(sum-tr.Parent) > 1e-9 {
				t.Errorf("%s: pop %d: parts make %v, want %v", name, tr.PoP, sum, tr.Parent)
			}
			if tr.Own == nil {
				if tr.RTT != tr.Parent || tr.Level == Own {
					t.Errorf("%s: pop %d was not measured, but is %+v", name, tr.PoP, tr.Estimate)
				}
				continue
			}
			mixed := tr.Own.Trust*tr.Own.RTT + (1-tr.Own.Trust)*tr.Parent
			if !tr.Own.Held && math.Abs(mixed-tr.RTT) > 1e-9 || tr.Own.Held && mixed >= tr.RTT {
				t.Errorf("%s: pop %d: own %+v and %v make %v", name, tr.PoP, *tr.Own, tr.Parent, tr.RTT)
			}
		}
	}
	for i := range units {
		check("unit", m.Unit(i), m.Explain(i))
	}
	p := at(50.05, 14.40, "CZ", 1)
	check("place", m.At(p), m.ExplainAt(p))

	own := slices.IndexFunc(m.Explain(4), func(t Trace) bool { return t.Own != nil })
	if own < 0 || m.Explain(4)[own].Own.Samples != 10 {
		t.Errorf("the unit that measured two pops has traces %+v", m.Explain(4))
	}
}

// TestBetweenIsUnit holds Between to what Unit and At say of candidates.
func TestBetweenIsUnit(t *testing.T) {
	m := Fit(pops, []Unit{measured(at(50.08, 14.44, "CZ", 1), 80), {Place: at(48.2, 16.4, "AT", 5)}})
	for i := range 2 {
		for _, e := range m.Unit(i) {
			if got := m.Between(i, e.PoP); got != e {
				t.Errorf("unit %d: %+v, want %+v", i, got, e)
			}
		}
	}
	p := at(52.5, 13.4, "DE", 9)
	for _, e := range m.At(p) {
		if got := m.BetweenPlace(p, e.PoP); got != e {
			t.Errorf("place: %+v, want %+v", got, e)
		}
	}
}
