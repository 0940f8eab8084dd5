// Failover measures how long a fleet goes on naming a web server that is dead:
// five nodes in network namespaces, each the real binary, five servers at
// the nodes' PoPs, and clients that ask all nodes all the time (package
// test/fleet/rig). All settings are the defaults.
//
// In each round one server gets SIGKILL or SIGSTOP at a random moment. The figure,
// for each node, is the time from then to the last answer that names it; the bar
// for the worst of all is what is promised: fall x interval + timeout + 2 s of
// gossip, 9 s. Then the server comes back, and the time to the first answer that
// names it is reported. No question may go unanswered, nor without an address.
//
//	go run ./bench/failover [--rounds N] [--json]
//
// It needs root, or the capabilities to make network namespaces. The exit code is
// 1 when a bar is missed.
package main
