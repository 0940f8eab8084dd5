package assign

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize/convex/lp"
)

// draw makes a problem of units near one of the PoPs, with capacity in all for
// slack times the demand. Limits are uneven.
func draw(rng *rand.Rand, units, pops, candidates int, slack float64) *Problem {
	p := &Problem{First: []uint32{0}}
	total := 0.0
	for range units {
		d := uint32(1 + 1000*math.Exp(rng.NormFloat64()))
		total += float64(d)
		p.Demand = append(p.Demand, d)
		home := int(float64(pops) * math.Pow(rng.Float64(), 1.3)) // the low numbers are popular
		for _, pop := range near(home, pops)[:candidates] {
			away := math.Abs(float64(pop - home))
			p.Candidates = append(p.Candidates, Candidate{PoP: uint16(pop), RTT: uint16(50 + 60*away + 40*rng.ExpFloat64())})
		}
		p.First = append(p.First, uint32(len(p.Candidates)))
	}
	shares := make([]float64, pops)
	sum := 0.0
	for i := range shares {
		shares[i] = 1 + rng.Float64()
		sum += shares[i]
	}
	for _, share := range shares {
		soft := 1 + int64(total*slack*share/sum)
		p.Limits = append(p.Limits, Limit{soft, soft + soft/3})
	}
	return p
}

// near returns the PoPs of a line by their distance from one.
func near(home, pops int) (order []int) {
	for pop := range pops {
		order = append(order, pop)
	}
	slices.SortStableFunc(order, func(a, b int) int { return abs(a-home) - abs(b-home) })
	return order
}

func abs(n int) int { return max(n, -n) }

func solve(t *testing.T, p *Problem) *Result {
	t.Helper()
	r, err := Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	check(t, p, r)
	return r
}

// check holds what is so for every result.
func check(t *testing.T, p *Problem, r *Result) {
	t.Helper()
	load := make([]int64, len(p.Limits))
	sum, all := 0.0, 0.0
	for u, pop := range r.PoP {
		list := p.Candidates[p.First[u]:p.First[u+1]]
		i := slices.IndexFunc(list, func(c Candidate) bool { return c.PoP == pop })
		if i < 0 {
			t.Fatalf("unit %d is at pop %d, which is none of its candidates %v", u, pop, list)
		}
		load[pop] += int64(p.Demand[u])
		sum += float64(p.Demand[u]) * float64(list[i].RTT) / 10
		all += float64(p.Demand[u])
	}
	if !slices.Equal(load, r.Load) {
		t.Errorf("loads %v, want %v", r.Load, load)
	}
	if mean := sum / all; math.Abs(mean-r.Mean) > 1e-9*mean {
		t.Errorf("mean %v ms, want %v", r.Mean, mean)
	}
	if r.Overload() == 0 && r.Cost < r.Bound-1e-9 {
		t.Errorf("cost %v is below the bound %v", r.Cost, r.Bound)
	}
	if r.Mean < r.Nearest {
		t.Errorf("mean %v is below that of the nearest %v", r.Mean, r.Nearest)
	}
	for pop, price := range r.Prices {
		if price < 0 || price > 0 && r.Limit[pop] == Unlimited {
			t.Errorf("pop %d has price %v at limit %d", pop, price, r.Limit[pop])
		}
		if len(r.Shortages) == 0 && p.Limits[pop] != (Limit{}) && r.Limit[pop] != p.Limits[pop].Soft {
			t.Errorf("pop %d is held to %d, want the soft limit %d", pop, r.Limit[pop], p.Limits[pop].Soft)
		}
	}
}

// simplex solves the linear program exactly, by another algorithm.
func simplex(t *testing.T, p *Problem) float64 {
	t.Helper()
	units, pops, n := len(p.Demand), len(p.Limits), len(p.Candidates)
	cost := make([]float64, n+pops)
	a := mat.NewDense(units+pops, n+pops, nil)
	b := make([]float64, units+pops)
	all := 0.0
	for u := range units {
		demand := float64(p.Demand[u])
		all += demand
		b[u] = 1
		for i := p.First[u]; i < p.First[u+1]; i++ {
			c := p.Candidates[i]
			cost[i] = demand * float64(c.RTT) / 10
			a.Set(u, int(i), 1)
			a.Set(units+int(c.PoP), int(i), demand/1000)
		}
	}
	for pop, l := range p.Limits {
		b[units+pop] = float64(l.Soft) / 1000
		a.Set(units+pop, n+pop, 1)
	}
	value, _, err := lp.Simplex(cost, a, b, 1e-9, nil)
	if err != nil {
		t.Fatal(err)
	}
	return value / all
}

// TestSimplex holds bound and cost to the exact optimum of the linear program.
func TestSimplex(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 5 {
		p := draw(rng, 120, 6, 5, 1.15+0.3*rng.Float64())
		exact := simplex(t, p)
		r := solve(t, p)
		if len(r.Shortages) > 0 {
			t.Errorf("%d: shortages %v where the linear program has a solution", i, r.Shortages)
		}
		if r.Overload() != 0 {
			t.Errorf("%d: overload %d", i, r.Overload())
		}
		if r.Bound > exact*(1+1e-9) || r.Bound < exact*0.995 {
			t.Errorf("%d: bound %.4f ms, want at most and within 0.5 %% of %.4f", i, r.Bound, exact)
		}
		// Few units are coarse: that they are whole costs some per cent.
		if r.Cost < exact*(1-1e-9) || r.Cost > exact*1.03 {
			t.Errorf("%d: cost %.4f ms, want within 3 %% above %.4f", i, r.Cost, exact)
		}
	}
}

// TestGap holds that with many units the result is as good as the bound.
func TestGap(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(2, seed))
		p := draw(rng, 50_000, 40, 8, 1.25)
		r := solve(t, p)
		if r.Overload() != 0 || len(r.Shortages) != 0 {
			t.Errorf("seed %d: overload %d, shortages %v", seed, r.Overload(), r.Shortages)
		}
		if r.Nearest > r.Mean*0.99 {
			t.Fatalf("seed %d: limits cost nothing: the test is too easy", seed)
		}
		if gap := r.Cost/r.Bound - 1; gap > 0.005 {
			t.Errorf("seed %d: cost is %.3f %% above the bound, want 0.5 %%", seed, 100*gap)
		}
		// A little later: demand has drifted, and prices are known.
		for u := range p.Demand {
			p.Demand[u] = 1 + uint32(float64(p.Demand[u])*(0.8+0.4*rng.Float64()))
		}
		p.Incumbent, p.Prices = r.PoP, r.Prices
		warm := solve(t, p)
		if warm.Overload() != 0 {
			t.Errorf("seed %d, warm: overload %d", seed, warm.Overload())
		}
		if gap := warm.Cost/warm.Bound - 1; gap > 0.005 {
			t.Errorf("seed %d, warm: cost is %.3f %% above the bound, want 0.5 %%", seed, 100*gap)
		}
		all := int64(0)
		for _, d := range p.Demand {
			all += int64(d)
		}
		if warm.Moved > all/20 {
			t.Errorf("seed %d: %d of %d moved, want at most 5 %%", seed, warm.Moved, all)
		}
	}
}

// TestSameBytes holds that a result depends neither on the number of processors
// nor on chance.
func TestSameBytes(t *testing.T) {
	for _, slack := range []float64{1.2, 0.9} {
		p := draw(rand.New(rand.NewPCG(3, 1)), 40_000, 16, 7, slack)
		want := solve(t, p)
		for _, procs := range []int{1, 2, 3, 8} {
			before := runtime.GOMAXPROCS(procs)
			got := solve(t, p)
			runtime.GOMAXPROCS(before)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("slack %v: the result with %d processors is another", slack, procs)
			}
		}
	}
}

// TestAnything holds the invariants on small problems of all shapes.
func TestAnything(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 1))
	for i := range 300 {
		pops := 1 + rng.IntN(8)
		p := draw(rng, 1+rng.IntN(60), pops, 1+rng.IntN(pops), 0.3+2*rng.Float64())
		for pop := range p.Limits {
			if rng.IntN(6) == 0 {
				p.Limits[pop] = Limit{}
			}
		}
		if rng.IntN(2) == 0 {
			for range p.Demand {
				p.Incumbent = append(p.Incumbent, []uint16{None, uint16(rng.IntN(pops))}[rng.IntN(2)])
			}
		}
		r := solve(t, p)
		if t.Failed() {
			t.Fatalf("problem %d: %+v\nresult: %+v", i, p, r)
		}
	}
}

// units makes a problem of equal units, each with the same candidates.
func units(n int, demand uint32, candidates ...Candidate) *Problem {
	p := &Problem{First: []uint32{0}}
	for range n {
		p.Demand = append(p.Demand, demand)
		p.Candidates = append(p.Candidates, candidates...)
		p.First = append(p.First, uint32(len(p.Candidates)))
	}
	return p
}

func TestShortage(t *testing.T) {
	// 100 units know only pops 0 and 1, which hold half of them; pop 2 idles.
	p := units(100, 10, Candidate{0, 100}, Candidate{1, 150})
	p.Candidates = append(p.Candidates, Candidate{2, 50})
	p.Demand, p.First = append(p.Demand, 10), append(p.First, uint32(len(p.Candidates)))
	for _, test := range []struct {
		name   string
		limits []Limit
		load   []int64 // what the first two come to hold, both with the share of their limits
		short  int64
	}{
		{"fits", []Limit{{600, 700}, {600, 700}, {500, 600}}, []int64{600, 400}, 0},
		{"above soft", []Limit{{300, 900}, {100, 300}, {500, 600}}, []int64{750, 250}, 0},
		{"up to the hard limit of one", []Limit{{300, 400}, {300, 900}, {500, 600}}, []int64{400, 600}, 0},
		{"above hard", []Limit{{300, 400}, {300, 400}, {500, 600}}, []int64{500, 500}, 200},
	} {
		p.Limits = test.limits
		r := solve(t, p)
		for pop, want := range test.load {
			if d := r.Load[pop] - want; d < -20 || d > 20 {
				t.Errorf("%s: pop %d holds %d, want about %d", test.name, pop, r.Load[pop], want)
			}
		}
		if r.Load[2] != 10 || r.Limit[2] != 500 {
			t.Errorf("%s: pop 2 holds %d of %d, want 10 of 500", test.name, r.Load[2], r.Limit[2])
		}
		if r.Overload() != 0 {
			t.Errorf("%s: overload %d", test.name, r.Overload())
		}
		switch fits := test.limits[0].Soft+test.limits[1].Soft >= 1000; {
		case fits && len(r.Shortages) != 0:
			t.Errorf("%s: shortages %v", test.name, r.Shortages)
		case fits:
		case len(r.Shortages) != 1:
			t.Errorf("%s: shortages %v, want one", test.name, r.Shortages)
		default:
			s := r.Shortages[0]
			if !slices.Equal(s.PoPs, []uint16{0, 1}) || s.Demand != 1000 || s.Short() != test.short {
				t.Errorf("%s: shortage %+v short of %d, want pops 0 and 1, demand 1000, short of %d", test.name, s, s.Short(), test.short)
			}
		}
	}
}

// TestChain has an overload whose only way out leads over a full PoP.
func TestChain(t *testing.T) {
	p := &Problem{
		Demand:     []uint32{10, 10, 10, 10, 10},
		First:      []uint32{0, 2, 4, 6, 8, 10},
		Candidates: []Candidate{{0, 100}, {1, 110}, {0, 100}, {1, 120}, {0, 100}, {1, 130}, {1, 100}, {2, 900}, {1, 100}, {2, 950}},
		Limits:     []Limit{{20, 20}, {20, 20}, {1000, 1000}},
	}
	r := solve(t, p)
	if want := []uint16{1, 0, 0, 2, 1}; !slices.Equal(r.PoP, want) {
		t.Errorf("units are at %v, want %v", r.PoP, want)
	}
}

func TestIncumbent(t *testing.T) {
	for _, test := range []struct {
		stay, other uint16 // 0.1 ms
		moves       bool
	}{
		{100, 71, false}, // less than 3 ms
		{100, 70, false}, // just 3 ms
		{100, 69, true},
		{1000, 901, false}, // less than 10 %
		{1000, 900, false},
		{1000, 899, true},
		{10, 0, false},
		{50, 200, false},
	} {
		p := units(1, 5, Candidate{3, test.other}, Candidate{7, test.stay})
		p.Limits = make([]Limit, 8)
		p.Incumbent = []uint16{7}
		r := solve(t, p)
		want, moved := uint16(7), int64(0)
		if test.moves {
			want, moved = 3, 5
		}
		if r.PoP[0] != want || r.Moved != moved {
			t.Errorf("from %d to %d: pop %d with %d moved, want %d with %d", test.stay, test.other, r.PoP[0], r.Moved, want, moved)
		}
	}
}

// TestIncumbentOverLimit holds that a discount keeps nobody at a full PoP.
func TestIncumbentOverLimit(t *testing.T) {
	p := units(100, 10, Candidate{0, 100}, Candidate{1, 400})
	p.Limits = []Limit{{600, 700}, {600, 700}}
	p.Incumbent = make([]uint16, 100)
	if r := solve(t, p); r.Load[0] != 600 || r.Moved != 400 {
		t.Errorf("pop 0 holds %d and %d moved, want 600 and 400", r.Load[0], r.Moved)
	}
}

func TestProblemErrors(t *testing.T) {
	good := func() *Problem {
		p := units(2, 10, Candidate{0, 100}, Candidate{1, 150})
		p.Limits = []Limit{{600, 700}, {}}
		return p
	}
	if _, err := Solve(good()); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Problem){
		"0 pops":                 func(p *Problem) { p.Limits = nil },
		"do not span":            func(p *Problem) { p.First = p.First[1:] },
		"unit 1 has candidate":   func(p *Problem) { p.Candidates[3].PoP = 2 },
		"unit 0 has 0 candidate": func(p *Problem) { p.First[1] = 0 },
		"pop 0 has limits 800":   func(p *Problem) { p.Limits[0].Soft = 800 },
		"pop 1 has limits 0":     func(p *Problem) { p.Limits[1].Hard = 5 },
		"1 prices":               func(p *Problem) { p.Prices = []float64{1} },
		"price NaN":              func(p *Problem) { p.Prices = []float64{math.NaN(), 0} },
		"price -1":               func(p *Problem) { p.Prices = []float64{0, -1} },
		"3 incumbents":           func(p *Problem) { p.Incumbent = make([]uint16, 3) },
		"larger unit":            func(p *Problem) { *p = *repeat(p, 40) },
	} {
		p := good()
		spoil(p)
		if _, err := Solve(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// repeat makes n units of the largest demand there is.
func repeat(p *Problem, n int) *Problem {
	q := units(n, math.MaxUint32, p.Candidates[:2]...)
	q.Limits = p.Limits
	return q
}

func ExampleSolve() {
	r, _ := Solve(&Problem{
		Demand:     []uint32{300, 300, 300},
		First:      []uint32{0, 2, 4, 6},
		Candidates: []Candidate{{0, 100}, {1, 140}, {0, 120}, {1, 250}, {0, 110}, {1, 300}},
		Limits:     []Limit{{Soft: 700, Hard: 950}, {Soft: 700, Hard: 950}},
	})
	fmt.Println(r.PoP, r.Load)
	// Output: [1 0 0] [600 300]
}
