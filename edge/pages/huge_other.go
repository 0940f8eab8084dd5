//go:build unix && !linux

package pages

func adviseHuge([]byte) {}

func populate([]byte) {}
