package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"edged/mapper/beacon"
)

// aggregation is what aggregating segments took: from opening the folder to the
// last cell. Medians of the rounds, but for memory.
type aggregation struct {
	Rows    int
	Cells   int
	Seconds float64
	CPU     float64 // seconds
	MiB     float64 // the most that the process had at once
	Load    float64 // of the machine before, one minute
}

// The bars of aggregation.
const (
	barAggregateRate = 8e6 // rows a second on two cores
	barAggregateMiB  = 400
	aggregateRounds  = 3
)

// aggregateVariants are the ways in which rows are aggregated.
var aggregateVariants = []string{"medians", "limits, then medians"}

// aggregateRows makes segments of beacon rows and has a process of its own
// aggregate them, so that its memory is known; then ClickHouse and DuckDB,
// where they are.
func aggregateRows(o options, r *report) error {
	dir, err := os.MkdirTemp("", "edged-bench-mapper-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := writeBeacons(dir, o.rows); err != nil {
		return err
	}
	for _, variant := range aggregateVariants {
		a, err := measureAggregation(context.Background(), dir, variant, aggregateRounds)
		if err != nil {
			return err
		}
		r.add(variant+": rows", float64(a.Rows), "")
		r.add(variant+": cells", float64(a.Cells), "")
		r.add(variant+": load of the machine before", a.Load, "")
		r.add(variant+": rate by CPU time, as two free cores would have", 2*float64(a.Rows)/a.CPU/1e6, "M rows/s")
		if variant == aggregateVariants[0] {
			r.least(variant+": rate", float64(a.Rows)/a.Seconds/1e6, "M rows/s", barAggregateRate/1e6)
		} else {
			r.add(variant+": rate", float64(a.Rows)/a.Seconds/1e6, "M rows/s")
		}
		r.most(variant+": memory", a.MiB, "MiB", barAggregateMiB)
	}
	if err := besideClickHouse(dir, r); err != nil {
		return err
	}
	return besideDuckDB(dir, o.duckdb, r)
}

// measureAggregation aggregates a folder of segments in a process of its own.
func measureAggregation(ctx context.Context, dir, variant string, rounds int) (a aggregation, err error) {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), aggregateEnv+"="+strings.Join([]string{strconv.Itoa(rounds), variant, dir}, "\n"), "GOMAXPROCS=2")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return a, fmt.Errorf("aggregate in a process of its own: %w: %s", err, stderr.String())
	}
	return a, json.Unmarshal(out, &a)
}

// aggregateEnv holds what a process that only aggregates has to do.
const aggregateEnv = "EDGED_BENCH_AGGREGATE"

// aggregateChild does what the environment says and reports whether it said
// anything: then there is nothing else to do. main calls it first.
func aggregateChild(w io.Writer) (done bool, err error) {
	job := strings.SplitN(os.Getenv(aggregateEnv), "\n", 3)
	if len(job) != 3 {
		return false, nil
	}
	rounds, err := strconv.Atoi(job[0])
	if err != nil {
		return true, err
	}
	var seconds, cpus []float64
	a := aggregation{Load: load()}
	for range max(1, rounds) {
		runtime.GC()
		begin, before := time.Now(), cpuTime()
		if a.Rows, a.Cells, err = aggregateOnce(job[2], job[1] != aggregateVariants[0]); err != nil {
			return true, err
		}
		seconds = append(seconds, time.Since(begin).Seconds())
		cpus = append(cpus, (cpuTime() - before).Seconds())
	}
	a.Seconds, a.CPU = middle(seconds), middle(cpus)
	if a.MiB, err = peakMemory(); err != nil {
		return true, err
	}
	return true, json.NewEncoder(w).Encode(a)
}

func aggregateOnce(dir string, limits bool) (rows, cells int, err error) {
	set, err := beacon.OpenAll(dir)
	if err != nil {
		return 0, 0, err
	}
	defer set.Close()
	plan := beacon.Plan{PoPs: set.PoPs}
	if limits {
		if plan.Limits, err = beacon.FindLimits(context.Background(), set, plan, 2); err != nil {
			return 0, 0, err
		}
	}
	for _, err := range beacon.Aggregate(context.Background(), set, plan, beacon.Embedded{}, 2) {
		if err != nil {
			return 0, 0, err
		}
		cells++
	}
	return set.Rows, cells, nil
}

// The made-up beacons: a week of sessions of four PoPs each, from a million units
// of which a fifth are IPv6.
const (
	beaconHours = 168
	beaconUnits = 1_000_000
	beaconPoPs  = 100
	perSession  = 4
)

// writeBeacons fills a folder.
func writeBeacons(dir string, rows int) error {
	w, err := beacon.NewWriter(dir)
	if err != nil {
		return err
	}
	pops := make([]string, beaconPoPs)
	for i := range pops {
		pops[i] = fmt.Sprintf("p%02d", i)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC).Unix()
	var batch []beacon.Row
	sessions := rows / perSession
	for hour := range beaconHours {
		batch = batch[:0]
		for range sessions*(hour+1)/beaconHours - sessions*hour/beaconHours {
			session, at := rng.Uint64(), start+int64(hour)*3600+rng.Int64N(3500)
			unit := rng.IntN(beaconUnits)
			client := beaconClient(unit, byte(rng.IntN(250)))
			for k := range perSession {
				batch = append(batch, beacon.Row{
					Session: session, Time: at, Client: client, Resolver: netip.AddrFrom4([4]byte{8, 8, 8, byte(unit)}),
					PoP: uint16((unit + 7*k) % beaconPoPs), RTT: uint16(100 + rng.IntN(1000)),
				})
			}
		}
		if len(batch) == 0 {
			continue
		}
		if _, err := w.Append(beacon.Batch{ID: fmt.Sprintf("hour-%d", hour), PoPs: pops, Rows: batch}); err != nil {
			return err
		}
	}
	return nil
}

func beaconClient(unit int, host byte) netip.Addr {
	if unit%5 == 0 {
		return netip.AddrFrom16([16]byte{0: 0x2a, 1: byte(unit >> 16), 2: byte(unit >> 8), 5: byte(unit), 7: host})
	}
	return netip.AddrFrom4([4]byte{byte(unit>>16)*13 + 1, byte(unit >> 8), byte(unit), host})
}

func middle(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// cpuTime returns what this process has used of processors, in user and kernel
// mode.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory returns the most memory that this process had at once, in MiB.
func peakMemory() (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("no VmHWM in /proc/self/status")
}

// load returns the machine's load of the last minute; 0 where it is not known.
func load() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	value, _ := strconv.ParseFloat(first, 64)
	return value
}
