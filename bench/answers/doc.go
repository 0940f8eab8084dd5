// Answers measures what an answer costs: it starts edged and, where they are
// installed, gdnsd, Knot with its geoip module, PowerDNS with its geoip backend
// and NSD on the same data, beside a bare UDP echo in C as the limit, loads each
// in turn, and prints server CPU time per answered query with the ratios to
// gdnsd and to the echo of the same run.
//
// The server under test runs on CPU 0 and everything else on CPU 1; servers that
// wait for their turn are stopped with SIGSTOP. Order is drawn anew in each
// round, and figures are medians over rounds. CPU time is what the scheduler
// counted for all processes and threads of the server (their CPU-time clocks),
// divided by the answers that the loader got.
//
// A fast wrong answer is worth nothing: before and after each load, and from a
// sample during it, replies are decoded and compared with the data that the
// configurations were written from: address, id, question with its case, echoed
// subnet, and whether everything inside the announced scope gets that address.
//
//	go run ./bench/answers [--rounds N] [--seconds S] [--quick] [--json]
//
// The exit code is 1 when edged, or a peer that counts, answers wrong, and when a
// bar is missed.
package main
