package zone

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// scope is what an entry of a master file depends on (RFC 1035 §5.1). An
// included file starts with a copy, and what it changes ends with it.
type scope struct {
	file    uint32 // position.file
	origin  string
	owner   string // of the last record, for entries that begin with a blank
	ttl     uint32
	hasTTL  bool
	byTTL   bool     // the TTL comes from $TTL, not from the last record
	parents []string // the files that include this one, outermost first
}

// master reads one master file. Each entry is parsed on its own, so one that is
// wrong does not hide the next.
func (l *loader) master(text string, s scope) {
	split := splitter{text: text, line: 1}
	for !l.full() {
		entry, line, err := split.next()
		at := position{s.file, uint32(line)}
		if err != nil {
			l.errors.add(at, "%w", err)
			continue
		}
		if entry == "" {
			return
		}
		if entry[0] == '$' {
			l.directive(entry, at, &s)
		} else if err := l.entry(entry, &at, &s); err != nil {
			l.errors.add(at, "%w", err)
		}
	}
}

// entry reads one record. When the error is on a later line of the entry, it
// moves the position there.
func (l *loader) entry(text string, at *position, s *scope) error {
	if text[0] == ' ' || text[0] == '\t' {
		if s.owner == "" {
			return fmt.Errorf("record without an owner name: the line begins with a blank and no record came before it")
		}
		text = s.owner + text
	}
	// The parser takes a type at the very end for a dynamic update's record
	// without data; a blank line behind it makes that the error it is.
	parser := dns.NewZoneParser(strings.NewReader(text+"\n"), s.origin, "")
	if s.hasTTL {
		parser.SetDefaultTTL(s.ttl)
	}
	rr, ok := parser.Next()
	if !ok {
		err := parser.Err()
		if err == nil {
			return fmt.Errorf("incomplete record %q", strings.TrimSpace(text))
		}
		line, reason := syntaxError(err, text)
		at.line += line - 1
		return reason
	}
	h := rr.Header()
	s.owner = h.Name
	if !s.byTTL {
		s.ttl, s.hasTTL = h.Ttl, true
	}
	if err := checkRecord(h); err != nil {
		return err
	}
	if err := l.keep(rr, *at); err != nil {
		return fmt.Errorf("bad %s record of %q: %w", dns.Type(h.Rrtype), h.Name, err)
	}
	return nil
}

// checkRecord refuses the classes and types that the parser knows but a zone
// cannot hold.
func checkRecord(h *dns.RR_Header) error {
	if h.Class != dns.ClassINET {
		return fmt.Errorf("class %s of %q: only IN is served", dns.Class(h.Class), h.Name)
	}
	if h.Rrtype == 0 || h.Rrtype == dns.TypeOPT || h.Rrtype >= 128 && h.Rrtype <= 255 { // RFC 6895 §3.1
		return fmt.Errorf("type %s of %q is for queries, not for zones", dns.Type(h.Rrtype), h.Name)
	}
	return nil
}

// syntaxError takes the parser's message apart: `dns: what: "token" at line:
// 2:17` gives 2, a line within the entry, and `what: "token"`.
func syntaxError(err error, entry string) (line uint32, reason error) {
	text := strings.TrimPrefix(err.Error(), "dns: ")
	line = 1
	if i := strings.LastIndex(text, " at line: "); i >= 0 {
		number, _, _ := strings.Cut(text[i+len(" at line: "):], ":")
		if n, err := strconv.ParseUint(number, 10, 32); err == nil && n > 0 {
			line = uint32(n)
		}
		text = text[:i]
	}
	switch {
	case strings.HasPrefix(text, "missing TTL"):
		text += `; start the file with a "$TTL" line`
	case strings.HasPrefix(text, "unexpected newline"):
		text = fmt.Sprintf("record without data: %q", strings.TrimSpace(entry))
	case strings.HasPrefix(text, "not a TTL"):
		text = "neither a TTL nor a class nor a type with data" + strings.TrimPrefix(text, "not a TTL")
	}
	return line, errors.New(text)
}

// directive obeys a line that begins with "$".
func (l *loader) directive(entry string, at position, s *scope) {
	fields, rest := words(entry)
	var err error
	switch args := fields[1:]; strings.ToUpper(fields[0]) {
	case "$ORIGIN":
		err = wantArgs(fields[0], args, 1, 1)
		if err == nil {
			s.origin, err = absolute(args[0], s.origin)
		}
	case "$TTL":
		err = wantArgs(fields[0], args, 1, 1)
		if err == nil {
			if s.ttl, err = parseTTL(args[0]); err == nil {
				s.hasTTL, s.byTTL = true, true
			}
		}
	case "$INCLUDE":
		err = wantArgs(fields[0], args, 1, 2)
		if err == nil {
			err = l.include(args, *s)
		}
	case "$GENERATE":
		err = l.generate(rest, at, s)
	default:
		err = fmt.Errorf("unknown directive %q: want $TTL, $ORIGIN, $INCLUDE or $GENERATE", fields[0])
	}
	if err != nil {
		l.errors.add(at, "%w", err)
	}
}

// words splits a directive at its blanks, without the comment; a word may stand
// in quotes. There is at least one. rest is the text after the first word.
func words(entry string) (fields []string, rest string) {
	entry = strings.TrimRight(entry, "\r\n")
	if i := strings.IndexAny(entry, " \t"); i >= 0 {
		rest = entry[i:]
	}
	said, _, _ := strings.Cut(entry, ";")
	for _, field := range strings.Fields(said) {
		fields = append(fields, strings.Trim(field, `"`))
	}
	return fields, rest
}

func wantArgs(directive string, args []string, least, most int) error {
	switch {
	case len(args) >= least && len(args) <= most:
		return nil
	case least == most:
		return fmt.Errorf("%s has %d arguments: want %d", directive, len(args), least)
	}
	return fmt.Errorf("%s has %d arguments: want %d or %d", directive, len(args), least, most)
}

// include reads another master file in place of the directive. s is a copy:
// origin and owner come back after it (RFC 1035 §5.1).
func (l *loader) include(args []string, s scope) error {
	from := l.files[s.file-1]
	if from == "" {
		return fmt.Errorf("$INCLUDE %q: not allowed in text that is not a file", args[0])
	}
	if len(args) == 2 {
		var err error
		if s.origin, err = absolute(args[1], s.origin); err != nil {
			return err
		}
	}
	path := include(from, args[0])
	s.parents = append(slices.Clone(s.parents), include("", from))
	if slices.Contains(s.parents, path) {
		return fmt.Errorf("$INCLUDE %q: the file includes itself", args[0])
	}
	if len(s.parents) > maxDepth {
		return fmt.Errorf("$INCLUDE %q: nested deeper than %d", args[0], maxDepth)
	}
	text, _, err := l.read(path)
	if err != nil {
		return fmt.Errorf("$INCLUDE %q: %w", args[0], err)
	}
	if i := slices.Index(l.files, path); i >= 0 {
		s.file = uint32(i) + 1
	} else {
		l.files = append(l.files, path)
		s.file = uint32(len(l.files))
	}
	l.master(text, s)
	return nil
}

// absolute completes a name with the origin, as a master file does.
func absolute(name, origin string) (string, error) {
	full := name
	switch {
	case name == "@":
		full = origin
	case dns.IsFqdn(name):
	case origin == ".":
		full = name + "."
	default:
		full = name + "." + origin
	}
	if name == "" || !isName(full) {
		return origin, fmt.Errorf("%q is not a domain name", name)
	}
	return full, nil
}

// parseTTL reads seconds, or BIND's sums of units: "1h30m".
func parseTTL(word string) (uint32, error) {
	units := map[byte]uint64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 604800}
	var sum, n uint64
	digits := false
	for i := range len(word) {
		c := word[i]
		unit, isUnit := units[c|0x20]
		switch {
		case '0' <= c && c <= '9' && n < 1<<31:
			n, digits = n*10+uint64(c-'0'), true
		case isUnit && digits && sum < 1<<31:
			sum, n, digits = sum+n*unit, 0, false
		default:
			return 0, fmt.Errorf("ttl %q is not a number of seconds", word)
		}
	}
	if sum += n; word == "" || sum > 1<<31-1 {
		return 0, fmt.Errorf("ttl %q is out of range 0 to 2147483647 (RFC 2181 section 8)", word)
	}
	return uint32(sum), nil
}
