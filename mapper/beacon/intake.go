package beacon

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Options say how rows are taken in.
type Options struct {
	Into  *Writer // nil: rows are judged and not kept
	Batch string  // names the content for ever: 1 to 48 letters, digits, '-', '_' and '.'

	PoPs         []string  // the names that are known; none: any name is taken
	Now          time.Time // rows more than 10 minutes later are rejected
	Oldest       time.Time // rows before are rejected
	AllowPrivate bool      // take addresses that are not public: a laboratory

	Format Format // of the text; AnyFormat: shows in its first octet

	// Skip is how many rows at the beginning of the batch the content does not have,
	// because they are there (Writer.Resume): a multiple of ChunkRows.
	Skip int

	// Quotas; 0 is none. A file that exceeds one ends there with ErrQuota.
	MaxRows   int
	MaxOctets int64 // after decompression

	// Progress, when set, is told now and then how many octets were read, before
	// decompression.
	Progress func(octets int64)

	chunk int // for tests: instead of ChunkRows
}

// What ends a taking in that is not the content's fault.
var (
	ErrQuota   = errors.New("over the quota") // Options do not allow as much
	ErrNotKept = errors.New("not kept")       // the Writer failed
)

// Format is how rows are written as text.
type Format uint8

// The formats.
const (
	AnyFormat Format = iota // NDJSON when it begins with {, else CSV
	CSV
	NDJSON
)

// Report says what became of a file's rows.
type Report struct {
	Batch    string      `json:"batch,omitempty"`
	Accepted int         `json:"accepted"` // rows that are durable, or right when they are not kept
	Known    int         `json:"known"`    // those among them that the batch had brought before
	Octets   int64       `json:"octets"`   // that were read, after decompression
	Rejected []Rejection `json:"rejected"` // by reason, the most frequent first
}

// Rejection is what one reason did.
type Rejection struct {
	Reason  Reason `json:"reason"`
	Rows    int    `json:"rows"`
	Lines   []int  `json:"lines"`   // the first five
	Example string `json:"example"` // what was wrong in the first
}

// maxLines is how many line numbers are kept for each reason.
const maxLines = 5

func (r *Report) reject(line int, f *fault) {
	i := slices.IndexFunc(r.Rejected, func(x Rejection) bool { return x.Reason == f.Reason })
	if i < 0 {
		i = len(r.Rejected)
		r.Rejected = append(r.Rejected, Rejection{Reason: f.Reason, Example: f.what})
	}
	x := &r.Rejected[i]
	x.Rows++
	if len(x.Lines) < maxLines {
		x.Lines = append(x.Lines, line)
	}
}

// RejectedRows returns how many rows were rejected.
func (r *Report) RejectedRows() int {
	n := 0
	for _, x := range r.Rejected {
		n += x.Rows
	}
	return n
}

// Intake takes rows in from CSV or NDJSON, which may be compressed with gzip or
// zstd: what it is shows in its first octets. A wrong row is rejected and
// counted; a wrong header, a file that is cut off or one that is over its quota
// ends with an error. The report is right after an error too: what it says was
// accepted is durable.
//
// Rows become durable a chunk at a time, as the batches BATCH.1, BATCH.2 and so
// on. Taking the same content in again under the same batch, after an error or
// for no reason, writes only the chunks that are missing. Other content under the
// same batch is an *OtherRows: nothing of its chunk and of those after it is taken.
func Intake(ctx context.Context, r io.Reader, o Options) (report Report, err error) {
	if err := o.check(); err != nil {
		return Report{Batch: o.Batch}, err
	}
	counted := &counter{r: r}
	plain, err := decompress(counted)
	if err != nil {
		return Report{Batch: o.Batch}, err
	}
	defer plain.Close()
	limited := &limiter{r: plain, most: o.MaxOctets}
	defer func() { report.Octets = limited.n }()
	from, err := openText(bufio.NewReaderSize(limited, maxLine), o.Format)
	if err != nil {
		return Report{Batch: o.Batch}, err
	}
	return take(ctx, from, o, func() int64 { return counted.n })
}

// longestChunk is how much of a batch id is left for the number of the chunk.
const longestChunk = 16

func (o Options) check() error {
	if o.Into != nil && (!validBatch.MatchString(o.Batch) || len(o.Batch) > maxName-longestChunk) {
		return fmt.Errorf("bad batch id %q: want 1 to %d letters, digits, '-', '_' and '.'", o.Batch, maxName-longestChunk)
	}
	if o.Skip < 0 || o.Skip%o.chunkRows() != 0 {
		return fmt.Errorf("bad number of rows %d to skip: want a multiple of %d", o.Skip, o.chunkRows())
	}
	return nil
}

// openText begins to read plain CSV or NDJSON.
func openText(r *bufio.Reader, f Format) (records, error) {
	if f == AnyFormat {
		start, err := r.Peek(1)
		if err != nil && err != io.EOF {
			return nil, err
		}
		if f = CSV; bytes.Equal(start, []byte("{")) {
			f = NDJSON
		}
	}
	if f == NDJSON {
		return &jsonRecords{lines{r: r}}, nil
	}
	return newCSV(r)
}

// decompress undoes gzip or zstd.
func decompress(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReader(r)
	start, err := b.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		return gzip.NewReader(b)
	case bytes.HasPrefix(start, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(32<<20))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(b), nil
}

// counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// limiter counts, and ends with ErrQuota after so many octets; 0: never.
type limiter struct {
	r       io.Reader
	n, most int64
}

func (l *limiter) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	if l.n += int64(n); l.most > 0 && l.n > l.most {
		return 0, fmt.Errorf("%w of %d octets", ErrQuota, l.most)
	}
	return n, err
}

// ChunkRows is how many rows of a file, wrong ones included, make a chunk. Changing
// it changes what the chunks of a batch hold. A chunk takes some 150 MB of memory.
const ChunkRows = 1 << 19

func (o Options) chunkRows() int {
	if o.chunk > 0 {
		return o.chunk
	}
	return ChunkRows
}

// progressLines is after how many lines progress is told, and the context asked.
const progressLines = 1 << 12

// take takes records in.
func take(ctx context.Context, from records, o Options, octets func() int64) (report Report, err error) {
	report.Batch, report.Rejected = o.Batch, []Rejection{}
	defer func() {
		slices.SortStableFunc(report.Rejected, func(a, b Rejection) int { return b.Rows - a.Rows })
	}()
	parser, chunk := newRowParser(o), o.chunkRows()
	var (
		rec  record
		rows []Row
	)
	for n := o.Skip + 1; ; n++ {
		line, err := from.next(&rec)
		f := (*fault)(nil)
		switch {
		case err == io.EOF:
			if o.Progress != nil {
				o.Progress(octets())
			}
			return report, o.keep(&report, (n-1)/chunk+1, rows, parser.pops)
		case errors.As(err, &f):
		case err != nil:
			// Rows of this chunk are not kept: a chunk is whole or not there.
			return report, fmt.Errorf("line %d: %w", line+1, short(err))
		default:
			var row Row
			if row, f = parser.row(&rec); f == nil {
				rows = append(rows, row)
			}
		}
		if f != nil {
			report.reject(line, f)
		}
		if o.MaxRows > 0 && n-o.Skip > o.MaxRows {
			return report, fmt.Errorf("line %d: %w of %d rows", line, ErrQuota, o.MaxRows)
		}
		if n%progressLines == 0 {
			if ctx.Err() != nil {
				return report, context.Cause(ctx)
			}
			if o.Progress != nil {
				o.Progress(octets())
			}
		}
		if n%chunk == 0 {
			if err := o.keep(&report, n/chunk, rows, parser.pops); err != nil {
				return report, err
			}
			rows = rows[:0]
		}
	}
}

// keep makes a chunk durable.
func (o Options) keep(report *Report, chunk int, rows []Row, pops []string) error {
	n := len(rows)
	if n == 0 {
		return nil
	}
	if o.Into != nil {
		goesOn := o.Skip > 0 && chunk == o.Skip/o.chunkRows()+1 // the last one that was there, if in part
		known, err := o.Into.append(Batch{ID: fmt.Sprintf("%s.%d", o.Batch, chunk), PoPs: pops, Rows: rows}, goesOn)
		var other *OtherRows
		if errors.As(err, &other) {
			return fmt.Errorf("%w: its name %q stands for another file, or for this one as it was taken with other pops or rules; "+
				"give another file another batch id; of the same file bring in just the rows that were rejected before, "+
				"as a file of their own: the whole of it under another batch id would count the rest twice", err, o.Batch)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNotKept, err)
		}
		report.Known += known
	}
	report.Accepted += n
	return nil
}
