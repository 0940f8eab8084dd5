// Command steering says how well maps steer, on real round-trip times.
//
//	go run ./bench/steering --data DIR [--json] [--half even|odd] [--seed N]
//
// DIR holds city_pops.csv, city_rtt.csv, probe_dcs.csv, probe_rtt.csv and
// probe_pings.csv (bench/README.md says what they are). Each check goes the whole
// way: rows of beacons are written as segments, read back, estimated, built into
// a map, encoded, opened, and looked up. Each city is a made-up /24 with a place
// of its own; probes have their own prefixes.
//
//	E1  cities with ten beacon sessions each
//	E2  the same, each city without beacons of its own in its turn
//	E3  probes, each without measurements of its own in its turn
//	E4  probes that must choose among three providers in one town, from others
//	    in their network only
//	E5  the median of the first 60 % of a series of pings against the last 40 %
//	E7  cities where two sources lie in a fifth of the samples
//
// What a choice costs is its regret: the round-trip time of the PoP that the map
// puts first less that of the best one, in ms. The oracle's regret is 0.
package main
