package health

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"maps"
	"time"
)

// source is one observer as it is known here.
type source struct {
	pop   string
	key   ed25519.PublicKey
	heard time.Time

	// The newest that a verified message named.
	incarnation, sequence uint64

	// The last digest of that incarnation, if there was one.
	digest  []byte
	renewal renewal
	of      uint64 // the sequence that it speaks of

	// What is held; it is of an older incarnation until the new one's registers
	// have come. 0 when nothing ever was: incarnations are counted from 1.
	held struct {
		incarnation, sequence uint64
		registers             registers
		sum                   *sum // of the registers; nil: not made since they changed
		lent                  bool // the registers were given away, so they must not be changed
	}
	trail trail             // leads to what is held; broken while that is of an older incarnation
	early map[uint64][]byte // verified batches that wait for one before them
}

// knows reports whether the message is not newer than what is held, and if so
// whether it is the same: octet by octet, but a snapshot only by its sequence.
func (s *source) knows(h header, r renewal, msg []byte) (known, same bool) {
	if h.incarnation != s.incarnation {
		return h.incarnation < s.incarnation, false
	}
	switch h.kind {
	case batch:
		if kept, ok := s.early[h.sequence]; ok {
			return true, bytes.Equal(msg, kept)
		}
		known = s.current() && h.sequence <= s.held.sequence
		return known, known && bytes.Equal(msg, s.trail.at(h.sequence))
	case digest:
		known = r.beat <= s.renewal.beat
		return known, known && bytes.Equal(msg, s.digest)
	}
	known = s.current() && h.sequence <= s.held.sequence && !s.shortens(h.sequence) && !s.differs()
	return known, known && (h.sequence == s.held.sequence || bytes.Equal(msg, s.trail.snapshot))
}

// shortens reports whether a snapshot of that sequence, which is not above the
// one held, would make a better trail.
func (s *source) shortens(sequence uint64) bool {
	if s.trail.broken {
		return sequence == s.held.sequence
	}
	return sequence >= s.trail.base+shortenBy
}

// enter takes note of a verified message's header.
func (m *Matrix) enter(s *source, h header) {
	if h.incarnation > s.incarnation {
		s.incarnation, s.sequence = h.incarnation, 0
		s.digest, s.renewal, s.of = nil, renewal{}, 0
		s.key = bytes.Clone(h.key)
		m.early -= len(s.early)
		s.early = nil
		s.trail.drop(&m.trails)
	}
	s.sequence = max(s.sequence, h.sequence)
	s.pop = h.pop
}

// begin holds the registers of the newest incarnation as it starts: none.
func (m *Matrix) begin(s *source) {
	m.targets -= len(s.held.registers)
	s.held.incarnation, s.held.sequence = s.incarnation, 0
	s.held.registers, s.held.sum, s.held.lent = registers{}, nil, false
	s.trail.reset(nil, 0, &m.trails)
}

func (m *Matrix) applyDigest(s *source, h header, msg []byte, r renewal) (changed bool) {
	m.enter(s, h)
	s.digest, s.renewal, s.of = bytes.Clone(msg), r, h.sequence
	if h.sequence == 0 && !s.current() {
		changed = len(s.held.registers) > 0
		m.begin(s)
	}
	return changed
}

func (m *Matrix) applyBatch(s *source, h header, msg []byte, changes []change) (news, changed bool, err error) {
	var base registers
	var next uint64 = 1
	if h.incarnation == s.held.incarnation {
		base, next = s.held.registers, s.held.sequence+1
	}
	if h.sequence != next {
		news = h.incarnation > s.incarnation || h.sequence > s.sequence
		m.enter(s, h)
		if len(s.early) < maxEarly && m.early < maxEarlyTotal {
			if s.early == nil {
				s.early = map[uint64][]byte{}
			}
			s.early[h.sequence] = bytes.Clone(msg)
			m.early++
			news = true
		}
		return news, false, nil
	}
	if err := m.fits(s, h, len(base)+growth(base, changes)); err != nil {
		return false, false, err
	}
	m.enter(s, h)
	if !s.current() {
		changed = len(s.held.registers) > 0
		m.begin(s)
	}
	changed = m.write(s, changes, bytes.Clone(msg)) || changed
	return true, m.catchUp(s) || changed, nil
}

// catchUp applies the batches that waited for what is held now.
func (m *Matrix) catchUp(s *source) (changed bool) {
	before := len(s.early)
	maps.DeleteFunc(s.early, func(sequence uint64, _ []byte) bool { return sequence <= s.held.sequence })
	for {
		msg, ok := s.early[s.held.sequence+1]
		if !ok {
			break
		}
		delete(s.early, s.held.sequence+1)
		h, body, _ := parseHeader(msg)
		changes, _ := parseChanges(h, body) // it was whole when it was kept
		if m.fits(s, h, len(s.held.registers)+growth(s.held.registers, changes)) != nil {
			break // the next digest tells that it is missing
		}
		changed = m.write(s, changes, msg) || changed
	}
	m.early -= before - len(s.early)
	return changed
}

// write applies the next batch to the registers held.
func (m *Matrix) write(s *source, changes []change, msg []byte) (changed bool) {
	if s.held.lent {
		s.held.registers, s.held.lent = maps.Clone(s.held.registers), false
	}
	m.targets -= len(s.held.registers)
	for _, ch := range changes {
		old, ok := s.held.registers[ch.Target]
		if ch.gone {
			delete(s.held.registers, ch.Target)
		} else {
			s.held.registers[ch.Target] = ch.Observation
		}
		changed = changed || ok == ch.gone || old != ch.Observation
	}
	m.targets += len(s.held.registers)
	s.held.sequence++
	s.held.sum = nil
	s.trail.add(msg, &m.trails)
	return changed
}

// growth is by how many registers the changes make them more.
func growth(r registers, changes []change) (n int) {
	for _, ch := range changes {
		switch _, ok := r[ch.Target]; {
		case ok && ch.gone:
			n--
		case !ok && !ch.gone:
			n++
		}
	}
	return n
}

// fits errs if the source may not have so many registers.
func (m *Matrix) fits(s *source, h header, size int) error {
	if size > MaxTargets {
		return fmt.Errorf("%w: %v makes it %d targets, want at most %d", ErrFull, h, size, MaxTargets)
	}
	if all := m.targets - len(s.held.registers) + size; all > MaxRegisters {
		return fmt.Errorf("%w: %v makes it %d registers of all observers, want at most %d", ErrFull, h, all, MaxRegisters)
	}
	return nil
}

func (m *Matrix) applySnapshot(s *source, h header, msg, body []byte, changes []change) (changed bool, err error) {
	all := make(registers, len(changes))
	for _, ch := range changes {
		all[ch.Target] = ch.Observation
	}
	if h.incarnation == s.held.incarnation && h.sequence <= s.held.sequence {
		is := sumOf(body)
		switch {
		case h.sequence < s.held.sequence || is == s.contentSum():
			if s.shortens(h.sequence) {
				s.trail.shorten(bytes.Clone(msg), h.sequence, &m.trails)
			}
			return false, nil
		case is != s.renewal.sum || h.sequence != s.of:
			return false, fmt.Errorf("%w: %v differs from what is held", ErrReplayed, h)
		}
	}
	if err := m.fits(s, h, len(all)); err != nil {
		return false, err
	}
	m.enter(s, h)
	changed = !maps.Equal(all, s.held.registers)
	m.targets += len(all) - len(s.held.registers)
	s.held.incarnation, s.held.sequence = h.incarnation, h.sequence
	s.held.registers, s.held.sum, s.held.lent = all, nil, false
	s.trail.reset(bytes.Clone(msg), h.sequence, &m.trails)
	return m.catchUp(s) || changed, nil
}

// current reports whether what is held is of the newest incarnation.
func (s *source) current() bool { return s.held.incarnation == s.incarnation }

// contentSum is the sum of the registers held.
func (s *source) contentSum() sum {
	if s.held.sum == nil {
		is := sumOf(s.held.registers.content())
		s.held.sum = &is
	}
	return *s.held.sum
}

// differs reports whether the last digest speaks of the sequence held, but of
// other registers. So it is when two nodes have one name and key.
func (s *source) differs() bool {
	return s.digest != nil && s.current() && s.of == s.held.sequence && s.renewal.sum != s.contentSum()
}

func (s *source) behind() bool {
	return !s.current() || s.held.sequence < s.sequence || s.differs()
}

func (s *source) fresh(now time.Time) bool { return !s.heard.IsZero() && now.Sub(s.heard) < FreshFor }
