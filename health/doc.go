// Package health says how fit each endpoint is, so that the whole fleet says
// the same. It is the pure middle: what a check is and how results dampen into a
// verdict ([Damper]), who checks what ([Assign]), the signed records in which
// observers tell each other what they saw ([Journal], [Matrix]), and how the
// fleet agrees on one verdict from them ([BuildView]).
//
// Nothing here opens a socket or starts a goroutine, and no decision depends on
// a wall clock: times are the receiver's own, for ages, and observers' records
// are ordered by incarnation and sequence alone. The packages below it probe
// (health/probe), carry messages (health/gossip), keep operators' wishes
// (health/override) and tie all of it together (health/fleet).
package health
