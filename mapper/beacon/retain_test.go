package beacon

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		if e.Name() != "merging.lock" {
			list = append(list, e.Name())
		}
	}
	return list
}

// oneAnHour appends a batch for each of n hours from noon.
func oneAnHour(t *testing.T, w *Writer, id string, n int) {
	t.Helper()
	for i := range n {
		rows := random(rand.New(rand.NewPCG(uint64(i), 9)), 50, 1)
		for j := range rows {
			rows[j].Time = noon.Unix() + int64(i)*hourLength + int64(j)
		}
		appendRows(t, w, fmt.Sprint(id, i), fleet, rows)
	}
}

func TestRetain(t *testing.T) {
	for _, tt := range []struct {
		keep Keep
		at   time.Duration // after noon
		want string
	}{
		{Keep{}, 1000 * time.Hour, "12 13 14 15"},
		{Keep{Age: 2 * time.Hour}, 4 * time.Hour, "13 14 15"},
		{Keep{Age: 2 * time.Hour}, 4*time.Hour - time.Second, "13 14 15"},
		{Keep{Age: 2 * time.Hour}, 5*time.Hour + time.Second, "15"},
		{Keep{Octets: 1}, 0, ""},
		{Keep{Octets: 1 << 30}, 0, "12 13 14 15"},
		{Keep{Octets: -1}, 0, "14 15"}, // half of what is there
	} {
		dir := t.TempDir()
		oneAnHour(t, writer(t, dir), "b", 4)
		if tt.keep.Octets < 0 {
			tt.keep.Octets = 0
			for _, name := range names(t, dir)[2:] {
				info, err := os.Stat(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				tt.keep.Octets += roomOf(info)
			}
		}
		removed, err := Retain(dir, tt.keep, noon.Add(tt.at))
		if err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, name := range names(t, dir) {
			left = append(left, name[8:10])
		}
		if got := strings.Join(left, " "); got != tt.want || removed != 4-len(left) {
			t.Errorf("%+v at %v: %s is left, %d removed, want %s", tt.keep, tt.at, got, removed, tt.want)
		}
	}
}

// TestRetainBySizeTakesWholeHours: of an hour's segments none stays alone.
func TestRetainBySizeTakesWholeHours(t *testing.T) {
	dir := t.TempDir()
	w := writer(t, dir)
	oneAnHour(t, w, "a", 2)
	oneAnHour(t, w, "b", 2)
	total := int64(0)
	for _, name := range names(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		total += roomOf(info)
	}
	if _, err := Retain(dir, Keep{Octets: total - 1}, noon); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names(t, dir), " "); got != "2026061713-a1.beacons 2026061713-b1.beacons" {
		t.Errorf("left: %s", got)
	}
}

func TestRetainClearsStrays(t *testing.T) {
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{"old": 2 * strayAge, "young": strayAge / 2} {
		path := filepath.Join(dir, "2026061712-b.beacons."+name+besideSuffix)
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, noon.Add(-age), noon.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	from, to := all()
	if got := text(t, dir, from, to); len(got) != 0 {
		t.Errorf("a file that is being written was read: %q", got)
	}
	if _, err := Retain(dir, Keep{}, noon); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"2026061712-b.beacons.young.new"}) {
		t.Errorf("left: %q", got)
	}
}

func TestMerge(t *testing.T) {
	dir := t.TempDir()
	w := writer(t, dir)
	for i := range 5 {
		oneAnHour(t, w, fmt.Sprintf("b%d-", i), 3)
	}
	from, to := all()
	want := text(t, dir, from, to)
	before := map[string][]byte{}
	for _, name := range names(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		before[name] = b
	}
	merged, err := w.Merge(noon.Add(2 * time.Hour))
	if err != nil || merged != 10 {
		t.Fatalf("%d segments merged, %v, want 10 of the first two hours", merged, err)
	}
	if got := names(t, dir); len(got) != 2+5 {
		t.Errorf("%d segments are left, want 7: %q", len(got), got)
	}
	if !slices.Equal(text(t, dir, from, to), want) {
		t.Error("merging changed what is read")
	}
	// A batch that comes again is known, to a new writer too.
	for _, w := range []*Writer{w, writer(t, dir)} {
		rows := random(rand.New(rand.NewPCG(0, 9)), 50, 1)
		for j := range rows {
			rows[j].Time = noon.Unix() + int64(j)
		}
		if added, err := w.Append(Batch{ID: "b3-0", PoPs: fleet, Rows: rows}); err != nil || added {
			t.Errorf("a merged batch again: added %v, %v", added, err)
		}
	}
	// As after a crash: what was merged is still there.
	for name, b := range before {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(text(t, dir, from, to), want) {
		t.Error("segments that are merged count beside the merged one")
	}
	// Merging clears them away, and takes a late batch in.
	appendRows(t, w, "late", fleet, []Row{{Session: 1, Time: noon.Unix(), Client: randomAddr(rand.New(rand.NewPCG(1, 1)))}})
	want = text(t, dir, from, to)
	if merged, err := w.Merge(noon.Add(time.Hour)); err != nil || merged != 2 {
		t.Errorf("%d segments merged, %v, want the merged one and the late one", merged, err)
	}
	if merged, err := w.Merge(noon.Add(3 * time.Hour)); err != nil || merged != 5 {
		t.Errorf("%d segments merged, %v, want the 5 of the third hour", merged, err)
	}
	if got := names(t, dir); len(got) != 3 || !slices.Equal(text(t, dir, from, to), want) {
		t.Errorf("left: %q", got)
	}
}

// TestOneMerges: while another has the lock, nothing is merged.
func TestOneMerges(t *testing.T) {
	dir := t.TempDir()
	w := writer(t, dir)
	oneAnHour(t, w, "a", 1)
	oneAnHour(t, w, "b", 1)
	lock, err := lockMerging(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Merge(noon.Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("beside another: %d merged, %v", n, err)
	}
	lock.Close()
	if n, err := w.Merge(noon.Add(time.Hour)); n != 2 || err != nil {
		t.Errorf("alone: %d merged, %v", n, err)
	}
}

// TestBatchInTwoSegments: rows that would count twice are an error.
func TestBatchInTwoSegments(t *testing.T) {
	dir := t.TempDir()
	row := Row{Session: 1, Time: noon.Unix(), Client: randomAddr(rand.New(rand.NewPCG(1, 1)))}
	for name, batches := range map[string][]string{"2026061712+1.beacons": {"a", "b"}, "2026061712+2.beacons": {"b", "c"}} {
		b, err := encodeSegment(header{hour: uint32(noon.Unix() / hourLength), batches: batches, pops: fleet}, []Row{row})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := OpenAll(dir)
	if err == nil || !strings.HasSuffix(err.Error(), ` both hold the batch "b"`) {
		t.Errorf("%v", err)
	}
}
