package maps

import (
	"fmt"
	"io"
	"runtime"

	"edged/edge"
	"edged/edge/pages"
)

// Open reads a map file into read-only memory outside the Go heap and verifies
// all of it. The memory goes away when the Map and its ranges are unreachable.
// It is a copy, not the file's own pages: an operator who writes over the file
// in place can neither change a map in use nor fault its readers.
func Open(path string) (*Map, error) {
	m, err := OpenUnhashed(path)
	if err != nil {
		return nil, err
	}
	if err := m.CheckHash(); err != nil {
		return nil, fmt.Errorf("map %q: %w", path, err)
	}
	return m, nil
}

// OpenUnhashed is Open for a node that answers meanwhile: it checks everything
// but the content's SHA-256, which takes 0.6 ms/MB. The caller calls CheckHash
// when it has the time. Damage is found all the same, by CRC-32C.
func OpenUnhashed(path string) (*Map, error) {
	memory, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	defer runtime.KeepAlive(memory)
	m, err := parse(memory.Bytes())
	if err != nil {
		return nil, fmt.Errorf("map %q: %w", path, err)
	}
	m.memory = memory
	for _, t := range []*Table{&m.ecs, &m.res} {
		t.V4.memory, t.V6.memory = memory, memory
	}
	return m, nil
}

// load fills as much memory as the file is long and makes it read-only.
func load(path string) (*pages.Memory, error) {
	f, err := edge.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < headerSize {
		return nil, fmt.Errorf("%q: %w", path, tooShort(int(info.Size())))
	}
	m := pages.New(int(info.Size()))
	if _, err := io.ReadFull(f, m.Bytes()); err != nil {
		return nil, fmt.Errorf("cannot read %q: %w", path, err)
	}
	if err := m.Protect(); err != nil {
		return nil, fmt.Errorf("%q: %w", path, err)
	}
	return m, nil
}
