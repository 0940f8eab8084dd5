// Package netns makes networks on one Linux machine, for tests: hosts that are
// network namespaces, and switches between them.
//
// A [Network] is one or more switches, in a namespace of their own. A [Host] is
// plugged into some of them by links, runs processes ([Namespace.Start]), opens
// sockets for this process ([Namespace.Do]) and routes. A cut link loses packets
// without a word, as networks do, for its port is taken out of the switch while
// both its ends stay up; a moved link is on another switch, so that a network
// can be split in two. A [Lossy] switch loses a share of the UDP packets.
//
// A namespace lives as long as one thread of this process does, and a child dies
// with that thread, so nothing is left behind however the process ends. The
// methods may be called from several goroutines.
//
// Making namespaces needs root, or CAP_NET_ADMIN and CAP_SYS_ADMIN, and the ip
// command: see [Possible].
package netns
