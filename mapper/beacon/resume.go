package beacon

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Resume returns how many rows at the beginning of a batch that Intake took in, in
// part, need not be taken in again: a multiple of ChunkRows. The last chunk that is
// there may be there in part; those before it are whole.
func (w *Writer) Resume(batch string) (rows int, err error) {
	if err := (Options{Into: w, Batch: batch}).check(); err != nil {
		return 0, err
	}
	last, err := w.lastChunk(batch)
	return max(0, last-1) * ChunkRows, err
}

// lastChunk returns the number of the last chunk that is there in part at least,
// 0 when there is none.
func (w *Writer) lastChunk(batch string) (last int, err error) {
	files, err := listSegments(w.dir)
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		if !f.merged {
			last = max(last, chunkNumber(strings.TrimSuffix(f.name[len(hourLayout)+1:], segmentSuffix), batch))
			continue
		}
		h, err := w.mergedHeader(f.name)
		if err != nil {
			return 0, err
		}
		for _, id := range h.batches {
			last = max(last, chunkNumber(id, batch))
		}
	}
	return last, nil
}

// chunkNumber returns which chunk of a batch an id is, 0 when it is none.
func chunkNumber(id, batch string) int {
	text, ok := strings.CutPrefix(id, batch+".")
	if n, err := strconv.Atoi(text); ok && err == nil && n > 0 && strconv.Itoa(n) == text {
		return n
	}
	return 0
}

// Rest returns a file as Intake reads it, plain, without the first so many rows;
// a header stays. missing is how many lines it lacks.
func Rest(r io.Reader, rows int) (rest io.ReadCloser, missing int, err error) {
	plain, err := decompress(r)
	if err != nil {
		return nil, 0, short(err)
	}
	defer func() {
		if err != nil {
			plain.Close()
		}
	}()
	text := lines{r: bufio.NewReaderSize(plain, maxLine)}
	start, err := text.r.Peek(1)
	if err != nil && err != io.EOF {
		return nil, 0, short(err)
	}
	var header []byte
	if !bytes.Equal(start, []byte("{")) {
		line, err := text.next()
		if err != nil {
			return nil, 0, fmt.Errorf("bad header: %w", short(err))
		}
		header = append(bytes.Clone(line), '\n')
		missing = -1
	}
	for n := range rows {
		_, err := text.next()
		if f := (*fault)(nil); err != nil && !errors.As(err, &f) { // however long it is, it is a row
			return nil, 0, fmt.Errorf("it ends after %d rows, but %d of its name were taken in before: is it another file?: %w", n, rows, short(err))
		}
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(header), text.r), plain}, missing + text.n, nil
}
