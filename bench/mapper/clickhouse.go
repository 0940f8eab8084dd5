package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"edged/mapper/beacon"
	"edged/mapper/clickhouse/clickhousetest"
)

// clickHouse is a server of our own.
type clickHouse struct{ *clickhousetest.Server }

// query runs a statement; body, when there is one, is the rows that it inserts.
func (c clickHouse) query(ctx context.Context, statement string, body io.Reader, to io.Writer) error {
	address := c.URL
	if body == nil {
		body = bytes.NewReader([]byte(statement))
	} else {
		address += "?query=" + url.QueryEscape(statement)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, body)
	if err != nil {
		return err
	}
	req.Header.Set("X-ClickHouse-User", clickhousetest.User)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("clickhouse: %s: %s", resp.Status, text)
	}
	_, err = io.Copy(to, resp.Body)
	return err
}

// besideClickHouse has ClickHouse aggregate the rows of a folder, and holds its
// cells against ours.
func besideClickHouse(dir string, r *report) error {
	ctx := context.Background()
	home, err := os.MkdirTemp("", "edged-bench-clickhouse-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(home)
	servers, err := clickhousetest.Start(ctx, clickhousetest.Config{Dir: home, Servers: 1, Threads: 2})
	if errors.Is(err, clickhousetest.ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	defer servers[0].Stop()
	server := clickHouse{servers[0]}
	set, err := beacon.OpenAll(dir)
	if err != nil {
		return err
	}
	defer set.Close()
	if err := server.query(ctx, "CREATE TABLE rows (unit UInt64, pop UInt16, rtt Int16) ENGINE = MergeTree() ORDER BY tuple()", nil, io.Discard); err != nil {
		return err
	}
	if err := server.query(ctx, "INSERT INTO rows FORMAT RowBinary", rowBinary(set), io.Discard); err != nil {
		return err
	}
	// quantileExact takes the upper of two in the middle.
	const cells = "SELECT unit, pop, count() AS n, quantileExact(0.5)(rtt) AS p50, quantileExact(0.9)(rtt) AS p90 FROM rows GROUP BY unit, pop"
	var seconds []float64
	for range aggregateRounds {
		begin := time.Now()
		if err := server.query(ctx, cells+" FORMAT Null", nil, io.Discard); err != nil {
			return err
		}
		seconds = append(seconds, time.Since(begin).Seconds())
	}
	r.add("clickhouse: rate", float64(set.Rows)/middle(seconds)/1e6, "M rows/s")
	differ, err := server.compare(ctx, cells+" ORDER BY unit, pop FORMAT RowBinary", set)
	if err != nil {
		return err
	}
	r.most("clickhouse: cells that differ from ours", float64(differ), "", 0)
	return nil
}

// rowBinary writes the rows of a set as ClickHouse reads them.
func rowBinary(set *beacon.Set) io.Reader {
	r, w := io.Pipe()
	go func() {
		b := bufio.NewWriterSize(w, 1<<20)
		var row []byte
		for s, err := range set.Sessions() {
			if err != nil {
				w.CloseWithError(err)
				return
			}
			for _, m := range s.Rows {
				row = binary.LittleEndian.AppendUint64(row[:0], uint64(beacon.UnitOf(m.Client)))
				row = binary.LittleEndian.AppendUint16(row, m.PoP)
				row = binary.LittleEndian.AppendUint16(row, m.RTT)
				if _, err := b.Write(row); err != nil {
					return // the reader is gone
				}
			}
		}
		w.CloseWithError(b.Flush())
	}()
	return r
}

// compare counts the cells in which a query's answer and ours differ.
func (c clickHouse) compare(ctx context.Context, statement string, set *beacon.Set) (differ int, err error) {
	r, w := io.Pipe()
	go func() { w.CloseWithError(c.query(ctx, statement, nil, w)) }()
	defer r.Close()
	theirs := bufio.NewReaderSize(r, 1<<20)
	var b [8 + 2 + 8 + 2 + 2]byte
	le := binary.LittleEndian
	for cell, err := range beacon.Aggregate(ctx, set, beacon.Plan{PoPs: set.PoPs}, beacon.Embedded{}, 2) {
		if err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(theirs, b[:]); err != nil {
			return 0, fmt.Errorf("clickhouse has fewer cells: %w", err)
		}
		if le.Uint64(b[:]) != uint64(cell.Unit) || le.Uint16(b[8:]) != cell.PoP || le.Uint64(b[10:]) != uint64(cell.Count) ||
			int16(le.Uint16(b[18:])) != cell.P50 || int16(le.Uint16(b[20:])) != cell.P90 {
			differ++
		}
	}
	if _, err := theirs.ReadByte(); err != io.EOF {
		return 0, errors.Join(errors.New("clickhouse has more cells"), err)
	}
	return differ, nil
}
