package maps

import (
	"fmt"
	"runtime"
)

// Open reads a map file into read-only memory outside the Go heap and verifies
// all of it. The memory goes away when the Map and its ranges are unreachable.
// It is a copy, not the file's own pages: an operator who writes over the file
// in place can neither change a map in use nor fault its readers.
func Open(path string) (*Map, error) {
	memory, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	defer runtime.KeepAlive(memory)
	m, err := Parse(memory.data)
	if err != nil {
		return nil, fmt.Errorf("map %q: %w", path, err)
	}
	m.memory = memory
	for _, t := range []*Table{&m.ecs, &m.res} {
		t.V4.memory, t.V6.memory = memory, memory
	}
	return m, nil
}
