package main

import "sort"

// sort puts a series in the order of time.
func (s *series) sort() { sort.Stable(byTime{s}) }

type byTime struct{ *series }

func (b byTime) Len() int           { return len(b.times) }
func (b byTime) Less(i, j int) bool { return b.times[i] < b.times[j] }
func (b byTime) Swap(i, j int) {
	b.times[i], b.times[j] = b.times[j], b.times[i]
	b.rtt[i], b.rtt[j] = b.rtt[j], b.rtt[i]
}
