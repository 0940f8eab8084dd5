package geo

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const hugePage = 2 << 20

// settle moves the tables into memory of huge pages, where the system has them:
// the processor then finds any word of them without walking page tables, which
// costs as much as the word itself. Without them all stays where it is. The
// memory goes when r does, so whoever looks up must keep r alive meanwhile.
func (r *ranges4) settle() {
	n := len(r.index) + len(r.runs)
	size := (4*n + hugePage - 1) &^ (hugePage - 1)
	data, err := unix.Mmap(-1, 0, size+hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return
	}
	skip := int(-uintptr(unsafe.Pointer(&data[0])) & (hugePage - 1))
	part := data[skip : skip+size]
	if unix.Madvise(part, unix.MADV_HUGEPAGE) != nil {
		_ = unix.Munmap(data)
		return
	}
	words := unsafe.Slice((*uint32)(unsafe.Pointer(&part[0])), n)
	copy(words, r.index)
	copy(words[len(r.index):], r.runs)
	r.index, r.runs = words[:len(r.index):len(r.index)], words[len(r.index):]
	runtime.AddCleanup(r, func(data []byte) { _ = unix.Munmap(data) }, data)
}
