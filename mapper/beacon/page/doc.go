// Package page serves beacons to pages: the script that measures, the sessions it
// begins, the objects it fetches, and the reports it sends.
//
// A page loads /beacon.js from a name in the beacon's zone. The script asks
// /session for a token (package token) and the PoPs to measure, which Choose
// draws: the one in force for the client, and others by what measuring them may
// gain. It resolves the token's own name, so that the DNS side sees which
// resolver the client uses, fetches /o from each PoP twice, and posts the second
// times to /r.
//
// Whatever /r is sent, it answers the same at the same time: 204 once all that
// was good in the reports of the last second is on disk, and 503 when something
// of that is lost, for the disk is full or memory is. So 204 tells no forger
// whether a token was taken, and tells everybody else that nothing of theirs is
// lost any more.
//
// What a Server serves from, its Site, is replaced whole. All of it is bounded:
// connections, requests of one source, octets, rows in memory, tokens remembered.
// The package does not look into maps and answers no DNS: both are functions that
// it is given.
//
// W3C Resource Timing, Fetch, Beacon; RFC 9110, RFC 6454 (origins).
package page
