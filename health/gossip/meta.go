package gossip

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
)

// KeyID names a gossip key without giving it away: the first 8 octets of a hash.
type KeyID [8]byte

// String returns 16 hex digits.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// meta is what a node tells of itself with its membership. As octets: version
// (1), length of the PoP's name, the name, count of keys, their ids, the first
// of which it encrypts with, and the port of its link, little-endian, if it has
// one. A later version may add to the end; what a node does not know it skips.
type meta struct {
	pop  string
	keys []KeyID
	link uint16
}

const (
	metaVersion = 1
	maxPoP      = 63 // octets of a PoP's name
)

var errMeta = errors.New("node data of an unknown form")

// appendTo appends the octets: at most 1+1+63+1+8*maxRing+2, below memberlist's
// 512.
func (m meta) appendTo(b []byte) []byte {
	b = append(b, metaVersion, byte(len(m.pop)))
	b = append(b, m.pop...)
	b = append(b, byte(len(m.keys)))
	for _, id := range m.keys {
		b = append(b, id[:]...)
	}
	if m.link != 0 {
		b = binary.LittleEndian.AppendUint16(b, m.link)
	}
	return b
}

// parseMeta reads the octets. It errs when they end early, name no key or more
// than maxRing, or are of version 0.
func parseMeta(b []byte) (meta, error) {
	if len(b) < 2 || b[0] < metaVersion {
		return meta{}, errMeta
	}
	length := int(b[1])
	b = b[2:]
	if length > maxPoP || len(b) < length+1 {
		return meta{}, errMeta
	}
	m := meta{pop: string(b[:length])}
	count := int(b[length])
	b = b[length+1:]
	if count == 0 || count > maxRing || len(b) < count*len(KeyID{}) {
		return meta{}, errMeta
	}
	m.keys = make([]KeyID, count)
	for i := range m.keys {
		copy(m.keys[i][:], b[i*len(KeyID{}):])
	}
	if b = b[count*len(KeyID{}):]; len(b) >= 2 {
		m.link = binary.LittleEndian.Uint16(b)
	}
	return m, nil
}

// secret is a gossip key.
type secret [32]byte

// id returns the key's name. Keys are random, so nothing is learned from it.
func (s secret) id() KeyID {
	sum := sha256.Sum256(append([]byte("edged gossip key\x00"), s[:]...))
	return KeyID(sum[:8])
}
