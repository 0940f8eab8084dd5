package dnsserver

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// coalescing makes a busy worker wait a moment before it looks for more
// queries, so that it wakes up once for several: what network cards call
// interrupt coalescing. It is off until the rate makes it pay, and a lone
// client that waits for each answer before it asks again never meets it.
// Decision 0017 has the figures.
type coalescing struct {
	since   time.Time // start of the window
	queries int       // in it
	on      bool
}

const (
	coalesceWindow  = time.Millisecond
	coalescePause   = 50 * time.Microsecond
	yieldPause      = 250 * time.Microsecond // while Server.Yield is in force
	coalesceQueries = 5                      // expected in one pause: from 100,000 or 20,000 queries/s per worker on
)

// took says, after a batch of n queries that was received at now, for how long to
// pause before the next receive. A full batch is never followed by a pause: there
// is more to take.
func (c *coalescing) took(now time.Time, n int, yield bool) (pause time.Duration) {
	pause = coalescePause
	if yield {
		pause = yieldPause
	}
	c.queries += n
	if d := now.Sub(c.since); d >= coalesceWindow {
		c.on = time.Duration(c.queries)*pause >= coalesceQueries*d
		c.since, c.queries = now, 0
	}
	if !c.on || n == batch {
		return 0
	}
	return pause
}

// sleep pauses for d, or until a signal. As for a receive, the scheduler does not
// know.
func sleep(d time.Duration) {
	if d == 0 {
		return
	}
	wait := unix.NsecToTimespec(int64(d))
	unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&wait)), 0, 0)
}
