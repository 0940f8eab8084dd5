package maps

import (
	"encoding/binary"
	"unsafe"
)

// The layout of the file, which docs/format/edmap.md draws. All numbers are
// little endian; sections begin at multiples of 8 bytes, so that their arrays
// can be used where they lie.
const (
	magic         = "edgedmap"
	formatVersion = 2

	headerSize  = 104
	contentHash = 32 // SHA-256 of what follows the header
	contentSum  = 64 // CRC-32C of the same, in 8 bytes
	headerHash  = 72 // SHA-256 of the header before it

	entrySize   = 32 // of a directory entry
	nameSize    = 8
	maxSections = 64

	flagRequired = 1 // a reader that does not know the section must refuse the map
)

// The sections that this package knows.
const (
	sectionPoPs     = "pops"
	sectionInputs   = "inputs"
	sectionPrices   = "prices"
	sectionOrders   = "orders"
	sectionRankings = "rankings"
	sectionECS4     = "ecs4"
	sectionECS6     = "ecs6"
	sectionRes4     = "res4"
	sectionRes6     = "res6"
	sectionGate     = "gate"
	sectionOrigins  = "origins"
)

// optional are the sections that a map may lack, and a reader may skip.
var optional = map[string]bool{sectionInputs: true, sectionPrices: true, sectionGate: true, sectionOrigins: true}

// number is an element of an array in the file.
type number interface {
	~uint16 | ~uint32 | ~uint64
}

// view reads an array of n numbers and returns what follows it. The caller has
// made sure that it is there. On a little-endian machine the result is the very
// memory of b, elsewhere or when b is not aligned it is a copy.
func view[T number](b []byte, n int) (array []T, rest []byte) {
	var zero T
	size := int(unsafe.Sizeof(zero))
	part, rest := b[:n*size:n*size], b[n*size:]
	if n == 0 {
		return nil, rest
	}
	at := unsafe.Pointer(unsafe.SliceData(part))
	if littleEndian && uintptr(at)%uintptr(size) == 0 {
		return unsafe.Slice((*T)(at), n), rest
	}
	array = make([]T, n)
	for i := range array {
		switch size {
		case 2:
			array[i] = T(binary.LittleEndian.Uint16(part[2*i:]))
		case 4:
			array[i] = T(binary.LittleEndian.Uint32(part[4*i:]))
		case 8:
			array[i] = T(binary.LittleEndian.Uint64(part[8*i:]))
		}
	}
	return array, rest
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// appendArray is the inverse of view.
func appendArray[T number](b []byte, array []T) []byte {
	var zero T
	for _, v := range array {
		switch unsafe.Sizeof(zero) {
		case 2:
			b = binary.LittleEndian.AppendUint16(b, uint16(v))
		case 4:
			b = binary.LittleEndian.AppendUint32(b, uint32(v))
		case 8:
			b = binary.LittleEndian.AppendUint64(b, uint64(v))
		}
	}
	return b
}
