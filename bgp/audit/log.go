package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"edged/edge"
)

// The bounds of what is kept.
const (
	defaultFile = 64 << 20 // octets, from which on a new file begins
	keepFiles   = 8
)

// Log is an open audit log.
type Log struct {
	dir     string
	maxFile int64

	kept    []string // the files that there were when it was open
	keptEnd int64    // of the newest of them then, in octets

	mu     sync.Mutex // guards what follows, and the order of the lines
	closed bool
	file   *os.File // nil: the next entry begins one
	number int      // of the newest file; 0: there is none
	size   int64    // of the whole lines of file
	torn   bool     // the last write failed: there may be something behind size
	head   Head
	faults []string
}

// Open opens the log of a folder, which is made if it is not there. What is
// wrong with the newest file is no error: the log goes on, and [Log.Faults] and
// an entry say what it was. The files before it are for [Log.Verify].
func Open(dir string) (*Log, error) { return open(dir, defaultFile) }

func open(dir string, maxFile int64) (*Log, error) {
	l := &Log{dir: dir, maxFile: maxFile}
	err := l.resume()
	if err == nil {
		l.keptEnd = l.size
		l.kept, err = files(dir)
	}
	if err != nil {
		if l.file != nil {
			l.file.Close()
		}
		return nil, fmt.Errorf("audit log in %q: %w", dir, err)
	}
	return l, nil
}

func (l *Log) resume() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	names, err := files(l.dir)
	if err != nil || len(names) == 0 {
		return err
	}
	// What the newest file begins with is for VerifyDir to judge; but without a
	// line of its own it goes on from the file before.
	newest := names[len(names)-1]
	s, err := scanFile(l.dir, newest, Head{}, math.MaxInt64)
	if err != nil {
		return err
	}
	l.head = s.last
	for i := len(names) - 2; i >= 0 && l.head == (Head{}); i-- {
		before, err := scanFile(l.dir, names[i], Head{}, math.MaxInt64)
		if err != nil {
			return err
		}
		l.head = before.last
	}
	l.number, _ = fileNumber(newest)
	if l.file, err = os.OpenFile(filepath.Join(l.dir, newest), os.O_RDWR, 0); err != nil {
		return err
	}
	l.size = s.length
	var cause string
	if s.torn > 0 {
		cause = fmt.Sprintf("%s: line %d was torn: its %d octets ", newest, s.lines+1, s.torn)
		if aside, err := l.putAside(newest, s); err == nil {
			cause += "are now in " + aside
		} else {
			cause += fmt.Sprintf("could not be put aside, and are gone: %v", err)
		}
		if err := errors.Join(l.file.Truncate(s.length), l.file.Sync()); err != nil {
			return err
		}
		l.faults = append(l.faults, cause)
	}
	if s.fault != nil && !s.fault.Torn {
		fault := fmt.Sprintf("%s: %v; the log goes on in %s", newest, s.fault, fileName(l.number+1))
		l.faults = append(l.faults, fault)
		if cause != "" {
			fault = cause + "; " + fault
		}
		cause = fault
		l.file.Close()
		l.file = nil
	}
	if cause == "" {
		return nil
	}
	if err := l.append(Entry{Actor: "edged", Cause: cause}); err != nil {
		l.faults = append(l.faults, fmt.Sprintf("no entry tells of that: %v", err))
	}
	return nil
}

// putAside copies a torn line to a file of its own.
func (l *Log) putAside(name string, s scanned) (string, error) {
	rest := make([]byte, min(s.torn, maxLine)) // of a longer one the beginning says enough
	if _, err := l.file.ReadAt(rest, s.length); err != nil {
		return "", err
	}
	aside := fmt.Sprintf("%s.torn-%d", name, s.lines+1)
	if err := os.WriteFile(filepath.Join(l.dir, aside), rest, 0o600); err != nil {
		return "", err
	}
	return aside, nil
}

// begin goes on in a new file, which comes into being with its first entry, and
// removes the oldest when there are too many.
func (l *Log) begin(e Entry) error {
	line, head := l.next(e)
	number := l.number + 1
	path := filepath.Join(l.dir, fileName(number))
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s is there already: who made it?", path)
	}
	err := edge.ReplaceFile(path, line, 0o600)
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		_ = os.Remove(path) // if it came so far
		return err
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file, l.number, l.size, l.torn, l.head = f, number, int64(len(line)), false, head
	if old := number - keepFiles; old > 0 {
		if err := os.Remove(filepath.Join(l.dir, fileName(old))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.faults = append(l.faults, err.Error())
		}
	}
	return nil
}

// Append writes an entry, with its sequence and hashes, and returns when it is on
// disk. Texts longer than 2 KiB are cut. After an error the log is as before it.
func (l *Log) Append(e Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.New("audit log: it is closed")
	}
	if err := l.append(e); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}

func (l *Log) append(e Entry) error {
	if l.file == nil || l.size >= l.maxFile {
		return l.begin(e)
	}
	if l.torn {
		if err := l.file.Truncate(l.size); err != nil {
			return err
		}
		l.torn = false
	}
	if err := l.replaced(); err != nil {
		return err
	}
	return l.write(e)
}

// replaced goes on in a new file when the one that is open is not the one in the
// folder any more, or has another length: somebody moved, cut or changed it. An
// entry says so, and VerifyDir finds what was changed.
func (l *Log) replaced() error {
	name := fileName(l.number)
	there, errThere := os.Stat(filepath.Join(l.dir, name))
	ours, err := l.file.Stat()
	if err != nil {
		return err
	}
	if errThere == nil && os.SameFile(there, ours) && ours.Size() == l.size {
		return nil
	}
	fault := fmt.Sprintf("%s was replaced, cut or written to by somebody else; the log goes on in %s", name, fileName(l.number+1))
	if err := l.begin(Entry{Actor: "edged", Cause: fault}); err != nil {
		return err
	}
	l.faults = append(l.faults, fault)
	return nil
}

// next returns an entry as the line that comes next, and the head after it.
func (l *Log) next(e Entry) ([]byte, Head) {
	e.Seq, e.Prev = l.head.Seq+1, l.head.Hash
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	line, hash := e.line()
	return append(line, '\n'), Head{e.Seq, hash}
}

func (l *Log) write(e Entry) error {
	line, head := l.next(e)
	_, err := l.file.WriteAt(line, l.size)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		l.torn = l.file.Truncate(l.size) != nil // whoever verifies it meanwhile finds whole lines
		return err
	}
	l.size += int64(len(line))
	l.head = head
	return nil
}

// Head returns how far the log is. Kept elsewhere, it shows later whether lines
// are missing at the end.
func (l *Log) Head() Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Faults says what was wrong when the log was opened, and what could not be
// removed since, in words.
func (l *Log) Faults() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.faults...)
}

// Verify verifies what there was when the log was opened, as [VerifyDir] does. It
// takes seconds where that is hundreds of megabytes, and keeps nobody from
// appending.
func (l *Log) Verify() error {
	_, err := verify(l.dir, l.kept, l.keptEnd)
	return err
}

// Close closes the file. Nothing can be appended any more.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.file == nil {
		l.closed = true
		return nil
	}
	l.closed = true
	return l.file.Close()
}
