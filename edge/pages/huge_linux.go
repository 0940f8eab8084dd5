package pages

import "golang.org/x/sys/unix"

// adviseHuge asks for huge pages. Without them the memory serves as well.
func adviseHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }

// populate has the system provide memory at once, instead of at each page's first
// use, which takes ten times as long. Before Linux 5.14 it does nothing.
func populate(b []byte) { _ = unix.Madvise(b, unix.MADV_POPULATE_WRITE) }
