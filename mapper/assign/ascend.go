package assign

import "math"

// A plan says how to climb: which units take part, and how many times they
// choose.
type plan struct {
	stride int     // every stride-th unit takes part, if there are many
	rounds int     // at most
	window float64 // ms, the first
}

// enoughGain is the gain of a step, as a share of the whole, that is not worth a
// step any more.
const enoughGain = 1e-5

// The plans. A sixteenth of the units gives prices that are right to within a
// few per cent of load; the rest is done with all of them.
var (
	coldSample = plan{stride: 16, rounds: 60, window: 8}
	coldWhole  = plan{stride: 1, rounds: 40, window: 1}
	warmWhole  = plan{stride: 1, rounds: 40, window: 3}
)

// enough is how many units are left of a sample at least.
const enough = 50_000

// ascend moves the prices up the dual function by Newton's method. Its slope by
// a price is what the PoP's load is above its limit. How the slope changes
// comes from the units at the margin: those to whom their second choice is
// worse by no more than a window of time. They are what would move, so they
// make a weighted graph over the PoPs, and the step is the flow through it that
// levels the loads. Steps are no longer than twice the window, which narrows as
// they get shorter; one that leads down is halved. The best prices are kept, and
// it is enough when a step would gain next to nothing.
func (s *solver) ascend(p plan) {
	const narrowest, widest = 0.2 * perMs, 16 * perMs
	pops := len(s.limit)
	stride := max(1, min(p.stride, len(s.demand)/enough))
	limit := s.limits(stride)
	window := p.window * perMs
	best := math.Inf(-1)
	here, step := make([]float64, pops), make([]float64, pops)
	for pop, price := range s.prices {
		here[pop] = float64(price)
	}
	at := make([]int32, pops)
	for range p.rounds {
		for pop := range at {
			at[pop] = int32(math.Round(min(maxPrice, max(0, here[pop]+step[pop]))))
		}
		sums := s.scan(at, stride, int32(window))
		value := float64(sums.value)
		for pop, price := range at {
			if s.limited(pop) {
				value -= float64(float64(price) * limit[pop])
			}
		}
		longest := 0.0
		if value > best {
			best = value
			copy(s.prices, at)
			for pop, price := range at {
				here[pop] = float64(price)
			}
			var gain float64
			step, gain = s.level(sums, limit, window)
			if gain < enoughGain*math.Abs(value) {
				break
			}
			for pop := range step {
				step[pop] = min(2*window, max(-2*window, step[pop]))
				longest = max(longest, math.Abs(step[pop]))
			}
		} else {
			for pop := range step {
				step[pop] /= 2
				longest = max(longest, math.Abs(step[pop]))
			}
		}
		if longest < 0.5 {
			break
		}
		window = min(widest, max(narrowest, longest))
	}
}

// limits returns what of each limit is for the units of a stride.
func (s *solver) limits(stride int) []float64 {
	var some, all int64
	for u, demand := range s.demand {
		all += int64(demand)
		if u%stride == 0 {
			some += int64(demand)
		}
	}
	part := 1.0
	if some > 0 {
		part = float64(some) / float64(all)
	}
	limits := make([]float64, len(s.limit))
	for pop := range limits {
		limits[pop] = part * float64(s.limit[pop])
	}
	return limits
}

// level returns the change of the prices that brings every load to its limit,
// as far as the units at the margin tell. A price of 0 stays while the load is
// below the limit, and so does that of a PoP without one. It also returns what
// the dual function gains by that.
func (s *solver) level(sums *sums, limit []float64, window float64) (step []float64, gain float64) {
	pops := len(limit)
	slope, free := make([]float64, pops), make([]bool, pops)
	for pop := range slope {
		slope[pop] = float64(sums.load[pop]) - limit[pop]
		free[pop] = s.limited(pop) && (sums.prices[pop] > 0 || slope[pop] > 0)
		if !free[pop] {
			slope[pop] = 0
		}
	}
	// A PoP without units at the margin moves by what is a step at most.
	weight, diagonal := make([]float64, pops*pops), make([]float64, pops)
	for a := range pops {
		for b := range pops {
			weight[a*pops+b] = float64(sums.margin[a*pops+b]+sums.margin[b*pops+a]) / (2 * window)
			diagonal[a] += weight[a*pops+b]
		}
		diagonal[a] += 1e-4*diagonal[a] + math.Abs(slope[a])/(8*window) + 1e-9
	}
	step = conjugate(diagonal, weight, slope, free)
	for pop := range step {
		gain += float64(step[pop] * slope[pop])
	}
	return step, gain / 2
}

// conjugate solves (diagonal - weight) x = b over the free variables, the
// others being 0, by conjugate gradients with the diagonal as preconditioner.
// The matrix is symmetric and dominated by its diagonal.
func conjugate(diagonal, weight, b []float64, free []bool) []float64 {
	n := len(b)
	x, r, z, d, q := make([]float64, n), append([]float64(nil), b...), make([]float64, n), make([]float64, n), make([]float64, n)
	precondition := func() (product float64) {
		for i := range z {
			if free[i] {
				z[i] = r[i] / diagonal[i]
				product += float64(r[i] * z[i])
			}
		}
		return product
	}
	product := precondition()
	copy(d, z)
	first := product
	for range 2 * n {
		if product <= 1e-12*first {
			break
		}
		along := 0.0
		for i := range d {
			if !free[i] {
				continue
			}
			q[i] = float64(diagonal[i] * d[i])
			for j, w := range weight[i*n : (i+1)*n] {
				q[i] -= float64(w * d[j])
			}
			along += float64(d[i] * q[i])
		}
		alpha := product / along
		for i := range x {
			x[i] += float64(alpha * d[i])
			r[i] -= float64(alpha * q[i])
		}
		next := precondition()
		for i := range d {
			d[i] = z[i] + float64(next/product*d[i])
		}
		product = next
	}
	return x
}
