package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"time"
)

// Life is how long a token is good after it was made. A session takes seconds.
const Life = 5 * time.Minute

// Key is a secret that all nodes share.
type Key [32]byte

// Token is what a token says.
type Token struct {
	Session uint64
	Expires int64        // Unix time in seconds; in that second the token is not good any more
	Block   netip.Prefix // of the client: a /24 or a /48
	pops    [popsSize]byte
}

// The parts of a token, octets. Those of an IPv6 client fill a label to its end.
const (
	versionSize = 1
	sessionSize = 8
	timeSize    = 4
	block4Size  = 3
	block6Size  = 6
	popsSize    = 6
	macSize     = 14 // 112 bits: more than RFC 2104 asks for at least

	fixedSize = versionSize + sessionSize + timeSize + popsSize + macSize
	size4     = fixedSize + block4Size
	size6     = fixedSize + block6Size
)

// The first octet: the version of the form, and the client's family.
const (
	version4 = 0x14
	version6 = 0x16
)

// Length4 and Length6 are the lengths of tokens for clients of IPv4 and IPv6, in
// characters.
const (
	Length4 = (size4*8 + 4) / 5
	Length6 = (size6*8 + 4) / 5
)

// encoding writes a label that is not case-sensitive (RFC 4648 section 6).
var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Block returns the block that a client's token is bound to: its /24, or its /48.
func Block(client netip.Addr) netip.Prefix {
	client = client.Unmap().WithZone("")
	bits := 48
	if client.Is4() {
		bits = 24
	}
	p, _ := client.Prefix(bits) // no error: the length fits the family; an invalid address gives an invalid prefix
	return p
}

// Make returns a token for a session of a client, which must be valid, and the
// PoPs that it is to measure, in this order. Seconds are all that counts of
// expires.
func Make(key Key, session uint64, expires time.Time, client netip.Addr, pops []string) string {
	block := Block(client)
	b := make([]byte, 0, size6)
	if block.Addr().Is4() {
		b = append(b, version4)
	} else {
		b = append(b, version6)
	}
	b = binary.BigEndian.AppendUint64(b, session)
	b = binary.BigEndian.AppendUint32(b, uint32(expires.Unix()))
	b = append(b, block.Addr().AsSlice()[:blockSize(b[0])]...)
	digest := digestOf(pops)
	b = append(b, digest[:]...)
	return encoding.EncodeToString(append(b, mac(key, b)...))
}

func blockSize(version byte) int {
	if version == version4 {
		return block4Size
	}
	return block6Size
}

// digestOf stands for a list of PoPs.
func digestOf(pops []string) (d [popsSize]byte) {
	h := sha256.New()
	for _, p := range pops {
		h.Write([]byte{byte(len(p))})
		h.Write([]byte(p))
	}
	copy(d[:], h.Sum(nil))
	return d
}

// mac signs b. The text before it keeps a signature from meaning anything else
// that the key may be used for.
func mac(key Key, b []byte) []byte {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte("edged beacon token\x00"))
	h.Write(b)
	return h.Sum(nil)[:macSize]
}

// What is wrong with a token.
var (
	ErrForm    = errors.New("token: not one")
	ErrForged  = errors.New("token: signed with no key of ours")
	ErrExpired = errors.New("token: expired, or not to be made yet")
	ErrBlock   = errors.New("token: made for a client in another block")
	ErrPoPs    = errors.New("token: made for other pops")
)

// Parse reads a token in whatever case. It errs with ErrForm, or with ErrForged
// when none of the keys made it.
func Parse(label string, keys []Key) (Token, error) {
	if len(label) != Length4 && len(label) != Length6 {
		return Token{}, ErrForm
	}
	label = lower(label)
	b, err := encoding.DecodeString(label)
	if err != nil || encoding.EncodeToString(b) != label { // one token has one spelling
		return Token{}, ErrForm
	}
	if !(b[0] == version4 && len(b) == size4) && !(b[0] == version6 && len(b) == size6) {
		return Token{}, ErrForm
	}
	signed, sum := b[:len(b)-macSize], b[len(b)-macSize:]
	good := false
	for _, key := range keys {
		good = hmac.Equal(mac(key, signed), sum) || good
	}
	if !good {
		return Token{}, ErrForged
	}
	t := Token{Session: binary.BigEndian.Uint64(b[1:]), Expires: int64(binary.BigEndian.Uint32(b[9:]))}
	rest := b[13:]
	if b[0] == version4 {
		t.Block = netip.PrefixFrom(netip.AddrFrom4([4]byte{rest[0], rest[1], rest[2]}), 24)
	} else {
		var a [16]byte
		copy(a[:block6Size], rest)
		t.Block = netip.PrefixFrom(netip.AddrFrom16(a), 48)
	}
	copy(t.pops[:], rest[blockSize(b[0]):])
	return t, nil
}

// lower folds ASCII capitals, as DNS does.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// Live says whether the token is in force at a time: not expired, and not made
// for longer than Life, which no node of ours does.
func (t Token) Live(now time.Time) bool {
	left := t.Expires - now.Unix()
	return left > 0 && left <= int64((Life+skew)/time.Second)
}

// skew is how far the clocks of two nodes may be apart.
const skew = 10 * time.Second

// Check says whether a client may report the PoPs in this order with the token:
// ErrExpired, ErrBlock or ErrPoPs. A client that reports over the other family
// than its session began with cannot be held to its block: it is taken.
func (t Token) Check(now time.Time, client netip.Addr, pops []string) error {
	client = client.Unmap().WithZone("")
	switch {
	case !t.Live(now):
		return ErrExpired
	case client.Is4() == t.Block.Addr().Is4() && !t.Block.Contains(client):
		return ErrBlock
	case digestOf(pops) != t.pops:
		return ErrPoPs
	}
	return nil
}
