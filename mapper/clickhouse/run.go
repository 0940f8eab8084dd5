package clickhouse

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"sync"
	"time"

	"edged/edge"
	"edged/mapper/beacon"
)

// run is one aggregation.
type run struct {
	e      *Engine
	ctx    context.Context
	id     uint64
	shards []*shard
}

// shard is one server with the rows that are on their way to it.
type shard struct {
	server *server

	mu     sync.Mutex // guards what follows
	rows   []byte
	sent   uint64 // rows that the server took
	weight uint64 // of all rows
	total  uint64 // rows, sent or not
}

// A row is run, unit, pop, value and weight, as RowBinary has them.
const (
	rowSize    = 8 + 8 + 2 + 2 + 2
	rowsAtOnce = 1 << 17 // of one insert: 2.9 MB
)

// Add puts samples into the buffers of their shards, and sends those that are full.
func (r *run) Add(samples []beacon.Sample) error {
	for len(samples) > 0 {
		n := 1
		for n < len(samples) && samples[n].Unit == samples[0].Unit {
			n++
		}
		if err := r.add(r.shardOf(samples[0].Unit), samples[:n]); err != nil {
			return err
		}
		samples = samples[n:]
	}
	return nil
}

// shardOf spreads units: all samples of a cell are on one shard.
func (r *run) shardOf(u beacon.Unit) *shard {
	h := uint64(u) * 0x9e3779b97f4a7c15
	return r.shards[(h^h>>32)*0xd6e8feb86659fd93>>33%uint64(len(r.shards))]
}

func (r *run) add(s *shard, samples []beacon.Sample) error {
	s.mu.Lock()
	for _, x := range samples {
		if err := x.Err(); err != nil {
			s.mu.Unlock()
			return err
		}
		le := binary.LittleEndian
		s.rows = le.AppendUint64(le.AppendUint64(s.rows, r.id), uint64(x.Unit))
		s.rows = le.AppendUint16(le.AppendUint16(le.AppendUint16(s.rows, x.PoP), uint16(x.Value)), x.Weight)
		s.weight += uint64(x.Weight)
		s.total++
	}
	var full []byte
	if len(s.rows) >= rowsAtOnce*rowSize {
		full, s.rows = s.rows, make([]byte, 0, (rowsAtOnce+1024)*rowSize)
	}
	s.mu.Unlock()
	return r.send(s, full)
}

// send inserts rows, which the caller took out of the buffer. It is not tried
// again: nobody could tell whether the first time worked.
func (r *run) send(s *shard, rows []byte) error {
	if len(rows) == 0 {
		return nil
	}
	if err := s.server.send(r.ctx, "INSERT INTO "+r.e.o.Database+"."+localTable+" (run, unit, pop, value, weight) FORMAT RowBinary", rows); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent += uint64(len(rows) / rowSize)
	return nil
}

// finish sends what is left, and has each server count what it has.
func (r *run) finish() error {
	byServer := map[*server]*shard{}
	for _, s := range r.shards {
		byServer[s.server] = s
	}
	return r.e.eachServer(func(server *server) error {
		s := byServer[server]
		rows := s.rows
		s.rows = nil
		if err := r.send(s, rows); err != nil {
			return err
		}
		n, err := server.number(r.ctx, fmt.Sprintf("SELECT count() FROM %s.%s WHERE run = %d", r.e.o.Database, localTable, r.id))
		if err == nil && (n != s.sent || n != s.total) {
			err = fmt.Errorf("clickhouse %q: it has %d rows of the run, want %d", server.url, n, s.total)
		}
		return err
	})
}

// Cells has the cells computed. The first server asks the others.
func (r *run) Cells() iter.Seq2[beacon.Cell, error] {
	return func(yield func(beacon.Cell, error) bool) {
		if err := r.finish(); err != nil {
			yield(beacon.Cell{}, err)
			return
		}
		var samples, weight uint64 // still to come
		for _, s := range r.shards {
			samples += s.total
			weight += s.weight
		}
		first := r.e.servers[0]
		var last beacon.Cell
		for fields, err := range first.lines(r.ctx, cellsQuery(r.e.o.Database, r.id), cellColumns) {
			if err != nil {
				yield(beacon.Cell{}, err)
				return
			}
			c, err := parseCell(fields)
			if err == nil && last.Count > 0 && cmp.Or(cmp.Compare(last.Unit, c.Unit), cmp.Compare(last.PoP, c.PoP)) >= 0 {
				err = fmt.Errorf("the cell of %v and pop %d comes after that of %v and pop %d", c.Unit, c.PoP, last.Unit, last.PoP)
			}
			if err == nil && (uint64(c.Count) > samples || c.Weight > weight) {
				err = errors.New("the cells have more samples than were sent")
			}
			if err != nil {
				yield(beacon.Cell{}, fmt.Errorf("clickhouse %q: %w", first.url, err))
				return
			}
			samples -= uint64(c.Count)
			weight -= c.Weight
			if last = c; !yield(c, nil) {
				return
			}
		}
		if samples > 0 || weight > 0 {
			yield(beacon.Cell{}, fmt.Errorf("clickhouse %q: the cells lack %d samples with a weight of %d", first.url, samples, weight))
		}
	}
}

// cellColumns is how many columns cellsQuery has.
const cellColumns = 7

// cellsQuery asks for the cells of a run. A median is the first value, of those in
// order, up to which there is more than half of the weight: in whole numbers, and
// so exactly what the embedded engine says. (quantileExactWeighted takes the lower of
// two in the middle.)
func cellsQuery(database string, id uint64) string {
	return fmt.Sprintf(`SELECT unit, pop, n, w, p50, p90, arraySum(arrayMap(x -> toUInt64(x.2) * abs(toInt32(x.1) - p50), s))
FROM (SELECT unit, pop, n, w, s, toInt32(tupleElement(s[arrayFirstIndex(y -> 2 * y > w, c)], 1)) AS p50,
  toInt32(tupleElement(s[arrayFirstIndex(y -> 10 * y > 9 * w, c)], 1)) AS p90
 FROM (SELECT unit, pop, n, w, s, arrayCumSum(arrayMap(x -> toUInt64(x.2), s)) AS c
  FROM (SELECT unit, pop, count() AS n, toUInt64(sum(weight)) AS w, arraySort(groupArray((value, weight))) AS s
   FROM %s.%s WHERE run = %d GROUP BY unit, pop)))
ORDER BY unit, pop`, database, table, id)
}

// parseCell reads a line of an answer.
func parseCell(fields []string) (c beacon.Cell, err error) {
	if len(fields) != cellColumns {
		return c, fmt.Errorf("a cell has %d columns, want %d", len(fields), cellColumns)
	}
	number := func(i int, most uint64) uint64 {
		n, e := strconv.ParseUint(fields[i], 10, 64)
		if e != nil || n > most {
			err = errors.Join(err, fmt.Errorf("column %d of a cell is %q: want a number up to %d", i+1, fields[i], most))
		}
		return n
	}
	value := func(i int) int16 {
		n, e := strconv.ParseInt(fields[i], 10, 16)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("column %d of a cell is %q: want a time", i+1, fields[i]))
		}
		return int16(n)
	}
	c = beacon.Cell{
		Unit: beacon.Unit(number(0, math.MaxUint64)), PoP: uint16(number(1, edge.MaxPoPs-1)), Count: uint32(number(2, 1<<32-1)),
		Weight: number(3, 1<<63), P50: value(4), P90: value(5), Deviation: number(6, 1<<63),
	}
	if err == nil && (c.Count == 0 || c.Weight < uint64(c.Count)) {
		err = fmt.Errorf("a cell has %d samples with a weight of %d", c.Count, c.Weight)
	}
	return c, err
}

// closeTime is how long Close tries.
const closeTime = 30 * time.Second

// Close drops the run's rows. What it cannot drop, a run a day later drops.
func (r *run) Close() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), min(closeTime, r.e.o.Timeout))
	defer cancel()
	return r.e.eachServer(func(s *server) error { return r.e.drop(ctx, s, r.id) })
}
