// Package speaker keeps BGP peers told exactly the routes that a node wants them
// to hear. It is the only package that knows GoBGP, and none of GoBGP's types
// leave it.
//
// The caller says what should be: [Speaker.Allow] the prefixes that may ever
// leave, [Speaker.SetPeers] whom to talk to, [Speaker.Apply] the whole set of
// routes. The speaker finds the difference and makes it so; a call that changes
// nothing sends nothing. Only SetPeers ever ends a session.
//
// What is so comes back from GoBGP's tables, not from what was asked for:
// [Speaker.Sent] has each peer's adjacent-out table, [Speaker.Peers] the state of
// the sessions with the last error in words. [Speaker.Events] says when to look
// again.
//
// Nothing is imported: what peers announce stays out of the table. Nothing but
// host routes that are allowed is exported, by the check in Apply and once more
// by policy. There is no graceful restart: who stops or crashes loses its routes
// at once. No route has a local preference, and the next hop is the session's own
// address, an IPv6 one for IPv4 routes too where the session is over IPv6.
//
// All methods may be called at once; those that change something take turns.
// GoBGP keeps some settings in globals, so a process should have one Speaker.
//
// Sources: RFC 4271, RFC 2385 (MD5), RFC 4760, RFC 5082 (GTSM), RFC 5880 and 5882
// (BFD), RFC 8950 (IPv4 over IPv6 next hops).
package speaker
