package link

import "time"

// rate is how often something may be done: burst times at once, and once more
// every so often.
type rate struct {
	burst int
	every time.Duration
}

// bucket counts what was done against a rate. The zero value has done nothing.
// It is not safe for concurrent use.
type bucket struct {
	clear time.Time // when all of it will be forgotten
}

// take says whether the thing may be done now, and counts it if so.
func (b *bucket) take(r rate, now time.Time) bool {
	if b.clear.Before(now) {
		b.clear = now
	}
	if b.clear.Sub(now) > time.Duration(r.burst-1)*r.every {
		return false
	}
	b.clear = b.clear.Add(r.every)
	return true
}

// idle says whether the bucket remembers nothing.
func (b *bucket) idle(now time.Time) bool { return !b.clear.After(now) }
