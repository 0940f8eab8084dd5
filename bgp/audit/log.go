package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
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

	mu     sync.Mutex // guards what follows, and the order of the lines
	file   *os.File
	number int
	size   int64 // of the whole lines of file
	torn   bool  // the last write failed: there may be something behind size
	head   Head
	faults []string
}

// Open opens the log of a folder, which is made if it is not there. What is
// wrong with the newest file is no error: the log goes on, and [Log.Faults] and
// an entry say what it was.
func Open(dir string) (*Log, error) { return open(dir, defaultFile) }

func open(dir string, maxFile int64) (*Log, error) {
	l := &Log{dir: dir, maxFile: maxFile}
	if err := l.resume(); err != nil {
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
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return l.begin(1)
	}
	// What the newest file begins with is for VerifyDir to judge; but without a
	// line of its own it goes on from the file before.
	newest := names[len(names)-1]
	s, err := scanFile(filepath.Join(l.dir, newest), Head{})
	if err != nil {
		return err
	}
	l.head = s.last
	for i := len(names) - 2; i >= 0 && l.head == (Head{}); i-- {
		before, err := scanFile(filepath.Join(l.dir, names[i]), Head{})
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
		aside, err := l.putAside(newest, s)
		if err != nil {
			return err
		}
		cause = fmt.Sprintf("%s: line %d was torn: its %d octets are now in %s", newest, s.lines+1, s.torn, aside)
		l.faults = append(l.faults, cause)
	}
	if s.fault != nil && !s.fault.Torn {
		fault := fmt.Sprintf("%s: %v; the log goes on in %s", newest, s.fault, fileName(l.number+1))
		l.faults = append(l.faults, fault)
		if cause != "" {
			fault = cause + "; " + fault
		}
		cause = fault
		if err := l.begin(l.number + 1); err != nil {
			return err
		}
	}
	if cause == "" {
		return nil
	}
	if err := l.append(Entry{Actor: "edged", Cause: cause}); err != nil {
		l.faults = append(l.faults, fmt.Sprintf("no entry tells of that: %v", err))
	}
	return nil
}

// putAside moves a torn line to a file of its own, and off the log.
func (l *Log) putAside(name string, s scanned) (string, error) {
	rest := make([]byte, min(s.torn, maxLine)) // of a longer one the beginning says enough
	if _, err := l.file.ReadAt(rest, s.length); err != nil {
		return "", err
	}
	aside := fmt.Sprintf("%s.torn-%d", name, s.lines+1)
	if err := os.WriteFile(filepath.Join(l.dir, aside), rest, 0o600); err != nil {
		return "", err
	}
	return aside, errors.Join(l.file.Truncate(s.length), l.file.Sync())
}

// begin goes on in a new file, and removes the oldest when there are too many.
func (l *Log) begin(number int) error {
	f, err := os.OpenFile(filepath.Join(l.dir, fileName(number)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	dir, err := os.Open(l.dir)
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file, l.number, l.size, l.torn = f, number, 0, false
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
	if l.file == nil {
		return errors.New("audit log: it is closed")
	}
	if err := l.append(e); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}

func (l *Log) append(e Entry) error {
	if l.torn {
		if err := l.file.Truncate(l.size); err != nil {
			return err
		}
		l.torn = false
	}
	if l.size >= l.maxFile {
		if err := l.begin(l.number + 1); err != nil {
			return err
		}
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
	if err := l.begin(l.number + 1); err != nil {
		return err
	}
	l.faults = append(l.faults, fault)
	return l.write(Entry{Actor: "edged", Cause: fault})
}

func (l *Log) write(e Entry) error {
	e.Seq, e.Prev = l.head.Seq+1, l.head.Hash
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	line, hash := e.line()
	line = append(line, '\n')
	_, err := l.file.WriteAt(line, l.size)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		l.torn = true
		return err
	}
	l.size += int64(len(line))
	l.head = Head{e.Seq, hash}
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

// Close closes the file. Nothing can be appended any more.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	return f.Close()
}
