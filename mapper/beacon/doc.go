// Package beacon keeps what beacons measured and makes numbers of it.
//
// A beacon is a page that measures, in one session, the round-trip times from
// one client to a few PoPs. Intake reads such rows from CSV, NDJSON or Parquet,
// refuses the wrong ones with a reason, and gives the good ones to a Writer. A
// Writer puts each batch on disk as segments: files that hold the sessions which
// began within one hour (docs/format/beacon-segments.md). A segment is written
// beside, synced and renamed, so it is whole or not there; a batch that comes
// again under its id changes nothing, and is refused if it has other rows.
//
// Open reads a folder of segments back, session by session, in an order that
// does not depend on how the rows were batched. Tally counts which sources sent
// more than their share. Aggregate turns sessions into samples, with a
// correction and weights that the caller gives, and an Engine turns samples into
// one Cell for each unit and PoP: exact upper weighted median, 90th percentile,
// counts.
//
// A unit is what is steered as one: a /24 of IPv4 or a /48 of IPv6. Times are in
// tenths of a millisecond.
//
// Everything here but Writer and Set is pure; no function reads the clock.
package beacon
