// Package link carries calls from one member of the fleet to another: a path and
// a JSON body there, a JSON body or an error in words back. Promises, plans and
// their waves travel so.
//
// Both ends of a [Link] show who they are by the ed25519 keys that the fleet
// knows its members by: each makes itself a certificate of its own key, with its
// name in it, and believes the other's only if that holds the very key which
// Config.KeyOf gives for the name. There is no authority, nothing to issue or to
// renew, and no wall clock is asked. A key is looked up again for each call, so a
// member whose key is taken away is out at once, on open connections too.
//
// Calls are requests of HTTP/2 over TLS 1.3, on connections that are kept. What a
// caller can cost is bounded: a stranger one handshake, and few of those; a
// member so many calls at once and a second, 1 MiB each.
//
// A Link is safe for concurrent use. It does not retry, knows no addresses of its
// own accord, and signs nothing: what must be shown to third parties later is
// signed by its author.
//
// RFCs: 8446 (TLS 1.3), 8410 (ed25519 in certificates), 9113 (HTTP/2).
package link
