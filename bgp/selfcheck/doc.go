// Package selfcheck asks this node through a VIP whether it answers there: over
// UDP and TCP, on each of the VIP's addresses, by the sockets that clients come
// to. The questions leave from the VIP's address itself, so they go through the
// loopback device and never to another node that has the VIP too.
//
// Two things are asked: who answers (id.server, RFC 4892), and the SOA of a zone
// that the node serves, which must come with authority and with the node's own
// name in it (NSID, RFC 5001). The zone is another one each time, by chance, so
// that one that went bad shows in the end.
//
// TCP comes first. Its answer brings the cookie (RFC 7873) that takes the
// questions over UDP out of the server's rate limits: else a flood that names
// the VIP's neighbours as its source would look like a server that is down.
//
// [Run] is one round. It never takes longer than [Budget], keeps nothing, and
// leaves no goroutine; what its findings mean is package bgp's matter.
package selfcheck
