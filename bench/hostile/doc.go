// Hostile starts an edged and treats it badly: malformed and mutated packets over
// UDP as fast as they can be sent, and a TCP flood of connections that send
// nothing, one octet at a time, half a frame, or never read. Meanwhile a good
// client asks good questions over UDP and TCP and checks each answer to the
// letter.
//
//	go run ./bench/hostile --minutes 10
//
// It prints a table and exits with 1 unless the process lived and stopped
// cleanly when asked to, at least 99 % of the good questions were answered right,
// none was answered wrong, memory grew by less than 20 % after the warm-up, and
// descriptors and goroutines stayed within what the connection limits allow and
// came down again when the flood ended.
//
// The good client asks again after 300 ms without an answer, up to three times,
// as a resolver does: at full rate the kernel drops packets of either kind before
// edged sees them. The table shows the share answered at the first try as well.
package main
