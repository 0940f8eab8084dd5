package dnsserver

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// coalescing makes a busy worker wait a moment before it looks for more
// queries, so that it wakes up once for several: what network cards call
// interrupt coalescing. It is off until the rate makes it pay: a lone client that
// waits for each answer before it asks again meets it only if it has answers within
// 25 µs. Decision 0017 has the figures.
type coalescing struct {
	since   time.Time // start of the window
	queries int       // in it
	pause   time.Duration
}

const (
	coalesceWindow  = time.Millisecond
	coalesceQueries = 8 // to gather in one pause
	shortestPause   = 50 * time.Microsecond
	longestPause    = 200 * time.Microsecond // so pauses begin at 40,000 queries/s per worker

	// While Server.Yield is in force.
	yieldPause   = 250 * time.Microsecond
	yieldQueries = 5 // so they begin at 20,000 queries/s
)

// took says, after a batch of n queries that was received at now, for how long to
// pause before the next receive. A full batch is never followed by a pause: there
// is more to take.
func (c *coalescing) took(now time.Time, n int, yield bool) time.Duration {
	c.queries += n
	if d := now.Sub(c.since); d >= coalesceWindow {
		c.pause = pauseAt(c.queries, d, yield)
		c.since, c.queries = now, 0
	}
	if n == batch {
		return 0
	}
	return c.pause
}

// pauseAt returns the pause that pays when so many queries come in d, or 0.
func pauseAt(queries int, d time.Duration, yield bool) time.Duration {
	each := d / time.Duration(max(1, queries))
	switch {
	case yield && each <= yieldPause/yieldQueries:
		return yieldPause
	case each > longestPause/coalesceQueries:
		return 0
	}
	return max(coalesceQueries*each, shortestPause)
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
