package main

import (
	"runtime/debug"
	"runtime/metrics"
)

// heapRoom is how much a reload may allocate before the collector runs beside it.
const heapRoom = 64 << 20

// withHeapRoom keeps the garbage collector away from a reload that allocates
// little, until restore: on a processor that building shares with answers, marking
// a small heap twice on the way held answers up. A large heap is collected
// nearly as often as before: the room is added to what GOGC gives.
func withHeapRoom() (restore func()) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	was := debug.SetGCPercent(-1)
	if was >= 0 {
		debug.SetGCPercent(roomyPercent(was, live[0].Value.Uint64()))
	}
	return func() { debug.SetGCPercent(was) }
}

// roomyPercent is the GOGC with which a heap that was live octets after it was
// last collected may grow by heapRoom more than with percent.
func roomyPercent(percent int, live uint64) int {
	return percent + int(heapRoom*100/max(live, 1<<20))
}
