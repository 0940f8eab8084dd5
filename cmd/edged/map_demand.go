package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"edged/mapper/beacon"
	"edged/mapper/simulate"
)

// demandFlags say how much each client counts: by a file of requests, by the
// sessions in segments, or alike.
type demandFlags struct{ file, segments string }

func (f *demandFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "demand", "", "CSV `FILE` of demand by network, in requests/s")
	cmd.Flags().StringVar(&f.segments, "against", "", "`DIR` of segments: clients count by their sessions")
	cmd.MarkFlagsMutuallyExclusive("demand", "against")
}

// read returns the demand and its unit; none when every block counts alike.
func (f *demandFlags) read() (demand []simulate.Demand, unit string, err error) {
	switch {
	case f.file != "":
		demand, err = readDemand(f.file)
		return demand, "requests/s", err
	case f.segments != "":
		demand, err = countSessions(f.segments)
		return demand, "sessions", err
	}
	return nil, "", nil
}

// countSessions returns the sessions of each client unit, of the week that ends
// with the newest hour.
func countSessions(dir string) ([]simulate.Demand, error) {
	set, err := openWeek(dir)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	counts := map[beacon.Unit]float64{}
	for s, err := range set.Sessions() {
		if err != nil {
			return nil, err
		}
		counts[beacon.UnitOf(s.Rows[0].Client)]++
	}
	var demand []simulate.Demand
	for _, unit := range slices.Sorted(maps.Keys(counts)) {
		demand = append(demand, simulate.Demand{Prefix: unit.Prefix(), Requests: counts[unit]})
	}
	return demand, nil
}

// openWeek opens the segments of the week that ends with the newest hour, so that
// the clock does not matter.
func openWeek(dir string) (*beacon.Set, error) {
	all, err := beacon.OpenAll(dir)
	if err != nil {
		return nil, err
	}
	defer all.Close()
	if len(all.Hours) == 0 {
		return nil, fmt.Errorf("folder %q has no segments: bring measurements in with edged beacon import", dir)
	}
	end := all.Hours[len(all.Hours)-1].Start.Add(time.Hour)
	return beacon.Open(dir, end.Add(-measureWindow), end)
}
