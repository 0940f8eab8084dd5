// Command lookup measures how long a map lookup takes beside bart, a fast
// general trie, and beside a plain binary search, all on the same prefixes and
// addresses within one run:
//
//	go run ./bench/lookup
//
// It prints one table with ratios and exits 1 when a bar is missed. The
// prefixes are a million random ones per family (see data.go), the addresses
// are random and independent of each other, so a processor may overlap their
// cache misses, as a server's batch does. What the figures are not: the time of
// one lookup whose result the next one waits for, or of a query. The maps are
// read from files, as a node reads them. The last row shows the same IPv6 table
// where it does worst.
package main

import (
	"fmt"
	"io"
	"os"
	"sort"
	"text/tabwriter"
	"time"
)

func main() {
	if err := run(os.Stdout, 1_000_000, 1<<20, 9); err != nil {
		fmt.Fprintln(os.Stderr, "lookup:", err)
		os.Exit(1)
	}
}

// The bars: time as a share of bart's, and the size of the v4 file.
const (
	bar4     = 0.66
	bar6     = 0.20
	barBytes = 16_000_000
)

// run builds the tables from the given number of prefixes, times rounds of
// lookups, and errs when a bar is missed.
func run(w io.Writer, prefixes, addresses, rounds int) error {
	fmt.Fprintf(w, "%d random prefixes, %d random addresses, medians of %d rounds; file in bytes, times in ns for a lookup\n\n", prefixes, addresses, rounds)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "table\tranges\tfile\tmap\tbinary\tbart\tmap/bart\tbar\t")

	v4, err := newData4(prefixes, addresses)
	if err != nil {
		return err
	}
	size := v4.size
	ratio4 := report(table, "v4", v4.ranges.Len(), size, addresses, bar4, measure(rounds, v4.find, v4.binary, v4.bart))
	v4 = nil

	var ratio6 [2]float64
	for i, anywhere := range []bool{false, true} {
		v6, err := newData6(prefixes, addresses, anywhere)
		if err != nil {
			return err
		}
		name := "v6"
		if anywhere {
			name = "v6, anywhere"
		}
		ratio6[i] = report(table, name, v6.ranges.Len(), v6.size, addresses, bar6, measure(rounds, v6.find, v6.binary, v6.bart))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	switch {
	case ratio4 > bar4:
		return fmt.Errorf("v4 lookup takes %.2f of bart's time, want at most %.2f", ratio4, bar4)
	case max(ratio6[0], ratio6[1]) > bar6:
		return fmt.Errorf("v6 lookup takes %.3f of bart's time, want at most %.2f", max(ratio6[0], ratio6[1]), bar6)
	case size > barBytes:
		return fmt.Errorf("v4 map is a file of %d bytes, want at most %d", size, barBytes)
	}
	return nil
}

func report(w io.Writer, name string, ranges, bytes, addresses int, bar float64, medians []time.Duration) (ratio float64) {
	ns := func(i int) float64 { return float64(medians[i].Nanoseconds()) / float64(addresses) }
	ratio = ns(0) / ns(2)
	fmt.Fprintf(w, "%s\t%d\t%d\t%.1f\t%.1f\t%.1f\t%.3f\t%.2f\t\n", name, ranges, bytes, ns(0), ns(1), ns(2), ratio, bar)
	return ratio
}

// measure runs each function once per round, in turn, so that a slow moment of
// the machine hits all alike, and returns each one's median.
func measure(rounds int, functions ...func() uint32) []time.Duration {
	times := make([][]time.Duration, len(functions))
	var first uint32
	for round := range rounds {
		for i, f := range functions {
			start := time.Now()
			sum := f()
			times[i] = append(times[i], time.Since(start))
			if round+i == 0 {
				first = sum
			} else if sum != first {
				panic(fmt.Sprintf("function %d sums its rows up to %d, the first one to %d", i, sum, first))
			}
		}
	}
	medians := make([]time.Duration, len(functions))
	for i := range times {
		sort.Slice(times[i], func(a, b int) bool { return times[i][a] < times[i][b] })
		medians[i] = times[i][rounds/2]
	}
	return medians
}
