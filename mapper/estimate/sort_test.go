package estimate

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSortMatchesPlain sorts lists of all lengths in question: few values that repeat,
// values of both signs, both zeros, and values that are sorted already.
func TestSortMatchesPlain(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 2))
	draw := map[string]func(i int) float64{
		"normal": func(int) float64 { return 100 * rng.NormFloat64() },
		"few":    func(int) float64 { return float64(rng.IntN(5) - 2) },
		"zeros":  func(i int) float64 { return math.Copysign(0, float64(i%2)-0.5) },
		"sorted": func(i int) float64 { return float64(i) },
		"fallen": func(i int) float64 { return -float64(i) },
		"extreme": func(i int) float64 {
			return []float64{math.Inf(1), math.Inf(-1), math.MaxFloat64, 5e-324, -5e-324, 0}[i%6]
		},
	}
	var s sorter
	for name, value := range draw {
		for _, n := range []int{0, 1, 2, 11, 12, 13, 24, 25, 100, 255, 256, 257, 1000, 5000} {
			values := make([]weighted, n)
			for i := range values {
				values[i] = weighted{value(i), float64(rng.IntN(4))}
			}
			want := slices.Clone(values)
			slices.SortFunc(want, func(a, b weighted) int {
				return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.weight, b.weight))
			})
			s.sort(values)
			if !slices.Equal(values, want) {
				t.Errorf("%d values, %s: %v, want %v", n, name, values, want)
			}
		}
	}
}

// BenchmarkSort sorts lists of several lengths, beside slices.SortFunc.
func BenchmarkSort(b *testing.B) {
	rng := rand.New(rand.NewPCG(4, 3))
	all := make([]weighted, 1<<16)
	for i := range all {
		all[i] = weighted{100 * rng.NormFloat64(), 1 + rng.Float64()}
	}
	var s sorter
	for _, by := range []struct {
		name string
		sort func([]weighted)
	}{
		{"sorter", s.sort},
		{"slices", func(values []weighted) {
			slices.SortFunc(values, func(a, b weighted) int {
				return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.weight, b.weight))
			})
		}},
	} {
		for _, n := range []int{8, 64, 256, 1024, 1 << 16} {
			b.Run(fmt.Sprintf("%s/%d", by.name, n), func(b *testing.B) {
				values := make([]weighted, n)
				for i := 0; b.Loop(); i++ {
					from := i * n % len(all)
					copy(values, all[from:])
					by.sort(values)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/value")
			})
		}
	}
}
