// Package gossip carries messages among the nodes of a fleet and knows which of
// them are there, by memberlist: broadcasts over UDP for speed, exchanges of
// the whole state over TCP (push/pull) for repair, all of it encrypted.
//
// It knows nothing of what it carries. A [Mesh] hands what arrives to its
// [Receiver] and takes what shall be spread; who signed a message, whether it is
// new, and what follows from it, the receiver decides. Whoever holds a gossip
// key can speak here in any node's name, so nothing that arrives may be believed
// for having arrived. And a member that memberlist calls dead is one that this
// node does not reach just now: no verdict follows from that.
//
// Broadcasts get lost, without a lost packet too, come twice, and come in any
// order: memberlist takes the newest first. A message is sent on by those who
// broadcast it again; the mesh does not do that by itself.
//
// Keys rotate without a word being lost ([Mesh.SetKeys]): nodes accept a new key
// at once, encrypt with it when all live peers accept it, and let an old one go
// when none encrypts with it. Members that are missing are joined again every
// half minute, so that a fleet that fell apart comes together.
//
// The settings and their reasons are in docs/decisions/0019-gossip.md.
package gossip
