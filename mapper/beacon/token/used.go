package token

import (
	"sync"
	"time"
)

// MaxUsed is how many tokens Used remembers of one Life: some 3500 reports a
// second, and at most 30 MB.
const MaxUsed = 1 << 20

// Used remembers which sessions have reported, until their tokens have expired.
// The zero value remembers none. Its methods may be called by several goroutines.
type Used struct {
	mu      sync.Mutex
	young   map[uint64]struct{} // since turned; guarded by mu, as is all below
	old     map[uint64]struct{} // of the span before
	turned  time.Time
	largest int // for tests: instead of MaxUsed
}

// span is after how long what was young is old, and what was old is forgotten:
// no token that was good lives on then.
const span = Life + skew

// Take says whether a session has its first report at a time, and remembers it.
// When the memory is full it returns full, and the report must not be taken:
// otherwise a flood would open the way for tokens that were used.
func (u *Used) Take(session uint64, now time.Time) (first, full bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	limit := MaxUsed
	if u.largest > 0 {
		limit = u.largest
	}
	switch age := now.Sub(u.turned); {
	case age >= 2*span:
		u.old, u.young, u.turned = nil, map[uint64]struct{}{}, now
	case age >= span:
		u.old, u.young, u.turned = u.young, map[uint64]struct{}{}, now
	}
	_, young := u.young[session]
	_, old := u.old[session]
	switch {
	case young || old:
		return false, false
	case len(u.young) >= limit:
		return false, true
	}
	u.young[session] = struct{}{}
	return true, false
}
