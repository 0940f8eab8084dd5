// Package clickhousetest starts ClickHouse servers of our own for tests and
// benchmarks: on free ports of loopback, in a folder that is given, as one cluster
// in which each is a shard. Nothing of an installed server's configuration or data
// is used.
package clickhousetest
