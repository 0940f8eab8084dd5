package override

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// The kinds of messages, by first octet. Health records have 0x01 to 0x0f.
const (
	kindProposal = 0x10 // a change, signed by the node that accepted it
	kindAck      = 0x11 // a member's answer to a proposal
	kindCommit   = 0x12 // a change that a majority acknowledged, signed by any member
	kindState    = 0x13 // commits, each after its length: the whole set, for push/pull
)

// IsMessage says whether a message is this package's, 0x10 to 0x1f, by its
// first octet.
func IsMessage(msg []byte) bool { return len(msg) > 0 && msg[0]>>4 == 1 }

// MaxMessage bounds a message, in octets, so that it fits a datagram of the
// gossip. A state is longer: at most MaxState.
const (
	MaxMessage = 1000
	MaxState   = 16 << 20
)

// What can be wrong with a message. Each is counted.
var (
	ErrMalformed = errors.New("malformed")
	ErrForged    = errors.New("forged")   // the signature is bad, or the signer no member whose key is known
	ErrReplayed  = errors.New("replayed") // it was seen before, and is over
)

// The layout, integers big-endian, a string as one octet of length and that many octets:
//
//	proposal, commit: kind 1, signer string, change, signature 64
//	ack:              kind 1, signer string, hash 32, refused 1, reason string, signature 64
//	change:           type 1 (0 override, 1 clearing), node string, incarnation 8, counter 8, version 8
//	  override:       action 1, target string, weight 4, prefix string, pop string, owner string,
//	                  reason string, created 8, expires 8 (seconds after 1970; 0 = never)
//	  clearing:       count 1, count × (node string, incarnation 8, counter 8), owner string, reason string, at 8, keep 8
//	state:            kind 1, any number of: length 2, commit
//
// The hash in an ack is SHA-256 over the change, the signature ed25519 over
// signedText. Strings are in their usual form, so a change has just one encoding.

// signedText is what is signed of a message: its octets before the signature,
// after what it is for, so that no signature serves another purpose or fleet.
func signedText(fleet string, unsigned []byte) []byte {
	b := append([]byte("edged override 1\x00"), fleet...)
	return append(append(b, 0), unsigned...)
}

// seal signs a message and appends the signature.
func seal(fleet string, key ed25519.PrivateKey, unsigned []byte) []byte {
	return append(unsigned, ed25519.Sign(key, signedText(fleet, unsigned))...)
}

// genuine says whether the signature of a message is by the key.
func genuine(fleet string, key ed25519.PublicKey, msg []byte) bool {
	at := len(msg) - ed25519.SignatureSize
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, signedText(fleet, msg[:at]), msg[at:])
}

// appendChange begins a proposal or commit; the signature is missing.
func appendChange(kind byte, signer string, c change) []byte {
	return c.append(appendString([]byte{kind}, signer))
}

// commit returns the record's commit as it travels.
func (r record) commit() []byte {
	return append(appendChange(kindCommit, r.signer, r.change), r.sig...)
}

func appendString(b []byte, s string) []byte {
	return append(append(b, byte(len(s))), s...)
}

func appendID(b []byte, id ID) []byte {
	b = appendString(b, id.Node)
	b = binary.BigEndian.AppendUint64(b, id.Incarnation)
	return binary.BigEndian.AppendUint64(b, id.Counter)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.BigEndian.AppendUint64(b, 0)
	}
	return binary.BigEndian.AppendUint64(b, uint64(t.Unix()))
}

// append appends the encoding of a change, which must be valid.
func (c change) append(b []byte) []byte {
	if c.put != nil {
		o := c.put
		b = binary.BigEndian.AppendUint64(appendID(append(b, 0), o.ID), o.Version)
		b = appendString(append(b, o.Action.code()), o.Target.String())
		b = binary.BigEndian.AppendUint32(b, o.Weight)
		prefix := ""
		if o.Prefix.IsValid() {
			prefix = o.Prefix.String()
		}
		for _, s := range []string{prefix, o.PoP, o.Owner, o.Reason} {
			b = appendString(b, s)
		}
		return appendTime(appendTime(b, o.Created), o.Expires)
	}
	l := c.clear
	b = binary.BigEndian.AppendUint64(appendID(append(b, 1), l.ID), l.Version)
	b = append(b, byte(len(l.Cleared)))
	for _, id := range l.Cleared {
		b = appendID(b, id)
	}
	b = appendString(appendString(b, l.Owner), l.Reason)
	return appendTime(appendTime(b, l.At), l.Keep)
}

// message is a proposal or commit that was read; its signature is not checked.
type message struct {
	kind   byte
	signer string
	change change
	sig    []byte
}

// ack is a member's answer to a proposal.
type ack struct {
	signer  string
	hash    [32]byte // of the change
	refused bool
	reason  string // why, when refused
}

func (a ack) append(b []byte) []byte {
	b = append(appendString(append(b, kindAck), a.signer), a.hash[:]...)
	if a.refused {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return appendString(b, a.reason)
}

// cursor reads a message front to back. After the first thing that is wrong
// all reads return zeros, and err says what it was.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *cursor) take(n int) []byte {
	if c.err == nil && len(c.b) < n {
		c.fail("it ends too early")
	}
	if c.err != nil {
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) octet() byte {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if v := c.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if v := c.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (c *cursor) text() string { return string(c.take(int(c.octet()))) }

func (c *cursor) id() ID { return ID{Node: c.text(), Incarnation: c.uint64(), Counter: c.uint64()} }

func (c *cursor) time() time.Time {
	s := c.uint64()
	switch {
	case s == 0:
		return time.Time{}
	case s >= endOfTime:
		c.fail("a time is %d seconds after 1970", s)
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}

// parseMessage reads a proposal or commit, of which it keeps nothing. An error
// wraps ErrMalformed.
func parseMessage(msg []byte) (message, error) {
	if len(msg) > MaxMessage {
		return message{}, fmt.Errorf("override message is %w: %d octets, want at most %d", ErrMalformed, len(msg), MaxMessage)
	}
	c := &cursor{b: msg}
	m := message{kind: c.octet(), signer: c.text()}
	if m.kind != kindProposal && m.kind != kindCommit {
		c.fail("kind %#02x is no proposal or commit", m.kind)
	}
	m.change = c.change()
	m.sig = bytes.Clone(c.take(ed25519.SignatureSize))
	if c.err == nil && len(c.b) > 0 {
		c.fail("%d octets are after its end", len(c.b))
	}
	if c.err == nil {
		c.err = m.change.check()
	}
	if c.err == nil && m.kind == kindProposal && m.signer != m.change.id().Node {
		c.fail("%q signs a proposal of %q", m.signer, m.change.id().Node)
	}
	if c.err != nil {
		return message{}, fmt.Errorf("override message is %w: %w", ErrMalformed, c.err)
	}
	return m, nil
}

func (c *cursor) change() change {
	switch kind := c.octet(); kind {
	case 0:
		return change{put: c.override()}
	case 1:
		return change{clear: c.clearing()}
	default:
		c.fail("a change of type %d", kind)
		return change{}
	}
}

func (c *cursor) override() *Override {
	o := &Override{ID: c.id(), Version: c.uint64()}
	if code := c.octet(); int(code) < len(actions) {
		o.Action = actions[code]
	} else {
		c.fail("an action of code %d", code)
	}
	if s := c.text(); s != "" {
		t, err := ParseTarget(s)
		if err != nil || t.String() != s {
			c.fail("target %q is not in its usual form", s)
		}
		o.Target = t
	}
	o.Weight = c.uint32()
	if s := c.text(); s != "" {
		p, err := netip.ParsePrefix(s)
		if err != nil || p.String() != s {
			c.fail("prefix %q is not in its usual form", s)
		}
		o.Prefix = p
	}
	o.PoP, o.Owner, o.Reason = c.text(), c.text(), c.text()
	o.Created, o.Expires = c.time(), c.time()
	return o
}

func (c *cursor) clearing() *Clearing {
	l := &Clearing{ID: c.id(), Version: c.uint64()}
	for range c.octet() {
		if c.err != nil {
			break
		}
		l.Cleared = append(l.Cleared, c.id())
	}
	l.Owner, l.Reason = c.text(), c.text()
	l.At, l.Keep = c.time(), c.time()
	return l
}

// parseAck reads an ack. An error wraps ErrMalformed.
func parseAck(msg []byte) (ack, error) {
	c := &cursor{b: msg}
	if kind := c.octet(); kind != kindAck {
		c.fail("kind %#02x is no ack", kind)
	}
	a := ack{signer: c.text()}
	copy(a.hash[:], c.take(len(a.hash)))
	refused := c.octet()
	a.refused, a.reason = refused == 1, c.text()
	c.take(ed25519.SignatureSize)
	switch {
	case c.err != nil:
	case len(c.b) > 0:
		c.fail("%d octets are after its end", len(c.b))
	case refused > 1 || a.refused != (a.reason != ""):
		c.fail("it refuses with code %d and the reason %q", refused, a.reason)
	case a.reason != "":
		c.err = checkText("reason", a.reason, 255)
	}
	if c.err != nil {
		return ack{}, fmt.Errorf("override ack is %w: %w", ErrMalformed, c.err)
	}
	return a, nil
}

// parseState reads a state whole. An error wraps ErrMalformed; then nothing of
// the state may be used.
func parseState(state []byte) ([]message, error) {
	if len(state) > MaxState {
		return nil, fmt.Errorf("override state is %w: %d octets, want at most %d", ErrMalformed, len(state), MaxState)
	}
	c := &cursor{b: state}
	if kind := c.octet(); kind != kindState {
		c.fail("kind %#02x is no state", kind)
	}
	var all []message
	for c.err == nil && len(c.b) > 0 {
		n := c.take(2)
		if n == nil {
			break
		}
		msg := c.take(int(binary.BigEndian.Uint16(n)))
		if msg == nil {
			break
		}
		m, err := parseMessage(msg)
		switch {
		case err != nil:
			c.err = err
		case m.kind != kindCommit:
			c.fail("it holds a message of kind %#02x", m.kind)
		}
		all = append(all, m)
	}
	if c.err != nil {
		return nil, fmt.Errorf("override state is %w: %w", ErrMalformed, c.err)
	}
	return all, nil
}
