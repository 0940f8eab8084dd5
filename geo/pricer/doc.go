// Package pricer runs the prices of one node: it learns which load this node's PoP
// has, tells the other nodes, hears what they say of theirs, and works out at the
// beginning of each epoch of ten seconds what each PoP costs above the map's
// prices (package geo/shed has the arithmetic, and why nodes agree).
//
// The load of a PoP is what its application serves, in requests/s, all its
// machines together. It is asked for by a function, which may poll a URL ([URL]),
// or told by Tell. Where several nodes of a PoP tell, the upper median of what they
// say counts; a node that knows of none says nothing.
//
// One goroutine does it all; it waits for nothing but its clock and the
// question. What this node said last is kept in a file, so that a restart neither
// drops the price nor takes back what was said.
package pricer
