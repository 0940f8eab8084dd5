// Package fleet runs health on one node: it has its share of the targets
// probed, tells the other nodes what came out, hears what they found, and keeps
// one view of it all ([Fleet.View]), with what operators override on top.
//
// One mutex guards the state; probes, gossip and callers meet there, and nothing
// that waits is done under it. Changes gather for a moment and become one view,
// which is announced on [Fleet.Updates]. What must survive a restart is kept in
// a folder of the data directory (store.go): this node's incarnation, the last
// verdict on each target, keys seen first, and overrides.
package fleet
