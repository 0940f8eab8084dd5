//go:build !unix

package maps

import "os"

// memory is what a map's slices lie in: here, the Go heap.
type memory struct{ data []byte }

func load(path string) (*memory, error) {
	data, err := os.ReadFile(path)
	return &memory{data}, err
}
