package pages

import "golang.org/x/sys/unix"

// adviseHuge asks for huge pages. Without them the memory serves as well.
func adviseHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
