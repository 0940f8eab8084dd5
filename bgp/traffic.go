package bgp

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"time"
)

// Traffic is what a node counts of the queries to one VIP, without its own checks.
type Traffic struct {
	Total  uint64 `json:"total"`  // since the VIP was bound
	Minute uint64 `json:"minute"` // in the last 60 s
}

// Latency counts answers by how long they took: element i those of up to 1 µs << i,
// and the last one all that took longer.
type Latency [24]uint64

// add notes answers that took so long.
func (l *Latency) add(d time.Duration, n uint64) {
	l[min(bits.Len64(uint64(d/time.Microsecond)), len(l)-1)] += n
}

// since returns what was counted after before was.
func (l Latency) since(before Latency) Latency {
	for i := range l {
		l[i] -= min(l[i], before[i])
	}
	return l
}

// p99 returns the element in which the 99th of 100 answers lies, and how many answers
// there are.
func (l Latency) p99() (at int, all uint64) {
	for _, n := range l {
		all += n
	}
	below := uint64(0)
	for i, n := range l {
		if below += n; all > 0 && below*100 >= all*99 {
			return i, all
		}
	}
	return 0, all
}

func bound(i int) time.Duration { return time.Microsecond << i }

const (
	minTimed   = 100 // answers, so that a hundredth of them is something
	slowerBy   = 2   // elements: four times as long
	slowFrom   = 10  // element: up to 1 ms nobody minds
	maxOff     = 0.3 // of a forecast share: how far the share may be off
	minShared  = 400 // queries expected, so that such a difference is none of chance
	shareAfter = 10 * time.Second
)

// slower says in words that answers take longer than before, or "".
func (l Latency) slower(now Latency) string {
	was, n := l.p99()
	is, m := now.since(l).p99()
	if n < minTimed || m < minTimed || is < slowFrom || is < was+slowerBy {
		return ""
	}
	return fmt.Sprintf("takes up to %s for 99 of 100 answers, want at most %s (before: %s)", bound(is), bound(max(was+slowerBy, slowFrom)-1), bound(was))
}

// forecast returns which share of a VIP's queries nodes will get when some of them
// come and go. before has the queries that each got in one time, pops where each node
// stands. A PoP keeps its share, for what its routers attract depends on it alone, and
// its nodes share it as before; one that joins gets as much as the others of its PoP
// on average. Of a PoP without an announcer before, and of the others when a PoP loses
// its last one, nobody can tell: their nodes have no forecast.
func forecast(before map[string]uint64, pops map[string]string, joins, leaves []string) map[string]float64 {
	all := uint64(0)
	for _, n := range before {
		all += n
	}
	shares := map[string]float64{}
	if all == 0 {
		return shares
	}
	after := map[string][]string{} // nodes by PoP
	here := map[string]uint64{}    // queries by PoP
	count := map[string]int{}      // nodes by PoP before
	for _, node := range slices.Sorted(maps.Keys(before)) {
		pop := pops[node]
		here[pop] += before[node]
		count[pop]++
		if !slices.Contains(leaves, node) {
			after[pop] = append(after[pop], node)
		}
	}
	for pop := range here {
		if len(after[pop]) == 0 && !slices.ContainsFunc(joins, func(node string) bool { return pops[node] == pop }) {
			return map[string]float64{} // its share goes nobody knows where
		}
	}
	for _, node := range joins {
		if pop := pops[node]; count[pop] > 0 {
			after[pop] = append(after[pop], node)
		}
	}
	for pop, nodes := range after {
		weight := func(node string) float64 {
			if n, was := before[node]; was {
				return float64(n)
			}
			return float64(here[pop]) / float64(count[pop])
		}
		sum := 0.0
		for _, node := range nodes {
			sum += weight(node)
		}
		for _, node := range nodes {
			if sum > 0 {
				shares[node] = float64(here[pop]) / float64(all) * weight(node) / sum
			}
		}
	}
	return shares
}

// off says in words that a node gets another share of all queries than forecast, or "".
func off(vip, how string, share float64, got map[string]uint64, node string) string {
	all := uint64(0)
	for _, n := range got {
		all += n
	}
	expected := share * float64(all)
	if expected < minShared {
		return ""
	}
	is := float64(got[node]) / float64(all)
	if is >= share*(1-maxOff) && is <= share*(1+maxOff) {
		return ""
	}
	return fmt.Sprintf("gets %.1f %% of %d %s %s, forecast %.1f %%, want it within %.0f %% of that", 100*is, all, how, vip, 100*share, 100*maxOff)
}
