package health

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// stateVersion begins a state.
const stateVersion = 1

// maxForged is how many messages of one state may be forged until the rest is
// not looked at: verifying is what costs.
const maxForged = 64

// State returns what another node needs to hold the same: the newest messages of
// all observers, as they signed them, with the age of each. It is at most
// MaxState octets long. A node applies its own Snapshot before, so that what it
// hands on stays short.
func (m *Matrix) State(now time.Time) []byte {
	b := make([]byte, 0, 1+m.trails+len(m.sources)*(6+messageFrame+maxDigest))
	b = append(b, stateVersion)
	add := func(msg []byte) {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(msg)))
		b = append(b, msg...)
	}
	for _, name := range slices.Sorted(maps.Keys(m.sources)) {
		s := m.sources[name]
		n := len(s.trail.batches)
		if s.trail.snapshot != nil {
			n++
		}
		if s.digest != nil {
			n++
		}
		age := min(max(now.Sub(s.heard).Milliseconds(), 0), math.MaxUint32)
		b = binary.LittleEndian.AppendUint32(b, uint32(age))
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
		if s.trail.snapshot != nil {
			add(s.trail.snapshot)
		}
		for _, msg := range s.trail.batches {
			add(msg)
		}
		if s.digest != nil {
			add(s.digest)
		}
	}
	return b
}

// Merge takes another node's state. What is known here already is passed over
// before anything is verified. changed is as in Applied. The errors are of the
// messages that were dropped; an observer's messages after one of those are not
// looked at.
func (m *Matrix) Merge(state []byte, now time.Time) (changed bool, errs []error) {
	if len(state) > MaxState {
		return false, []error{fmt.Errorf("%w: a state of %d octets, want at most %d", ErrMalformed, len(state), MaxState)}
	}
	c := &cursor{b: state}
	if version := c.uint8(); c.err == nil && version != stateVersion {
		return false, []error{fmt.Errorf("%w: state of version %d, want %d: is its sender a newer edged?", ErrMalformed, version, stateVersion)}
	}
	forged := 0
	for entries := 0; len(c.b) > 0; entries++ {
		if entries == MaxObservers {
			return changed, append(errs, fmt.Errorf("%w: a state of more than %d observers", ErrMalformed, MaxObservers))
		}
		heard := now.Add(-time.Duration(c.uint32()) * time.Millisecond)
		skip := false
		for range c.uint16() {
			msg := c.block()
			if c.err != nil {
				break
			}
			if skip {
				continue
			}
			a, err := m.take(msg, heard, now)
			changed = changed || a.Changed
			if err == nil || errors.Is(err, ErrReplayed) {
				continue // the other node is behind
			}
			errs, skip = append(errs, err), true
			if errors.Is(err, ErrForged) {
				forged++
			}
		}
		if forged > maxForged {
			return changed, append(errs, fmt.Errorf("%w: a state with more than %d forged records", ErrForged, maxForged))
		}
	}
	if c.err != nil {
		errs = append(errs, fmt.Errorf("%w: state: %v", ErrMalformed, c.err))
	}
	return changed, errs
}
