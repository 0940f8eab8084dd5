// Package compare says what one map in the place of another means for clients: how
// much demand gets another first choice, where it goes, which countries and
// networks it is in, and how its round trips change by what the new map expects.
//
// Demand is what clients ask for, network by network; without it every IPv4 /24
// that a map knows counts alike. The package is pure: the same maps, demand and
// places give the same result. What of it is too much is for mapper/gate to say.
package compare
