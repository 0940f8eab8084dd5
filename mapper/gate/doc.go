// Package gate judges a new map before it takes the place of the one in force: six
// rules, each with a figure and a limit.
//
//	holes     demand that had a first choice and would have none
//	pops      PoPs that the fleet does not know, or that the new map forgot
//	coverage  demand whose ranking was measured, against the map in force
//	moved     demand that gets another first choice
//	uncounted addresses without any demand that get another first choice
//	regret    what first choices cost on sessions that were held back from both maps
//
// A rule that needs a map in force, or more measurements than there are, says that
// it is not applicable. One rule that refuses is enough to refuse the map, unless a
// person signs it off with a reason; the whole verdict goes into the file
// (maps.Gate). The package is pure.
package gate
