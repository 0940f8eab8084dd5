// Package conformance asks any authoritative DNS server a fixed list of
// questions, well-formed and malformed, over UDP and TCP, and says for each
// whether the reply is what the RFCs ask for.
//
// The server is a black box: nothing but packets goes in or comes out, so the
// same list judges edged and its peers. Queries are laid out by hand, octet by
// octet, because most of the interesting ones no library will build. Replies
// are walked by hand down to the OPT record, and only what is left is given to
// miekg/dns.
//
// A check ends in one of four verdicts. Pass and fail speak for themselves;
// warn is a departure from a SHOULD, or from good practice, that a resolver
// survives; skip means that the question makes no sense for this server, and
// the evidence says why. Checks run one after the other in a fixed order and
// the last asks whether the server is still alive.
//
// Covered: RFC 1035, 4343 (case), 4892 (CHAOS), 5001 (NSID), 6891 and 8906
// (EDNS), 7766 (TCP), 7871 (client subnet), 7873 and 9018 (cookies), 8482
// (ANY), 8914 (extended errors) and 9619 (one question). Not covered: zone
// contents, transfers, DNSSEC proofs and encrypted transports.
package conformance
