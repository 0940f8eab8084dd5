package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"edged/config"
	"edged/edge"
	"edged/mapper/beacon"
	"edged/mapper/clickhouse"
)

// aggregationEngine returns what the configuration has medians made by.
func aggregationEngine(configPath string) (beacon.Engine, error) {
	a, err := config.LoadAggregate(configPath)
	if err != nil {
		return nil, err
	}
	if a.Engine != "clickhouse" {
		return beacon.Embedded{}, nil
	}
	return clickHouse(a)
}

// engineOf returns what a configuration has medians made by; without one it is
// this process.
func engineOf(configPath string) (beacon.Engine, error) {
	if configPath == "" {
		return beacon.Embedded{}, nil
	}
	return aggregationEngine(configPath)
}

// clickHouse returns the engine that a section of the configuration describes.
func clickHouse(a config.Aggregate) (*clickhouse.Engine, error) {
	o := clickhouse.Options{URLs: a.URLs, Cluster: a.Cluster, Database: a.Database, User: a.User, Timeout: a.Timeout}
	if a.PasswordFile != "" {
		var err error
		if o.Password, err = readPassword(string(a.PasswordFile)); err != nil {
			return nil, err
		}
	}
	return clickhouse.New(o)
}

// readPassword reads the first line of a file that only its owner may read.
func readPassword(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("password %q: mode %04o lets others use it; chmod 600", path, mode)
	}
	data, err := edge.ReadRegular(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", fmt.Errorf("password %q: its first line is empty", path)
	}
	return line, nil
}

func beaconInitClickHouseCommand() *cobra.Command {
	var configPath string
	cmd := &cobra.Command{
		Use:   "init-clickhouse --config FILE",
		Short: "make the tables in which ClickHouse aggregates measurements",
		Long: `Make the database and the tables in which ClickHouse aggregates measurements, on all
servers of aggregate.urls, where they are not there. On each server samples_local
holds its part, and samples reaches all of them. Of the configuration only aggregate
is read. A second time it changes nothing.

The servers must be one cluster already, each a shard of its own, under the name of
aggregate.cluster in remote_servers of their configuration.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := config.LoadAggregate(configPath)
			if err != nil {
				return err
			}
			if a.Engine != "clickhouse" {
				return errors.New("aggregate.engine is embedded, which has no tables: set it to clickhouse")
			}
			e, err := clickHouse(a)
			if err != nil {
				return err
			}
			return e.Init(cmd.Context(), func(line string) { fmt.Fprintln(cmd.OutOrStdout(), line) })
		},
	}
	configFlag(cmd, &configPath)
	cmd.MarkFlagRequired("config")
	return cmd
}
