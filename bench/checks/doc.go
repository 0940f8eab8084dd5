// Checks measures what health checks cost the node that makes them: 10,000 HTTP
// targets, each checked every 2 s over a connection that is kept, by the
// scheduler and probers of package health/probe as edged runs them.
//
// The checker has CPU 1 for itself and the server, a second process of the same
// binary, CPU 0. The figure is the checker's share of its processor: the CPU time
// of its process (clock_gettime, the scheduler's count) over the time that
// passed. Two more rows tell what of it is whose: probes that do nothing leave
// the scheduler alone, and probes that write a fixed request to a socket and read
// the reply without parsing it are the least that a check can cost in Go.
//
//	go run ./bench/checks [--seconds S] [--targets N] [--interval D] [--json] [--profile FILE]
//
// The exit code is 1 when a check fails, when a row is not what it claims to be,
// or when a bar is missed.
package main
