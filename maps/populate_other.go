//go:build unix && !linux

package maps

const mapPopulate = 0
