package dnsserver

import (
	"testing"
	"time"
)

// Batches of n queries at an even distance, for 20 ms.
func pauses(c *coalescing, start time.Time, n int, every time.Duration) (pauses, turns int) {
	for at := time.Duration(0); at < 20*time.Millisecond; at += every {
		turns++
		if c.took(start.Add(at), n) {
			pauses++
		}
	}
	return pauses, turns
}

func TestCoalescing(t *testing.T) {
	start := time.Unix(1e9, 0)
	for _, test := range []struct {
		what  string
		n     int
		every time.Duration
		want  bool
	}{
		{"one at a time, as from one client in a loop", 1, 25 * time.Microsecond, false},
		{"bursts of 6, 50,000/s", 6, 120 * time.Microsecond, false},
		{"just below 100,000/s", 4, 41 * time.Microsecond, false},
		{"100,000/s", 4, 40 * time.Microsecond, true},
		{"150,000/s", 8, 53 * time.Microsecond, true},
		{"full batches", batch, 200 * time.Microsecond, false},
	} {
		var c coalescing
		pauses(&c, start, test.n, test.every) // the first window measures
		got, turns := pauses(&c, start.Add(20*time.Millisecond), test.n, test.every)
		if want := turns; test.want && got != want || !test.want && got != 0 {
			t.Errorf("%s: %d pauses in %d turns, want pauses %v", test.what, got, turns, test.want)
		}
	}
}

func TestCoalescingEnds(t *testing.T) {
	var c coalescing
	start := time.Unix(1e9, 0)
	pauses(&c, start, 8, 50*time.Microsecond)
	if !c.on {
		t.Fatal("not on at 160,000/s")
	}
	// A quiet second, and then a single query: its sender waits for nothing.
	if c.took(start.Add(time.Second), 1) {
		t.Error("pauses after a quiet second")
	}
}
