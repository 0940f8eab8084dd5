package mapper

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"edged/mapper/beacon"
	"edged/maps"
)

// Evaluation says what a map's first choices cost against the best PoP that each
// unit measured.
type Evaluation struct {
	Units    int      `json:"units"`   // whose first choice was measured
	Unheard  int      `json:"unheard"` // units of which it was not
	Sessions float64  `json:"sessions"`
	Demand   float64  `json:"demand"` // of the units that count: requests/s, or else sessions
	ByDemand Compared `json:"by_demand"`
	ByUnit   Compared `json:"by_unit"` // each unit counts alike
}

// Compared is what the map costs beside two others: each unit's nearest PoP by
// distance, where that was measured, and its best one.
type Compared struct {
	Map     Score `json:"map"`
	Nearest Score `json:"nearest"`
	Oracle  Score `json:"oracle"`
}

// Score is how much longer than at the best PoP round trips are, by shares of
// what counts (0 to 1) and in ms.
type Score struct {
	Units    int        `json:"units"`
	Exact    float64    `json:"exact"`
	Within5  float64    `json:"within5"`
	Within10 float64    `json:"within10"`
	Within25 float64    `json:"within25"`
	Mean     float64    `json:"mean_ms"`
	Interval [2]float64 `json:"mean_interval_ms"` // 95 % of the means of units drawn again
	P50      float64    `json:"p50_ms"`
	P90      float64    `json:"p90_ms"`
	P95      float64    `json:"p95_ms"`
	P99      float64    `json:"p99_ms"`
	RTT      float64    `json:"rtt_ms"` // mean round trip
}

// regret is what one unit's PoP takes above its best one.
type regret struct{ ms, rtt, weight float64 }

// Evaluate holds a map against measurements: of each unit, the corrected median
// of the PoP that the map puts first less that of the best. The nearest PoP is
// the first of the map's great-circle order. The demand says how much a unit
// counts; nil: its sessions.
func Evaluate(m *maps.Map, measured *Measurements, demand func(beacon.Unit) float64) Evaluation {
	var e Evaluation
	var chosen, nearest, best []regret
	for _, u := range measured.Units {
		row, _, _ := m.ECS().Lookup(u.Unit.Prefix().Addr())
		first, ok := m.First(row)
		weight := float64(u.Sessions)
		if demand != nil {
			weight = demand(u.Unit)
		}
		least, there := math.Inf(1), false
		for _, c := range u.Cells {
			least = min(least, c.RTT)
			there = there || ok && c.PoP == first
		}
		if !there {
			e.Unheard++
			continue
		}
		e.Units++
		e.Sessions += float64(u.Sessions)
		e.Demand += weight
		best = append(best, regret{0, least, weight})
		order := m.Ranking(row.Ranking()).Order
		for _, c := range u.Cells {
			r := regret{c.RTT - least, c.RTT, weight}
			if c.PoP == first {
				chosen = append(chosen, r)
			}
			if order != maps.NoOrder && c.PoP == m.Order(order)[0] {
				nearest = append(nearest, r)
			}
		}
	}
	e.ByDemand = Compared{score(chosen), score(nearest), score(best)}
	for _, list := range [][]regret{chosen, nearest, best} {
		for i := range list {
			list[i].weight = 1
		}
	}
	e.ByUnit = Compared{score(chosen), score(nearest), score(best)}
	return e
}

// score sums regrets up. It sorts them.
func score(list []regret) Score {
	s := Score{Units: len(list)}
	slices.SortStableFunc(list, func(a, b regret) int { return cmp.Compare(a.ms, b.ms) })
	total := 0.0
	for _, r := range list {
		total += r.weight
	}
	if total == 0 {
		return s
	}
	done := 0.0
	for _, r := range list {
		share := r.weight / total
		s.Mean += float64(share * r.ms)
		s.RTT += float64(share * r.rtt)
		for _, level := range []struct {
			ms float64
			to *float64
		}{{0, &s.Exact}, {5, &s.Within5}, {10, &s.Within10}, {25, &s.Within25}} {
			if r.ms <= level.ms {
				*level.to += share
			}
		}
		for _, q := range []struct {
			share float64
			to    *float64
		}{{0.5, &s.P50}, {0.9, &s.P90}, {0.95, &s.P95}, {0.99, &s.P99}} {
			if done < q.share {
				*q.to = r.ms
			}
		}
		done += share
	}
	s.Interval = bootstrap(list)
	return s
}

// Of the bootstrap: how many means, and how many draws for all of them together.
const (
	mostMeans  = 1000
	leastMeans = 100
	draws      = 20_000_000
)

// bootstrap returns the bounds between which 95 of 100 means lie when as many units
// are drawn from the list again. The draws are always the same.
func bootstrap(list []regret) (interval [2]float64) {
	rng := rand.New(rand.NewPCG(1, uint64(len(list))))
	means := make([]float64, min(max(draws/len(list), leastMeans), mostMeans))
	for i := range means {
		sum, total := 0.0, 0.0
		for range list {
			r := list[rng.IntN(len(list))]
			sum += float64(r.weight * r.ms)
			total += r.weight
		}
		if total > 0 {
			means[i] = sum / total
		}
	}
	slices.Sort(means)
	n := float64(len(means) - 1)
	return [2]float64{means[int(math.Round(0.025*n))], means[int(math.Round(0.975*n))]}
}
