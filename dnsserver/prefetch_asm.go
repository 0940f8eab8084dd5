//go:build amd64 || arm64

package dnsserver

// touch brings a slot's cache line closer without waiting for it.
//
//go:noescape
func touch(slot *nameSlot)
