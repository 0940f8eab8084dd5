package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edged/maps"
)

// mapFiles is a folder with a configuration and a list of networks to build
// maps from.
func mapFiles(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"edged.yaml": `pops:
  - {name: fra, lat: 50.11, lon: 8.68, continent: EU, capacity: 100000}
  - {name: nyc, lat: 40.71, lon: -74.01, continent: NA}
  - {name: sin, lat: 1.35, lon: 103.82, continent: AS}
geo: {overrides: places.csv}
zones: [{name: example.com, file: not-read-by-map-build}]
`,
		"places.csv": "203.0.113.0/24,DE,52.5,13.4\n2001:db8::/32,SG,1.3,103.8\n",
		"nets.csv":   "prefix,ranking,table\n203.0.113.64/26,nyc:12.5 fra\n192.0.2.1/32,sin,resolver\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// mapRun runs one map command and returns what it wrote.
func mapRun(args ...string) (string, error) {
	var out bytes.Buffer
	cmd := mapCommand()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.Execute()
	return out.String(), err
}

func mustMapRun(t *testing.T, args ...string) string {
	t.Helper()
	out, err := mapRun(args...)
	if err != nil {
		t.Fatalf("map %q: %v", args, err)
	}
	return out
}

func TestMapBuildAndLookup(t *testing.T) {
	dir := mapFiles(t)
	file := filepath.Join(dir, "default.edmap")
	out := mustMapRun(t, "build", "--config", filepath.Join(dir, "edged.yaml"), "--nets", filepath.Join(dir, "nets.csv"), "--tolerance", "0", "-o", file)
	if want := file + ": version "; !strings.HasPrefix(out, want) || !strings.Contains(out, ", 2 measured networks, ") {
		t.Errorf("build wrote %q, want %q first", out, want)
	}
	if out := mustMapRun(t, "verify", file); !strings.HasPrefix(out, file+": ok: version ") || !strings.HasSuffix(out, ", 3 pops\n") {
		t.Errorf("verify wrote %q", out)
	}

	want := `203.0.113.70  in the ecs table
range         203.0.113.64 - 203.0.113.127
block         203.0.113.64/26
source        measured
ranking       nyc (12.5 ms), fra
by distance   sin
`
	if out := mustMapRun(t, "lookup", file, "203.0.113.70"); out != want {
		t.Errorf("lookup wrote\n%s\nwant\n%s", out, want)
	}
	if out := mustMapRun(t, "lookup", file, "2002:cb00:7146::1"); !strings.Contains(out, "block              203.0.113.64/26\n") {
		t.Errorf("lookup of a 6to4 address wrote\n%s", out)
	}

	var answers []mapAnswer
	decode(t, mustMapRun(t, "lookup", "--json", file, "203.0.113.0/24", "2001:db8::5"), &answers)
	var got []string
	for _, a := range answers {
		got = append(got, a.From.String()+" "+a.Block.String()+" "+a.Source+" "+strings.Join(a.Then, " "))
	}
	wantAnswers := []string{
		"203.0.113.0 203.0.113.0/26 place fra nyc sin",
		"203.0.113.64 203.0.113.64/26 measured sin",
		"203.0.113.128 203.0.113.128/25 place fra nyc sin",
		"2001:db8:: 2001:db8::/32 place sin fra nyc",
	}
	if !slices.Equal(got, wantAnswers) {
		t.Errorf("lookup gave\n%q\nwant\n%q", got, wantAnswers)
	}
	decode(t, mustMapRun(t, "lookup", "--resolver", "--json", file, "192.0.2.1"), &answers)
	if len(answers) != 1 || answers[0].Table != "resolver" || answers[0].Ranking[0] != (mapHop{PoP: "sin"}) {
		t.Errorf("lookup of a resolver gave %+v", answers)
	}
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

func TestMapShowAndDiff(t *testing.T) {
	dir := mapFiles(t)
	config := filepath.Join(dir, "edged.yaml")
	before, after := filepath.Join(dir, "before.edmap"), filepath.Join(dir, "after.edmap")
	mustMapRun(t, "build", "--config", config, "-o", before)
	mustMapRun(t, "build", "--config", config, "--nets", filepath.Join(dir, "nets.csv"), "-o", after)

	var s mapSummary
	decode(t, mustMapRun(t, "show", "--json", after), &s)
	if len(s.PoPs) != 3 || s.PoPs[0] != (mapPoP{Name: "fra", Lat: 50.11, Lon: 8.68, Continent: "EU", Capacity: 100000}) || len(s.Tables) != 4 ||
		s.Tables[0].MeasuredRanges != 1 || s.Tables[2].MeasuredRanges != 2 || s.Tables[0].Measured != 64.0/(1<<32) {
		t.Errorf("show gave %+v", s)
	}
	last := s.Inputs[len(s.Inputs)-1]
	if last.Name != "nets.csv" || !strings.HasPrefix(last.Version, "sha256:") {
		t.Errorf("inputs %v, want nets.csv and its hash last", s.Inputs)
	}
	out := mustMapRun(t, "show", after)
	for _, want := range []string{"version   " + s.Version + "\n", "fra  50.11  8.68    EU         100000\n", "table     family  ranges"} {
		if !strings.Contains(out, want) {
			t.Errorf("show wrote\n%s\nwant %q in it", out, want)
		}
	}

	var d maps.Difference
	decode(t, mustMapRun(t, "diff", "--json", before, after), &d)
	if d.ECS.V4.Moved != 0.25 || len(d.ECS.V4.Moves) != 1 || d.ECS.V4.Moves[0] != (maps.Move{From: "fra", To: "nyc", Blocks: 0.25}) {
		t.Errorf("diff gave %+v", d.ECS.V4)
	}
	out = mustMapRun(t, "diff", before, after)
	for _, want := range []string{"ecs v6: the first choice of 0.00 % of ", "203.0.113.64 - 203.0.113.127  fra", "nyc  0.2"} {
		if !strings.Contains(out, want) {
			t.Errorf("diff wrote\n%s\nwant %q in it", out, want)
		}
	}
}

func TestMapErrors(t *testing.T) {
	dir := mapFiles(t)
	config, nets := filepath.Join(dir, "edged.yaml"), filepath.Join(dir, "bad.csv")
	if err := os.WriteFile(nets, []byte("203.0.113.0/24,fre\n203.0.113.1/24,fra\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"build", "-o", "x"}, `required flag(s) "config" not set`},
		{[]string{"build", "--config", config, "--nets", nets, "-o", filepath.Join(dir, "x")}, nets + `:1: unknown pop "fre"; did you mean "fra"?` + "\n" + nets + ":2: "},
		{[]string{"build", "--config", config, "-o", filepath.Join(dir, "none", "x")}, `cannot write "` + filepath.Join(dir, "none", "x")},
		{[]string{"build", "--config", config, "--accept", " ", "-o", "x"}, `--accept " ": want a value, or no --accept at all`},
		{[]string{"build", "--config", config, "--demand", "", "-o", "x"}, `--demand "": want a value, or no --demand at all`},
		{[]string{"build", "--config", config, "--by", "ann", "-o", "x"}, "--by says nothing without --accept: give both or neither"},
		{[]string{"build", "--config", config, "--hosting", "none", "-o", "x"}, "--hosting says nothing without --segments: give both or neither"},
		{[]string{"build", "--config", config, "--segments", dir, "--token-file", "none", "-o", "x"}, "--token-file says nothing without --pull: give both or neither"},
		{[]string{"resolvers", "--config", config, "--segments", dir, "--limit", "0"}, "bad limit 0: want 1 or more"},
		{[]string{"show", config}, `map "` + config + `": begins with "pops:\n  ", want "edgedmap": is it a map?`},
		{[]string{"diff", config, config}, "is it a map?"},
		{[]string{"lookup", config, "10.0.0.1"}, "is it a map?"},
		{[]string{"verify", filepath.Join(dir, "missing")}, "no such file"},
	} {
		out, err := mapRun(tt.args...)
		if err == nil || !strings.Contains(out+err.Error(), tt.want) {
			t.Errorf("map %q: error %v after %q, want %q in it", tt.args, err, out, tt.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "x")); err == nil {
		t.Error("a build that failed left a map")
	}
	file := filepath.Join(dir, "default.edmap")
	mustMapRun(t, "build", "--config", config, "-o", file)
	if _, err := mapRun("lookup", file, "10.0.0"); err == nil || err.Error() != `bad address "10.0.0": want one like 203.0.113.7 or 203.0.113.0/24` {
		t.Errorf("lookup of half an address: error %v", err)
	}
}
