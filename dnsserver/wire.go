package dnsserver

import (
	"encoding/binary"
	"math/bits"
)

// Sizes and numbers of RFC 1035, RFC 6891 and the IANA registries that the
// query path needs. The rest come from miekg/dns at compile time of a view.
const (
	headerLen   = 12
	maxName     = 255 // octets on the wire, root included
	minUDP      = 512 // what every client takes
	maxMessage  = 65535
	maxUDPQuery = 4096 // longer queries are cut by the kernel and thus malformed

	typeA     = 1
	typeCNAME = 5
	typeSOA   = 6
	typeTXT   = 16
	typeAAAA  = 28
	typeDS    = 43
	typeOPT   = 41
	typeSVCB  = 64
	typeHTTPS = 65
	typeTKEY  = 249
	typeTSIG  = 250
	typeIXFR  = 251
	typeAXFR  = 252
	typeANY   = 255

	classIN    = 1
	classCHAOS = 3
	classANY   = 255

	rcodeNoError  = 0
	rcodeFormErr  = 1
	rcodeServFail = 2
	rcodeNXDomain = 3
	rcodeNotImp   = 4
	rcodeRefused  = 5
	rcodeBadVers  = 16

	optNSID      = 3
	optECS       = 8
	optCookie    = 10
	optKeepalive = 11
	optEDE       = 15

	edeOther            = 0
	edeNotAuthoritative = 20
	edeNotSupported     = 21
)

// Bits of the header's third and fourth octet.
const (
	flagQR     = 0x80
	flagAA     = 0x04
	flagTC     = 0x02
	flagRD     = 0x01
	opcodeMask = 0x78
)

// toOwner is a compression pointer to the question's name.
const toOwner = 0xc000 | headerLen

// lowerWord turns the ASCII capitals among eight octets into small letters.
// Label lengths are at most 63, below 'A', so whole wire-format names may be
// run through it.
func lowerWord(x uint64) uint64 {
	const ones = 0x0101010101010101
	seven := x & (0x7f * ones)
	fromA := seven + (0x80-'A')*ones
	pastZ := seven + (0x7f-'Z')*ones
	capital := (fromA ^ pastZ) & ^x & (0x80 * ones)
	return x | capital>>2
}

// nameHash hashes a lower-case name in wire format. It reads in words of eight
// octets, so name must have eight octets of zeros behind it in its array.
func nameHash(name []byte, n int) uint64 {
	h := uint64(n) * 0x9e3779b97f4a7c15
	for i := 0; i < n; i += 8 {
		w := binary.LittleEndian.Uint64(name[i : i+8])
		if rest := n - i; rest < 8 {
			w &= 1<<(8*rest) - 1
		}
		hi, lo := bits.Mul64(w^0xa0761d6478bd642f, h^0xe7037ed1a0b428db)
		h = hi ^ lo
	}
	return h
}

// lowerASCII returns a name in lower case. Names are octets, not UTF-8, so
// strings.ToLower would spoil some.
func lowerASCII(name []byte) string {
	b := append([]byte(nil), name...)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
