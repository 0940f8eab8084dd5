package bgp

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// What goes over the wire is drawn in docs/format/grants.md.

// maxPromise is the most octets that an ask or a grant may have.
const maxPromise = 1024

// Nonce ties a grant to the ask that it answers. It is random, and serves once.
type Nonce [16]byte

// Ask asks another node to promise that it goes on announcing a VIP.
type Ask struct {
	Nonce    Nonce
	Asker    string
	VIP      string
	Prefixes []netip.Prefix // those of the VIP on the asker, sorted
	Briefly  bool           // it stays, and is without them while a session is made anew
}

// Grant is the promise.
type Grant struct {
	Nonce   Nonce // of the ask
	Granter string
	Asker   string
	VIP     string
}

const (
	promiseVersion = 1
	kindAsk        = 1
	kindGrant      = 2
)

// KeyOf returns the public key of a node, false for one that is no member.
type KeyOf func(node string) (ed25519.PublicKey, bool)

// Seal returns the ask as the asker signs it, for the nodes of one fleet.
func (a Ask) Seal(fleet string, key ed25519.PrivateKey) []byte {
	return sealPromise(fleet, key, a.append(nil))
}

// Seal returns the grant as the granter signs it, for the nodes of one fleet.
func (g Grant) Seal(fleet string, key ed25519.PrivateKey) []byte {
	return sealPromise(fleet, key, g.append(nil))
}

func (a Ask) append(b []byte) []byte {
	b = append(b, promiseVersion, kindAsk)
	b = append(b, a.Nonce[:]...)
	b = appendName(appendName(b, a.Asker), a.VIP)
	if a.Briefly {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = append(b, byte(len(a.Prefixes)))
	for _, p := range a.Prefixes {
		octets := p.Addr().AsSlice()
		b = append(b, byte(len(octets)), byte(p.Bits()))
		b = append(b, octets...)
	}
	return b
}

func (g Grant) append(b []byte) []byte {
	b = append(b, promiseVersion, kindGrant)
	b = append(b, g.Nonce[:]...)
	return appendName(appendName(appendName(b, g.Granter), g.Asker), g.VIP)
}

func appendName(b []byte, name string) []byte {
	return append(append(b, byte(len(name))), name...)
}

// OpenAsk returns the ask that a message is. It errs with ErrMalformed for any
// other one, and with ErrForged for one that the asker's key has not signed.
func OpenAsk(fleet string, keyOf KeyOf, msg []byte) (Ask, error) {
	var a Ask
	r, err := openPromise(msg, kindAsk)
	if err != nil {
		return a, err
	}
	a.Nonce = Nonce(r.take(len(a.Nonce)))
	a.Asker, a.VIP = r.name(), r.name()
	switch why := r.take(1)[0]; why {
	case 0:
	case 1:
		a.Briefly = true
	default:
		r.fail("it is for purpose %d, want 0 or 1", why)
	}
	for n := int(r.take(1)[0]); n > 0 && r.err == nil; n-- {
		a.Prefixes = append(a.Prefixes, r.prefix())
		if k := len(a.Prefixes); k > MaxPrefixes || k > 1 && a.Prefixes[k-2].Compare(a.Prefixes[k-1]) >= 0 {
			r.fail("its prefixes are too many, or do not ascend")
		}
	}
	if r.end(); r.err != nil {
		return Ask{}, r.err
	}
	return a, verifyPromise(fleet, keyOf, a.Asker, msg)
}

// OpenGrant returns the grant that a message is. It errs with ErrMalformed for
// any other one, and with ErrForged for one that the granter's key has not signed.
func OpenGrant(fleet string, keyOf KeyOf, msg []byte) (Grant, error) {
	var g Grant
	r, err := openPromise(msg, kindGrant)
	if err != nil {
		return g, err
	}
	g.Nonce = Nonce(r.take(len(g.Nonce)))
	g.Granter, g.Asker, g.VIP = r.name(), r.name(), r.name()
	if r.end(); r.err != nil {
		return Grant{}, r.err
	}
	return g, verifyPromise(fleet, keyOf, g.Granter, msg)
}

// signedPromise returns what a signature covers. It begins with a domain of its own,
// so that no signature made for another purpose or fleet serves here.
func signedPromise(fleet string, unsigned []byte) []byte {
	b := []byte("edged promise 1\x00")
	b = binary.LittleEndian.AppendUint64(b, uint64(len(fleet)))
	b = append(b, fleet...)
	return append(b, unsigned...)
}

func sealPromise(fleet string, key ed25519.PrivateKey, unsigned []byte) []byte {
	return append(unsigned, ed25519.Sign(key, signedPromise(fleet, unsigned))...)
}

func verifyPromise(fleet string, keyOf KeyOf, signer string, msg []byte) error {
	key, ok := keyOf(signer)
	if !ok || len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("%w promise: %q is not a member with a key", ErrForged, signer)
	}
	unsigned := msg[:len(msg)-ed25519.SignatureSize]
	if !ed25519.Verify(key, signedPromise(fleet, unsigned), msg[len(unsigned):]) {
		return fmt.Errorf("%w promise: the key of %q has not signed it", ErrForged, signer)
	}
	return nil
}

// openPromise reads the head of a message, and returns a reader of the rest.
func openPromise(msg []byte, kind byte) (*promiseReader, error) {
	r := &promiseReader{}
	if len(msg) > maxPromise || len(msg) < 2+ed25519.SignatureSize {
		r.fail("it has %d octets", len(msg))
		return nil, r.err
	}
	r.b = msg[:len(msg)-ed25519.SignatureSize]
	if head := r.take(2); head[0] != promiseVersion || head[1] != kind {
		r.fail("version %d and kind %d, want %d and %d: is its sender a newer edged?", head[0], head[1], promiseVersion, kind)
	}
	return r, r.err
}

// promiseReader reads a message from its front. After an error it reads zeros.
type promiseReader struct {
	b   []byte
	err error
}

func (r *promiseReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w promise: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
}

func (r *promiseReader) take(n int) []byte {
	if len(r.b) < n {
		r.fail("it ends too early")
	}
	if r.err != nil {
		return make([]byte, n)
	}
	front := r.b[:n]
	r.b = r.b[n:]
	return front
}

func (r *promiseReader) name() string {
	s := string(r.take(int(r.take(1)[0])))
	if !validName(s) {
		r.fail("%q is no name", s)
	}
	return s
}

func (r *promiseReader) prefix() netip.Prefix {
	head := r.take(2)
	if r.err == nil && head[0] != 4 && head[0] != 16 {
		r.fail("an address of %d octets", head[0])
	}
	a, _ := netip.AddrFromSlice(r.take(int(head[0])))
	p := netip.PrefixFrom(a, int(head[1]))
	if r.err == nil && (!p.IsValid() || p != p.Masked() || a.Is4In6()) {
		r.fail("%s is not a prefix", p)
	}
	return p
}

func (r *promiseReader) end() {
	if len(r.b) > 0 {
		r.fail("%d octets too many", len(r.b))
	}
}
