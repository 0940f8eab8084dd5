package config

import (
	"slices"
	"time"

	"edged/mapper/clickhouse"
)

// Aggregate says what makes medians of measurements when a map is built. Nodes
// that only serve do not need it.
type Aggregate struct {
	Engine       string        `yaml:"engine"`        // embedded or clickhouse; what follows is for the latter
	URLs         []string      `yaml:"urls"`          // of the HTTP interfaces of all servers of the cluster
	Cluster      string        `yaml:"cluster"`       // as the servers name it in remote_servers
	Database     string        `yaml:"database"`      // made by edged beacon init-clickhouse
	User         string        `yaml:"user"`          // of all servers
	PasswordFile Path          `yaml:"password_file"` // its first line; empty: none
	Timeout      time.Duration `yaml:"timeout"`       // of one request, 1s to 1h
}

var defaultAggregate = Aggregate{Engine: "embedded", Cluster: "edged", Database: "edged", User: "default", Timeout: 5 * time.Minute}

func (ck *checker) aggregate() {
	a := &ck.Aggregate
	ck.oneOf("aggregate.engine", a.Engine, "embedded", "clickhouse")
	for i, u := range a.URLs {
		key := index("aggregate.urls", i)
		if ck.reported[key] {
			continue
		}
		if err := clickhouse.CheckURL(u); err != nil {
			ck.errorf(key, "%v", err)
		} else if slices.Contains(a.URLs[:i], u) {
			ck.errorf(key, "%q is listed already", u)
		}
	}
	if a.Engine == "clickhouse" && len(a.URLs) == 0 {
		ck.given("aggregate.urls", "")
	}
	for key, name := range map[string]string{"aggregate.cluster": a.Cluster, "aggregate.database": a.Database} {
		if err := clickhouse.CheckName(name); err != nil {
			ck.errorf(key, "%v", err)
		}
	}
	if a.Timeout < time.Second || a.Timeout > time.Hour {
		ck.errorf("aggregate.timeout", "%s is out of range: want 1s to 1h", a.Timeout)
	}
}

// LoadAggregate reads only the section aggregate.
func LoadAggregate(path string) (Aggregate, error) {
	c, err := loadOnly(path, []string{"aggregate"}, (*checker).aggregate)
	if err != nil {
		return Aggregate{}, err
	}
	return c.Aggregate, nil
}
