package lab

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

// record has a query each 10 ms, which took so long.
func record(took ...time.Duration) (r Record) {
	for i, t := range took {
		r = append(r, Query{Sent: time.Unix(0, 0).Add(time.Duration(i) * 10 * time.Millisecond), Took: t, Node: "e1"})
	}
	return r
}

func TestRecord(t *testing.T) {
	const ms, late = time.Millisecond, LateAfter + 1
	for name, c := range map[string]struct {
		r          Record
		lost, late int
		window     time.Duration
	}{
		"nothing":       {nil, 0, 0, 0},
		"all answered":  {record(ms, LateAfter, ms), 0, 0, 0},
		"one lost":      {record(ms, 0, ms), 1, 0, 10 * ms},
		"one late":      {record(ms, late, ms), 1, 1, 10 * ms},
		"two apart":     {record(0, ms, ms, 0, ms), 2, 0, 40 * ms},
		"the last lost": {record(ms, 0, 0), 2, 0, 10 * ms},
	} {
		if got := len(c.r.Lost()); got != c.lost {
			t.Errorf("%s: %d lost, want %d", name, got, c.lost)
		}
		if got := c.r.Late(); got != c.late {
			t.Errorf("%s: %d late, want %d", name, got, c.late)
		}
		if got := c.r.Window(); got != c.window {
			t.Errorf("%s: window %s, want %s", name, got, c.window)
		}
	}

	r := record(ms, 0, late, ms)
	r[0].Node, r[3].Code = "e2", 2
	r[1].Err = errors.New("refused")
	if got, want := r.By(), map[string]int{"e1": 2, "e2": 1}; !reflect.DeepEqual(got, want) {
		t.Errorf("by node %v, want %v", got, want)
	}
	if got := r.Failed(); !reflect.DeepEqual(got, r[3:]) {
		t.Errorf("failed %v, want the last", got)
	}
	if got := r.Between(r[1].Sent, r[3].Sent); !reflect.DeepEqual(got, r[1:3]) {
		t.Errorf("between: %v, want the second and the third", got)
	}
	want := "4 sent, 1 lost, 1 late, window 20ms; by node map[e1:2 e2:1]; lost 00:00:00.010000 after 0s: refused; lost 00:00:00.020000 after 1.000000001s: <nil>"
	for i := range r {
		r[i].Sent = r[i].Sent.UTC()
	}
	if got := r.String(); got != want {
		t.Errorf("in words: %s\nwant %s", got, want)
	}
}
