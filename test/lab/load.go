package lab

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// LateAfter is from when on an answer counts as lost to a client, though it came.
const LateAfter = time.Second

// Query is one that the client asked, and what came of it.
type Query struct {
	Sent time.Time
	Took time.Duration // until the answer; 0: none came
	Name string
	Node string // that answered, by its NSID
	Code int    // the answer's code
	Err  error  // what came instead, if anything: such as a refused connection, or a reset
}

// Lost says whether no answer came, or none in time.
func (q *Query) Lost() bool { return q.Took == 0 || q.Took > LateAfter }

// Record is all queries over one protocol, in the order in which they were sent.
type Record []Query

// Between returns the queries sent in a time.
func (r Record) Between(from, to time.Time) Record {
	return slices.DeleteFunc(slices.Clone(r), func(q Query) bool { return q.Sent.Before(from) || !q.Sent.Before(to) })
}

// Lost returns the queries that were lost, those among them that an answer came
// to too late included.
func (r Record) Lost() Record {
	return slices.DeleteFunc(slices.Clone(r), func(q Query) bool { return !q.Lost() })
}

// Late counts those that were answered, but too late.
func (r Record) Late() (n int) {
	for i := range r {
		if r[i].Took > LateAfter {
			n++
		}
	}
	return n
}

// Failed returns the queries with an answer other than NOERROR.
func (r Record) Failed() Record {
	return slices.DeleteFunc(slices.Clone(r), func(q Query) bool { return q.Lost() || q.Code == 0 })
}

// By counts the answers of each node.
func (r Record) By() map[string]int {
	n := map[string]int{}
	for i := range r {
		if r[i].Took > 0 {
			n[r[i].Node]++
		}
	}
	return n
}

// Window is the time in which queries were lost: from the first of them to the
// query after the last. 0: none was.
func (r Record) Window() time.Duration {
	first, last := -1, -1
	for i := range r {
		if r[i].Lost() {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	switch {
	case first < 0:
		return 0
	case last+1 < len(r):
		return r[last+1].Sent.Sub(r[first].Sent)
	default:
		return r[last].Sent.Sub(r[first].Sent)
	}
}

// String gives the record in words.
func (r Record) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d sent, %d lost, %d late, window %s; by node %v", len(r), len(r.Lost())-r.Late(), r.Late(), r.Window(), r.By())
	for i, q := range r.Lost() {
		if i == 10 {
			b.WriteString("; …")
			break
		}
		fmt.Fprintf(&b, "; lost %s after %s: %v", q.Sent.Format("15:04:05.000000"), q.Took, q.Err)
	}
	return b.String()
}
