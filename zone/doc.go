// Package zone holds one immutable DNS zone: it parses and checks the zone's
// file, looks names up, lists its nodes, and says how two zones differ.
//
// A zone is read from an RFC 1035 master file (with $INCLUDE and $GENERATE) or
// from tinydns-data, and is refused whole, with every problem listed, when it
// breaks a rule that a resolver would trip over. What is only doubtful goes to
// Warnings. Some owner names may be dynamic: their addresses come from
// elsewhere (pools), so in the zone they are nodes without address records.
//
// Lookup follows RFC 1034 section 4.3.2 with the rules added since: wildcards
// (RFC 4592), negative answers (RFC 2308), DNAME (RFC 6672), referral glue
// (RFC 9471), unknown types (RFC 3597), minimal ANY (RFC 8482). Names are
// compared without case; an answer's owner is spelt as it was asked. Records
// of a Result are shared with the zone and must not be changed.
//
// A Zone never changes after Parse and may be read by any number of
// goroutines. The package opens no sockets, knows no clock, does not sign, and
// does not choose between addresses. It is not the hot path: a server turns
// Nodes and Lookup into packed answers when it builds its view.
package zone
