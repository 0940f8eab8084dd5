package main

import (
	"strings"
	"testing"
)

// A small run: measure panics unless all ways to look up agree.
func TestWaysAgree(t *testing.T) {
	var out strings.Builder
	err := run(&out, 20_000, 50_000, 1)
	if err != nil && !strings.Contains(err.Error(), "of bart's time") { // a small run proves nothing about time
		t.Fatal(err)
	}
	if rows := strings.Count(out.String(), "\n"); rows != 6 {
		t.Errorf("wrote %d lines, want 6:\n%s", rows, out.String())
	}
}

func BenchmarkLookup(b *testing.B) {
	const size = 1 << 20
	bench := func(name string, all func() uint32) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				all()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/lookup")
		})
	}
	v4, err := newData4(1_000_000, size)
	if err != nil {
		b.Fatal(err)
	}
	bench("v4/map", v4.find)
	bench("v4/binary", v4.binary)
	bench("v4/bart", v4.bart)
	v6, err := newData6(1_000_000, size, false)
	if err != nil {
		b.Fatal(err)
	}
	bench("v6/map", v6.find)
	bench("v6/binary", v6.binary)
	bench("v6/bart", v6.bart)
}
