package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func mustOpen(t *testing.T, dir string, maxFile int64) *Log {
	t.Helper()
	l, err := open(dir, maxFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// fill appends n entries and closes the log.
func fill(t *testing.T, dir string, n int, maxFile int64) Head {
	t.Helper()
	l := mustOpen(t, dir, maxFile)
	for i := range n {
		if err := l.Append(Entry{
			Time: noon.Add(time.Duration(i) * time.Second), Actor: "ada", Cause: fmt.Sprintf("reason %d", i+1), Plan: "p1", Node: "fra1", VIP: "ns1",
			Before: "announced", After: "draining", Evidence: "2 promises in 2 PoPs, want 2 in 2",
		}); err != nil {
			t.Fatal(err)
		}
	}
	head := l.Head()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return head
}

func read(t *testing.T, dir string, n int) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, fileName(n)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, dir string, n int, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, fileName(n)), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFormat holds the text of the first two lines.
func TestFormat(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 2, defaultFile)
	const first = `{"seq":1,"prev":"","time":"2026-03-01T12:00:00Z","actor":"ada","cause":"reason 1","plan":"p1","node":"fra1","vip":"ns1",` +
		`"before":"announced","after":"draining","evidence":"2 promises in 2 PoPs, want 2 in 2"`
	want := first + `,"hash":"` + hashOf([]byte(first)) + `"}`
	lines := strings.Split(string(read(t, dir, 1)), "\n")
	if lines[0] != want {
		t.Errorf("line 1\n%s\nwant\n%s", lines[0], want)
	}
	if start := `{"seq":2,"prev":"` + hashOf([]byte(first)) + `","time":"2026-03-01T12:00:01Z"`; !strings.HasPrefix(lines[1], start) {
		t.Errorf("line 2\n%s\nwant it to begin with\n%s", lines[1], start)
	}
}

// TestTampering: whatever is done to a line, verifying names it.
func TestTampering(t *testing.T) {
	for _, tc := range []struct {
		what   string
		change func(lines []string) []string
		want   string // the beginning
	}{
		{"nothing", func(l []string) []string { return l }, ""},
		{"a text", func(l []string) []string { l[2] = strings.Replace(l[2], `"ada"`, `"bob"`, 1); return l }, "line 3: it was altered: its hash is "},
		{"one bit", func(l []string) []string { l[1] = strings.Replace(l[1], "reason 2", "reason 3", 1); return l }, "line 2: it was altered: its hash is "},
		{"the last", func(l []string) []string { l[4] = strings.Replace(l[4], `"fra1"`, `"fra2"`, 1); return l }, "line 5: it was altered: its hash is "},
		{"a line removed", func(l []string) []string { return slices.Delete(l, 2, 3) }, "line 3: it is entry 4, want 3: entries were removed, added or moved"},
		{"a line twice", func(l []string) []string { return slices.Insert(l, 2, l[1]) }, "line 3: it is entry 2, want 3"},
		{"two swapped", func(l []string) []string { l[1], l[2] = l[2], l[1]; return l }, "line 2: it is entry 3, want 2"},
		{"an empty line", func(l []string) []string { return slices.Insert(l, 1, "") }, "line 2: it does not end with a hash"},
		{"words", func(l []string) []string { l[3] = "all is well"; return l }, "line 4: it does not end with a hash"},
		{"a huge line", func(l []string) []string { l[3] = strings.Repeat("x", 3*maxLine); return l }, "line 4: it is longer than 131072 octets"},
		{"with its hash made anew", func(l []string) []string {
			text := strings.Replace(l[2][:len(l[2])-tailSize], `"ada"`, `"bob"`, 1)
			l[2] = text + hashMark + hashOf([]byte(text)) + hashEnd
			return l
		}, "line 4: entry 4 says that the hash before it is "},
		{"a key more", func(l []string) []string {
			text := l[0][:len(l[0])-tailSize] + `,"x":1`
			l[0] = text + hashMark + hashOf([]byte(text)) + hashEnd
			return l
		}, `line 1: it is no entry: json: unknown field "x"`},
		{"the beginning removed", func(l []string) []string { return l[1:] }, ""}, // as when the oldest file is gone
	} {
		dir := t.TempDir()
		fill(t, dir, 5, defaultFile)
		lines := strings.Split(strings.TrimSuffix(string(read(t, dir, 1)), "\n"), "\n")
		b := []byte(strings.Join(tc.change(lines), "\n") + "\n")
		_, err := Verify(bytes.NewReader(b), Head{})
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", tc.what, err, tc.want)
		}
		if f := new(Fault); errors.As(err, &f) && f.Torn {
			t.Errorf("%s: taken for what a crash left", tc.what)
		}
		if tc.want == "" {
			continue
		}
		// The log goes on, and the line is still found.
		put(t, dir, 1, b)
		l := mustOpen(t, dir, defaultFile)
		if err := l.Append(Entry{Time: noon, Actor: "ada", Cause: "after"}); err != nil {
			t.Errorf("%s: %v", tc.what, err)
		}
		if f := l.Faults(); len(f) != 1 || !strings.HasPrefix(f[0], "audit-000001.jsonl: "+tc.want) || !strings.HasSuffix(f[0], "; the log goes on in audit-000002.jsonl") {
			t.Errorf("%s: faults %q", tc.what, f)
		}
		r, err := VerifyDir(dir)
		if err == nil || !strings.HasPrefix(err.Error(), "audit-000001.jsonl: "+tc.want) || strings.Contains(err.Error(), "audit-000002") {
			t.Errorf("%s: the folder: %v", tc.what, err)
		}
		if r.Head != l.Head() || r.Files != 2 {
			t.Errorf("%s: the folder: %+v, want the head %+v", tc.what, r, l.Head())
		}
	}
}

// TestFromHead: lines missing at the end show against a head that was kept.
func TestFromHead(t *testing.T) {
	dir := t.TempDir()
	head := fill(t, dir, 3, defaultFile)
	if got, err := Verify(bytes.NewReader(read(t, dir, 1)), Head{}); err != nil || got != head {
		t.Errorf("head %+v, %v, want %+v", got, err, head)
	}
	b := read(t, dir, 1)
	short := b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1]
	if got, err := Verify(bytes.NewReader(short), Head{}); err != nil || got.Seq != 2 {
		t.Errorf("without the last line: head %+v, %v", got, err)
	}
	if _, err := Verify(bytes.NewReader(b), head); err == nil || !strings.HasPrefix(err.Error(), "line 1: it is entry 1, want 4") {
		t.Errorf("after another log: %v", err)
	}
}

// TestTornLine: a crash can leave any part of the line that was being written.
func TestTornLine(t *testing.T) {
	whole := t.TempDir()
	fill(t, whole, 3, defaultFile)
	b := read(t, whole, 1)
	last := bytes.LastIndexByte(b[:len(b)-1], '\n') + 1
	for _, tail := range [][]byte{b[last : last+1], b[last : len(b)-1], make([]byte, 300), bytes.Repeat([]byte("x"), 2*maxLine)} {
		dir := t.TempDir()
		torn := slices.Concat(b[:last], tail)
		put(t, dir, 1, torn)
		var f *Fault
		if _, err := Verify(bytes.NewReader(torn), Head{}); !errors.As(err, &f) || len(tail) < maxLine && (!f.Torn || f.Line != 3) {
			t.Errorf("torn at %d: %v", len(tail), err)
		}
		l := mustOpen(t, dir, defaultFile)
		if err := l.Append(Entry{Time: noon, Actor: "ada", Cause: "after"}); err != nil {
			t.Fatal(err)
		}
		if len(tail) < maxLine {
			aside, err := os.ReadFile(filepath.Join(dir, "audit-000001.jsonl.torn-3"))
			if err != nil || !bytes.Equal(aside, tail) {
				t.Errorf("torn at %d: put aside %q, %v", len(tail), aside, err)
			}
			if want := fmt.Sprintf("audit-000001.jsonl: line 3 was torn: its %d octets are now in audit-000001.jsonl.torn-3", len(tail)); !strings.Contains(string(read(t, dir, 1)), want) {
				t.Errorf("no entry says %q", want)
			}
			if r, err := VerifyDir(dir); err != nil || r.Entries != 4 || r.Head != l.Head() {
				t.Errorf("torn at %d: mended %+v, %v", len(tail), r, err)
			}
		}
		if again := mustOpen(t, dir, defaultFile); again.Head() != l.Head() || len(tail) < maxLine && again.Faults() != nil {
			t.Errorf("torn at %d: opened again %+v %q, want %+v", len(tail), again.Head(), again.Faults(), l.Head())
		}
	}
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	const perFile = 1000 // octets: three entries
	head := fill(t, dir, 40, perFile)
	names, err := files(dir)
	if err != nil || len(names) != keepFiles {
		t.Fatalf("files %q, %v, want the last %d", names, err, keepFiles)
	}
	r, err := VerifyDir(dir)
	if err != nil || r.Head != head || r.Head.Seq != 40 || r.Files != keepFiles || r.Entries != int(41-r.First) {
		t.Errorf("report %+v, %v, want the head %+v", r, err, head)
	}
	second, _ := fileNumber(names[1])
	if err := os.Remove(filepath.Join(dir, names[1])); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyDir(dir); err == nil || !strings.HasPrefix(err.Error(), fileName(second+1)+": line 1: it is entry ") {
		t.Errorf("a file removed from the middle: %v", err)
	}
	more := fill(t, dir, 1, perFile)
	if more.Seq != 41 {
		t.Errorf("goes on with entry %d, want 41", more.Seq)
	}
}

// TestEmptiedFile: no file begins without an entry, so whoever emptied one is found
// out, by the node and by who verifies.
func TestEmptiedFile(t *testing.T) {
	const fault = "line 1: it is missing: the file is empty, and none begins without an entry"
	for _, emptied := range []int{1, 2} {
		dir := t.TempDir()
		fill(t, dir, 5, 1000) // three in the first
		put(t, dir, emptied, nil)
		l := mustOpen(t, dir, 1000)
		var want []string
		if emptied == 2 {
			want = []string{"audit-000002.jsonl: " + fault + "; the log goes on in audit-000003.jsonl"}
		}
		if got := l.Faults(); !slices.Equal(got, want) {
			t.Errorf("faults %q, want %q", got, want)
		}
		l.Close()
		// And so at any later time.
		for _, verify := range []func() error{mustOpen(t, dir, 1000).Verify, func() error { _, err := VerifyDir(dir); return err }} {
			if err := verify(); err == nil || !strings.HasPrefix(err.Error(), fileName(emptied)+": "+fault) {
				t.Errorf("%s emptied: %v", fileName(emptied), err)
			}
		}
	}
	dir := t.TempDir()
	fill(t, dir, 5, defaultFile)
	put(t, dir, 1, nil)
	if r, err := VerifyDir(dir); err == nil || r.Entries != 0 {
		t.Errorf("all emptied: %+v, %v", r, err)
	}
}

// TestBeginningCutOff: the first file begins with the first entry, and all files
// are kept but those that the log itself removes.
func TestBeginningCutOff(t *testing.T) {
	for _, gone := range []int{1, 20} {
		dir := t.TempDir()
		fill(t, dir, 40, defaultFile)
		put(t, dir, 1, bytes.Join(bytes.SplitAfter(read(t, dir, 1), []byte("\n"))[gone:], nil))
		want := fmt.Sprintf("audit-000001.jsonl: line 1: it is entry %d, want 1: entries were removed at the beginning", gone+1)
		if _, err := VerifyDir(dir); err == nil || err.Error() != want {
			t.Errorf("%d lines cut off: %v, want %q", gone, err, want)
		}
		l := mustOpen(t, dir, defaultFile)
		if got := l.Faults(); len(got) != 1 || got[0] != want+"; the log goes on in audit-000002.jsonl" || l.Head().Seq != 41 {
			t.Errorf("%d lines cut off: faults %q, and it goes on with entry %d", gone, got, l.Head().Seq)
		}
	}
	for _, tc := range []struct {
		files int
		want  string
	}{
		{1, "audit-000001.jsonl is missing: the newest 8 files are kept"},
		{2, "audit-000001.jsonl to audit-000002.jsonl are missing: the newest 8 files are kept"},
	} {
		dir := t.TempDir()
		fill(t, dir, 12, 1000)
		for n := range tc.files {
			if err := os.Remove(filepath.Join(dir, fileName(n+1))); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := VerifyDir(dir); err == nil || err.Error() != tc.want {
			t.Errorf("%d files removed: %v, want %q", tc.files, err, tc.want)
		}
		if err := mustOpen(t, dir, 1000).Verify(); err == nil || err.Error() != tc.want {
			t.Errorf("%d files removed, opened: %v, want %q", tc.files, err, tc.want)
		}
	}
}

// TestTamperingIsFoundAgain: what was found once is found whenever the log is
// opened, and what is appended meanwhile is no fault.
func TestTamperingIsFoundAgain(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 3, defaultFile)
	put(t, dir, 1, bytes.Replace(read(t, dir, 1), []byte("reason 2"), []byte("reason 7"), 1))
	for range 3 {
		l := mustOpen(t, dir, defaultFile)
		if err := l.Append(Entry{Time: noon, Actor: "ada", Cause: "after"}); err != nil {
			t.Fatal(err)
		}
		if err := l.Verify(); err == nil || !strings.HasPrefix(err.Error(), "audit-000001.jsonl: line 2: it was altered: ") {
			t.Errorf("verified as %v", err)
		}
		l.Close()
	}

	good := t.TempDir()
	fill(t, good, 3, defaultFile)
	l := mustOpen(t, good, defaultFile)
	if _, err := l.file.WriteAt([]byte(`{"seq":4,"half`), l.size); err != nil {
		t.Fatal(err)
	}
	if err := l.Verify(); err != nil {
		t.Errorf("while a line is written: %v", err)
	}
	if err := mustOpen(t, t.TempDir(), defaultFile).Verify(); err != nil {
		t.Errorf("a new log: %v", err)
	}
}

// TestFileBeginsWhole: a file that cannot be given its first entry is not there at
// all, and the log is as before.
func TestFileBeginsWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	l := mustOpen(t, dir, 1000)
	if names, err := files(dir); err != nil || names != nil {
		t.Errorf("before any entry: files %q, %v", names, err)
	}
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(Entry{Actor: "ada", Cause: "lost"}); err == nil || l.Head() != (Head{}) {
		t.Errorf("written nowhere: %v, head %+v", err, l.Head())
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(Entry{Actor: "ada", Cause: "kept"}); err != nil || l.Head().Seq != 1 {
		t.Errorf("%v, head %+v", err, l.Head())
	}
}

// TestFailedWrite: what a write left that failed is not in the log.
func TestFailedWrite(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 2, defaultFile)
	l := mustOpen(t, dir, defaultFile)
	good := l.file
	bad, err := os.Open(good.Name()) // for reading only
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	l.file = bad
	if err := l.Append(Entry{Actor: "ada", Cause: "lost"}); err == nil {
		t.Fatal("it was written")
	}
	if _, err := good.WriteAt([]byte(`{"seq":3,"half`), l.size); err != nil {
		t.Fatal(err)
	}
	l.file = good
	if err := l.Append(Entry{Actor: "ada", Cause: "kept"}); err != nil {
		t.Fatal(err)
	}
	if r, err := VerifyDir(dir); err != nil || r.Entries != 3 {
		t.Errorf("report %+v, %v", r, err)
	}
	if l.Close() != nil || l.Append(Entry{}) == nil {
		t.Error("a closed log takes entries")
	}
}

func TestLongTexts(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, defaultFile)
	long := strings.Repeat("\x01", 2*maxText) // JSON makes six of each
	if err := l.Append(Entry{Actor: long, Cause: long, Plan: long, Node: long, VIP: long, Before: long, After: long, Evidence: "\xff"}); err != nil {
		t.Fatal(err)
	}
	if r, err := VerifyDir(dir); err != nil || r.Entries != 1 {
		t.Errorf("report %+v, %v", r, err)
	}
}

func TestVerifyDirWithout(t *testing.T) {
	dir := t.TempDir()
	if _, err := VerifyDir(dir); err == nil || !strings.HasSuffix(err.Error(), "holds no audit log: want files such as audit-000001.jsonl, which every node that ever had VIPs has") {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := VerifyDir(filepath.Join(dir, "x")); err == nil {
		t.Error("no folder: no error")
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestVerifyReadError(t *testing.T) {
	if _, err := Verify(brokenReader{}, Head{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
}

// chained is a log of two lines.
func chained() []byte {
	e := Entry{Seq: 1, Time: noon, Actor: "ada", Cause: "x"}
	line, hash := e.line()
	next, _ := Entry{Seq: 2, Prev: hash, Time: noon, Actor: "ada", Cause: "y"}.line()
	return slices.Concat(line, []byte("\n"), next, []byte("\n"))
}

func damaged() [][]byte {
	whole := chained()
	return [][]byte{
		whole, whole[:len(whole)-1], whole[len(whole)/2:], bytes.Replace(whole, []byte("ada"), []byte("bob"), 1),
		slices.Concat(whole, whole[:10]), slices.Concat(whole, []byte("x\n"), whole[:10]), []byte("\n\n"), []byte("x"),
		{},
	}
}

// TestOpenAnything: whatever the newest file is, the log opens and goes on; what
// was written then is verified and found again.
func TestOpenAnything(t *testing.T) {
	for _, b := range damaged() {
		dir := t.TempDir()
		put(t, dir, 1, b)
		l := mustOpen(t, dir, defaultFile)
		if err := l.Append(Entry{Time: noon, Actor: "ada", Cause: "after"}); err != nil {
			t.Fatal(err)
		}
		again := mustOpen(t, dir, defaultFile)
		if again.Head() != l.Head() || again.Faults() != nil {
			t.Errorf("%q opened again: %+v, %q, want %+v", b, again.Head(), again.Faults(), l.Head())
		}
		_, was := Verify(bytes.NewReader(b), Head{})
		f, ok := errors.AsType[*Fault](was)
		// Behind a bad line a torn one is mended, too.
		if _, err := VerifyDir(dir); (err != nil) != (ok && !f.Torn) {
			t.Errorf("%q: fault %v, the folder: %v", b, was, err)
		}
	}
}

// verifySlowly says which line is the first that is wrong, 0 for none, and
// whether it is torn.
func verifySlowly(b []byte) (line int, torn bool) {
	var before *Entry
	var beforeHash string
	lines := strings.SplitAfter(string(b), "\n")
	for i, text := range lines {
		if text == "" && i == len(lines)-1 && i > 0 {
			return 0, false
		}
		body, ended := strings.CutSuffix(text, "\n")
		if !ended {
			return i + 1, text != "" && len(text) < maxLine
		}
		cut := strings.LastIndex(body, hashMark)
		if cut < 0 || len(text) > maxLine || body[cut:] != hashMark+hashOf([]byte(body[:cut]))+hashEnd {
			return i + 1, false
		}
		var e Entry
		d := json.NewDecoder(strings.NewReader(body[:cut] + "}"))
		d.DisallowUnknownFields()
		if d.Decode(&e) != nil || d.More() {
			return i + 1, false
		}
		if before == nil && (e.Seq == 0 || (e.Seq == 1) != (e.Prev == "")) || before != nil && (e.Seq != before.Seq+1 || e.Prev != beforeHash) {
			return i + 1, false
		}
		before, beforeHash = &e, hashOf([]byte(body[:cut]))
	}
	return 0, false
}

// FuzzVerify holds Verify to its slow twin. So that the fuzzer gets past the
// hashes, each line is given the right one when repair says so.
func FuzzVerify(f *testing.F) {
	for _, b := range damaged() {
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, repair bool) {
		if repair {
			lines := bytes.Split(b, []byte("\n"))
			for i, line := range lines {
				if at := bytes.LastIndex(line, []byte(hashMark)); at >= 0 {
					lines[i] = []byte(string(line[:at]) + hashMark + hashOf(line[:at]) + hashEnd)
				}
			}
			b = bytes.Join(lines, []byte("\n"))
		}
		s, err := scan(bytes.NewReader(b), Head{})
		if err != nil || s.length+s.torn != int64(len(b)) || s.lines != bytes.Count(b, []byte("\n")) {
			t.Fatalf("%d lines, %d octets whole and %d torn of %d, %v", s.lines, s.length, s.torn, len(b), err)
		}
		line, torn := 0, false
		if s.fault != nil {
			line, torn = s.fault.Line, s.fault.Torn
		}
		if wantLine, wantTorn := verifySlowly(b); line != wantLine || torn != wantTorn && len(b) < maxLine {
			t.Errorf("line %d torn %v (%v), want line %d torn %v", line, torn, s.fault, wantLine, wantTorn)
		}
	})
}
