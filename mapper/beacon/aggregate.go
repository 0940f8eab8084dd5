package beacon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"
)

// Sample is one measurement that is ready to be aggregated.
type Sample struct {
	Unit   Unit
	PoP    uint16 // below edge.MaxPoPs
	Value  int16  // in 0.1 ms, corrected: it may be below 0
	Weight uint16 // 1 to MaxWeight
}

// MaxWeight is the largest weight of a sample. The newest samples should have
// about it, so that those of a week ago still have some.
const MaxWeight = 4095

// Err says what of a sample is out of its range; nil: nothing. A unit is a number
// that UnitOf gives.
func (s Sample) Err() error {
	if s.Weight-1 < MaxWeight && s.PoP < maxPoPs {
		return nil
	}
	return s.outOfRange()
}

func (s Sample) outOfRange() error {
	return fmt.Errorf("a sample has pop %d and weight %d: want below %d, and 1 to %d", s.PoP, s.Weight, maxPoPs, MaxWeight)
}

// Cell is what the samples of one unit and PoP come to. P50 is the upper weighted
// median: the smallest value such that those up to it have more than half the
// weight. P90 is the same with nine tenths. Deviation is the sum of how far each
// sample is from P50, times its weight.
type Cell struct {
	Unit      Unit
	PoP       uint16
	Count     uint32 // samples
	Weight    uint64 // their sum
	P50, P90  int16  // in 0.1 ms
	Deviation uint64 // in 0.1 ms, weighted; over Weight it is the mean absolute deviation
}

// Engine aggregates samples. All engines give the same cells, exactly.
type Engine interface {
	Begin(ctx context.Context) (Aggregation, error)
}

// Aggregation is one run of an Engine. The caller closes it.
type Aggregation interface {
	// Add takes samples over; it may be called by several goroutines. It errs
	// when a sample is out of its range.
	Add([]Sample) error

	// Cells yields a cell for each unit and PoP that has samples, ordered by unit
	// and PoP. It is called once, after the last Add. After an error, which is the
	// last it yields, the cells are not whole.
	Cells() iter.Seq2[Cell, error]

	Close() error
}

// Skip is the corrected value of a row that makes no sample.
const Skip = math.MinInt16

// Plan says how sessions become samples. Its functions may be called by several
// goroutines, and may not keep the sessions they are given.
type Plan struct {
	PoPs []string // what Sample.PoP indexes; rows of other PoPs make no sample, nor do those that failed

	// Correct appends the corrected value of each row of a session to dst, in
	// 0.1 ms, or Skip. Nil: values are as measured.
	Correct func(dst []int16, s Session) []int16

	// Weight returns the weight of a row, 0 to MaxWeight; with 0 it makes no
	// sample. Nil: all have weight 1.
	Weight func(s Session, r Row) uint16

	// Limits lowers the weights of sources that bring too much; nil: of none. They
	// are those that FindLimits found in the same set.
	Limits *Limits
}

// Aggregate makes samples of all sessions in a set, has an engine aggregate them
// and yields the cells. It reads hours in several goroutines. After an error,
// which is the last it yields, the cells are not whole.
func Aggregate(ctx context.Context, set *Set, plan Plan, engine Engine, workers int) iter.Seq2[Cell, error] {
	return func(yield func(Cell, error) bool) {
		if err := aggregate(ctx, set, plan, engine, workers, yield); err != nil {
			yield(Cell{}, fmt.Errorf("aggregate beacons: %w", err))
		}
	}
}

// aggregate returns an error that was not yielded yet.
func aggregate(ctx context.Context, set *Set, plan Plan, engine Engine, workers int, yield func(Cell, error) bool) error {
	if l := plan.Limits; l != nil && len(l.factors) > 0 && !slices.Equal(l.pops, set.PoPs) {
		return errors.New("the limits are those of another set")
	}
	agg, err := engine.Begin(ctx)
	if err != nil {
		return err
	}
	defer agg.Close()
	pops, err := plan.translate(set.PoPs)
	if err != nil {
		return err
	}
	err = eachHour(ctx, set, workers, func(h *Hour) error {
		a := &adder{plan: plan, pops: pops, to: agg}
		if l := plan.Limits; l != nil && len(l.factors) > 0 {
			a.limits = &limiting{l, map[sourceCell]float64{}}
		}
		return a.hour(ctx, h)
	})
	if err != nil {
		return err
	}
	for cell, err := range agg.Cells() {
		if err != nil {
			return err
		}
		if !yield(cell, nil) {
			return nil
		}
	}
	return nil
}

// eachHour does something with all hours in several goroutines, until one errs or
// the context ends.
func eachHour(ctx context.Context, set *Set, workers int, do func(*Hour) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	hours := make(chan *Hour)
	var wg sync.WaitGroup
	for range max(1, workers) {
		wg.Go(func() {
			for h := range hours {
				if ctx.Err() != nil {
					continue
				}
				if err := do(h); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range set.Hours {
		hours <- &set.Hours[i]
	}
	close(hours)
	wg.Wait()
	return context.Cause(ctx)
}

// notPlanned stands for a PoP of the set that the plan does not have.
const notPlanned = math.MaxUint16

// translate returns the plan's index of each of the set's PoPs.
func (p Plan) translate(names []string) ([]uint16, error) {
	if len(p.PoPs) > maxPoPs {
		return nil, fmt.Errorf("%d pops are too many: want at most %d", len(p.PoPs), maxPoPs)
	}
	list := make([]uint16, len(names))
	for i, name := range names {
		list[i] = notPlanned
		if at := slices.Index(p.PoPs, name); at >= 0 {
			list[i] = uint16(at)
		}
	}
	return list, nil
}

// adder makes samples of one hour.
type adder struct {
	plan    Plan
	pops    []uint16
	limits  *limiting // nil: none
	to      Aggregation
	values  []int16
	samples []Sample
}

// samplesAtOnce is how many samples are given to an engine at a time.
const samplesAtOnce = 8192

func (a *adder) hour(ctx context.Context, h *Hour) error {
	for s, err := range h.sessions(false) {
		if err != nil {
			return err
		}
		if err := a.session(s); err != nil {
			return err
		}
		if len(a.samples) >= samplesAtOnce {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := a.flush(); err != nil {
				return err
			}
		}
	}
	return a.flush()
}

func (a *adder) flush() error {
	err := a.to.Add(a.samples)
	a.samples = a.samples[:0]
	return err
}

func (a *adder) session(s Session) error {
	a.values = a.values[:0]
	if a.plan.Correct == nil {
		for _, r := range s.Rows {
			a.values = append(a.values, int16(min(r.RTT, math.MaxInt16)))
		}
	} else if a.values = a.plan.Correct(a.values, s); len(a.values) != len(s.Rows) {
		return fmt.Errorf("the correction gave %d values for %d rows", len(a.values), len(s.Rows))
	}
	for i, r := range s.Rows {
		pop, weight := a.pops[r.PoP], uint16(1)
		if pop == notPlanned || r.Failed() || a.values[i] == Skip {
			continue
		}
		if a.plan.Weight != nil {
			weight = a.plan.Weight(s, r)
		}
		if a.limits != nil {
			weight = a.limits.weight(r, weight)
		}
		if weight == 0 {
			continue
		}
		a.samples = append(a.samples, Sample{UnitOf(r.Client), pop, a.values[i], weight})
	}
	return nil
}
