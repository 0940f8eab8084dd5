package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"edged/mapper/beacon"
)

// duckRow is a row as DuckDB has it.
type duckRow struct {
	Unit uint64 `parquet:"unit"`
	PoP  int32  `parquet:"pop"`
	RTT  int32  `parquet:"rtt"`
}

// duckScript loads rows into a table, times a query, and writes its cells.
// quantile_disc takes the lower of two in the middle, so both are asked from above.
const duckScript = `
const { DuckDBInstance } = require('@duckdb/node-api');
const [rows, cells, rounds] = process.argv.slice(1);
const query = 'SELECT unit, pop, count(*) AS n, -quantile_disc(-rtt, 0.5) AS p50, -quantile_disc(-rtt, 0.1) AS p90 FROM rows GROUP BY unit, pop';
(async () => {
  const c = await (await DuckDBInstance.create(':memory:', { threads: '2' })).connect();
  await c.run("CREATE TABLE rows AS SELECT unit, pop::USMALLINT AS pop, rtt::SMALLINT AS rtt FROM read_parquet('" + rows + "')");
  const seconds = [];
  for (let i = 0; i < Number(rounds); i++) {
    const begin = process.hrtime.bigint();
    await c.run('CREATE OR REPLACE TABLE cells AS ' + query);
    seconds.push(Number(process.hrtime.bigint() - begin) / 1e9);
  }
  await c.run("COPY (SELECT * FROM cells ORDER BY unit, pop) TO '" + cells + "' (FORMAT parquet)");
  console.log(JSON.stringify(seconds));
})();
`

// besideDuckDB has DuckDB aggregate the rows of a folder, and holds its cells
// against ours. home is where npm installed @duckdb/node-api; empty: nothing is
// compared.
func besideDuckDB(dir, home string, r *report) error {
	if home == "" {
		return nil
	}
	work, err := os.MkdirTemp("", "edged-bench-duckdb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	set, err := beacon.OpenAll(dir)
	if err != nil {
		return err
	}
	defer set.Close()
	rows, cells := filepath.Join(work, "rows.parquet"), filepath.Join(work, "cells.parquet")
	if err := writeDuckRows(rows, set); err != nil {
		return err
	}
	cmd := exec.Command("node", "-e", duckScript, rows, cells, strconv.Itoa(aggregateRounds))
	cmd.Dir = home
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("duckdb from %q: %w: %s", home, err, stderr.String())
	}
	var seconds []float64
	if err := json.Unmarshal(out, &seconds); err != nil {
		return fmt.Errorf("duckdb says %q: %w", out, err)
	}
	r.add("duckdb: rate", float64(set.Rows)/middle(seconds)/1e6, "M rows/s")
	differ, err := compareDuckCells(cells, set)
	if err != nil {
		return err
	}
	r.most("duckdb: cells that differ from ours", float64(differ), "", 0)
	return nil
}

func writeDuckRows(path string, set *beacon.Set) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := parquet.NewGenericWriter[duckRow](f)
	var batch []duckRow
	flush := func() error {
		_, err := w.Write(batch)
		batch = batch[:0]
		return err
	}
	for s, err := range set.Sessions() {
		if err != nil {
			return err
		}
		for _, m := range s.Rows {
			batch = append(batch, duckRow{uint64(beacon.UnitOf(m.Client)), int32(m.PoP), int32(m.RTT)})
		}
		if len(batch) >= 8192 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return errors.Join(flush(), w.Close(), f.Close())
}

// duckCell is a line of DuckDB's answer.
type duckCell struct {
	Unit uint64 `parquet:"unit"`
	PoP  int32  `parquet:"pop"`
	N    int64  `parquet:"n"`
	P50  int32  `parquet:"p50"`
	P90  int32  `parquet:"p90"`
}

// compareDuckCells counts the cells in which DuckDB's answer and ours differ.
func compareDuckCells(path string, set *beacon.Set) (differ int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	theirs := parquet.NewGenericReader[duckCell](f)
	defer theirs.Close()
	var one [1]duckCell
	for cell, err := range beacon.Aggregate(context.Background(), set, beacon.Plan{PoPs: set.PoPs}, beacon.Embedded{}, 2) {
		if err != nil {
			return 0, err
		}
		if n, err := theirs.Read(one[:]); n == 0 {
			return 0, fmt.Errorf("duckdb has fewer cells: %w", err)
		}
		if c := one[0]; c.Unit != uint64(cell.Unit) || c.PoP != int32(cell.PoP) || c.N != int64(cell.Count) || c.P50 != int32(cell.P50) || c.P90 != int32(cell.P90) {
			differ++
		}
	}
	if n, err := theirs.Read(one[:]); n != 0 || err != io.EOF {
		return 0, errors.Join(errors.New("duckdb has more cells"), err)
	}
	return differ, nil
}
