package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"edged/mapper/beacon"
	"edged/mapper/clickhouse/clickhousetest"
)

const password = "quite secret"

// cluster starts servers with an engine over them, and makes the tables.
func cluster(t *testing.T, n int) (*Engine, []*clickhousetest.Server) {
	t.Helper()
	servers, err := clickhousetest.Start(t.Context(), clickhousetest.Config{Dir: t.TempDir(), Servers: n, Password: password})
	if errors.Is(err, clickhousetest.ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range servers {
			s.Kill()
		}
	})
	o := Options{Cluster: clickhousetest.Name, Database: "geo", User: clickhousetest.User, Password: password, Timeout: 20 * time.Second}
	for _, s := range servers {
		o.URLs = append(o.URLs, s.URL)
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e, servers
}

// initialize makes the tables and returns what it did.
func initialize(t *testing.T, e *Engine) (did []string) {
	t.Helper()
	if err := e.Init(t.Context(), func(line string) { did = append(did, line) }); err != nil {
		t.Fatal(err)
	}
	return did
}

func collect(cells iter.Seq2[beacon.Cell, error]) (list []beacon.Cell, err error) {
	for c, err := range cells {
		if err != nil {
			return list, err
		}
		list = append(list, c)
	}
	return list, nil
}

// aggregate has an engine aggregate samples, which several goroutines add.
func aggregate(t *testing.T, e beacon.Engine, samples []beacon.Sample) ([]beacon.Cell, error) {
	t.Helper()
	agg, err := e.Begin(t.Context())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := agg.Close(); err != nil {
			t.Error(err)
		}
	}()
	parts := slices.Collect(slices.Chunk(samples, len(samples)/5+1))
	done := make(chan error)
	for _, part := range parts {
		go func() { done <- agg.Add(part) }()
	}
	for range parts {
		err = errors.Join(err, <-done)
	}
	if err != nil {
		return nil, err
	}
	return collect(agg.Cells())
}

// contract are samples on which both engines must agree.
func contract() map[string][]beacon.Sample {
	v4 := func(n int) beacon.Unit {
		return beacon.UnitOf(netip.AddrFrom4([4]byte{byte(n >> 16), byte(n >> 8), byte(n)}))
	}
	v6 := func(n int) beacon.Unit {
		return beacon.UnitOf(netip.AddrFrom16([16]byte{0: 0x2a, 2: byte(n >> 16), 4: byte(n >> 8), 5: byte(n)}))
	}
	rng := rand.New(rand.NewPCG(11, 12))
	var random, ties, extremes, crowd []beacon.Sample
	for range 40_000 {
		u := v4(rng.IntN(300) * 50_000)
		if rng.IntN(3) == 0 {
			u = v6(rng.IntN(300) * 50_000)
		}
		random = append(random, beacon.Sample{Unit: u, PoP: uint16(rng.IntN(9) * 511), Value: int16(rng.IntN(4000) - 500), Weight: uint16(1 + rng.IntN(beacon.MaxWeight))})
	}
	// Weights that halve and part in tenths exactly, in any order.
	for unit := range 400 {
		values := rng.Perm(1 + unit%12)
		for _, v := range values {
			ties = append(ties, beacon.Sample{Unit: v4(unit), Value: int16(v), Weight: uint16(1 + unit%3)})
		}
	}
	for i, v := range []int16{math.MinInt16, math.MaxInt16, 0, -1, 1} {
		for _, w := range []uint16{1, beacon.MaxWeight} {
			for _, u := range []beacon.Unit{v4(0), v4(1<<24 - 1), v6(0), beacon.UnitOf(netip.MustParseAddr("ffff:ffff:ffff::"))} {
				for _, pop := range []uint16{0, 4095} {
					extremes = append(extremes, beacon.Sample{Unit: u, PoP: pop, Value: v, Weight: w})
					if i%2 == 0 {
						extremes = append(extremes, beacon.Sample{Unit: u, PoP: pop, Value: -v - 1, Weight: beacon.MaxWeight + 1 - w})
					}
				}
			}
		}
	}
	for range 150_000 { // of one cell: more than one insert
		crowd = append(crowd, beacon.Sample{Unit: v4(77), PoP: 3, Value: int16(rng.IntN(100)), Weight: beacon.MaxWeight})
	}
	return map[string][]beacon.Sample{
		"none": nil, "one": random[:1], "random": random, "ties": ties, "extremes": extremes, "one cell": crowd,
	}
}

// TestCluster runs on two servers: the tables, the contract, and what happens when
// one server goes.
func TestCluster(t *testing.T) {
	e, servers := cluster(t, 2)

	_, err := e.Begin(t.Context())
	if want := "no table geo.samples_local: make it with edged beacon init-clickhouse"; err == nil || strings.Count(err.Error(), want) != 2 {
		t.Errorf("without tables: %v, want %q of both", err, want)
	}
	var want []string
	for _, did := range []string{"made %s", "%s is there"} {
		want = want[:0]
		for _, s := range servers {
			for _, what := range []string{"database geo", "table geo.samples_local", "table geo.samples"} {
				want = append(want, s.URL+": "+fmt.Sprintf(did, what))
			}
		}
		if got := initialize(t, e); !slices.Equal(got, want) {
			t.Errorf("init says\n%q, want\n%q", got, want)
		}
	}

	for name, samples := range contract() {
		want, err := aggregate(t, beacon.Embedded{}, samples)
		if err != nil {
			t.Fatal(err)
		}
		got, err := aggregate(t, e, samples)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %d cells, %v, want %d", name, len(got), err, len(want))
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Errorf("the first that differs: %+v, want %+v", got[i], want[i])
					break
				}
			}
		}
	}
	t.Run("rows are dropped", func(t *testing.T) { dropped(t, e) })
	t.Run("both shards have rows", func(t *testing.T) { shared(t, e) })
	t.Run("wrong row counts", func(t *testing.T) { miscounted(t, e) })
	t.Run("wrong password", func(t *testing.T) { refused(t, e) })
	t.Run("wrong tables", func(t *testing.T) { otherTables(t, e) })
	t.Run("a server gone", func(t *testing.T) { gone(t, e, servers[1]) })
}

// left returns how many rows are on all servers.
func left(t *testing.T, e *Engine) (n uint64) {
	t.Helper()
	for _, s := range e.servers {
		m, err := s.number(t.Context(), "SELECT count() FROM geo.samples_local")
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	return n
}

// dropped: a run leaves nothing, and takes away what one of more than a day ago
// left.
func dropped(t *testing.T, e *Engine) {
	if n := left(t, e); n != 0 {
		t.Errorf("%d rows are left of runs that were closed", n)
	}
	begin := func(at time.Time) beacon.Aggregation {
		e.now = func() time.Time { return at }
		agg, err := e.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return agg
	}
	defer func() { e.now = time.Now }()
	start := time.Date(2026, 6, 17, 12, 0, 0, 0, time.UTC)
	crashed := begin(start)
	if err := crashed.Add(contract()["ties"]); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(crashed.Cells()); err != nil {
		t.Fatal(err)
	}
	rows := left(t, e)
	begin(start.Add(runAge))
	if n := left(t, e); n != rows || rows == 0 {
		t.Errorf("a day later %d rows are left, want %d", n, rows)
	}
	begin(start.Add(runAge + time.Second))
	if n := left(t, e); n != 0 {
		t.Errorf("after more than a day %d rows are left", n)
	}
}

// shared: the units are spread, and what the Distributed table says is of both.
func shared(t *testing.T, e *Engine) {
	agg, err := e.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer agg.Close()
	samples := contract()["random"]
	if err := agg.Add(samples); err != nil {
		t.Fatal(err)
	}
	if err := agg.(*run).finish(); err != nil {
		t.Fatal(err)
	}
	all, err := e.servers[1].number(t.Context(), "SELECT count() FROM geo.samples")
	if err != nil || all != uint64(len(samples)) {
		t.Errorf("the distributed table has %d rows, %v, want %d", all, err, len(samples))
	}
	for _, s := range agg.(*run).shards {
		if n, err := s.server.number(t.Context(), "SELECT count() FROM geo.samples_local"); err != nil || n != s.total || n < uint64(len(samples)/4) {
			t.Errorf("%s has %d rows, %v, want %d, a good part of %d", s.server.url, n, err, s.total, len(samples))
		}
	}
}

// miscounted: rows that are there twice, or not at all, are no cells.
func miscounted(t *testing.T, e *Engine) {
	for _, tt := range []struct{ name, spoil, want string }{
		{"twice", "INSERT INTO geo.samples_local SELECT * FROM geo.samples_local", "rows of the run, want "},
		{"gone", "ALTER TABLE geo.samples_local DROP PARTITION %d", "it has 0 rows of the run, want "},
	} {
		agg, err := e.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r := agg.(*run)
		if err := r.Add(contract()["ties"]); err != nil {
			t.Fatal(err)
		}
		for _, s := range r.shards {
			if err := r.send(s, s.rows); err != nil {
				t.Fatal(err)
			}
			s.rows = nil
		}
		if strings.Contains(tt.spoil, "%d") {
			tt.spoil = fmt.Sprintf(tt.spoil, r.id)
		}
		if err := e.servers[1].exec(t.Context(), tt.spoil); err != nil {
			t.Fatal(err)
		}
		got, err := collect(r.Cells())
		if err == nil || !strings.Contains(err.Error(), tt.want) || len(got) > 0 {
			t.Errorf("%s: %d cells, error %v, want one with %q", tt.name, len(got), err, tt.want)
		}
		r.Close()
	}
}

// refused: the password is needed, and is in no error.
func refused(t *testing.T, e *Engine) {
	o := e.o
	o.Password = "a wrong one"
	wrong, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = wrong.Begin(t.Context())
	if err == nil || !strings.Contains(err.Error(), "Code: 193") && !strings.Contains(err.Error(), "Code: 516") || strings.Contains(err.Error(), o.Password) {
		t.Errorf("error %v, want that of a wrong password", err)
	}
}

// otherTables: a table that is not ours is not written to.
func otherTables(t *testing.T, e *Engine) {
	o := e.o
	o.Database = "other"
	other, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range e.servers {
		for _, statement := range []string{"CREATE DATABASE other", "CREATE TABLE other.samples_local (run UInt64) ENGINE = MergeTree() PARTITION BY run ORDER BY run"} {
			if err := s.exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = other.Init(t.Context(), func(string) {})
	if want := `table other.samples_local has the columns ["run UInt64"], want `; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("init: %v, want %q", err, want)
	}
	o = e.o
	o.URLs = o.URLs[:1]
	one, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = one.Begin(t.Context())
	if want := `its cluster "edged" has 2 servers, want the 1 of aggregate.urls`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("one of two servers: %v, want %q", err, want)
	}
}

// gone: a server that is killed before the cells, in their middle, or before the
// first sample is an error that names it, and never fewer cells.
func gone(t *testing.T, e *Engine, victim *clickhousetest.Server) {
	samples := contract()["random"]
	restart := func() {
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		if err := victim.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	begin := func() *run {
		agg, err := e.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := agg.Add(samples); err != nil {
			t.Fatal(err)
		}
		return agg.(*run)
	}
	refusedBy := fmt.Sprintf("clickhouse %q: cannot insert: ", victim.URL)

	r := begin()
	victim.Kill()
	if got, err := collect(r.Cells()); err == nil || !strings.Contains(err.Error(), refusedBy) || len(got) > 0 {
		t.Errorf("killed before the last insert: %d cells, %v, want none and %q", len(got), err, refusedBy)
	}
	if err := r.Close(); err == nil {
		t.Error("rows of a server that is gone were dropped")
	}
	restart()

	// All is counted, and then the server is killed: only the first server's
	// query can tell.
	r = begin()
	if err := r.finish(); err != nil {
		t.Fatal(err)
	}
	victim.Kill()
	n, seen := 0, error(nil)
	for _, err := range e.servers[0].lines(t.Context(), cellsQuery("geo", r.id), cellColumns) {
		if n++; err != nil {
			seen = err
		}
	}
	if seen == nil || n != 1 || !strings.Contains(seen.Error(), "DB::") {
		t.Errorf("killed before the query: %d lines, error %v, want that of the first server alone", n, seen)
	}
	if _, err := e.Begin(t.Context()); err == nil || !strings.Contains(err.Error(), victim.URL) {
		t.Errorf("a run begins: %v, want an error that names %s", err, victim.URL)
	}
	restart()
	r.Close()

	// A server that takes connections and does not answer.
	o := e.o
	o.Timeout = time.Second
	hurried, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Pause(); err != nil {
		t.Fatal(err)
	}
	if _, err := hurried.Begin(t.Context()); err == nil || !strings.Contains(err.Error(), "no answer within 1s") || !strings.Contains(err.Error(), victim.URL) {
		t.Errorf("a server that stands still: %v", err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Begin(stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}
