// Package assign gives every unit of clients one PoP, so that the mean
// round-trip time is as low as the PoPs' capacities allow.
//
// A unit is what a map can tell apart: a client prefix, say, with its demand
// and up to a handful of candidate PoPs. If every unit went to its first
// candidate, some PoPs would be overrun. So each PoP gets a price in
// milliseconds, and a unit goes where round-trip time plus price is least.
// The prices are the dual variables of the linear program that ignores that
// units are whole; with any prices at all its value is a bound from below, so
// Solve knows how far from the best possible it is. What is above a limit
// after that, since units are whole, is moved along the cheapest path to a PoP
// with room (the repair).
//
// A unit is never dropped. If demand does not fit, there is a set of PoPs whose
// units have no candidate outside it and together demand more than its limits:
// Solve raises the limits of that set evenly, first up to the hard limits and
// then beyond, and says so in a Shortage.
//
// Demand, times and prices are whole numbers inside, so sums do not depend on
// their order: the same problem gives the same result on any number of
// processors. Solve is pure, and takes all processors that it is given.
package assign
