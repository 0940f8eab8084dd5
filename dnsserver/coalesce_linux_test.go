package dnsserver

import (
	"testing"
	"time"
)

// Batches of n queries at an even distance, for 20 ms from start on: how many were
// followed by a pause, and its length, 0 when they differ.
func pauses(c *coalescing, start time.Time, n int, every time.Duration, yield bool) (pauses, turns int, length time.Duration) {
	for at := every; at <= 20*time.Millisecond; at += every {
		turns++
		d := c.took(start.Add(at), n, yield)
		if d == 0 {
			continue
		}
		if pauses++; pauses == 1 {
			length = d
		} else if d != length {
			length = 0
		}
	}
	return pauses, turns, length
}

func TestCoalescing(t *testing.T) {
	const us = time.Microsecond
	start := time.Unix(1e9, 0)
	for _, test := range []struct {
		what       string
		n          int
		every      time.Duration
		want       time.Duration // after each batch
		whileYield time.Duration
	}{
		{"one at a time, as from one client in a loop", 1, 60 * us, 0, 0},
		{"below 20,000/s", 2, 110 * us, 0, 0},
		{"20,000/s", 2, 100 * us, 0, 250 * us},
		{"just below 40,000/s", 4, 101 * us, 0, 250 * us},
		{"40,000/s", 4, 100 * us, 200 * us, 250 * us},
		{"bursts of 6, 50,000/s", 6, 120 * us, 160 * us, 250 * us},
		{"100,000/s", 4, 40 * us, 80 * us, 250 * us},
		{"160,000/s and more", 20, 50 * us, 50 * us, 250 * us},
		{"full batches", batch, 200 * us, 0, 0},
	} {
		for _, yield := range []bool{false, true} {
			want := test.want
			if yield {
				want = test.whileYield
			}
			var c coalescing
			_, turns, _ := pauses(&c, start, test.n, test.every, yield) // the first window measures
			again := start.Add(time.Duration(turns) * test.every)
			got, turns, length := pauses(&c, again, test.n, test.every, yield)
			if want == 0 && got != 0 || want > 0 && (got != turns || length != want) {
				t.Errorf("%s, yield %v: %d pauses of %v in %d turns, want %v after each", test.what, yield, got, length, turns, want)
			}
		}
	}
}

func TestCoalescingEnds(t *testing.T) {
	var c coalescing
	start := time.Unix(1e9, 0)
	if got := c.took(start, 1, true); got != 0 {
		t.Errorf("pauses for %v after the first query ever", got)
	}
	pauses(&c, start, 8, 50*time.Microsecond, false)
	if c.pause != 50*time.Microsecond {
		t.Fatalf("pauses for %v at 160,000/s", c.pause)
	}
	// A quiet second, and then a single query: its sender waits for nothing.
	if got := c.took(start.Add(time.Second), 1, true); got != 0 {
		t.Errorf("pauses for %v after a quiet second", got)
	}
}

func TestYieldEndsOnce(t *testing.T) {
	s := new(Server)
	one, two := s.Yield(), s.Yield()
	one()
	one()
	if got := s.yielding.Load(); got != 1 {
		t.Errorf("%d in force, want 1", got)
	}
	two()
	if got := s.yielding.Load(); got != 0 {
		t.Errorf("%d in force, want 0", got)
	}
}
