// Package mapstest makes maps for the tests of other packages.
package mapstest

import (
	"testing"

	"edged/maps"
)

// Map returns what c describes as a map that was read from a file.
func Map(t testing.TB, c *maps.Contents) *maps.Map {
	t.Helper()
	b, err := maps.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	m, err := maps.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
