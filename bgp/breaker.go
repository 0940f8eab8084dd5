package bgp

import (
	"fmt"
	"maps"
	"time"
)

// breakerFor is how long the breaker counts a leaving.
const breakerFor = 5 * time.Minute

// Breaker stops nodes that withdraw a VIP by themselves when many have left it
// within a short time, for whatever reason: it is open while more than two, and more
// than a fifth of all, left in the last 5 minutes. The zero value is closed and has
// seen nobody.
type Breaker struct {
	announces map[string]bool          // by node, as heard last
	left      map[string]time.Duration // when a node last stopped
}

// Note takes that a node, this one included, announces the VIP or does not. One
// that is not heard of any more does not.
func (b *Breaker) Note(now time.Duration, node string, announced bool) {
	if b.announces == nil {
		b.announces = map[string]bool{}
	}
	if b.announces[node] && !announced {
		b.Lost(now, node)
	}
	b.announces[node] = announced
}

// Clone returns a breaker that has seen the same, and goes its own way.
func (b *Breaker) Clone() *Breaker {
	return &Breaker{announces: maps.Clone(b.announces), left: maps.Clone(b.left)}
}

// Join takes that who left by the other breaker left by this one, too.
func (b *Breaker) Join(other *Breaker) {
	if b == other {
		return
	}
	for node, at := range other.left {
		b.Lost(max(at, b.left[node]), node)
	}
}

// Lost takes that a node announces the VIP, or a part of it, no more.
func (b *Breaker) Lost(now time.Duration, node string) {
	if b.left == nil {
		b.left = map[string]time.Duration{}
	}
	b.left[node] = now
}

// Open says in words that the breaker is open; empty: it is closed. total is how
// many nodes should announce the VIP now: some that left may be no more among them.
func (b *Breaker) Open(now time.Duration, total int) string {
	maps.DeleteFunc(b.left, func(_ string, at time.Duration) bool { return now >= at+breakerFor })
	if n := len(b.left); n > 2 && 5*n > total {
		return fmt.Sprintf("breaker open: %d of %d nodes left within %v", n, max(n, total), breakerFor)
	}
	return ""
}
