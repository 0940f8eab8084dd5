// Package dnsserver answers DNS queries from the outside over UDP and TCP.
//
// A [View] is everything that answers depend on: the zones, the names that
// pools answer for, and the geo view. It is compiled once: every static answer
// is packed ahead, and a reply is the query's own header and question with
// prepacked records after it. A [Server] owns the sockets and one atomic
// pointer to the current view; [Server.Swap] puts another in its place between
// two queries.
//
// The way of a query is straight: parse (query.go), find the name (names.go),
// answer (answer.go), and, for names of pools, decide (package geo) and fill in
// the endpoints (dynamic.go). It takes no lock, makes no call and allocates
// nothing. Only names below a DNAME leave it (dname.go): they are answered by
// zone.Lookup, through miekg/dns.
//
// On Linux each address has one SO_REUSEPORT socket and one locked thread per
// worker, which receives and sends in batches (udp_linux.go). Elsewhere, and
// for TCP, the sockets are those of package net. All of them run the same
// answer code. [Server.Listen] and [Server.Unlisten] open and close further
// addresses beside those that serve (listeners.go); on Linux one set of threads
// serves all of these (shared_linux.go).
//
// RFCs: 1034, 1035, 2181, 2308, 3597, 4592, 5001 (NSID), 6672, 6891 (EDNS),
// 7766 (TCP), 7828 (keepalive), 7871 (client subnet), 7873 and 9018 (cookies),
// 8482 (ANY), 8906, 8914 (extended errors), 9460 (HTTPS, SVCB), 9471 (glue).
package dnsserver
