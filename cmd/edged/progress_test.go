package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestProgress takes a step of 1.5 s and one of 20 ms.
func TestProgress(t *testing.T) {
	clock := time.Unix(0, 0)
	var out strings.Builder
	p := &progress{terminal: &out, now: func() time.Time { return clock }}
	p.end()
	p.begin("reading")
	clock = clock.Add(1500 * time.Millisecond)
	p.begin("writing")
	clock = clock.Add(19_999 * time.Microsecond)
	p.end()
	p.end()
	if got, want := out.String(), "reading ... 1.5 s\nwriting ... 0.0 s\n"; got != want {
		t.Errorf("written %q, want %q", got, want)
	}
	if want := []step{{"reading", 1.5}, {"writing", 0.02}}; !slices.Equal(p.steps, want) {
		t.Errorf("steps %v, want %v", p.steps, want)
	}
	if p := progressTo(&out); p.terminal != nil {
		t.Error("a buffer is taken for a terminal")
	}
}
