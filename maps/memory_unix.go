//go:build unix

package maps

import (
	"fmt"
	"io"
	"runtime"

	"golang.org/x/sys/unix"

	"edged/edge"
)

// memory is what a map's slices lie in. Everything that hands out or reads such
// slices refers to it, so that it outlives them.
type memory struct{ data []byte }

// load maps as much memory as the file is long, fills it, and makes it
// read-only.
func load(path string) (*memory, error) {
	f, err := edge.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		return &memory{}, nil // Parse says what is wrong
	}
	data, err := unix.Mmap(-1, 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|mapPopulate)
	if err != nil {
		return nil, fmt.Errorf("cannot map %d bytes for %q: %w", info.Size(), path, err)
	}
	m := &memory{data}
	runtime.AddCleanup(m, func(data []byte) { _ = unix.Munmap(data) }, data)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("cannot read %q: %w", path, err)
	}
	if err := unix.Mprotect(data, unix.PROT_READ); err != nil {
		return nil, fmt.Errorf("cannot protect the memory of %q: %w", path, err)
	}
	return m, nil
}
