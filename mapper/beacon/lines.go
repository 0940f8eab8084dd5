package beacon

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxLine is the longest line that is read, in octets.
const maxLine = 16 << 10

// records yields what a file has, one row at a time. A record is good until the
// next one.
type records interface {
	// next returns the next record and the line where it stands. A *fault rejects
	// one row and lets the others be; io.EOF ends; any other error ends the file.
	next(*record) (line int, err error)
}

// lines reads lines that end with LF or CR LF.
type lines struct {
	r *bufio.Reader
	n int // of the line before
}

// next returns the next line that is not empty. One that is too long is passed
// over and is a *fault.
func (l *lines) next() ([]byte, error) {
	for {
		line, err := l.r.ReadSlice('\n')
		if len(line) > 0 {
			l.n++
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = l.r.ReadSlice('\n')
			}
			if err != nil && err != io.EOF {
				return nil, err
			}
			return nil, reject(BadShape, "the line has more than %d octets", maxLine)
		}
		if err != nil && (err != io.EOF || len(line) == 0) {
			return nil, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			return line, nil
		}
	}
}

// csvRecords reads CSV (RFC 4180) in which no field has a line break, so that a
// quotation mark that is not closed spoils its own line only.
type csvRecords struct {
	lines
	column []int // which of Columns each field is
	spare  []byte
}

// newCSV reads the header, which has each of Columns once, in any order.
func newCSV(r *bufio.Reader) (*csvRecords, error) {
	c := &csvRecords{lines: lines{r: r}}
	line, err := c.lines.next()
	if err == io.EOF {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("bad header: %w: want %s", err, strings.Join(Columns[:], ","))
	}
	for name := range bytes.SplitSeq(bytes.TrimPrefix(line, []byte("\ufeff")), []byte(",")) {
		text := strings.Trim(string(name), `" `)
		at := slices.Index(Columns[:], text)
		if at < 0 || slices.Contains(c.column, at) {
			return nil, fmt.Errorf("bad header: column %q is unknown or there twice: want %s", text, strings.Join(Columns[:], ","))
		}
		c.column = append(c.column, at)
	}
	for at, name := range Columns {
		if !slices.Contains(c.column, at) {
			return nil, fmt.Errorf("bad header: it has no column %q: want %s", name, strings.Join(Columns[:], ","))
		}
	}
	return c, nil
}

func (c *csvRecords) next(rec *record) (int, error) {
	line, err := c.lines.next()
	if err != nil {
		return c.n, err
	}
	c.spare = c.spare[:0]
	for i := 0; ; i++ {
		if i == len(c.column) {
			return c.n, reject(BadShape, "it has more than %d fields", columns)
		}
		field, rest, more, ok := c.cut(line)
		if !ok {
			return c.n, reject(BadShape, "a quotation mark is out of place")
		}
		rec[c.column[i]] = field
		if !more {
			if i+1 < len(c.column) {
				return c.n, reject(BadShape, "it has %d fields, want %d", i+1, columns)
			}
			return c.n, nil
		}
		line = rest
	}
}

// cut takes the first field off a line; more says that a comma follows it.
func (c *csvRecords) cut(line []byte) (field, rest []byte, more, ok bool) {
	if len(line) == 0 || line[0] != '"' {
		field, rest, more = bytes.Cut(line, []byte(","))
		return field, rest, more, !bytes.Contains(field, []byte(`"`))
	}
	from := len(c.spare)
	for line = line[1:]; ; {
		part, after, found := bytes.Cut(line, []byte(`"`))
		if !found {
			return nil, nil, false, false
		}
		c.spare = append(c.spare, part...)
		switch {
		case len(after) == 0:
			return c.spare[from:], nil, false, true
		case after[0] == ',':
			return c.spare[from:], after[1:], true, true
		case after[0] != '"':
			return nil, nil, false, false
		}
		c.spare, line = append(c.spare, '"'), after[1:]
	}
}

// jsonRecords reads one JSON object a line, with Columns as keys. Time and rtt_ms
// may be numbers or strings; resolver may be null or absent.
type jsonRecords struct{ lines }

func (j *jsonRecords) next(rec *record) (int, error) {
	line, err := j.lines.next()
	if err != nil {
		return j.n, err
	}
	d := json.NewDecoder(bytes.NewReader(line))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return j.n, reject(BadShape, "it is no JSON object")
	}
	*rec = record{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return j.n, reject(BadShape, "%v", err)
		}
		at := slices.Index(Columns[:], key.(string))
		if at < 0 || rec[at] != nil {
			return j.n, reject(BadShape, "key %q is unknown or there twice", key)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return j.n, reject(BadShape, "%v", err)
		}
		if rec[at], err = scalar(raw, at == colTime || at == colRTT); err != nil {
			return j.n, reject(BadShape, "%s: %v", key, err)
		}
	}
	if _, err := d.Token(); err != nil {
		return j.n, reject(BadShape, "it does not end")
	}
	if _, err := d.Token(); err != io.EOF {
		return j.n, reject(BadShape, "something follows the object")
	}
	return j.n, nil
}

// scalar returns a JSON string's text, a number's when it may be one, and nothing
// for null.
func scalar(raw json.RawMessage, number bool) ([]byte, error) {
	if raw[0] == '"' {
		var text string
		err := json.Unmarshal(raw, &text)
		return []byte(text), err
	}
	if string(raw) == "null" {
		return []byte{}, nil
	}
	if number && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
		return raw, nil
	}
	return nil, fmt.Errorf("%s is of another kind", raw)
}
