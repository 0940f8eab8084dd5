package speaker

import (
	"testing"
	"time"
)

func TestReadingHolds(t *testing.T) {
	start := time.Unix(1e9, 0)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	for _, test := range []struct {
		what                        string
		up                          bool
		since, read, changed, looks float64 // s
		want                        bool
	}{
		{"nothing changed", true, 0, 100, 50, 109.999, true},
		{"ten seconds old", true, 0, 100, 50, 110, false},
		{"changed since", true, 0, 100, 101, 101.2, false},
		{"read in the second after a change", true, 0, 100, 99.001, 100.2, false},
		{"read a second after a change", true, 0, 100, 99, 100.2, true},
		{"read in the first second of a session", true, 99.5, 100, 50, 100.2, false},
		{"another session since", true, 100.1, 100, 50, 102, false},
		{"no session", false, 0, 100, 50, 100.2, false},
	} {
		r := reading{at: at(test.read), session: at(min(test.since, 99.5))}
		if got := r.holds(record{up: test.up, since: at(test.since)}, at(test.changed), at(test.looks)); got != test.want {
			t.Errorf("%s: %v, want %v", test.what, got, test.want)
		}
	}
	if (reading{}).holds(record{}, time.Time{}, start) {
		t.Error("a peer that was never read holds")
	}
}
