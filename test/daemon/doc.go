// Package daemon holds whole-daemon tests as text: each file under testdata is
// a configuration, a zone, measured networks, and questions with the exact
// answers, run against the real binary over real sockets on loopback.
//
// Beside testscript's own commands a script has
//
//	serve FILE        start a node on $DNS and $ADMIN, and wait until it answers
//	answers FILE      ask the questions in FILE and compare the answers
//	stop              end the node with SIGTERM and wait
//	waitlog TEXT      wait until the node has logged TEXT
//
// A questions file has lines "? NAME TYPE [ecs=PREFIX] [ecshex=OCTETS] [tcp]
// [edns]", each followed by its answer, indented. go test -update rewrites the
// answers; read the difference before believing it.
package daemon
