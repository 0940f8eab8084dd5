// Package announcer runs the VIPs of one node. It gathers the facts that the
// pure middle (package bgp) decides on and makes its wishes so: addresses on the
// loopback, sockets of the DNS server, routes at the peers, in this order up and
// in the opposite order down.
//
// One goroutine does all that changes something, step by step: it looks, has
// each VIP's machine say what should be, and brings about the difference. What
// takes long (checks through a VIP, calls to other members) runs beside it and
// leaves results behind. One mutex guards the state; nothing that waits is done
// under it.
//
// What must survive a restart is in vip-state.json: the plan, operators'
// operations, each VIP's state and damping, and a rollout under way. Each change
// of state is written to the audit log with its cause.
//
// Nodes call each other: for promises to stay (bgp.Guard), for how the others
// stand, to bring plans and operations to them, and to pass on what operators want
// of a rollout. A call that fails changes nothing by itself.
package announcer
