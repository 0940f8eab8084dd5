// Package clickhouse aggregates samples in ClickHouse, for measurements that are
// too many for one machine. It gives the same cells as the embedded engine, to the
// last digit, and never a part of them.
//
// Engine implements beacon.Engine over ClickHouse's HTTP interface. A run has a
// number, which is the partition of its rows. Samples go to the shard of their unit,
// straight into its table samples_local; the cells come from the table samples, which
// is Distributed over all shards. Then the partition is dropped; what a crash left is
// dropped by a run a day later.
//
// What could make an answer a part of the truth is excluded or seen: each shard
// must count as many rows as were sent to it, and the cells must have all samples
// and all weight in sum. Settings that let a server leave out shards or rows are set
// against it in every request.
//
// Init makes the tables. The statements keep to what ClickHouse has had since
// version 18.16. An Engine may be used by several goroutines.
package clickhouse
