package health

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"time"
)

// FreshFor is how long an observer counts after its last digest or batch, by the
// receiver's own clock: two digests may be lost, and a node that hears nobody
// knows it within 15 s.
const FreshFor = 3*RenewEvery - 2*time.Second

// Matrix is what all observers say, as far as this node has heard. A node
// applies its own messages like those of others. Messages may arrive twice, in
// any order, and by way of others: only what its observer signed, and only what
// is newer than what is held, changes anything.
//
// A Matrix is for one goroutine. Times must come from one clock that does not
// jump, such as time.Now's monotonic reading; they are used for ages only.
type Matrix struct {
	fleet   string
	trusts  func(observer string, key ed25519.PublicKey) bool
	sources map[string]*source
	trails  int    // octets of all trails
	targets int    // registers of all sources
	early   int    // batches of all sources that wait for an earlier one
	scratch []byte // for what a signature covers
}

// Applied is what a message changed.
type Applied struct {
	Observer string
	News     bool // it is a batch or digest that was not known: worth handing on
	Changed  bool // Observers says something else now, not only another age or sequence
	Behind   bool // the observer has said more than has arrived: another node's state may have it
}

// NewMatrix returns an empty matrix. Before a signature is verified, trusts is
// asked whether the key that a message carries is the observer's. A fleet that
// takes the first key it sees looks at Key after and remembers it.
func NewMatrix(fleet string, trusts func(observer string, key ed25519.PublicKey) bool) *Matrix {
	return &Matrix{fleet: fleet, trusts: trusts, sources: map[string]*source{}}
}

// Apply takes one message. What it keeps of msg it copies. An error wraps
// ErrMalformed, ErrForged, ErrReplayed or ErrFull, and says that nothing
// changed. A copy of a message that is still held is no error, just no news; a
// late copy of an older one is taken as replayed, so a few of those are normal.
func (m *Matrix) Apply(msg []byte, now time.Time) (Applied, error) {
	return m.take(msg, now, now)
}

// take takes a message that arrived here, or at the node that hands it on, at
// the time heard.
func (m *Matrix) take(msg []byte, heard, now time.Time) (Applied, error) {
	h, body, err := parseHeader(msg)
	if err != nil {
		return Applied{}, err
	}
	a := Applied{Observer: h.observer}
	s := m.sources[h.observer]
	var r renewal
	if h.kind == digest {
		if r, err = parseRenewal(h, body); err != nil {
			return a, err
		}
	}
	if s != nil {
		if known, same := s.knows(h, r, msg); same {
			a.Behind = s.behind()
			return a, nil
		} else if known {
			return a, fmt.Errorf("%w: %v, newest is %d.%d", ErrReplayed, h, s.incarnation, s.sequence)
		}
	}
	if err := m.verify(s, h, msg); err != nil {
		return a, err
	}
	var changes []change
	if h.kind != digest {
		if changes, err = parseChanges(h, body); err != nil {
			return a, err
		}
	}
	if s == nil {
		if len(m.sources) == MaxObservers {
			return a, fmt.Errorf("%w: observer %q is one more than %d", ErrFull, h.observer, MaxObservers)
		}
		s = &source{trail: trail{broken: true}}
	}

	was := *s
	switch h.kind {
	case batch:
		a.News, a.Changed, err = m.applyBatch(s, h, msg, changes)
	case digest:
		a.News, a.Changed = true, m.applyDigest(s, h, msg, r)
	case snapshot:
		a.Changed, err = m.applySnapshot(s, h, msg, body, changes)
	}
	if err != nil {
		return a, err
	}
	// A batch renews when it names the newest sequence, so no copy renews twice.
	if (h.kind == digest || h.kind == batch && (h.incarnation > was.incarnation || h.sequence > was.sequence)) && heard.After(s.heard) {
		s.heard = heard
	}
	if m.sources[h.observer] == nil {
		m.sources[h.observer] = s
		a.Changed = true
	}
	a.Changed = a.Changed || was.pop != s.pop || was.renewal.suspect != s.renewal.suspect || was.fresh(now) != s.fresh(now)
	a.Behind = s.behind()
	return a, nil
}

// verify errs unless the key is the observer's and has signed the message.
func (m *Matrix) verify(s *source, h header, msg []byte) error {
	if !m.trusts(h.observer, h.key) {
		return fmt.Errorf("%w: %v shows the key %s, which is not its own", ErrForged, h, keyText(h.key))
	}
	if s != nil && !s.key.Equal(h.key) {
		// Also before the first key is remembered there is only one.
		if h.incarnation == s.incarnation || m.trusts(h.observer, s.key) {
			return fmt.Errorf("%w: %v shows the key %s, those before %s", ErrForged, h, keyText(h.key), keyText(s.key))
		}
	}
	split := len(msg) - ed25519.SignatureSize
	m.scratch = signed(m.scratch[:0], m.fleet, msg[:split])
	if !ed25519.Verify(h.key, m.scratch, msg[split:]) {
		return fmt.Errorf("%w: %v: the signature is wrong", ErrForged, h)
	}
	return nil
}

// keyText is a key as configurations have it.
func keyText(key ed25519.PublicKey) string {
	return "ed25519:" + base64.StdEncoding.EncodeToString(key)
}

// Observers returns what each observer said last, by name. It does not change
// with later messages, and is not to be changed.
func (m *Matrix) Observers(now time.Time) []Observer {
	all := make([]Observer, 0, len(m.sources))
	for _, name := range slices.Sorted(maps.Keys(m.sources)) {
		s := m.sources[name]
		s.held.lent = true
		all = append(all, Observer{
			Name: name, PoP: s.pop, Suspect: s.renewal.suspect,
			Fresh: s.fresh(now), Age: max(now.Sub(s.heard), 0),
			Incarnation: s.held.incarnation, Sequence: s.held.sequence,
			Observations: s.held.registers,
		})
	}
	return all
}

// Highest returns the highest incarnation of an observer that a signature
// vouches for; 0 if it was never heard of. A node that lost its own begins above it.
func (m *Matrix) Highest(observer string) uint64 {
	if s := m.sources[observer]; s != nil {
		return s.incarnation
	}
	return 0
}

// Key returns the key that has signed what is held of an observer; nil if it was
// never heard of.
func (m *Matrix) Key(observer string) ed25519.PublicKey {
	if s := m.sources[observer]; s != nil {
		return s.key
	}
	return nil
}

// Forget drops the observers that are not to be kept. What would tell their old
// messages from new ones goes too: trusts must refuse them from then on.
func (m *Matrix) Forget(keep func(observer string) bool) {
	for name, s := range m.sources {
		if keep(name) {
			continue
		}
		s.trail.drop(&m.trails)
		m.early -= len(s.early)
		m.targets -= len(s.held.registers)
		delete(m.sources, name)
	}
}
