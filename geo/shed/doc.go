// Package shed moves clients off a PoP that is given more than it should have,
// those first who lose least by it, and slowly.
//
// A map is made for a demand that was expected. When the load is another, each
// PoP's price, in milliseconds that count as if its round trips took longer,
// goes up or down, and a client goes where round-trip time plus price is least
// (Choose). Next makes a price of the next epoch of ten seconds from that of the
// last and from the load. It is a pure function, so all nodes that know
// the same loads come to the same prices; a Book has what they know.
//
// It takes a minute until clients have come by a new answer, so a controller
// that hurried would swing, and could pour one hot PoP's clients over its
// neighbours. Two bounds hold in each epoch: a price moves by 2 ms at most, and
// the demand that it moves is a fortieth of the PoP's at most, 15 % in a minute.
// The second needs to know how much demand a price moves: that is a Curve, made
// from the map and its demand.
//
// Times in maps are in steps of half a millisecond, and a step may hold a large
// part of a PoP's demand. A price between two steps counts as the upper one for
// some client blocks and as the lower one for the others, by a hash of the block
// and the turn. So a block has one answer throughout an epoch, and while a price
// rises no block that has left comes back. Turns are an hour long: it is not
// always the same blocks that stand at the margin.
//
// A map says of each PoP the price that it was made with, and its rankings are in
// the order that these make. At the edge only prices above those count: package
// geo orders the rankings again by them (Order), and blocks apart where that
// differs by block (Divided).
//
// Without a load, a price stays. The package reads no clock.
package shed
