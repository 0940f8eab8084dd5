package main

import (
	"runtime/debug"
	"testing"
)

func gcPercent() int {
	p := debug.SetGCPercent(-1)
	debug.SetGCPercent(p)
	return p
}

func TestHeapRoom(t *testing.T) {
	for _, was := range []int{100, 50, -1} {
		before := debug.SetGCPercent(was)
		restore := withHeapRoom()
		during := gcPercent()
		restore()
		after := debug.SetGCPercent(before)
		if was < 0 && during != was || was >= 0 && during <= was {
			t.Errorf("GOGC=%d: %d with room", was, during)
		}
		if after != was {
			t.Errorf("GOGC=%d: %d afterwards", was, after)
		}
	}
}

// A heap that is large already gets no more than its share.
func TestHeapRoomOfALargeHeap(t *testing.T) {
	for live, want := range map[uint64]int{0: 6500, 1 << 20: 6500, 64 << 20: 200, 640 << 20: 110} {
		if got := roomyPercent(100, live); got != want {
			t.Errorf("%d octets in use: GOGC %d, want %d", live, got, want)
		}
	}
}
