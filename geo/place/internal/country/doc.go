// Package country holds what edged knows about places without any database of
// the operator's: a table of countries (ISO 3166-1 code, continent, one point
// near where most of its people live) and the country of each address block,
// as the regional registries delegated it and as networks' own geofeeds say.
//
// The address data is embedded as builtin.dat and is made by the generator
// beside this package: run `go generate ./geo/place`. Parse reads it, a
// Builder makes it, and docs/format/place.md draws it. Blocks are kept no finer
// than /24 and /48, the finest client blocks that an answer is chosen for.
//
// Everything here is immutable after it was made and safe for concurrent use.
package country
