// Package probe checks targets: it opens the sockets, speaks the protocols and
// says in words what it found. [New] gives a [Prober] for each kind of check and
// [Scheduler] runs many of them, each at its interval.
//
// A probe ends within its check's timeout, and what a peer sends is bounded
// before it is read: 64 KiB of a body, 8 KiB of headers, 4 KiB of a TCP answer, of
// a command's output and of an external text. A peer may be slow, endless,
// malformed or hostile, and costs no more than its timeout and those octets.
//
// One rule tells the outcomes apart. Refused, unreachable and not in time is
// [health.Silent]. Whatever else the peer did is [health.Wrong]. What is this
// node's own fault, such as no free file descriptor or no permission, is
// [health.Skipped], for it says nothing about the target.
//
// HTTP and gRPC connections are kept between the probes of a target, for a
// minute at most: a peer that still serves old connections but accepts no new
// ones, or has a new certificate, is noticed then. Nothing follows redirects,
// reads a proxy from the environment or resolves names, but the URL of an
// external check, which may be anywhere.
package probe
