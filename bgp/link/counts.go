package link

import (
	"maps"
	"sync"
)

// Reason says why a connection or a call of others was refused.
type Reason string

// The reasons, as they are counted.
const (
	NoCertificate   Reason = "no_certificate"
	UnknownMember   Reason = "unknown_member"
	WrongKey        Reason = "wrong_key"   // at the handshake
	KeyChanged      Reason = "key_changed" // since the handshake
	OldTLS          Reason = "old_tls"
	BrokenHandshake Reason = "broken_handshake" // not TLS, too slow, or given up
	Crowd           Reason = "crowd"            // too many handshakes, at once or a second
	TooManyCalls    Reason = "too_many_calls"   // of one member, at once or a second
	TooLarge        Reason = "too_large"
	BadRequest      Reason = "bad_request" // too slow, given up, or not a POST
)

// Counts are how often others were answered and refused since the link was made.
type Counts struct {
	Answered uint64 // calls, those answered by an error too
	Refused  map[Reason]uint64
}

type counts struct {
	mu  sync.Mutex
	sum Counts // guarded by mu
}

// Counts returns the counters.
func (l *Link) Counts() Counts {
	l.counts.mu.Lock()
	defer l.counts.mu.Unlock()
	c := l.counts.sum
	c.Refused = maps.Clone(c.Refused)
	return c
}

func (c *counts) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sum.Answered++
}

func (c *counts) refused(why Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sum.Refused == nil {
		c.sum.Refused = map[Reason]uint64{}
	}
	c.sum.Refused[why]++
}
