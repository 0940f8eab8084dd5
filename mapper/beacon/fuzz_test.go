package beacon

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// FuzzSegment: whatever a file holds, reading it ends; and the rows that it gives
// are those of a segment made of them.
func FuzzSegment(f *testing.F) {
	hour := uint32(noon.Unix() / hourLength)
	rows := random(rand.New(rand.NewPCG(1, 1)), 20, 1)
	slices.SortFunc(rows, compareRows)
	seed, err := encodeSegment(header{hour: hour, batches: []string{"a", "b"}, pops: fleet}, rows)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed[:len(seed)-trailerSize], false)
	f.Add(seed[:60], true)
	f.Add([]byte(segmentMagic), true)
	read := func(b []byte) (seg *segment, rows []Row, err error) {
		if seg, err = parseSegment(bytes.NewReader(b), int64(len(b))); err != nil {
			return nil, nil, err
		}
		for i := range seg.header.pops {
			seg.pops = append(seg.pops, uint16(i))
		}
		for c := newCursor(seg); err == nil; {
			if err = c.next(); c.done || err != nil {
				break
			}
			rows, err = c.group.appendRows(rows, int64(seg.hour)*hourLength, seg.pops)
		}
		return seg, rows, err
	}
	f.Fuzz(func(t *testing.T, b []byte, damaged bool) {
		if !damaged { // else the checksum ends it early
			b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
		}
		seg, rows, err := read(b)
		if err != nil {
			return
		}
		if len(rows) != int(seg.rows) {
			t.Fatalf("%d rows, but the header says %d", len(rows), seg.rows)
		}
		again, err := encodeSegment(header{hour: seg.hour, batches: seg.batches, pops: seg.header.pops}, rows)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(rows, compareRows)
		_, got, err := read(again)
		slices.SortFunc(got, compareRows)
		if err != nil || !slices.Equal(got, rows) {
			t.Fatalf("%d rows, made anew %d, %v", len(rows), len(got), err)
		}
	})
}

var fuzzOptions = Options{Now: noon, MaxRows: 1000}

// FuzzCSV: reading ends, each line is accepted, rejected or empty, and the same
// text in quotation marks gives the same rows.
func FuzzCSV(f *testing.F) {
	f.Add([]byte(rowsAsText(3, 1)))
	f.Add([]byte(header7 + "\"1781697600\",\"a \"\"b\"\"\",81.2.3.4,,fra,1,tcp\r\n\r\n,,,,,,\n\"\n"))
	f.Add([]byte("method,rtt_ms,pop,resolver,client,session,time\nping,1e1,x,::1,2a00::1,s,2026-06-17T12:00:00Z"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.HasPrefix(b, []byte("{")) {
			return
		}
		check(t, b)
	})
}

// FuzzNDJSON is FuzzCSV for NDJSON.
func FuzzNDJSON(f *testing.F) {
	f.Add([]byte(`{"time":1781697600,"session":"s","client":"81.2.3.4","resolver":null,"pop":"fra","rtt_ms":12.5,"method":"resource"}`))
	f.Add([]byte("{}\n{\"time\":\"x\"}\n[]\n\n{\"rtt_ms\":[1,{\"a\":2}]}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.HasPrefix(b, []byte("{")) {
			check(t, b)
		}
	})
}

// check takes text in and holds that every line is accounted for.
func check(t *testing.T, b []byte) {
	t.Helper()
	report, err := Intake(t.Context(), bytes.NewReader(b), fuzzOptions)
	if err != nil {
		return
	}
	lines := 0
	for line := range bytes.Lines(b) {
		if len(bytes.TrimRight(line, "\r\n")) > 0 {
			lines++
		}
	}
	if !bytes.HasPrefix(b, []byte("{")) {
		lines-- // the header
	}
	if got := report.Accepted + report.RejectedRows(); got != lines {
		t.Fatalf("%d rows accepted or rejected, want %d", got, lines)
	}
}

// FuzzParquet: a damaged file ends with an error, not with the program.
func FuzzParquet(f *testing.F) {
	f.Add([]byte("PAR1"), []byte("PAR1"))
	f.Fuzz(func(t *testing.T, start, end []byte) {
		b := append(bytes.Clone(start), end...)
		report, err := IntakeParquet(t.Context(), bytes.NewReader(b), int64(len(b)), fuzzOptions)
		if err == nil || errors.Is(err, ErrQuota) {
			return
		}
		if !strings.Contains(err.Error(), "parquet") && !strings.HasPrefix(err.Error(), "line ") {
			t.Fatalf("%+v, %v", report, err)
		}
	})
}
