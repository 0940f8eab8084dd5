// Package loopback has the addresses of VIPs on this machine's loopback device,
// and never touches any other address.
//
// Each address that [Addresses.Ensure] adds carries a mark in the kernel, the
// address protocol ([Protocol]), so that a node knows its own again after a crash
// ([Addresses.Owned]) and takes away only those ([Addresses.Remove]). An address
// that someone else put there serves as well, and stays when the VIP goes. IPv4
// addresses also carry the VIP's name as their label, for people:
//
//	$ ip address show dev lo
//	inet 198.51.100.53/32 scope global noprefixroute lo:ns1
//
// The mark takes Linux 5.18, and changes take CAP_NET_ADMIN. On other systems,
// and on older kernels, the operator assigns the addresses.
//
// Calls act on the network namespace of the calling thread. They wait for the
// kernel only, and may be made from several goroutines.
package loopback

import "fmt"

// Protocol is the mark of our addresses (IFA_PROTO). The kernel uses 1 to 3; the
// rest is free.
const Protocol = 0xED

// label returns the label of a VIP's IPv4 addresses: the device's name, and as
// much of the VIP's as the kernel keeps (15 octets in all).
func label(vip string) string {
	const room = 15
	l := fmt.Sprintf("%s:%s", device, vip)
	return l[:min(len(l), room)]
}

const device = "lo"
