package probe

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"edged/health"
)

const (
	// jitter is by which share of the interval a check comes early or late at
	// most, so that observers of one target do not fall into step.
	jitter = 0.1

	// tick is the shortest sleep between two looks at the queue. Checks that fall
	// due within one start together, which saves most of the wakeups.
	tick = 2 * time.Millisecond
)

// Scheduler probes each of its targets once an interval, give or take a tenth.
// The first probe comes at a random moment within the interval, so that many
// targets spread over it. A target has at most one probe under way.
//
// Between probes a target is one entry of a queue. While a probe runs it has a
// goroutine.
type Scheduler struct {
	open        func(health.Target) (Prober, error)
	report      func(health.TargetID, health.Result, time.Time)
	concurrency int
	random      func() float64 // in [0, 1); under mu

	end  context.Context // ends with Close
	stop context.CancelFunc
	wake chan struct{}  // holds one element when the queue must be looked at
	all  sync.WaitGroup // the loop and the probes under way

	mu     sync.Mutex // guards all below
	queue  queue      // those that wait for their turn
	byID   map[health.TargetID]*entry
	closed bool
	stats  Stats
}

// Stats says how a scheduler keeps up.
type Stats struct {
	Targets int    // to be probed
	Running int    // probes under way
	Started uint64 // probes since the start
	// Late counts those that began more than a tenth of their interval after
	// they were due: the limit on concurrency is too low, or the machine too slow.
	Late uint64
	// Delays counts probes by how long after they were due they began: element i
	// those within DelayBound(i) but not within the bound before.
	Delays [delays]uint64
}

const delays = 20

// DelayBound returns the upper bound of an element of Stats.Delays: 100 µs
// doubled i times. The last has none, and says 0.
func DelayBound(i int) time.Duration {
	if i >= delays-1 {
		return 0
	}
	return 100 * time.Microsecond << i
}

// entry is a target with its prober. It is in the queue, or its probe is under
// way.
type entry struct {
	target health.Target
	ctx    context.Context // ends, under mu, when the target is removed
	cancel context.CancelFunc
	prober Prober // nil until the first turn
}

// NewScheduler starts a scheduler without targets. It opens a target's prober
// before the first probe; while that fails the target is Skipped with the error
// as reason. Every result goes to report, with the time it was found at, from
// the goroutine that probed: for one target in order, for several at once. What
// report takes keeps the target from its next probe; it must not call Close.
//
// At most concurrency probes run at a time, at least one. Those that have to wait
// start in the order in which they were due and count as late. To be on time with
// every target silent takes the sum of timeout over interval of all of them.
func NewScheduler(open func(health.Target) (Prober, error), report func(health.TargetID, health.Result, time.Time), concurrency int) *Scheduler {
	s := &Scheduler{
		open: open, report: report, concurrency: max(1, concurrency), random: rand.Float64,
		wake: make(chan struct{}, 1), byID: map[health.TargetID]*entry{},
	}
	s.end, s.stop = context.WithCancel(context.Background())
	s.all.Go(s.loop)
	return s
}

// Set says which targets are to be probed from now on. Those that are already
// keep their prober and their turn. A probe of a target that is no more among
// them is cut short, and its result dropped unless it is just being reported.
// After Close it does nothing.
func (s *Scheduler) Set(targets []health.Target) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	idle := s.replace(targets)
	s.mu.Unlock()
	s.nudge()
	closeAll(idle)
}

// Close cuts all probes short, waits for them and closes all probers.
func (s *Scheduler) Close() {
	s.mu.Lock()
	s.closed = true
	idle := s.replace(nil)
	s.mu.Unlock()
	s.stop()
	closeAll(idle)
	s.all.Wait()
}

// Stats returns the figures of now.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Targets = len(s.byID)
	return stats
}

// replace makes the targets the ones that are scheduled and returns the entries
// that are no more, but for those whose probe is under way. The caller holds mu.
func (s *Scheduler) replace(targets []health.Target) (idle []*entry) {
	before := s.byID
	s.byID = make(map[health.TargetID]*entry, len(targets))
	now := time.Now()
	for _, t := range targets {
		if s.byID[t.ID] != nil {
			continue
		}
		e := before[t.ID]
		if e == nil {
			e = &entry{target: t}
			e.ctx, e.cancel = context.WithCancel(s.end)
			phase := time.Duration(s.random() * float64(t.Check.Interval))
			s.queue = append(s.queue, turn{now.Add(phase), e})
		}
		s.byID[t.ID] = e
	}
	for id, e := range before {
		if s.byID[id] == nil {
			e.cancel()
		}
	}
	s.queue = slices.DeleteFunc(s.queue, func(t turn) bool {
		removed := t.ctx.Err() != nil
		if removed {
			idle = append(idle, t.entry)
		}
		return removed
	})
	heap.Init(&s.queue)
	return idle
}

func closeAll(idle []*entry) {
	for _, e := range idle {
		e.close()
	}
}

func (e *entry) close() {
	if e.prober != nil {
		e.prober.Close()
	}
}

// loop starts probes as they fall due.
func (s *Scheduler) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.wake:
		case <-s.end.Done():
			return
		}
		if pause, more := s.startDue(); more {
			timer.Reset(pause)
		} else {
			timer.Stop()
		}
	}
}

// nudge has the loop look at the queue.
func (s *Scheduler) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// startDue starts the probes that are due, as far as concurrency allows. It
// returns the time until the next look at the queue; more is false when only a
// nudge can make one worthwhile.
func (s *Scheduler) startDue() (pause time.Duration, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for len(s.queue) > 0 && s.stats.Running < s.concurrency {
		next := s.queue[0]
		if wait := next.due.Sub(now); wait > 0 {
			return max(wait, tick), true
		}
		heap.Pop(&s.queue)
		interval := next.target.Check.Interval
		s.stats.count(now.Sub(next.due), interval)
		next.due = now.Add(s.gap(interval))
		s.all.Go(func() { s.run(next) })
	}
	return 0, false
}

// count takes a probe into account that began delay after it was due.
func (s *Stats) count(delay, interval time.Duration) {
	s.Running++
	s.Started++
	if float64(delay) > jitter*float64(interval) {
		s.Late++
	}
	i := 0
	for i < delays-1 && delay > DelayBound(i) {
		i++
	}
	s.Delays[i]++
}

// gap returns the time from one turn to the next. The caller holds mu.
func (s *Scheduler) gap(interval time.Duration) time.Duration {
	return time.Duration((1 - jitter + 2*jitter*s.random()) * float64(interval))
}

// run makes one probe, reports it and puts the target back into the queue for
// its next turn.
func (s *Scheduler) run(next turn) {
	e := next.entry
	result := s.probe(e)
	if e.ctx.Err() == nil {
		s.report(e.target.ID, result, time.Now())
	}
	s.mu.Lock()
	look := s.stats.Running == s.concurrency // others may wait for this end
	s.stats.Running--
	removed := e.ctx.Err() != nil
	if !removed {
		heap.Push(&s.queue, next)
		look = look || s.queue[0].entry == e // the loop sleeps for longer
	}
	s.mu.Unlock()
	if removed {
		e.close()
	}
	if look {
		s.nudge()
	}
}

func (s *Scheduler) probe(e *entry) health.Result {
	if e.prober == nil {
		p, err := s.open(e.target)
		if err != nil {
			return health.Result{Outcome: health.Skipped, Reason: clean(err.Error())}
		}
		e.prober = p
	}
	return e.prober.Probe(e.ctx)
}

// turn is when a target is due.
type turn struct {
	due time.Time
	*entry
}

// queue is a heap of turns, the first in front. The times are in it, not behind
// pointers: of ten thousand targets few are in the processor's cache.
type queue []turn

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(turn)) }

func (q *queue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	(*q)[last] = turn{}
	*q = (*q)[:last]
	return t
}
