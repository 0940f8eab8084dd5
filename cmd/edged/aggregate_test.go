package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edged/mapper/clickhouse/clickhousetest"
)

// TestMapByClickHouse: two ClickHouse servers give the map that this process gives,
// byte for byte, and one alone gives none.
func TestMapByClickHouse(t *testing.T) {
	servers, err := clickhousetest.Start(t.Context(), clickhousetest.Config{Dir: t.TempDir(), Servers: 2, Password: "secret one"})
	if errors.Is(err, clickhousetest.ErrMissing) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, s := range servers {
			s.Kill()
		}
	}()
	dir := mapFiles(t)
	plain, segments, password := filepath.Join(dir, "edged.yaml"), filepath.Join(dir, "segments"), filepath.Join(dir, "password")
	writeSegments(t, segments, 4) // with attempts that fail: both leave the same pop out
	text, err := os.ReadFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	distributed := filepath.Join(dir, "clickhouse.yaml")
	text = fmt.Appendf(text, "aggregate: {engine: clickhouse, urls: [%q, %q], user: %s, password_file: password, timeout: 20s}\n",
		servers[0].URL, servers[1].URL, clickhousetest.User)
	for path, data := range map[string]string{distributed: string(text), password: "secret one\n"} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := beaconRun("init-clickhouse", "--config", plain); err == nil || !strings.HasPrefix(err.Error(), "aggregate.engine is embedded") {
		t.Errorf("without servers: %v", err)
	}
	for _, word := range []string{": made ", " is there"} {
		if out, err := beaconRun("init-clickhouse", "--config", distributed); err != nil || strings.Count(out, word) != 6 {
			t.Errorf("init says %v and\n%s\nwant %q six times", err, out, word)
		}
	}

	one, other := filepath.Join(dir, "one.edmap"), filepath.Join(dir, "other.edmap")
	mustMapRun(t, "build", "--config", plain, "--segments", segments, "-o", one)
	mustMapRun(t, "build", "--config", distributed, "--segments", segments, "-o", other)
	a, _ := os.ReadFile(one)
	b, _ := os.ReadFile(other)
	if len(a) == 0 || !bytes.Equal(a, b) {
		t.Errorf("maps of %d and %d octets differ", len(a), len(b))
	}

	// So do the others that aggregate: they say the same by both.
	others := [][]string{
		{"evaluate", one, "--against", segments},
		{"gate", one, other, "--against", segments},
		{"explain", one, "203.0.113.9", "--segments", segments},
		{"resolvers", "--segments", segments},
	}
	for _, args := range others {
		want := mustMapRun(t, append(args, "--config", plain)...)
		if got := mustMapRun(t, append(args, "--config", distributed)...); got != want || want == "" {
			t.Errorf("by ClickHouse map %s says\n%s\nwant\n%s", args[0], got, want)
		}
	}

	servers[1].Kill()
	for _, args := range others {
		if _, err := mapRun(append(args, "--config", distributed)...); err == nil || !strings.Contains(err.Error(), servers[1].URL) {
			t.Errorf("map %s with a server gone: error %v, want one that names %s", args[0], err, servers[1].URL)
		}
	}
	none := filepath.Join(dir, "none.edmap")
	_, err = mapRun("build", "--config", distributed, "--segments", segments, "-o", none)
	if err == nil || !strings.Contains(err.Error(), servers[1].URL) || strings.Contains(err.Error(), "secret one") {
		t.Errorf("with a server gone: error %v, want one that names %s", err, servers[1].URL)
	}
	if _, err := os.Stat(none); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("with a server gone there is a map: %v", err)
	}
	if err := os.Chmod(password, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := beaconRun("init-clickhouse", "--config", distributed); err == nil || !strings.Contains(err.Error(), "mode 0644 lets others use it") {
		t.Errorf("with a password that others may read: %v", err)
	}
}
