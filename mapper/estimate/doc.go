// Package estimate says how long a round trip from any place to any PoP takes,
// from what few clients measured.
//
// The input is units, a unit being a client block with a place, and the sessions
// of each: in a session one client measured a few PoPs one after another. Correct
// takes what all of a session's values have in common, the client's last mile,
// out of them by a two-way fit. What it leaves are samples, of which somebody else
// (beacon.Engine) makes one median for each unit and PoP: a Cell.
//
// Fit makes a Model of all units. A round trip is a line over distance, plus the
// unit's own access, plus a residual. The residual of a PoP is learned on a
// ladder of levels: the world, neighbours across borders, the country, the
// metro, the network in the country, the network in the metro, the unit. Each
// level corrects the one above it by what was measured there, the more the more
// there is. On each, PoPs in one town are first corrected together and then one by
// one. How far a level is believed is learned: as far as what units measured is
// foretold best by the others that are in their groups. A place
// without measurements gets the lowest level that has any.
//
// Two sources that lie together cannot make a PoP look better than both its
// level above and the honest sources of the unit say (Cell.High).
//
// Everything here is pure and deterministic. A Model is immutable and safe for
// concurrent use.
package estimate
