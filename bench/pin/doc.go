// Package pin keeps a benchmark and the server that it measures on processors of
// their own: the server has the first, the benchmark the second. There is nothing
// in it but for Linux.
package pin
