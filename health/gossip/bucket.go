package gossip

import "time"

// bucket limits how often a thing is done: so many at once, and one more every
// so often. It starts full. It is not safe for concurrent use.
type bucket struct {
	size  int           // at once
	every time.Duration // until one more is allowed
	spent time.Duration // how much of size*every has been used
	last  time.Time
}

// take says whether the thing may be done now, and counts it if so.
func (b *bucket) take(now time.Time) bool {
	if passed := now.Sub(b.last); passed > 0 {
		b.spent = max(0, b.spent-passed)
		b.last = now
	}
	if b.spent+b.every > time.Duration(b.size)*b.every {
		return false
	}
	b.spent += b.every
	return true
}

// wait returns how long it takes from the last take until the next is allowed.
func (b *bucket) wait() time.Duration {
	return max(0, b.spent+b.every-time.Duration(b.size)*b.every)
}
