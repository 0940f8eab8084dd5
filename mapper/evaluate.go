package mapper

import (
	"math"
	"slices"

	"edged/maps"
)

// Evaluation says what a map's first choices cost against the best PoP that each
// unit measured, by sessions.
type Evaluation struct {
	Units    int     `json:"units"`    // whose first choice was measured
	Unheard  int     `json:"unheard"`  // units of which it was not
	Sessions float64 `json:"sessions"` // of the units that count
	Exact    float64 `json:"exact"`    // shares of sessions, 0 to 1
	Within5  float64 `json:"within5"`
	Within10 float64 `json:"within10"`
	Within25 float64 `json:"within25"`
	Mean     float64 `json:"mean_ms"`
	P50      float64 `json:"p50_ms"`
	P95      float64 `json:"p95_ms"`
	P99      float64 `json:"p99_ms"`
}

// Evaluate holds a map against measurements: of each unit, the corrected median
// of the PoP that the map puts first less that of the best.
func Evaluate(m *maps.Map, measured *Measurements) Evaluation {
	var e Evaluation
	type regret struct{ ms, weight float64 }
	var list []regret
	for _, u := range measured.Units {
		addr := u.Unit.Prefix().Addr()
		row, _, _ := m.ECS().Lookup(addr)
		first, ok := m.First(row)
		best, chosen := math.Inf(1), math.Inf(1)
		for _, c := range u.Cells {
			best = min(best, c.RTT)
			if ok && c.PoP == first {
				chosen = c.RTT
			}
		}
		if math.IsInf(chosen, 1) {
			e.Unheard++
			continue
		}
		e.Units++
		list = append(list, regret{chosen - best, float64(u.Sessions)})
	}
	slices.SortFunc(list, func(a, b regret) int {
		switch {
		case a.ms < b.ms:
			return -1
		case a.ms > b.ms:
			return 1
		}
		return 0
	})
	for _, r := range list {
		e.Sessions += r.weight
	}
	done := 0.0
	for _, r := range list {
		share := r.weight / e.Sessions
		e.Mean += share * r.ms
		for _, level := range []struct {
			ms float64
			to *float64
		}{{0, &e.Exact}, {5, &e.Within5}, {10, &e.Within10}, {25, &e.Within25}} {
			if r.ms <= level.ms {
				*level.to += share
			}
		}
		for _, q := range []struct {
			share float64
			to    *float64
		}{{0.5, &e.P50}, {0.95, &e.P95}, {0.99, &e.P99}} {
			if done < q.share {
				*q.to = r.ms
			}
		}
		done += share
	}
	return e
}
