package override

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Clearing ends overrides. Like them it never changes. It is kept as long as an
// override that it ends could come back from a node that was away.
type Clearing struct {
	ID      ID        `json:"id"`
	Version uint64    `json:"version"`
	Cleared []ID      `json:"cleared"` // 1 to maxCleared
	Owner   string    `json:"owner"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`   // whole seconds, UTC
	Keep    time.Time `json:"keep"` // forgotten then: at least KeepCleared after At
}

// How long a clearing is kept: KeepCleared after both it and the end of what it
// cleared; KeepEndless when that had no end.
const (
	KeepCleared = time.Hour
	KeepEndless = 30 * 24 * time.Hour

	maxCleared = 4 // in one message
)

// The bounds of a set.
const (
	MaxOverrides = 1000 // accepted from operators
	maxHeld      = 4096 // kept of what other nodes committed, and of clearings
)

func (c Clearing) check() error {
	if err := checkStamp(c.ID, c.Version, c.At); err != nil {
		return err
	}
	if err := checkTime(c.Keep); err != nil {
		return err
	}
	if len(c.Cleared) == 0 || len(c.Cleared) > maxCleared {
		return fmt.Errorf("it clears %d overrides, want 1 to %d", len(c.Cleared), maxCleared)
	}
	for _, id := range c.Cleared {
		if err := checkStamp(id, 1, c.At); err != nil {
			return err
		}
	}
	return checkWords(c.Owner, c.Reason)
}

// change is either an override or a clearing.
type change struct {
	put   *Override
	clear *Clearing
}

func (c change) id() ID {
	if c.put != nil {
		return c.put.ID
	}
	return c.clear.ID
}

func (c change) version() uint64 {
	if c.put != nil {
		return c.put.Version
	}
	return c.clear.Version
}

func (c change) check() error {
	if c.put != nil {
		return c.put.check()
	}
	return c.clear.check()
}

// end is when the change has nothing more to say, and made is when it was made,
// both by the clock of the node that accepted it; a zero end is none.
func (c change) end() time.Time {
	if c.put != nil {
		return c.put.Expires
	}
	return c.clear.Keep
}

func (c change) made() time.Time {
	if c.put != nil {
		return c.put.Created
	}
	return c.clear.At
}

// record is a change with the signature of the member who vouches for it as
// committed; local ones have none.
type record struct {
	change
	signer string
	sig    []byte
	key    ed25519.PublicKey // it was verified with; nil: not yet, it comes from disk
}

// Set holds overrides and clearings. The zero Set is not ready: see [NewSet].
// It is not safe for concurrent use.
type Set struct {
	live   map[ID]record
	clears map[ID]record
	gone   map[ID]bool // named by a clearing

	// By how much this node's clock was ahead of another node's when that last
	// proposed something; nodes whose clocks agree are left out.
	ahead map[string]time.Duration
}

// NewSet returns an empty set.
func NewSet() *Set {
	return &Set{live: map[ID]record{}, clears: map[ID]record{}, gone: map[ID]bool{}, ahead: map[string]time.Duration{}}
}

// Why a change was not taken.
var (
	errKnown = errors.New("the change is known")
	errPast  = errors.New("the change was cleared or has ended")
	errFull  = fmt.Errorf("the set is full: it holds %d", maxHeld)
)

// knows says why the set would not take a change; nil: it would.
func (s *Set) knows(c change, now time.Time) error {
	id := c.id()
	_, live := s.live[id]
	_, clears := s.clears[id]
	switch {
	case live || clears:
		return errKnown
	case s.gone[id] || s.past(c, now):
		return errPast
	case c.put != nil && len(s.live) >= maxHeld, c.clear != nil && len(s.clears) >= maxHeld:
		return errFull
	}
	return nil
}

// add takes a change that was committed, whatever came before it. The order in
// which changes come makes no difference.
func (s *Set) add(r record, now time.Time) error {
	if err := s.knows(r.change, now); err != nil {
		return err
	}
	if r.put != nil {
		s.live[r.put.ID] = r
		return nil
	}
	s.clears[r.clear.ID] = r
	for _, id := range r.clear.Cleared {
		s.gone[id] = true
		delete(s.live, id)
	}
	return nil
}

// prune forgets what is past. It says whether anything was.
func (s *Set) prune(now time.Time) bool {
	before := len(s.live) + len(s.clears)
	past := func(_ ID, r record) bool { return s.past(r.change, now) }
	maps.DeleteFunc(s.live, past)
	maps.DeleteFunc(s.clears, past)
	if len(s.live)+len(s.clears) == before {
		return false
	}
	clear(s.gone)
	for _, r := range s.clears {
		for _, id := range r.clear.Cleared {
			s.gone[id] = true
		}
	}
	return true
}

// overrides returns those that have not ended, the fleet's in their order and
// then this node's own.
func (s *Set) overrides(now time.Time) []Override {
	var all []Override
	for _, r := range s.live {
		if !s.past(r.change, now) {
			all = append(all, *r.put)
		}
	}
	slices.SortFunc(all, func(a, b Override) int {
		if a.Local != b.Local {
			if b.Local {
				return -1
			}
			return 1
		}
		return a.compare(b)
	})
	return all
}

// records returns all records, sorted by ID, so that equal sets have equal
// texts.
func (s *Set) records() []record {
	all := slices.AppendSeq(slices.Collect(maps.Values(s.live)), maps.Values(s.clears))
	slices.SortFunc(all, func(a, b record) int { return a.id().compare(b.id()) })
	return all
}

// Incarnation returns the highest one under which a node made what is in the set; 0: none.
func (s *Set) Incarnation(node string) (highest uint64) {
	for _, r := range s.records() {
		if id := r.id(); id.Node == node {
			highest = max(highest, id.Incarnation)
		}
	}
	return highest
}

// version returns the highest version in the set.
func (s *Set) version() uint64 {
	var v uint64
	for _, r := range s.records() {
		v = max(v, r.version())
	}
	return v
}

// named returns the overrides that clear would end: by ID or by subject.
func (s *Set) named(subject string, now time.Time) []Override {
	return slices.DeleteFunc(s.overrides(now), func(o Override) bool {
		return o.ID.String() != subject && o.Subject() != subject
	})
}

// keepUntil returns until when a clearing of the overrides must be kept.
func keepUntil(cleared []Override, at time.Time) time.Time {
	keep := at.Add(KeepCleared)
	for _, o := range cleared {
		end := o.Expires.Add(KeepCleared)
		if o.Expires.IsZero() {
			end = at.Add(KeepEndless)
		}
		if end.After(keep) {
			keep = end
		}
	}
	return keep
}

// equal says whether two changes are the same, octet for octet.
func (c change) equal(other change) bool { return bytes.Equal(c.append(nil), other.append(nil)) }
