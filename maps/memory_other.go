//go:build !unix

package maps

import "edged/edge"

// memory is what a map's slices lie in: here, the Go heap.
type memory struct{ data []byte }

func load(path string) (*memory, error) {
	data, err := edge.ReadRegular(path)
	return &memory{data}, err
}
