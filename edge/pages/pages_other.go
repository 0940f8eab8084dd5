//go:build !unix

package pages

// Memory is zeroed memory of a fixed size: here, always of the Go heap.
type Memory struct{ bytes []byte }

// New returns memory of size bytes, at least 1.
func New(size int) *Memory { return &Memory{heap(size)} }

// Protect does nothing here.
func (m *Memory) Protect() error { return nil }

// Populate does nothing here.
func (m *Memory) Populate() {}
