package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSimulate builds a map of two measured networks and takes a PoP down.
func TestSimulate(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := write("edged.yaml", "pops: [{name: fra, lat: 50.11, lon: 8.68, capacity: 100}, {name: iad, lat: 38.95, lon: -77.45, capacity: 100}]\n")
	nets := write("nets.csv", "203.0.113.0/24,fra:10 iad:90\n198.51.100.0/24,iad:20 fra:80\n")
	demand := write("demand.csv", "203.0.113.0/24,60\n198.51.100.0/24,50\n")
	bad := write("bad.csv", "x,60\n")
	const whole = `node: {name: fra1, pop: fra}
listen: {external: ["127.0.0.1:5354"]}
pops: [{name: fra, lat: 50.11, lon: 8.68, capacity: 100}, {name: iad, lat: 38.95, lon: -77.45, capacity: 100}]
`
	one := write("one.yaml", whole+"maps: {default: {file: m.edmap}, other: {file: none.edmap}}\n")
	none := write("none.yaml", whole)
	m := filepath.Join(dir, "m.edmap")
	for _, step := range []struct {
		args     []string
		code     int
		out, err string
	}{
		{[]string{"map", "build", "--config", config, "--nets", nets, "-o", m}, 0, "2 measured networks", ""},
		{[]string{"simulate", "--map", m, "--down", "fra", "--demand", demand}, 0, "over by 10.0", ""},
		{[]string{"simulate", "--map", m, "--down", "fra", "--demand", demand}, 0, "90.0 ms in place of 10.0", ""},
		{[]string{"simulate", "--map", m, "--down", "fra", "--demand", demand, "--json"}, 0, `"rtt_after_ms": 90`, ""},
		{[]string{"simulate", "--config", one, "--down", "fra", "--demand", demand}, 0, "over by 10.0", ""},
		{[]string{"simulate", "--config", none, "--down", "fra"}, 1, "", "none.yaml: it has 0 maps, none of them default; name one's file with --map"},
		{[]string{"simulate", "--down", "fra"}, 1, "", "[map config]"},
		{[]string{"simulate", "--map", m, "--down", ""}, 1, "", `--down "": want a value`},
		{[]string{"simulate", "--map", m, "--down", "nyc"}, 1, "", `map has no pop "nyc"`},
		{[]string{"simulate", "--map", m, "--down", "fra", "--demand", bad}, 1, "", `bad.csv:1: "x" is not a network`},
	} {
		var out, errs strings.Builder
		code := run(context.Background(), step.args, strings.NewReader(""), &out, &errs)
		if code != step.code || !strings.Contains(out.String(), step.out) || !strings.Contains(errs.String(), step.err) {
			t.Errorf("edged %q: code %d\n%s%s\nwant code %d, %q, %q", step.args, code, out.String(), errs.String(), step.code, step.out, step.err)
		}
	}
}
