package bgp

import (
	"math"
	"testing"
	"time"
)

// TestDamping holds the penalties of RFC 2439 with our figures.
func TestDamping(t *testing.T) {
	want := func(d Damping, now time.Duration, penalty float64, suppressed bool) {
		t.Helper()
		d = d.Decayed(now)
		if math.Abs(d.Penalty-penalty) > 0.01 || d.Suppressed != suppressed {
			t.Errorf("at %v: %+v, want %v, suppressed %v", now, d, penalty, suppressed)
		}
	}
	var d Damping
	want(d, time.Hour, 0, false)
	d = d.Flap(0)
	want(d, 0, 1000, false)
	want(d, 5*time.Minute, 500, false)
	want(d, time.Hour, 0, false) // less than a point is none

	d = d.Flap(0).Flap(0)
	want(d, 0, 3000, true)
	want(d, 5*time.Minute-time.Millisecond, 1500, true)
	want(d, 5*time.Minute+time.Millisecond, 1500, false)
	if got := d.reuse(); got < 5*time.Minute || got > 5*time.Minute+time.Microsecond {
		t.Errorf("reuse is at %v, want 5m", got)
	}
	// Step by step it decays as in one step.
	slow := d
	for now := time.Duration(0); now <= 4*time.Minute; now += time.Second {
		slow = slow.Decayed(now)
	}
	want(slow, 5*time.Minute-time.Millisecond, 1500, true)

	// However often it flaps: at most half an hour.
	for range 1000 {
		d = d.Flap(time.Hour)
	}
	if got := d.reuse() - time.Hour; got > suppressAtMax+time.Microsecond || got < suppressAtMax-time.Microsecond {
		t.Errorf("1000 flaps suppress for %v, want %v", got, suppressAtMax)
	}
	// Restored from before the start.
	want(Damping{Penalty: 3000, Suppressed: true, At: -10 * time.Minute}, 0, 750, false)
	want(Damping{Penalty: 6000, Suppressed: true, At: -5 * time.Minute}, 0, 3000, true)
}
