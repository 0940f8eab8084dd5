package main

import (
	"fmt"
	"os"
	"testing"

	"edged/mapper/beacon"
)

func TestMain(m *testing.M) {
	if done, err := aggregateChild(os.Stdout); done {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestMeasureAggregation: the process of its own aggregates all rows, into the
// cells that this one counts.
func TestMeasureAggregation(t *testing.T) {
	dir := t.TempDir()
	const rows = beaconHours * perSession * 10
	if err := writeBeacons(dir, rows); err != nil {
		t.Fatal(err)
	}
	set, err := beacon.OpenAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	type cell struct {
		unit beacon.Unit
		pop  uint16
	}
	cells := map[cell]bool{}
	for s, err := range set.Sessions() {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Rows {
			cells[cell{beacon.UnitOf(r.Client), r.PoP}] = true
		}
	}
	for _, variant := range aggregateVariants {
		a, err := measureAggregation(t.Context(), dir, variant, 1)
		if err != nil || a.Rows != rows || a.Cells != len(cells) || a.Seconds <= 0 || a.CPU <= 0 || a.MiB <= 0 {
			t.Errorf("%s: %+v, %v, want %d rows and %d cells", variant, a, err, rows, len(cells))
		}
	}
}
