package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// Fault is the first line of a log that is wrong.
type Fault struct {
	Line int // from 1
	Torn bool
	Why  string
}

// Error names the line and says what is wrong with it.
func (f *Fault) Error() string { return fmt.Sprintf("line %d: %s", f.Line, f.Why) }

// Verify reads one file of a log, which begins after the entry that from tells
// of; the zero Head accepts any beginning. It returns the head of the last line
// that is right. The error is a *Fault for the first line that is not, or of r.
// A last line that does not end is Torn: a crash leaves such, and [Open] mends it.
func Verify(r io.Reader, from Head) (Head, error) {
	s, err := scan(r, from)
	if err == nil && s.fault != nil {
		err = s.fault
	}
	return s.good, err
}

// scanned is what reading a file of a log comes to.
type scanned struct {
	first  uint64 // sequence of the first line that is right
	good   Head   // of the last line before the first fault
	last   Head   // of the last line that has the hash it says, whatever is before it
	lines  int    // that are whole
	length int64  // of these, in octets
	torn   int64  // octets behind them
	fault  *Fault // the first
}

func scan(r io.Reader, from Head) (scanned, error) {
	s := scanned{good: from, last: from}
	in := bufio.NewReaderSize(r, maxLine)
	fail := func(torn bool, why string) {
		if s.fault == nil {
			s.fault = &Fault{Line: s.lines + 1, Torn: torn, Why: why}
		}
	}
	for {
		line, err := in.ReadSlice('\n')
		size := int64(len(line))
		for errors.Is(err, bufio.ErrBufferFull) {
			fail(false, fmt.Sprintf("it is longer than %d octets", maxLine))
			line, err = in.ReadSlice('\n')
			size += int64(len(line))
			if !errors.Is(err, bufio.ErrBufferFull) {
				line = nil // it was told
			}
		}
		if err != nil {
			s.torn = size
			if s.lines == 0 && size == 0 {
				fail(false, "it is missing: the file is empty, and none begins without an entry")
			}
			if size > 0 {
				fail(true, fmt.Sprintf("it is torn: %d octets without an end, as a crash leaves them; the node mends that when it starts", size))
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return s, err
		}
		if line != nil {
			e, hash, why := parse(line[:len(line)-1])
			if why == "" {
				s.last = Head{e.Seq, hash}
				if why = e.follows(s.good); why == "" && s.fault == nil {
					s.good, s.first = s.last, cmp.Or(s.first, e.Seq)
				}
			}
			if why != "" {
				fail(false, why)
			}
		}
		s.lines++
		s.length += size
	}
}

// parse reads a line and holds it against its own hash.
func parse(line []byte) (e Entry, hash, why string) {
	at := len(line) - tailSize
	if at < 0 || !bytes.HasPrefix(line[at:], []byte(hashMark)) || !bytes.HasSuffix(line, []byte(hashEnd)) {
		return e, "", "it does not end with a hash"
	}
	hash = string(line[at+len(hashMark) : len(line)-len(hashEnd)])
	if want := hashOf(line[:at]); hash != want {
		return e, "", fmt.Sprintf("it was altered: its hash is %.12s…, that of its text %.12s…", hash, want)
	}
	text := append(bytes.Clone(line[:at]), '}')
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return e, "", fmt.Sprintf("it is no entry: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return e, "", "something is behind the entry"
	}
	return e, hash, ""
}

// follows says why an entry is not the next one after a head, or "".
func (e Entry) follows(h Head) string {
	switch {
	case h == Head{} && e.Seq == 1 && e.Prev == "", h == Head{} && e.Seq > 1 && e.Prev != "":
		return ""
	case h == Head{}:
		return fmt.Sprintf("entry %d with the hash before it %.12q: want none for the first only", e.Seq, e.Prev)
	case e.Seq != h.Seq+1:
		return fmt.Sprintf("it is entry %d, want %d: entries were removed, added or moved", e.Seq, h.Seq+1)
	case e.Prev != h.Hash:
		return fmt.Sprintf("entry %d says that the hash before it is %.12s…, which is %.12s…: that one was altered", e.Seq, e.Prev, h.Hash)
	}
	return ""
}

// Report is what VerifyDir saw.
type Report struct {
	Files   int    `json:"files"`
	Entries int    `json:"entries"` // that are right
	First   uint64 `json:"first"`   // sequence of the oldest that is kept
	Head    Head   `json:"head"`    // the newest that is right
}

// VerifyDir verifies the log of a folder, file by file, from the first entry or,
// when files were removed since there were too many, from the oldest that is kept.
// The error joins the first fault of each file, with its name; a log that is not
// there is an error, too.
func VerifyDir(dir string) (Report, error) {
	names, err := files(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Report{}, err
	}
	if len(names) == 0 {
		return Report{}, fmt.Errorf("%q holds no audit log: want files such as %s, which every node that ever had VIPs has", dir, fileName(1))
	}
	return verify(dir, names, math.MaxInt64)
}

// verify verifies files, the newest of them up to an end, in octets.
func verify(dir string, names []string, end int64) (Report, error) {
	if len(names) == 0 {
		return Report{}, nil
	}
	var r Report
	faults := []error{missing(names)}
	at := Head{}
	for i, name := range names {
		most := int64(math.MaxInt64)
		if i == len(names)-1 {
			most = end
		}
		s, err := scanFile(dir, name, at, most)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the oldest has just gone; of any other the next line tells
		}
		r.Files++
		r.First = cmp.Or(r.First, s.first)
		if s.first != 0 {
			r.Entries += int(s.good.Seq - s.first + 1)
		}
		at = s.last
		if s.fault == nil && err == nil {
			r.Head = s.good
			continue
		}
		if s.fault != nil {
			err = errors.Join(err, s.fault)
		}
		faults = append(faults, fmt.Errorf("%s: %w", name, err))
	}
	return r, errors.Join(faults...)
}

// missing says which files were removed that ought to be kept, if the oldest were.
func missing(names []string) error {
	oldest, _ := fileNumber(names[0])
	newest, _ := fileNumber(names[len(names)-1])
	want := max(1, newest-keepFiles+1)
	switch {
	case oldest <= want:
		return nil
	case oldest == want+1:
		return fmt.Errorf("%s is missing: the newest %d files are kept", fileName(want), keepFiles)
	}
	return fmt.Errorf("%s to %s are missing: the newest %d files are kept", fileName(want), fileName(oldest-1), keepFiles)
}

// scanFile reads a file of a log up to an end. The first file begins with the
// first entry, any other after from.
func scanFile(dir, name string, from Head, end int64) (scanned, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return scanned{last: from}, err
	}
	defer f.Close()
	s, err := scan(io.LimitReader(f, end), from)
	if s.first > 1 && name == fileName(1) {
		s.fault = &Fault{Line: 1, Why: fmt.Sprintf("it is entry %d, want 1: entries were removed at the beginning", s.first)}
		s.first, s.good = 0, from
	}
	return s, err
}

// files returns the names of a log's files, oldest first.
func files(dir string) ([]string, error) {
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	var names []string
	for _, f := range all {
		if n, ok := fileNumber(f.Name()); ok && fileName(n) == f.Name() {
			names = append(names, f.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func fileName(n int) string { return fmt.Sprintf("audit-%06d.jsonl", n) }

func fileNumber(name string) (n int, ok bool) {
	_, err := fmt.Sscanf(name, "audit-%06d.jsonl", &n)
	return n, err == nil && n > 0
}
