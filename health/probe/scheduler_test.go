package probe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edged/health"
)

// fleet makes probers for the tests and writes down what becomes of them.
type fleet struct {
	took  map[health.TargetID]time.Duration // how long probes take; those not named: no time
	fault func(health.Target) error         // of open; nil: none

	mu      sync.Mutex
	begin   time.Time
	starts  map[health.TargetID][]time.Duration
	results map[health.TargetID][]health.Result
	order   []health.TargetID // of starts
	opened  map[health.TargetID]int
	closed  map[health.TargetID]int
	running int
	most    int // probes at a time
}

func newFleet() *fleet {
	return &fleet{
		begin: time.Now(), took: map[health.TargetID]time.Duration{},
		starts: map[health.TargetID][]time.Duration{}, results: map[health.TargetID][]health.Result{},
		opened: map[health.TargetID]int{}, closed: map[health.TargetID]int{},
	}
}

func (f *fleet) open(t health.Target) (Prober, error) {
	if f.fault != nil {
		if err := f.fault(t); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened[t.ID]++
	return &fakeProber{f, t.ID}, nil
}

func (f *fleet) report(id health.TargetID, r health.Result, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !at.Equal(time.Now()) {
		panic("report does not say the time of the result")
	}
	f.results[id] = append(f.results[id], r)
}

// at returns when probes of a target began.
func (f *fleet) at(id health.TargetID) []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.starts[id])
}

type fakeProber struct {
	f  *fleet
	id health.TargetID
}

func (p *fakeProber) Probe(ctx context.Context) health.Result {
	p.f.mu.Lock()
	p.f.starts[p.id] = append(p.f.starts[p.id], time.Since(p.f.begin))
	p.f.order = append(p.f.order, p.id)
	p.f.running++
	p.f.most = max(p.f.most, p.f.running)
	p.f.mu.Unlock()
	defer func() {
		p.f.mu.Lock()
		p.f.running--
		p.f.mu.Unlock()
	}()
	if took := p.f.took[p.id]; took > 0 {
		select {
		case <-time.After(took):
		case <-ctx.Done():
			return health.Result{Outcome: health.Skipped, Reason: "cut short"}
		}
	}
	return health.Result{Took: p.f.took[p.id]}
}

func (p *fakeProber) Close() {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	p.f.closed[p.id]++
}

// start returns a scheduler over the fleet whose random numbers come from the
// function.
func (f *fleet) start(concurrency int, random func() float64) *Scheduler {
	s := NewScheduler(f.open, f.report, concurrency)
	s.random = random
	return s
}

func always(x float64) func() float64 { return func() float64 { return x } }

func target(id int, interval time.Duration) health.Target {
	return health.Target{
		ID:      health.TargetID(id),
		Check:   health.Check{Kind: health.HTTP, Interval: interval, Timeout: interval},
		Address: netip.MustParseAddr("192.0.2.1"),
	}
}

const sec = time.Second

func TestSchedulerTurns(t *testing.T) {
	for name, c := range map[string]struct {
		random float64
		took   time.Duration
		want   []time.Duration
		late   uint64
	}{
		"middle":              {0.5, 0, []time.Duration{1 * sec, 3 * sec, 5 * sec, 7 * sec, 9 * sec}, 0},
		"earliest":            {0, 0, []time.Duration{0, 1800 * sec / 1000, 3600 * sec / 1000, 5400 * sec / 1000, 7200 * sec / 1000, 9 * sec}, 0},
		"later":               {0.75, 0, []time.Duration{1500 * sec / 1000, 3600 * sec / 1000, 5700 * sec / 1000, 7800 * sec / 1000, 9900 * sec / 1000}, 0},
		"probes take time":    {0.5, sec, []time.Duration{1 * sec, 3 * sec, 5 * sec, 7 * sec, 9 * sec}, 0},
		"probes take longer":  {0.5, 3 * sec, []time.Duration{1 * sec, 4 * sec, 7 * sec, 10 * sec}, 3},
		"but within a tenth":  {0.5, 2100 * sec / 1000, []time.Duration{1 * sec, 3100 * sec / 1000, 5200 * sec / 1000, 7300 * sec / 1000, 9400 * sec / 1000}, 0},
		"one is never ending": {0.5, time.Hour, []time.Duration{1 * sec}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet()
				f.took[1] = c.took
				sched := f.start(1, always(c.random))
				sched.Set([]health.Target{target(1, 2*sec)})
				time.Sleep(10 * sec)
				synctest.Wait()
				stats := sched.Stats()
				sched.Close()
				if got := f.at(1); !slices.Equal(got, c.want) {
					t.Errorf("probes at %v, want %v", got, c.want)
				}
				if f.most != 1 {
					t.Errorf("%d probes of one target at a time, want 1", f.most)
				}
				if stats.Started != uint64(len(c.want)) || stats.Late != c.late {
					t.Errorf("%d started and %d late, want %d and %d", stats.Started, stats.Late, len(c.want), c.late)
				}
			})
		})
	}
}

// TestSchedulerSpreads holds many targets of many intervals to the one rule, by
// looking at all that happened.
func TestSchedulerSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		f := newFleet()
		sched := f.start(1000, rng.Float64)
		var targets []health.Target
		for i := range 500 {
			targets = append(targets, target(i, 100*time.Millisecond+time.Duration(rng.Int64N(int64(5*sec)))))
			f.took[health.TargetID(i)] = time.Duration(rng.Int64N(int64(50 * time.Millisecond)))
		}
		sched.Set(targets)
		time.Sleep(60 * sec)
		sched.Close()
		for _, target := range targets {
			starts, interval := f.at(target.ID), target.Check.Interval
			if starts[0] > interval+tick {
				t.Errorf("target %d: first probe after %v, interval %v", target.ID, starts[0], interval)
			}
			for i := range starts[1:] {
				if gap := starts[i+1] - starts[i]; gap < interval*9/10 || gap > interval*11/10+tick {
					t.Errorf("target %d: %v between probes, interval %v", target.ID, gap, interval)
				}
			}
			if got, least := len(starts), int(60*sec/(interval*11/10+tick)); got < least {
				t.Errorf("target %d: %d probes in a minute, want at least %d: interval %v", target.ID, got, least, interval)
			}
		}
	})
}

func TestSchedulerConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		phases := []float64{0.5, 0.1, 0.4, 0.2, 0.3} // of the targets 0 to 4
		sched := f.start(2, func() float64 {
			if len(phases) == 0 {
				return 0.5
			}
			next := phases[0]
			phases = phases[1:]
			return next
		})
		var targets []health.Target
		for i := range 5 {
			targets = append(targets, target(i, 10*sec))
			f.took[health.TargetID(i)] = 4 * sec
		}
		sched.Set(targets)

		// Due after 5, 1, 4, 2 and 3 s; two at a time of 4 s each.
		time.Sleep(4500 * time.Millisecond)
		synctest.Wait()
		if got, want := sched.Stats(), 2; got.Running != want || got.Targets != 5 {
			t.Errorf("%d running, %d targets, want %d and 5", got.Running, got.Targets, want)
		}
		time.Sleep(5 * sec)
		synctest.Wait()
		want := map[health.TargetID][]time.Duration{1: {1 * sec}, 3: {2 * sec}, 4: {5 * sec}, 2: {6 * sec}, 0: {9 * sec}}
		for id, at := range want {
			if got := f.at(id); !slices.Equal(got, at) {
				t.Errorf("target %d: probes at %v, want %v", id, got, at)
			}
		}
		if f.most != 2 {
			t.Errorf("%d probes at a time, want 2", f.most)
		}
		stats := sched.Stats()
		if stats.Started != 5 || stats.Late != 3 { // by 2, 2 and 4 s
			t.Errorf("%d started and %d late, want 5 and 3", stats.Started, stats.Late)
		}
		delays := map[time.Duration]uint64{}
		for i, n := range stats.Delays {
			if n > 0 {
				delays[DelayBound(i)] = n
			}
		}
		// 2 s and 4 s lie within 100 µs doubled 15 and 16 times.
		if want := map[time.Duration]uint64{100 * time.Microsecond: 2, 3276800 * time.Microsecond: 2, 6553600 * time.Microsecond: 1}; !maps.Equal(delays, want) {
			t.Errorf("delays %v, want %v", delays, want)
		}
		sched.Close()
	})
}

func TestSchedulerSetKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		sched := f.start(10, always(0.5))
		a, b, c := target(1, 2*sec), target(2, 2*sec), target(3, 2*sec)
		sched.Set([]health.Target{a, b, a})
		time.Sleep(3500 * time.Millisecond)
		sched.Set([]health.Target{c, b})
		time.Sleep(4 * sec)
		sched.Set([]health.Target{a, b})
		time.Sleep(3250 * time.Millisecond)
		sched.Close()
		sched.Close()
		sched.Set([]health.Target{a}) // too late: does nothing
		time.Sleep(time.Minute)

		half := 500 * time.Millisecond
		for id, want := range map[health.TargetID][]time.Duration{
			1: {1 * sec, 3 * sec, 8*sec + half, 10*sec + half},
			2: {1 * sec, 3 * sec, 5 * sec, 7 * sec, 9 * sec},
			3: {4*sec + half, 6*sec + half},
		} {
			if got := f.at(id); !slices.Equal(got, want) {
				t.Errorf("target %d: probes at %v, want %v", id, got, want)
			}
			if got := len(f.results[id]); got != len(want) {
				t.Errorf("target %d: %d results, want %d", id, got, len(want))
			}
		}
		want := map[health.TargetID]int{1: 2, 2: 1, 3: 1}
		if !maps.Equal(f.opened, want) || !maps.Equal(f.closed, want) {
			t.Errorf("opened %v, closed %v, want %v", f.opened, f.closed, want)
		}
	})
}

func TestSchedulerCutsShort(t *testing.T) {
	for name, end := range map[string]func(*Scheduler){
		"by Set":   func(s *Scheduler) { s.Set(nil) },
		"by Close": (*Scheduler).Close,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet()
				f.took[1] = time.Hour
				sched := f.start(1, always(0))
				defer sched.Close()
				sched.Set([]health.Target{target(1, 2*sec)})
				time.Sleep(sec)
				end(sched)
				synctest.Wait()
				if f.running != 0 || f.closed[1] != 1 || len(f.results[1]) != 0 {
					t.Errorf("%d probes run, prober closed %d times, %d results: want 0, 1 and 0", f.running, f.closed[1], len(f.results[1]))
				}
				if got := sched.Stats(); got.Running != 0 || got.Targets != 0 {
					t.Errorf("%d running and %d targets, want none", got.Running, got.Targets)
				}
			})
		})
	}
}

func TestSchedulerOpenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		long := strings.Repeat("é", 50)
		faults := []error{errors.New("no permission"), errors.New(long), errors.New("x" + long)}
		f.fault = func(health.Target) error {
			if len(faults) == 0 {
				return nil
			}
			err := faults[0]
			faults = faults[1:]
			return err
		}
		sched := f.start(1, always(0.5))
		sched.Set([]health.Target{target(1, 2*sec)})
		time.Sleep(10 * sec)
		sched.Close()
		skipped := func(reason string) health.Result {
			return health.Result{Outcome: health.Skipped, Reason: reason}
		}
		want := []health.Result{skipped("no permission"), skipped(long[:76] + "…"), skipped("x" + long[:76] + "…"), {}, {}}
		if got := f.results[1]; !slices.Equal(got, want) {
			t.Errorf("results %v, want %v", got, want)
		}
		if f.opened[1] != 1 || f.closed[1] != 1 {
			t.Errorf("opened %d times, closed %d times, want once", f.opened[1], f.closed[1])
		}
	})
}

// TestSchedulerIdle holds that targets that wait cost no goroutine.
func TestSchedulerIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		before := runtime.NumGoroutine()
		sched := f.start(10_000, rand.Float64)
		var targets []health.Target
		for i := range 1000 {
			targets = append(targets, target(i, sec))
		}
		sched.Set(targets)
		time.Sleep(10 * sec)
		synctest.Wait()
		if got := runtime.NumGoroutine() - before; got > 5 { // one, and some that are just ending
			t.Errorf("%d goroutines for 1000 targets that wait, want the loop alone", got)
		}
		sched.Close()
	})
}

// TestSchedulerSetsAtOnce has many goroutines set targets while probes run, for
// the race detector, and holds that nothing stays open.
func TestSchedulerSetsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		for i := range 30 {
			f.took[health.TargetID(i)] = time.Duration(i) * 10 * time.Millisecond
		}
		sched := f.start(5, rand.Float64)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(g), 0))
				for range 50 {
					var targets []health.Target
					for range rng.IntN(20) {
						targets = append(targets, target(rng.IntN(30), 100*time.Millisecond))
					}
					sched.Set(targets)
					sched.Stats()
					time.Sleep(time.Duration(rng.Int64N(int64(sec))))
				}
			})
		}
		wg.Wait()
		sched.Close()
		if !maps.Equal(f.opened, f.closed) || len(f.opened) != 30 {
			t.Errorf("opened %v, closed %v", f.opened, f.closed)
		}
		if f.most > 5 {
			t.Errorf("%d probes at a time, want at most 5", f.most)
		}
	})
}

func BenchmarkScheduler(b *testing.B) {
	for _, targets := range []int{100, 10_000} {
		b.Run(fmt.Sprint(targets), func(b *testing.B) {
			left := make(chan struct{}, 1)
			var mu sync.Mutex
			n := 0
			sched := NewScheduler(func(health.Target) (Prober, error) { return nothing{}, nil },
				func(health.TargetID, health.Result, time.Time) {
					mu.Lock()
					defer mu.Unlock()
					if n++; n == b.N {
						left <- struct{}{}
					}
				}, 100)
			var list []health.Target
			for i := range targets {
				list = append(list, target(i, time.Microsecond)) // always late: all are due at once
			}
			b.ReportAllocs()
			sched.Set(list)
			<-left
			b.StopTimer()
			sched.Close()
		})
	}
}

type nothing struct{}

func (nothing) Probe(context.Context) health.Result { return health.Result{} }
func (nothing) Close()                              {}
