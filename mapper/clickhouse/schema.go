package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// The tables. The one of a shard has its rows, the other reaches all shards.
const (
	localTable = "samples_local"
	table      = "samples"
)

// columns are those of both tables, by name.
var columns = []string{"pop UInt16", "run UInt64", "unit UInt64", "value Int16", "weight UInt16"}

// step is one thing that Init makes.
type step struct{ name, exists, create string }

func (e *Engine) steps() []step {
	db := e.o.Database
	isTable := func(name string) string {
		return "SELECT count() FROM system.tables WHERE database = '" + db + "' AND name = '" + name + "'"
	}
	list := strings.Join(columns, ", ")
	return []step{
		{"database " + db, "SELECT count() FROM system.databases WHERE name = '" + db + "'", "CREATE DATABASE IF NOT EXISTS " + db},
		{
			"table " + db + "." + localTable, isTable(localTable),
			"CREATE TABLE IF NOT EXISTS " + db + "." + localTable + " (" + list + ") ENGINE = MergeTree() PARTITION BY run ORDER BY (unit, pop)",
		},
		{
			"table " + db + "." + table, isTable(table),
			"CREATE TABLE IF NOT EXISTS " + db + "." + table + " (" + list + ") ENGINE = Distributed(" + e.o.Cluster + ", " + db + ", " + localTable + ", intHash64(unit))",
		},
	}
}

// Init makes the database and its tables on all servers, where they are not there,
// and checks them. It tells did, line by line, what it did. Done again, it changes
// nothing.
func (e *Engine) Init(ctx context.Context, did func(line string)) error {
	for _, s := range e.servers {
		if err := e.checkCluster(ctx, s); err != nil {
			return err
		}
	}
	for _, s := range e.servers {
		for _, step := range e.steps() {
			there, err := s.number(ctx, step.exists)
			if err != nil {
				return err
			}
			if there > 0 {
				did(fmt.Sprintf("%s: %s is there", s.url, step.name))
				continue
			}
			if err := s.exec(ctx, step.create); err != nil {
				return err
			}
			did(fmt.Sprintf("%s: made %s", s.url, step.name))
		}
		if err := e.checkSchema(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// checkCluster holds what a server knows of the cluster to the servers that we
// know: rows on another one would not be counted, nor dropped.
func (e *Engine) checkCluster(ctx context.Context, s *server) error {
	n, err := s.number(ctx, "SELECT count() FROM system.clusters WHERE cluster = '"+e.o.Cluster+"'")
	if err != nil {
		return err
	}
	if n != uint64(len(e.servers)) {
		return fmt.Errorf("clickhouse %q: its cluster %q has %d servers, want the %d of aggregate.urls: see remote_servers in its configuration",
			s.url, e.o.Cluster, n, len(e.servers))
	}
	return nil
}

// checkSchema errs when a server's tables are not what Init makes.
func (e *Engine) checkSchema(ctx context.Context, s *server) error {
	if err := e.checkCluster(ctx, s); err != nil {
		return err
	}
	for _, t := range [][2]string{{localTable, "MergeTree"}, {table, "Distributed"}} {
		name, engine := t[0], t[1]
		where := " WHERE database = '" + e.o.Database + "' AND "
		got, err := s.rows(ctx, "SELECT engine FROM system.tables"+where+"name = '"+name+"'")
		if err != nil {
			return err
		}
		if len(got) == 0 {
			return fmt.Errorf("clickhouse %q: no table %s.%s: make it with edged beacon init-clickhouse", s.url, e.o.Database, name)
		}
		if !strings.HasSuffix(got[0][0], engine) { // ReplicatedMergeTree is one, too
			return fmt.Errorf("clickhouse %q: table %s.%s has the engine %q, want %q: drop it, and make it with edged beacon init-clickhouse",
				s.url, e.o.Database, name, got[0][0], engine)
		}
		if got, err = s.rows(ctx, "SELECT concat(name, ' ', type) FROM system.columns"+where+"table = '"+name+"'"); err != nil {
			return err
		}
		list := slices.Concat(got...)
		slices.Sort(list)
		if !slices.Equal(list, columns) {
			return fmt.Errorf("clickhouse %q: table %s.%s has the columns %q, want %q: drop it, and make it with edged beacon init-clickhouse",
				s.url, e.o.Database, name, list, columns)
		}
	}
	return nil
}
