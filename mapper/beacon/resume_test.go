package beacon

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestResumeAfterBreak: an upload that broke off goes on after the chunks that are whole for
// sure, and has every row once; also when they were merged since.
func TestResumeAfterBreak(t *testing.T) {
	const chunk, rows = 10, 55
	content := rowsAsText(rows, 7200)
	from, to := all()
	for _, broken := range []int{0, 9, 10, 25, 40, 55} {
		for _, merge := range []bool{false, true} {
			dir := t.TempDir()
			w := writer(t, dir)
			o := options()
			o.Into, o.Batch, o.chunk = w, "june", chunk
			if _, err := Intake(t.Context(), io.MultiReader(strings.NewReader(linesOf(content, broken+1)), hangUp{}), o); err == nil {
				t.Fatal("a broken upload ended well")
			}
			other := o
			other.Batch, other.chunk = "june.2", 0 // its first chunk is june.2.1
			if _, err := Intake(t.Context(), strings.NewReader(linesOf(content, 2)), other); err != nil {
				t.Fatal(err)
			}
			if merge {
				if _, err := w.Merge(noon.Add(24 * time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
			last, err := w.lastChunk("june")
			if err != nil || last != broken/chunk {
				t.Fatalf("broken after %d rows: chunk %d is the last, %v", broken, last, err)
			}
			o.Skip = max(0, last-1) * chunk
			rest, missing, err := Rest(strings.NewReader(content), o.Skip)
			if err != nil || missing != o.Skip {
				t.Fatalf("%d lines are missing, %v, want %d", missing, err, o.Skip)
			}
			report, err := Intake(t.Context(), rest, o)
			if err != nil || report.Accepted != rows-o.Skip || report.Known != min(last, 1)*chunk {
				t.Errorf("broken after %d rows, merged %v: %s, %d known, %v", broken, merge, summary(report), report.Known, err)
			}
			if got := len(text(t, dir, from, to)); got != rows+1 {
				t.Errorf("broken after %d rows, merged %v: %d rows are there, want %d", broken, merge, got, rows+1)
			}
		}
	}
	if n, err := writer(t, t.TempDir()).Resume("new"); n != 0 || err != nil {
		t.Errorf("of a new batch %d rows are there, %v", n, err)
	}
	if _, err := writer(t, t.TempDir()).Resume("a/b"); err == nil {
		t.Error("a bad name was taken")
	}
}

// hangUp is a connection that breaks off.
type hangUp struct{}

func (hangUp) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// linesOf returns the first lines of a text.
func linesOf(text string, n int) string {
	return strings.Join(strings.SplitAfter(text, "\n")[:n], "")
}

func TestRest(t *testing.T) {
	zipped := new(bytes.Buffer)
	z := gzip.NewWriter(zipped)
	io.WriteString(z, "h\n\na\nb\nc\n")
	z.Close()
	long := "h\n" + strings.Repeat("x", 2*maxLine) + "\nb\n"
	for _, tt := range []struct {
		text    string
		rows    int
		want    string
		missing int
	}{
		{"h\na\nb\n", 0, "h\na\nb\n", 0},
		{"h\na\nb", 1, "h\nb", 1},
		{"\nh\r\n\n\na\nb\n", 1, "h\nb\n", 4},
		{"{a}\n{b}\n", 1, "{b}\n", 1},
		{zipped.String(), 2, "h\nc\n", 3},
		{long, 1, "h\nb\n", 1},
		{"h\na\n", 1, "h\n", 1},
		{"h\na\n", 2, "error: it ends after 1 rows, but 2 of its name were taken in before: is it another file?", 0},
		{"", 0, "error: bad header", 0},
	} {
		rest, missing, err := Rest(strings.NewReader(tt.text), tt.rows)
		got := ""
		if err != nil {
			got = "error: " + err.Error()
		} else {
			b, err := io.ReadAll(rest)
			if got = string(b); err != nil || missing != tt.missing {
				t.Errorf("%.20q after %d: %d lines are missing, %v, want %d", tt.text, tt.rows, missing, err, tt.missing)
			}
		}
		if !strings.HasPrefix(got, tt.want) || err == nil && got != tt.want {
			t.Errorf("%.20q after %d: %q, want %q", tt.text, tt.rows, got, tt.want)
		}
	}
}

// TestFoldersOfCopies: what nodes measured is read together, a batch of two of them
// once, and merging leaves the copies alone.
func TestFoldersOfCopies(t *testing.T) {
	dir := t.TempDir()
	rows := func(first int) []Row { return batchRowsOf(first) }
	appendRows(t, writer(t, dir), "own", fleet, rows(1))
	appendRows(t, writer(t, filepath.Join(dir, "fra1")), "a", fleet, rows(2))
	appendRows(t, writer(t, filepath.Join(dir, "fra1")), "b", fleet, rows(3))
	appendRows(t, writer(t, filepath.Join(dir, "iad1")), "b", fleet, rows(3))
	from, to := all()
	n := len(rows(1)) + len(rows(2)) + len(rows(3))
	if got := len(text(t, dir, from, to)); got != n {
		t.Errorf("%d rows are read, want %d", got, n)
	}
	if merged, err := writer(t, dir).Merge(noon.AddDate(1, 0, 0)); err != nil || merged != 0 {
		t.Errorf("merged %d copies, %v", merged, err)
	}
	if got := len(text(t, dir, from, to)); got != n {
		t.Errorf("%d rows are read after merging, want %d", got, n)
	}
	if list, err := NewCatalog(dir).List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("the node's own files are %v, %v", list, err)
	}
}

// batchRowsOf are rows that differ from number to number, of one hour.
func batchRowsOf(number int) []Row {
	var rows []Row
	for i := range 5 {
		c, _ := parseAddr(fmt.Appendf(nil, "81.2.%d.%d", number, i))
		rows = append(rows, Row{Session: uint64(number*100 + i), Time: noon.Unix(), Client: c, PoP: 1, RTT: 100})
	}
	return rows
}

// FuzzRest: whatever a file holds, what is left after its first row has one row less,
// good or bad.
func FuzzRest(f *testing.F) {
	f.Add([]byte(rowsAsText(3, 10)))
	f.Add([]byte("{\"time\":1}\n\n{}\n"))
	f.Add([]byte("\n" + header7 + "\r\nx,y\n\"\n"))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		count := func(r io.Reader) (int, error) {
			report, err := Intake(t.Context(), r, options())
			return report.Accepted + report.RejectedRows(), err
		}
		whole, err := count(bytes.NewReader(data))
		if err != nil {
			return
		}
		for skip := range min(2, whole+1) {
			rest, _, err := Rest(bytes.NewReader(data), skip)
			if err != nil {
				t.Fatalf("of %d rows, %d skipped: %v", whole, skip, err)
			}
			got, err := count(rest)
			if err != nil && skip == 0 || err == nil && got != whole-skip {
				t.Fatalf("of %d rows, %d skipped: %d are left, %v", whole, skip, got, err)
			}
			rest.Close()
		}
	})
}
