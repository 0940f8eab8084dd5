package beacon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// IntakeParquet is Intake for a Parquet file. It has one column for each of
// Columns and no others; any of them may be text; time may be a timestamp or
// Unix seconds, session a whole number, rtt_ms a number, resolver null. Rows are
// counted as lines are, from 1.
func IntakeParquet(ctx context.Context, r io.ReaderAt, size int64, o Options) (report Report, err error) {
	if err := o.check(); err != nil {
		return Report{Batch: o.Batch}, err
	}
	if o.MaxOctets > 0 && size > o.MaxOctets {
		return Report{Batch: o.Batch}, fmt.Errorf("%w of %d octets", ErrQuota, o.MaxOctets)
	}
	defer func() {
		// The library reads what it is given as it comes; a damaged file must not
		// end the program.
		if p := recover(); p != nil {
			err = fmt.Errorf("bad parquet file: %v", p)
		}
	}()
	file, err := parquet.OpenFile(r, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return Report{Batch: o.Batch}, fmt.Errorf("bad parquet file: %w", err)
	}
	from, err := newParquet(file)
	if err != nil {
		return Report{Batch: o.Batch}, err
	}
	defer from.close()
	total := max(1, file.NumRows())
	return take(ctx, from, o, func() int64 { return int64(float64(size) * min(1, float64(from.n)/float64(total))) })
}

// IsParquet reports whether a file that begins so is a Parquet file.
func IsParquet(start []byte) bool { return strings.HasPrefix(string(start), "PAR1") }

// parquetRecords reads one row group after another.
type parquetRecords struct {
	column []int                        // which of Columns each leaf column is
	text   []func(parquet.Value) string // how to write each
	groups []parquet.RowGroup
	rows   parquet.Rows
	buffer []parquet.Row
	ready  []parquet.Row // of buffer, not given out yet
	n      int
}

func newParquet(file *parquet.File) (*parquetRecords, error) {
	p := &parquetRecords{groups: file.RowGroups(), buffer: make([]parquet.Row, 256)}
	for _, c := range file.Root().Columns() {
		at := slices.Index(Columns[:], c.Name())
		if at < 0 || !c.Leaf() || c.Repeated() || slices.Contains(p.column, at) {
			return nil, fmt.Errorf("bad parquet file: column %q is unknown, nested or there twice: want %s", c.Name(), strings.Join(Columns[:], ","))
		}
		write, err := textOf(c, at)
		if err != nil {
			return nil, fmt.Errorf("bad parquet file: column %q: %w", c.Name(), err)
		}
		p.column, p.text = append(p.column, at), append(p.text, write)
	}
	for at, name := range Columns {
		if !slices.Contains(p.column, at) {
			return nil, fmt.Errorf("bad parquet file: it has no column %q: want %s", name, strings.Join(Columns[:], ","))
		}
	}
	return p, nil
}

// textOf says how the values of a column are written as text.
func textOf(c *parquet.Column, at int) (func(parquet.Value) string, error) {
	kind := c.Type().Kind()
	switch {
	case kind == parquet.ByteArray || kind == parquet.FixedLenByteArray:
		return func(v parquet.Value) string { return string(v.ByteArray()) }, nil
	case at == colTime && kind == parquet.Int64:
		unit, err := unitOf(c.Type())
		if err != nil {
			return nil, err
		}
		perSecond := int64(time.Second / unit)
		return func(v parquet.Value) string { return strconv.FormatInt(v.Int64()/perSecond, 10) }, nil
	case at == colSession && kind == parquet.Int64:
		return func(v parquet.Value) string { return strconv.FormatInt(v.Int64(), 10) }, nil
	case (at == colSession || at == colTime) && kind == parquet.Int32:
		return func(v parquet.Value) string { return strconv.FormatInt(int64(v.Int32()), 10) }, nil
	case at == colRTT && kind == parquet.Double:
		return func(v parquet.Value) string { return strconv.FormatFloat(v.Double(), 'g', -1, 64) }, nil
	case at == colRTT && kind == parquet.Float:
		return func(v parquet.Value) string { return strconv.FormatFloat(float64(v.Float()), 'g', -1, 32) }, nil
	}
	return nil, fmt.Errorf("its values are of kind %s", kind)
}

// unitOf returns what a whole number counts as a time.
func unitOf(t parquet.Type) (time.Duration, error) {
	if logical := t.LogicalType(); logical != nil && logical.Value != nil {
		stamp, ok := logical.Value.(*format.TimestampType)
		if !ok || stamp.Unit.Value == nil {
			return time.Second, nil
		}
		if d := stamp.Unit.Value.Duration(); d > 0 && d <= time.Second {
			return d, nil
		}
		return 0, errors.New("its unit of time is unknown")
	}
	if converted := t.ConvertedType(); converted != nil {
		switch *converted {
		case deprecated.TimestampMillis:
			return time.Millisecond, nil
		case deprecated.TimestampMicros:
			return time.Microsecond, nil
		}
	}
	return time.Second, nil
}

func (p *parquetRecords) next(rec *record) (int, error) {
	for len(p.ready) == 0 {
		if p.rows == nil {
			if len(p.groups) == 0 {
				return p.n, io.EOF
			}
			p.rows, p.groups = p.groups[0].Rows(), p.groups[1:]
		}
		n, err := p.rows.ReadRows(p.buffer)
		p.ready = p.buffer[:n]
		switch {
		case err == io.EOF || err == nil && n == 0:
			p.close()
		case err != nil:
			return p.n, err
		}
	}
	p.n++
	row := p.ready[0]
	p.ready = p.ready[1:]
	*rec = record{}
	for _, v := range row {
		if i := v.Column(); !v.IsNull() {
			rec[p.column[i]] = []byte(p.text[i](v))
		}
	}
	return p.n, nil
}

func (p *parquetRecords) close() {
	if p.rows != nil {
		p.rows.Close()
		p.rows = nil
	}
}
