package main

import (
	"math/rand/v2"
	"slices"
)

// score is what choices cost against the best there was.
type score struct {
	N        int        `json:"n"`
	Exact    float64    `json:"exact"`   // shares, 0 to 1
	Within5  float64    `json:"within5"` // at most 5 ms above the best
	Within10 float64    `json:"within10"`
	Within25 float64    `json:"within25"`
	Mean     float64    `json:"mean_ms"`
	MeanCI   [2]float64 `json:"mean_ci_ms"` // 95 %, bootstrap over clients
	P95      float64    `json:"p95_ms"`
	P99      float64    `json:"p99_ms"`
}

// choice is the outcome for one client.
type choice struct {
	regret float64 // ms above the best
	exact  float64 // 1 when it is the best; shares where there are ties
}

func summarize(list []choice) score {
	s := score{N: len(list)}
	if s.N == 0 {
		return s
	}
	regrets := make([]float64, s.N)
	within := func(ms float64) float64 {
		n := 0
		for _, r := range regrets {
			if r <= ms {
				n++
			}
		}
		return float64(n) / float64(s.N)
	}
	for i, c := range list {
		regrets[i] = c.regret
		s.Exact += c.exact
	}
	s.Exact /= float64(s.N)
	s.MeanCI = bootstrap(regrets)
	slices.Sort(regrets)
	s.Within5, s.Within10, s.Within25 = within(5), within(10), within(25)
	s.Mean, s.P95, s.P99 = mean(regrets), quantile(regrets, 0.95), quantile(regrets, 0.99)
	return s
}

func mean(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum / float64(max(len(values), 1))
}

// quantile interpolates between the values next to q, as most tools do. They
// must be sorted.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// bootstrap returns the 95 % interval of the mean over clients drawn again.
func bootstrap(values []float64) [2]float64 {
	const draws = 2000
	rng := rand.New(rand.NewPCG(1, 2))
	means := make([]float64, draws)
	for i := range means {
		sum := 0.0
		for range values {
			sum += values[rng.IntN(len(values))]
		}
		means[i] = sum / float64(len(values))
	}
	slices.Sort(means)
	return [2]float64{quantile(means, 0.025), quantile(means, 0.975)}
}
