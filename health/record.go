package health

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"edged/edge"
)

// What goes over the wire is drawn in docs/format/health-records.md.

// The bounds of what observers say. Whatever exceeds one is refused.
const (
	MaxMessage   = 1000     // octets of a batch or digest, so that it fits a datagram with what gossip adds
	MaxName      = 63       // octets of an observer's or PoP's name
	MaxTargets   = 20_000   // registers of one observer
	MaxRegisters = 1 << 20  // registers of all observers together
	MaxObservers = 4096     // observers that one matrix holds
	MaxState     = 16 << 20 // octets of a matrix's state
)

// Why a message was dropped: what Apply and Merge return wraps one of these.
var (
	ErrMalformed = errors.New("malformed record")                         // it is not a message of this format
	ErrForged    = errors.New("forged record")                            // its key is not the observer's, or has not signed it
	ErrReplayed  = errors.New("replayed record")                          // it is older than what is held
	ErrFull      = errors.New("record beyond the bounds of what is kept") // a bound above
)

// kind tells the three messages apart.
type kind uint8

const (
	batch    kind = 1 + iota // the registers that changed
	digest                   // all registers still hold
	snapshot                 // all registers
)

var kindNames = [...]string{batch: "batch", digest: "digest", snapshot: "snapshot"}

// header is what all three messages begin with.
type header struct {
	kind                  kind
	incarnation, sequence uint64
	key                   ed25519.PublicKey
	observer, pop         string
}

func (h header) String() string {
	return fmt.Sprintf("%s %d.%d of %q", kindNames[h.kind], h.incarnation, h.sequence, h.observer)
}

const (
	formatVersion = 1
	headerSize    = 1 + 1 + 8 + 8 + ed25519.PublicKeySize + 1 + 1 // without the two names
	maxRegister   = 8 + 1 + 2 + 1 + MaxReason
	maxOverhead   = headerSize + 2*MaxName + ed25519.SignatureSize
	maxSnapshot   = maxOverhead + MaxTargets*maxRegister
	maxDigest     = maxOverhead + 8 + sumSize + 1 + MaxReason
)

func appendHeader(b []byte, h header) []byte {
	b = append(b, formatVersion, byte(h.kind))
	b = binary.LittleEndian.AppendUint64(b, h.incarnation)
	b = binary.LittleEndian.AppendUint64(b, h.sequence)
	b = append(b, h.key...)
	return appendText(appendText(b, h.observer), h.pop)
}

// parseHeader splits a message into its header and its body. The header's key
// and the body lie in msg. The signature is there, but not looked at.
func parseHeader(msg []byte) (header, []byte, error) {
	malformed := func(format string, args ...any) (header, []byte, error) {
		return header{}, nil, fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
	if len(msg) < headerSize+ed25519.SignatureSize {
		return malformed("%d octets are too few", len(msg))
	}
	c := &cursor{b: msg[:len(msg)-ed25519.SignatureSize]}
	if version := c.uint8(); version != formatVersion {
		return malformed("format version %d, want %d: is its sender a newer edged?", version, formatVersion)
	}
	h := header{kind: kind(c.uint8()), incarnation: c.uint64(), sequence: c.uint64(), key: c.next(ed25519.PublicKeySize)}
	h.observer, h.pop = c.text(MaxName), c.text(MaxName)
	most := MaxMessage
	if h.kind == snapshot {
		most = maxSnapshot
	}
	switch {
	case c.err != nil:
		return malformed("header: %v", c.err)
	case h.kind < batch || h.kind > snapshot:
		return malformed("kind %d, want 1 to 3", h.kind)
	case h.observer == "":
		return malformed("it names no observer")
	case h.incarnation == 0 || h.kind == batch && h.sequence == 0:
		return malformed("%v: incarnations and batches are counted from 1", h)
	case len(msg) > most:
		return malformed("%v has %d octets, want at most %d", h, len(msg), most)
	}
	return h, c.b, nil
}

// signed appends what a signature covers. It begins with a domain of its own,
// so that no signature made for another purpose or fleet serves here.
func signed(b []byte, fleet string, unsigned []byte) []byte {
	b = append(b, "edged health 1\x00"...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(fleet)))
	b = append(b, fleet...)
	return append(b, unsigned...)
}

// sign appends the signature to a message that is complete but for it.
func sign(fleet string, key ed25519.PrivateKey, unsigned []byte) []byte {
	return append(unsigned, ed25519.Sign(key, signed(nil, fleet, unsigned))...)
}

// change is what a batch or snapshot says of one target.
type change struct {
	Observation
	gone bool // only Target is set: the observer checks it no more
}

// goneMark stands in a batch where the verdict would.
const goneMark = 0xff

func appendChange(b []byte, ch change) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(ch.Target))
	if ch.gone {
		return append(b, goneMark)
	}
	b = append(b, byte(ch.Verdict))
	b = binary.LittleEndian.AppendUint16(b, uint16(ch.Next/time.Second))
	return appendText(b, ch.Reason)
}

// parseChanges reads the body of a batch or snapshot.
func parseChanges(h header, body []byte) ([]change, error) {
	var changes []change
	c := &cursor{b: body}
	for len(c.b) > 0 {
		ch := change{Observation: Observation{Target: TargetID(c.uint64())}}
		if verdict := c.uint8(); verdict == goneMark {
			ch.gone = true
		} else {
			ch.Verdict = edge.Verdict(verdict)
			ch.Next = time.Duration(c.uint16()) * time.Second
			ch.Reason = c.text(MaxReason)
		}
		n := len(changes)
		switch {
		case c.err != nil:
			return nil, fmt.Errorf("%w: %v, target %s: %v", ErrMalformed, h, ch.Target, c.err)
		case ch.Verdict > edge.Dead:
			return nil, fmt.Errorf("%w: %v, target %s: verdict %q, want ok to dead", ErrMalformed, h, ch.Target, ch.Verdict)
		case ch.gone && h.kind == snapshot:
			return nil, fmt.Errorf("%w: %v, target %s: gone, want what is there", ErrMalformed, h, ch.Target)
		case n > 0 && ch.Target <= changes[n-1].Target:
			return nil, fmt.Errorf("%w: %v, target %s: it comes after %s, want targets to ascend", ErrMalformed, h, ch.Target, changes[n-1].Target)
		case n == MaxTargets:
			return nil, fmt.Errorf("%w: %v: more than %d targets", ErrMalformed, h, MaxTargets)
		}
		changes = append(changes, ch)
	}
	return changes, nil
}

// renewal is the body of a digest.
type renewal struct {
	beat    uint64 // counts the digests of an incarnation, from 1
	sum     sum
	suspect string
}

func appendRenewal(b []byte, r renewal) []byte {
	b = binary.LittleEndian.AppendUint64(b, r.beat)
	b = append(b, r.sum[:]...)
	return appendText(b, r.suspect)
}

func parseRenewal(h header, body []byte) (renewal, error) {
	c := &cursor{b: body}
	r := renewal{beat: c.uint64(), sum: sum(c.next(sumSize)), suspect: c.text(MaxReason)}
	switch {
	case c.err != nil:
		return renewal{}, fmt.Errorf("%w: %v: %v", ErrMalformed, h, c.err)
	case len(c.b) > 0:
		return renewal{}, fmt.Errorf("%w: %v: %d octets after its end", ErrMalformed, h, len(c.b))
	case r.beat == 0:
		return renewal{}, fmt.Errorf("%w: %v: digests are counted from 1", ErrMalformed, h)
	}
	return r, nil
}

// registers is all that one observer says.
type registers map[TargetID]Observation

// content is the body of a snapshot: the same registers give the same octets.
func (r registers) content() []byte {
	var b []byte
	for _, o := range slices.SortedFunc(maps.Values(r), func(x, y Observation) int { return cmp.Compare(x.Target, y.Target) }) {
		b = appendChange(b, change{Observation: o})
	}
	return b
}

const sumSize = 16

// sum is the beginning of the SHA-256 of the content of registers.
type sum [sumSize]byte

func sumOf(content []byte) sum {
	full := sha256.Sum256(content)
	return sum(full[:])
}

// plain makes s fit to be sent: printable and at most most octets long.
func plain(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	for len(s) > most {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

// appendText appends a text of at most 255 octets, after its length.
func appendText(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

// cursor reads a message from front to back. After the first error it gives
// zeros, and what is left is nothing.
type cursor struct {
	b   []byte // what is left
	err error
}

// next returns the next n octets, which are few: a number, key or name.
func (c *cursor) next(n int) []byte {
	if n > len(c.b) {
		c.fail("it ends too early")
	}
	if c.err != nil {
		return make([]byte, n)
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) fail(what string) {
	if c.err == nil {
		c.b, c.err = nil, errors.New(what)
	}
}

func (c *cursor) uint8() uint8   { return c.next(1)[0] }
func (c *cursor) uint16() uint16 { return binary.LittleEndian.Uint16(c.next(2)) }
func (c *cursor) uint32() uint32 { return binary.LittleEndian.Uint32(c.next(4)) }
func (c *cursor) uint64() uint64 { return binary.LittleEndian.Uint64(c.next(8)) }

// block returns the next octets after their number in four octets.
func (c *cursor) block() []byte {
	n := c.uint32()
	if uint64(n) > uint64(len(c.b)) {
		c.fail("it ends too early")
		return nil
	}
	return c.next(int(n))
}

// text reads a text after its length. It ends up in tables and logs, so it
// must be printable.
func (c *cursor) text(most int) string {
	b := c.next(int(c.uint8()))
	switch {
	case c.err != nil:
		return ""
	case len(b) > most:
		c.fail(fmt.Sprintf("a text of %d octets, want at most %d", len(b), most))
	case !utf8.Valid(b) || bytes.ContainsFunc(b, func(r rune) bool { return !unicode.IsPrint(r) }):
		c.fail(fmt.Sprintf("the text %q, want it printable", b))
	}
	if c.err != nil {
		return ""
	}
	return string(b)
}
