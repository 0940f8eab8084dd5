// Package rig runs a whole fleet on one Linux machine: nodes that are the real
// binary, each in a network namespace of its own, and the web servers that they
// check, each a process that can be killed.
//
// Two networks join them. Nodes gossip over one and check over the other, the
// uplink, so that a node can be cut off from either or from both: the switches
// stand in a namespace of their own, and a cut is a port taken out of its switch,
// which loses packets without a word, as networks do. The gossip can also be
// split in two.
//
//	gossip 192.0.2.N      node N
//	uplink 198.51.100.N   node N's checks
//	       203.0.113.N    the web server of PoP N
//
// A namespace lives as long as one thread of this process does, and a child dies
// with it, so nothing is left behind however the process ends. A node's clock
// can be wrong ([Node.SetClock]), and the gossip can lose packets ([Fleet.Lose]).
// Questions are asked from inside a node's namespace ([Node.Watch]).
//
// Making namespaces needs root, or CAP_NET_ADMIN and CAP_SYS_ADMIN: see
// [Possible].
package rig
