//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"edged/health"
	"edged/health/probe"
)

// row is what one way to probe was seen to cost.
type row struct {
	Way      string  `json:"way"`
	Seconds  float64 `json:"seconds"`
	Checks   uint64  `json:"checks"`
	Failed   uint64  `json:"failed"`
	Fault    string  `json:"fault,omitempty"` // of one that failed
	Share    float64 `json:"share_of_cpu"`
	Busiest  float64 `json:"share_in_busiest_interval"`
	PerCheck float64 `json:"us_per_check"`

	// Delays are upper bounds, in milliseconds, of how long after they were due
	// that part of the checks began; 0: beyond the last bound.
	Delay50  float64 `json:"delay_p50_ms"`
	Delay99  float64 `json:"delay_p99_ms"`
	DelayMax float64 `json:"delay_max_ms"`
	Late     uint64  `json:"late"` // by more than a tenth of the interval

	Opened   int64 `json:"connections_opened"`       // before the measurement
	Reopened int64 `json:"connections_opened_again"` // in the course of it
	Resident int64 `json:"resident_bytes"`
}

// tally counts the results of probes.
type tally struct {
	passed, failed atomic.Uint64
	fault          atomic.Value // the last one's reason, a string
}

func (t *tally) add(_ health.TargetID, r health.Result, _ time.Time) {
	if r.Outcome == health.Passed {
		t.passed.Add(1)
		return
	}
	t.failed.Add(1)
	t.fault.Store(r.Reason)
}

// moment is what all the meters showed at a time.
type moment struct {
	at             time.Time
	cpu            time.Duration
	passed, failed uint64
	stats          probe.Stats
	served         served
}

func look(t *tally, sched *probe.Scheduler, srv *server) (m moment, err error) {
	if m.served, err = srv.served(); err != nil {
		return m, err
	}
	m.passed, m.failed, m.stats = t.passed.Load(), t.failed.Load(), sched.Stats()
	m.at, m.cpu = time.Now(), ownCPU()
	return m, nil
}

// measure has the scheduler probe the targets in one way, waits until each was
// probed twice or so, and takes what the next while costs.
func measure(ctx context.Context, w way, srv *server, o options) (*row, error) {
	debug.FreeOSMemory() // what the row before left
	var results tally
	// As many at a time as run when no target answers.
	sched := probe.NewScheduler(w.open, results.add, o.targets/timeoutPart)
	defer sched.Close()
	empty, err := look(&results, sched, srv)
	if err != nil {
		return nil, err
	}
	sched.Set(targets(o, srv.addr))
	if err := pause(ctx, 5*o.interval/2); err != nil {
		return nil, err
	}

	if o.profile != nil {
		if err := pprof.StartCPUProfile(o.profile); err != nil {
			return nil, err
		}
		defer pprof.StopCPUProfile()
	}
	before, err := look(&results, sched, srv)
	if err != nil {
		return nil, err
	}
	busiest := 0.0
	for wall, cpu := before.at, before.cpu; time.Since(before.at) < o.length; {
		if err := pause(ctx, o.interval); err != nil {
			return nil, err
		}
		busiest = max(busiest, float64(ownCPU()-cpu)/float64(time.Since(wall)))
		wall, cpu = time.Now(), ownCPU()
	}
	after, err := look(&results, sched, srv)
	if err != nil {
		return nil, err
	}

	r := cost(before, after)
	r.Way, r.Busiest, r.Resident = w.name, busiest, resident()
	r.Opened = before.served.Connections - empty.served.Connections
	r.Fault, _ = results.fault.Load().(string)
	passed, seen := after.passed-before.passed, after.served.Checks-before.served.Checks
	// The two counts are not taken at one moment: a few are answered in between.
	if slack := int64(2); w.asks && float64(seen+slack) < 0.99*float64(passed) {
		return nil, fmt.Errorf("%s: %d checks passed, but the server saw %d", w.name, passed, seen)
	}
	return r, nil
}

// cost says what came between two moments.
func cost(a, b moment) *row {
	used, took := b.cpu-a.cpu, b.at.Sub(a.at)
	checks := b.passed - a.passed + b.failed - a.failed
	delays := b.stats.Delays
	for i := range delays {
		delays[i] -= a.stats.Delays[i]
	}
	return &row{
		Seconds: took.Seconds(), Checks: checks, Failed: b.failed - a.failed,
		Share:    float64(used) / float64(took),
		PerCheck: float64(used.Nanoseconds()) / 1e3 / float64(max(1, checks)),
		Delay50:  percentile(delays[:], 0.5), Delay99: percentile(delays[:], 0.99), DelayMax: percentile(delays[:], 1),
		Late:     b.stats.Late - a.stats.Late,
		Reopened: b.served.Connections - a.served.Connections,
	}
}

// timeoutPart is the part of the interval that a check may take.
const timeoutPart = 2

// targets returns as many as wanted, which differ in their path.
func targets(o options, addr netip.AddrPort) []health.Target {
	list := make([]health.Target, o.targets)
	for i := range list {
		list[i] = health.NewTarget(health.Check{
			Kind: health.HTTP, Port: addr.Port(), Path: "/check/" + strconv.Itoa(i), Status: []int{200},
			Interval: o.interval, Timeout: o.interval / timeoutPart, Fall: 3, Rise: 5,
		}, addr.Addr())
	}
	return list
}

// percentile returns the bound, in milliseconds, within which this part of the
// probes began after they were due. The counts are as in probe.Stats.
func percentile(delays []uint64, part float64) float64 {
	var all, sum uint64
	for _, n := range delays {
		all += n
	}
	for i, n := range delays {
		if sum += n; float64(sum) >= part*float64(all) {
			return float64(probe.DelayBound(i).Microseconds()) / 1e3
		}
	}
	return 0
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ownCPU returns the CPU time of this process so far, all its threads included.
func ownCPU() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		panic(err) // Linux always has this clock
	}
	return time.Duration(ts.Nano())
}

// resident returns the resident set of this process in bytes.
func resident() int64 {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if size, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(size), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}
