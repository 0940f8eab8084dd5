// Start starts a lab (package test/lab) with edged on its edges, prints what can be
// tried, and takes everything down again at Ctrl-C.
//
//	make lab EDGES=5
//	go run ./test/lab/start [--edges N] [--pops N] [--router bird|frr|exabgp]
//
// It needs root, or the capabilities to make network namespaces.
package main
