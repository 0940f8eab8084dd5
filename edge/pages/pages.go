package pages

import "unsafe"

// Bytes returns the memory.
func (m *Memory) Bytes() []byte { return m.bytes }

// Slice returns n numbers in the machine's byte order that begin at an offset,
// which is a multiple of their size. It panics when they do not fit.
func Slice[T ~uint16 | ~uint32 | ~uint64](m *Memory, offset, n int) []T {
	var zero T
	size := int(unsafe.Sizeof(zero))
	part := m.bytes[offset : offset+n*size]
	if offset%size != 0 {
		panic("pages: offset is not a multiple of the size")
	}
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&part[0])), n)
}

// heap returns memory of the Go heap, aligned for all numbers.
func heap(size int) []byte {
	words := make([]uint64, (size+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)[:size:size]
}
