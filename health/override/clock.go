package override

import (
	"slices"
	"strings"
	"time"
)

// clockSlack is how far apart two clocks may seem and count as the same. What is
// seen is the time from when a proposal was made until it is read, which holds
// the way, up to AckWait of asking again, and a second that is cut off.
const clockSlack = 10 * time.Second

// Clock is a node whose clock differs from this node's.
type Clock struct {
	Node  string        `json:"node"`
	Ahead time.Duration `json:"ahead"` // by so much this node's clock is ahead of it
}

// hearClock takes note of a time by another node's clock that was just now when
// it was sent.
func (s *Set) hearClock(node string, sent, now time.Time) {
	if ahead := now.Sub(sent); ahead.Abs() > clockSlack {
		s.ahead[node] = ahead
	} else {
		delete(s.ahead, node)
	}
}

// here returns a time of a node's clock by this node's. The zero time, which
// means never, stays so.
func (s *Set) here(node string, t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(s.ahead[node])
}

// past says whether a change has nothing more to say: the clock of the node
// that accepted it decides.
func (s *Set) past(c change, now time.Time) bool {
	end := s.here(c.id().Node, c.end())
	return !end.IsZero() && !now.Before(end)
}

// clocks lists what is known of other clocks, by node.
func (s *Set) clocks() []Clock {
	var all []Clock
	for node, ahead := range s.ahead {
		all = append(all, Clock{node, ahead})
	}
	slices.SortFunc(all, func(a, b Clock) int { return strings.Compare(a.Node, b.Node) })
	return all
}
