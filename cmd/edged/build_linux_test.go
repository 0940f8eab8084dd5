package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkLoad takes the time and the processor time of all that a reload does
// before its swap: 300,000 measured /24s over the built-in places, 64 PoPs.
// Each load finds another map than the one before, and what memory the system has
// left it.
func BenchmarkLoad(b *testing.B) {
	dir := b.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	const count = 64
	var pops, endpoints strings.Builder
	for i := range count {
		fmt.Fprintf(&pops, "  - {name: pop%02d, lat: %d, lon: %d}\n", i, i%8*15-50, i/8*45-170)
		fmt.Fprintf(&endpoints, "      - {pop: pop%02d, address: 198.51.100.%d}\n", i, i+1)
	}
	write("edged.yaml", fmt.Sprintf(`node: {name: bench1, pop: pop00}
data_dir: state
pops:
%slisten: {external: ["127.0.0.1:0"], threads: 1, admin: "127.0.0.1:0"}
maps: {default: {file: default.edmap}}
zones: [{name: example.com, file: example.com.zone}]
pools:
  www:
    policy: closest
    map: default
    endpoints:
%snames: {www.example.com: {pool: www}}
`, pops.String(), endpoints.String()))
	write("example.com.zone", fmt.Sprintf(testZone, 1))
	write("more.inc", "")
	for turn := range 2 {
		rng := rand.New(rand.NewPCG(1, 2))
		nets := strings.Builder{}
		nets.WriteString("prefix,ranking\n")
		for seen := map[uint32]bool{}; len(seen) < 300_000; {
			block, pop := 1<<16+rng.Uint32N(223<<16), rng.IntN(count)
			if !seen[block] {
				seen[block] = true
				fmt.Fprintf(&nets, "%d.%d.%d.0/24,pop%02d\n", block>>16, block>>8&255, block&255, (pop+turn)%count)
			}
		}
		write("nets.csv", nets.String())
		if code, _, errs := command(b, "map", "build", "--config", path("edged.yaml"), "--nets", path("nets.csv"), "-o", path(fmt.Sprintf("%d.edmap", turn))); code != 0 {
			b.Fatal(errs)
		}
	}
	var cpu float64
	var serving *loaded
	turn := 0
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		if err := os.Rename(path(fmt.Sprintf("%d.edmap", turn)), path("default.edmap")); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		before := processorTime(b)
		l, _, err := loadAfter(serving, path("edged.yaml"))
		if err != nil {
			b.Fatal(err)
		}
		serving = l
		cpu += processorTime(b) - before
		b.StopTimer()
		if err := os.Rename(path("default.edmap"), path(fmt.Sprintf("%d.edmap", turn))); err != nil {
			b.Fatal(err)
		}
		turn = 1 - turn
		debug.FreeOSMemory() // as a node does after a reload
		b.StartTimer()
	}
	b.ReportMetric(cpu/float64(b.N), "cpu-ms/op")
}

// processorTime returns the milliseconds that the process has taken of processors.
func processorTime(b *testing.B) float64 {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e6
}
