// Package lab builds a small anycast network on one Linux machine: edges that
// announce VIPs, a router that spreads a client's flows over them, and the client.
// Each is a network namespace ([edged/test/netns]); the edges run the real binary.
//
//	fabric      192.0.2.1      2001:db8:0:1::1      the router
//	            192.0.2.1N     2001:db8:0:1::1N     edge N
//	management  10.0.0.N                            edge N: gossip, links to other members
//	clients     203.0.113.1    2001:db8:0:2::1      the router
//	            203.0.113.2    2001:db8:0:2::2      the client
//	VIPs        198.51.100.0/24, 198.18.0.0/15, 2001:db8::/64; nothing else is taken by the router
//
// Either wire of an edge can be cut, and the management split in two, by what
// [edged/test/netns.Host] does. The router is BIRD, FRR or ExaBGP ([Router]):
// passive, with equal-cost multipath over the source ports, and the import filter
// that the operators' guide asks for. What the router makes of it is read from the
// kernel ([FIB]) and from the router ([Router.Paths]); what the client sees is
// counted query by query ([Load]).
//
// A program that uses the package calls [Main] first, for some of the processes
// are that same program.
package lab
