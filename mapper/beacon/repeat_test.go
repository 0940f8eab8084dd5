package beacon

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// nodes makes a folder with one folder in it for each node, as pulls do.
func nodes(t *testing.T, names ...string) (dir string, writers []*Writer) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range names {
		writers = append(writers, writer(t, filepath.Join(dir, name)))
	}
	return dir, writers
}

// TestTokenReportedAtTwoNodesCountedTwice: whichever node got a report first has
// it, over the end of an hour too, and a tie goes by the name of the node.
func TestTokenReportedAtTwoNodesCountedTwice(t *testing.T) {
	client := randomAddr(rand.New(rand.NewPCG(1, 1)))
	row := func(session uint64, seconds int64, rtt uint16) Row {
		return Row{Session: session, Time: noon.Unix() + seconds, Client: client, RTT: rtt}
	}
	dir, at := nodes(t, "ams_443", "fra_443", "nyc_443")
	const ams, fra, nyc = 100, 200, 300
	appendRows(t, at[0], "a", fleet, []Row{
		row(1, 50, ams), row(1, 50, ams+1), // after fra
		row(2, 50, ams),       // at the same second as fra
		row(3, 3700, ams),     // fra had it before the hour
		row(4, 3900, ams),     // likewise, much later than tokens live: another session of the name
		row(5, 3605, ams),     // nobody else
		row(6, 10, ams),       // in two batches of one node
		row(7, 3595, ams),     // at three
		row(8, 3600+599, ams), // the last second at which it may be a repeat
	})
	appendRows(t, at[0], "b", fleet, []Row{row(6, 11, ams+1)})
	appendRows(t, at[1], "a", fleet, []Row{ // its own "a"
		row(1, 49, fra), row(1, 51, fra+1),
		row(2, 50, fra),
		row(3, 3599, fra), row(4, 3000-1, fra), row(7, 3601, fra), row(8, 3599, fra),
	})
	appendRows(t, at[2], "c", fleet, []Row{row(7, 3594, nyc)})
	want := "1:200,201 2:100 3:200 4:200 6:100,101 7:300 8:200 4:100 5:100"
	for _, when := range []string{"as written", "merged"} {
		set, err := OpenAll(dir)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // read again, the counts are the same
			var got []string
			for s, err := range set.Sessions() {
				if err != nil {
					t.Fatal(err)
				}
				var rtts []string
				for _, r := range s.Rows {
					rtts = append(rtts, fmt.Sprint(r.RTT))
				}
				got = append(got, fmt.Sprintf("%d:%s", s.ID, strings.Join(rtts, ",")))
			}
			if text := strings.Join(got, " "); text != want {
				t.Errorf("%s: %s\nwant %s", when, text, want)
			}
			if got, want := set.Repeats(), (Repeats{Sessions: 6, Rows: 7}); got != want {
				t.Errorf("%s: left out %+v, want %+v", when, got, want)
			}
		}
		units := 0
		err = set.ByUnit(context.Background(), 2, func(_ Unit, list []Session) error { units += len(list); return nil })
		if err != nil || units != 9 {
			t.Errorf("%s: %d sessions by unit, want 9; %v", when, units, err)
		}
		set.Close()
		for _, w := range at {
			if _, err := w.Merge(noon.Add(24 * time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestFileUploadedToTwoNodes: the same rows at two nodes are those of one, and
// different rows under one batch id at two nodes are both there.
func TestFileUploadedToTwoNodes(t *testing.T) {
	dir, at := nodes(t, "ams_443", "fra_443")
	rng := rand.New(rand.NewPCG(3, 4))
	same, ours, theirs := random(rng, 200, 3), random(rng, 100, 3), random(rng, 100, 3)
	for i := range same { // sessions of their own, each at one time
		same[i].Session = 3*same[i].Session + 1
		same[i].Time -= same[i].Time % 100
	}
	for i := range ours {
		ours[i].Session *= 3
	}
	for i := range theirs {
		theirs[i].Session = 3*theirs[i].Session + 2
	}
	var want []string
	for _, r := range slices.Concat(same, ours, theirs) {
		want = append(want, line(r, fleet))
	}
	appendRows(t, at[0], "file", fleet, same)
	appendRows(t, at[1], "file", fleet, same)
	appendRows(t, at[0], "mine", fleet, ours)
	appendRows(t, at[1], "mine", fleet, theirs)
	for _, w := range at { // two merged segments hold one name
		if _, err := w.Merge(noon.Add(24 * time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	from, to := all()
	got := text(t, dir, from, to)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d rows came back of %d, or others", len(got), len(want))
	}
}
