package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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
	dir := filepath.Join(t.TempDir(), "beacons")
	const rows = 168 * 4 * 10
	results, err := measureAggregation(t.Context(), dir, rows, 1)
	if err != nil {
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
		a := results[variant]
		if a.Rows != rows || a.Cells != len(cells) || a.Rate <= 0 || a.PerCPU <= 0 || a.MiB <= 0 {
			t.Errorf("%s: %+v, want %d rows and %d cells", variant, a, rows, len(cells))
		}
	}
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(results); err != nil {
		t.Error(err)
	}
}
