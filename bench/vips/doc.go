// Vips measures how VIPs come, go and fail over in a lab of network namespaces
// (package test/lab): edges that announce them, a router with equal-cost multipath,
// and a client that asks 400 questions a second over UDP, each from a new port, and
// 20 over new TCP connections.
//
// Routes are timed from the call of the speaker to the router's kernel (B1, B2),
// with nothing but the speaker in an edge's place. All else is done to edges that
// run the whole of edged: drained (B3), made less preferred (B4), killed (B5), stopped
// or cut off (B6), healed (B7), with a router that restarts (B8), and ended by SIGTERM
// (B13). B1, B3 and B5 are done with FRR and ExaBGP as routers too (B16). A question is
// lost when no answer came within a second. At last the checks of all edges are made to
// fail at once, and those that still announce are counted (H2).
//
//	go run ./bench/vips [--only B1,B5] [--rounds N] [--json]
//
// It needs root, or the capabilities to make network namespaces, and BIRD, FRR and
// ExaBGP. The exit code is 1 when a bar is missed.
package main
