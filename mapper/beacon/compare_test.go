package beacon

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAcceptedIsOnDisk: whatever comes under a batch that is there, what is reported as
// accepted is on disk, and what is not there is refused whole.
func TestAcceptedIsOnDisk(t *testing.T) {
	const rows = 40 // ten of each PoP, in four hours
	content := rowsAsText(rows, 10)
	half := strings.Join(slices.Insert(strings.SplitAfter(content, "\n")[21:], 0, header7), "")
	other := strings.ReplaceAll(content, ",81.2.", ",81.3.")
	twice := content + linesOf(content, 2)[len(header7):]
	for _, tt := range []struct {
		name          string
		first, second string
		pops          []string // configured at first
		late          time.Duration
		want          string // the error's beginning, or what is reported
		there         int    // rows after both
	}{
		{"the same", content, content, fleet, 0, "40 accepted", 40},
		{"a pop configured meanwhile", content, content, fleet[:3], 0, `batch "g.1" is here with other rows: 10 of the 40 that came are not on disk: `, 30},
		{"a pop taken away meanwhile", content, strings.ReplaceAll(content, ",sin,", ",xyz,"), fleet, 0, "30 accepted; 10 unknown pop [5 9 13 17 21]", 40},
		{"rows too old meanwhile", content, content, fleet, 5 * time.Hour / 2, "20 accepted; 20 too long ago [22 23 24 25 26]", 40},
		{"another file", content, other, fleet, 0, `batch "g.1" is here with other rows: 40 of the 40 that came are not on disk: `, 40},
		{"a longer file, with hours that are not there", half, content, fleet, 0, "40 accepted", 40},
		{"another file, with hours that are not there", half, other, fleet, 0, `batch "g.1" is here with other rows: 20 of the 40 that came are not on disk: `, 20},
		{"another file, with none of the hours", linesOf(content, 21), half, fleet, 0, `batch "g.1" is here with other rows: 20 of the 20 that came are not on disk: `, 20},
		{"one row twice", content, twice, fleet, 0, `batch "g.1" is here with other rows: 1 of the 41 that came are not on disk: `, 40},
	} {
		for _, merge := range []bool{false, true} {
			dir := t.TempDir()
			w := writer(t, dir)
			o := options()
			o.Into, o.Batch, o.PoPs = w, "g", tt.pops
			if _, err := Intake(t.Context(), strings.NewReader(tt.first), o); err != nil {
				t.Fatal(err)
			}
			appendRows(t, w, "x", fleet, batchRowsOf(7)) // of the newest hour
			if merge {
				if _, err := w.Merge(noon.Add(24 * time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
			o.PoPs = fleet
			if tt.late > 0 {
				o.Oldest = noon.Add(-2*time.Hour + time.Second)
			}
			report, err := Intake(t.Context(), strings.NewReader(tt.second), o)
			got := summary(report)
			refused := (*OtherRows)(nil)
			if errors.As(err, &refused) {
				got = err.Error()
				if report.Accepted != 0 || errors.Is(err, ErrNotKept) || !strings.Contains(got, `its name "g" stands for another file`) {
					t.Errorf("%s, merged %v: %d accepted with %v", tt.name, merge, report.Accepted, err)
				}
			} else if err != nil {
				t.Errorf("%s, merged %v: %v", tt.name, merge, err)
			}
			if refused == nil && got != tt.want || !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s, merged %v: %s, want %s", tt.name, merge, got, tt.want)
			}
			from, to := all()
			if n := len(text(t, dir, from, to)) - len(batchRowsOf(7)); n != tt.there {
				t.Errorf("%s, merged %v: %d rows are there, want %d", tt.name, merge, n, tt.there)
			}
		}
	}
}

// TestGoesOnWithAnother: who skips rows that are there must go on with the same file.
func TestGoesOnWithAnother(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Into, o.Batch, o.chunk = writer(t, dir), "g", 10
	if _, err := Intake(t.Context(), strings.NewReader(rowsAsText(20, 100)), o); err != nil {
		t.Fatal(err)
	}
	o.Skip = 10
	early := strings.ReplaceAll(rowsAsText(10, 100), fmt.Sprint(noon.Unix()), fmt.Sprint(noon.Unix()-7200))
	report, err := Intake(t.Context(), strings.NewReader(early), o)
	want := `batch "g.2" is here with other rows: 10 of the 10 that came are not on disk: `
	if err == nil || !strings.HasPrefix(err.Error(), want) || report.Accepted != 0 {
		t.Errorf("%d accepted, %v, want %s", report.Accepted, err, want)
	}
	from, to := all()
	if n := len(text(t, dir, from, to)); n != 20 {
		t.Errorf("%d rows are there, want 20", n)
	}
}

// TestMissing counts like a table of all rows.
func TestMissing(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		dir := t.TempDir()
		w := writer(t, dir)
		rows := random(rng, 30, 1)
		for i := range rows {
			rows[i].Time = noon.Unix() + int64(rng.IntN(3))
		}
		stored := map[string]int{}
		kept := slices.Clone(rows[:1+rng.IntN(len(rows))])
		for _, r := range kept {
			stored[line(r, fleet)]++
		}
		appendRows(t, w, "b", fleet, kept)
		pops := slices.Clone(fleet)
		rng.Shuffle(len(pops), func(a, b int) { pops[a], pops[b] = pops[b], pops[a] })
		rng.Shuffle(len(rows), func(a, b int) { rows[a], rows[b] = rows[b], rows[a] })
		rows = rows[:rng.IntN(len(rows)+1)]
		want := 0
		for i, r := range rows {
			rows[i].PoP = uint16(slices.Index(pops, fleet[r.PoP]))
			if key := line(r, fleet); stored[key] > 0 {
				stored[key]--
			} else {
				want++
			}
		}
		hour := uint32(noon.Unix() / hourLength)
		if got, err := w.missing(segmentName(hour, "b"), hour, rows, pops); err != nil || got != want {
			t.Fatalf("%d of %d rows are missing, %v, want %d", got, len(rows), err, want)
		}
	}
}

// TestAgainBesideDamage: what is there damaged is not said to be there; without it,
// the rows come again.
func TestAgainBesideDamage(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Into, o.Batch = writer(t, dir), "g"
	take := func() (Report, error) { return Intake(t.Context(), strings.NewReader(rowsAsText(20, 10)), o) }
	if _, err := take(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, names(t, dir)[0])
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if report, err := take(); !errors.Is(err, ErrNotKept) || !strings.Contains(err.Error(), fmt.Sprintf("bad segment %q", path)) || report.Accepted != 0 {
		t.Errorf("%s, %v", summary(report), err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if report, err := take(); err != nil || summary(report) != "20 accepted" {
		t.Errorf("%s, %v", summary(report), err)
	}
	from, to := all()
	if n := len(text(t, dir, from, to)); n != 20 {
		t.Errorf("%d rows are there, want 20", n)
	}
}

// TestKnownByHour: rows of hours that are there are known, also when others are not.
func TestKnownByHour(t *testing.T) {
	dir := t.TempDir()
	w := writer(t, dir)
	rows := random(rand.New(rand.NewPCG(7, 8)), 30, 1)[:30]
	for i := range rows {
		rows[i].Session, rows[i].Time = uint64(i), noon.Unix()+int64(i%3/2)*hourLength // 20 and 10
	}
	for round, want := range []int{0, 20, 30} {
		known, err := w.append(Batch{ID: "b", PoPs: fleet, Rows: slices.Clone(rows)}, false)
		if err != nil || known != want {
			t.Errorf("round %d: %d rows known, %v, want %d", round, known, err, want)
		}
		if round == 0 {
			if err := os.Remove(filepath.Join(dir, names(t, dir)[1])); err != nil {
				t.Fatal(err)
			}
		}
	}
}
