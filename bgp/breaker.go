package bgp

import (
	"fmt"
	"time"
)

// breakerFor is how long the breaker counts a leaving, and stays open after one.
const breakerFor = 5 * time.Minute

// Breaker stops nodes that withdraw a VIP by themselves when many have left it
// within a short time, for whatever reason: it opens when more than two, and more
// than a fifth of all, left within 5 minutes, and closes 5 minutes after the last
// one, or by an operator. The zero value is closed and has seen nobody.
type Breaker struct {
	announces map[string]bool          // by node, as heard last
	left      map[string]time.Duration // when a node last stopped
	last      time.Duration            // when any node did
	open      string                   // in words; empty: closed
	count     int                      // of those that left, in the words
}

// Note takes that a node, this one included, announces the VIP or does not. One
// that is not heard of any more does not.
func (b *Breaker) Note(now time.Duration, node string, announced bool) {
	if b.announces == nil {
		b.announces, b.left = map[string]bool{}, map[string]time.Duration{}
	}
	if b.announces[node] && !announced {
		b.left[node], b.last = now, now
	}
	b.announces[node] = announced
}

// Open says in words that the breaker is open; empty: it is closed. total is how
// many nodes should announce the VIP.
func (b *Breaker) Open(now time.Duration, total int) string {
	if now >= b.last+breakerFor {
		b.Close()
	}
	for node, at := range b.left {
		if b.open == "" && now >= at+breakerFor {
			delete(b.left, node)
		}
	}
	if n := len(b.left); n > 2 && 5*n > total && n != b.count {
		b.count, b.open = n, fmt.Sprintf("breaker open: %d of %d nodes left within %v", n, total, breakerFor)
	}
	return b.open
}

// Close closes the breaker, by an operator's word. Those that left so far do not
// open it again.
func (b *Breaker) Close() {
	b.open, b.count = "", 0
	clear(b.left)
}
