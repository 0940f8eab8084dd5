// Package bgp says which VIPs a node announces, and how. It is the pure middle:
// what a VIP is and the routes that make it known ([VIP], [Route]), the states
// that one goes through on a node ([Machine]), the promises without which no
// node withdraws ([Guard]), and what operators plan ([NodePlan], [Rollout]).
//
// The model is one of wishes: each step says the whole of what should be (an
// address, a socket, a route with its attributes), and the packages below make it
// so: bgp/loopback has the addresses, bgp/speaker the routes, and bgp/announcer
// ties them together on one node, with bgp/link to the other members.
//
// Three rules stand above all others. What a node cannot see or reach freezes it
// and never makes it withdraw. A node only makes itself less preferred than its
// plan says, never more. And nothing is withdrawn by choice unless enough others
// have promised to stay.
//
// Nothing here opens a socket, starts a goroutine or reads a clock: times are
// durations since some start of the node's own, for its monotonic clock.
//
// Sources: RFC 4271, RFC 8326 (graceful shutdown), RFC 2439 (damping).
package bgp
