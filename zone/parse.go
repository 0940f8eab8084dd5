package zone

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/miekg/dns"

	"edged/edge"
)

// The limits on one zone's input.
const (
	maxText     = 256 << 20 // octets of all its files and generated lines
	maxDepth    = 7         // nested $INCLUDE directives
	maxProblems = 1000      // problems after which reading stops
)

// Options say what about a zone is not in its file.
type Options struct {
	// Dynamic holds the owner names that pools answer: absolute, perhaps
	// wildcards ("*.x."). They exist in the zone even without zone data.
	Dynamic []string
}

// ParseFile reads a zone from a file: tinydns-data when its name ends in
// ".tinydns" or ".data" or its first line looks so, else an RFC 1035 master file.
// $INCLUDE paths are relative to the file that names them. A tinydns SOA without
// a serial gets the file's modification time, in Unix seconds.
//
// The error is an Errors with everything that is wrong, or the one reason why
// the file could not be read.
func ParseFile(origin, path string, o Options) (*Zone, error) {
	l := &loader{budget: maxText}
	text, modified, err := l.read(path)
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", origin, err)
	}
	l.files = []string{path}
	return l.load(origin, text, modified, o)
}

// Parse is ParseFile for text from a reader. The name of the file is for
// messages and for relative $INCLUDE paths; when it is "", $INCLUDE is refused.
// A tinydns SOA without a serial gets 1.
func Parse(origin string, r io.Reader, file string, o Options) (*Zone, error) {
	l := &loader{budget: maxText}
	text, err := l.readAll(r)
	if err != nil {
		return nil, fmt.Errorf("zone %q: %w", origin, err)
	}
	l.files = []string{file}
	return l.load(origin, text, time.Unix(1, 0), o)
}

// loader reads the records of one zone, from as many files as it has.
type loader struct {
	origin  string
	files   []string
	budget  int64 // octets that may still be read or generated
	records []record
	errors  problems
	notes   problems // become warnings
	scratch [dns.MaxMsgSize + 512]byte
}

// load reads the records, builds the zone and checks it.
func (l *loader) load(origin, text string, modified time.Time, o Options) (*Zone, error) {
	var ok bool
	if l.origin, ok = canonical(origin); !ok {
		return nil, fmt.Errorf("zone %q: not a domain name", origin)
	}
	if isTinydns(l.files[0], text) {
		l.tinydns(text, uint32(modified.Unix()))
	} else {
		l.master(text, scope{file: 1, origin: l.origin})
	}

	b := newBuilder(l.origin)
	b.errors, b.warnings = l.errors, l.notes
	for _, r := range l.records {
		b.add(r)
	}
	b.dynamic(o.Dynamic)
	b.arrange()
	b.check(len(l.errors) == 0)

	names := make([]string, len(l.files))
	for i, file := range l.files {
		if names[i] = file; file == "" {
			names[i] = "input"
		} else {
			b.z.files = append(b.z.files, file)
		}
	}
	if len(b.errors) > 0 {
		return nil, Errors(b.errors.list(names, l.origin))
	}
	for _, warning := range b.warnings.list(names, l.origin) {
		b.z.warnings = append(b.z.warnings, warning.Error())
	}
	b.finish()
	return b.z, nil
}

// full reports whether there are too many problems for reading on to help.
func (l *loader) full() bool { return len(l.errors) >= maxProblems }

// read returns a regular file's text and when it was modified.
func (l *loader) read(path string) (string, time.Time, error) {
	f, err := edge.OpenRegular(path)
	if err != nil {
		return "", time.Time{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", time.Time{}, err
	}
	text, err := l.readAll(f)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("%q: %w", path, err)
	}
	return text, info.ModTime(), nil
}

func (l *loader) readAll(r io.Reader) (string, error) {
	var text strings.Builder
	if f, ok := r.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Size() <= l.budget {
			text.Grow(int(info.Size()))
		}
	}
	n, err := io.Copy(&text, io.LimitReader(r, l.budget+1))
	if err != nil {
		return "", err
	}
	if !l.spend(n) {
		return "", errTooLarge
	}
	return strings.TrimPrefix(text.String(), "\ufeff"), nil
}

var errTooLarge = fmt.Errorf("zone is larger than %d MiB with all that it includes and generates", maxText>>20)

var errNoData = errors.New("no data")

// spend takes octets from the budget, and reports whether there were enough.
func (l *loader) spend(n int64) bool {
	l.budget -= n
	return l.budget >= 0
}

// keep normalises a parsed record through the wire and back, so that each name
// and value has one spelling, and adds it to the zone's records. It errs on
// what the wire format cannot hold.
func (l *loader) keep(rr dns.RR, at position) error {
	n, err := dns.PackRR(rr, l.scratch[:], 0, nil, false)
	if err != nil {
		return err
	}
	normal, _, err := dns.UnpackRR(l.scratch[:n], 0)
	if err != nil {
		return err
	}
	h := normal.Header()
	if _, unknown := normal.(*dns.RFC3597); !unknown && h.Rdlength == 0 && h.Rrtype != dns.TypeAPL && h.Rrtype != dns.TypeNULL {
		return errNoData
	}
	l.records = append(l.records, record{normal, at})
	return nil
}

// include resolves an $INCLUDE path against the file that names it.
func include(from, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(filepath.Dir(from), path)
}
