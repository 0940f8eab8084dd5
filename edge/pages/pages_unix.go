//go:build unix

package pages

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Memory is zeroed memory of a fixed size. Whoever uses its bytes must keep it
// reachable meanwhile. It is not synchronised.
type Memory struct {
	bytes []byte
	all   []byte // whole pages around bytes; nil when they are of the Go heap
}

// hugePage is the size of a huge page on amd64 and, with pages of 4 KiB, arm64.
const hugePage = 2 << 20

// New returns memory of size bytes, at least 1: of the Go heap when the system
// refuses. Parts that are never written take up no memory but for the rounding
// to pages.
func New(size int) *Memory {
	page := os.Getpagesize()
	if size >= hugePage/2 {
		page = hugePage
	}
	whole := (size + page - 1) &^ (page - 1)
	mapped, err := unix.Mmap(-1, 0, whole+page-os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return &Memory{bytes: heap(size)}
	}
	skip := int(-uintptr(unsafe.Pointer(&mapped[0])) & uintptr(page-1))
	m := &Memory{bytes: mapped[skip : skip+size : skip+size], all: mapped[skip : skip+whole]}
	if page == hugePage {
		adviseHuge(m.all)
	}
	runtime.AddCleanup(m, func(mapped []byte) { _ = unix.Munmap(mapped) }, mapped)
	return m
}

// Populate takes up the memory at once, for a caller who will write to all of it.
func (m *Memory) Populate() {
	if m.all != nil {
		populate(m.bytes)
	}
}

// Protect makes the memory read-only, for good, unless it is of the Go heap.
func (m *Memory) Protect() error {
	if m.all == nil {
		return nil
	}
	if err := unix.Mprotect(m.all, unix.PROT_READ); err != nil {
		return fmt.Errorf("cannot make memory read-only: %w", err)
	}
	return nil
}
