package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMapDiffByDemand(t *testing.T) {
	dir := mapFiles(t)
	config, nets := filepath.Join(dir, "edged.yaml"), filepath.Join(dir, "nets.csv")
	before, after := filepath.Join(dir, "before.edmap"), filepath.Join(dir, "after.edmap")
	for name, text := range map[string]string{
		"edged.yaml": strings.Replace(mustRead(t, config), "continent: NA}", "continent: NA, capacity: 30}", 1),
		"nets.csv":   "prefix,ranking\n203.0.113.64/26,nyc:12.5 fra:20\n",
		"demand.csv": "prefix,requests\n203.0.113.0/24,160\n2001:db8::/32,40\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustMapRun(t, "build", "--config", config, "-o", before)
	mustMapRun(t, "build", "--config", config, "--nets", nets, "-o", after)

	picture := filepath.Join(dir, "moved.svg")
	args := []string{"diff", "--config", config, "--demand", filepath.Join(dir, "demand.csv"), "--picture", picture, before, after}
	out := mustMapRun(t, args...)
	_, out, _ = strings.Cut(out, "\n")
	want := `20.00 % of 200.0 requests/s move; round trips of 100.00 % of them should change from 20.0 to 12.5 ms
0.00 % of 14412508 /24 blocks without any demand move

pop  before  after  limit     
fra  160.0   120.0  100000.0  
nyc  0.0     40.0   30.0      over by 10.0
sin  40.0    40.0   -         

from  to   requests/s  round trips      
fra   nyc  40.0        20.0 to 12.5 ms  

country  moved  of requests/s  round trips      
DE       40.0   160.0          20.0 to 12.5 ms  
`
	if !strings.HasPrefix(out, want) {
		t.Errorf("diff wrote\n%s\nwant first\n%s", out, want)
	}
	first := mustRead(t, picture)
	// Berlin's square has its middle at 52.75, 13.25.
	for _, mark := range []string{
		`<circle cx="773.0" cy="149.0" r="16.0" fill="#5fb97f" fill-opacity="0.7"><title>52.75, 13.25: 40.0 requests/s, 12.5 ms in place of 20.0</title></circle>`,
		`">fra</text>`, `: 20.00 % of 200 requests/s move</text>`,
	} {
		if !strings.Contains(first, mark) {
			t.Errorf("picture has no %q", mark)
		}
	}
	mustMapRun(t, args...)
	if mustRead(t, picture) != first {
		t.Error("the same maps gave another picture")
	}

	var d mapDifference
	decode(t, mustMapRun(t, "diff", "--json", "--picture", filepath.Join(dir, "moved.png"), before, after), &d)
	// The built-in place data do not have the override to Berlin.
	if d.Demand.Unit != "/24 blocks" || d.Demand.Moved != 0.25 || d.ECS.V4.Moved != 0.25 || d.Demand.Country[0].Name != "AU" {
		t.Errorf("without demand: %+v", d.Demand)
	}
	if png := []byte(mustRead(t, filepath.Join(dir, "moved.png"))); !bytes.HasPrefix(png, []byte("\x89PNG\r\n")) {
		t.Error("moved.png is no PNG")
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--picture", "moved.gif"}, `cannot draw "moved.gif": want a name that ends in .svg or .png`},
		{[]string{"--picture", filepath.Join(dir, "none", "x.svg")}, `cannot write "` + filepath.Join(dir, "none", "x.svg")},
		{[]string{"--demand", "a", "--against", "b"}, "if any flags in the group [demand against] are set none of the others can be"},
		{[]string{"--against", t.TempDir()}, "has no segments"},
	} {
		if _, err := mapRun(append([]string{"diff", before, after}, tt.args...)...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("diff %q: error %v, want %q in it", tt.args, err, tt.want)
		}
	}
}

// Without demand, clients count by their sessions.
func TestMapDiffBySessions(t *testing.T) {
	dir := mapFiles(t)
	config, segments := filepath.Join(dir, "edged.yaml"), filepath.Join(dir, "segments")
	writeSegments(t, segments)
	before, after := filepath.Join(dir, "before.edmap"), filepath.Join(dir, "after.edmap")
	mustMapRun(t, "build", "--config", config, "-o", before)
	mustMapRun(t, "build", "--config", config, "--nets", filepath.Join(dir, "nets.csv"), "-o", after)
	var d mapDifference
	decode(t, mustMapRun(t, "diff", "--json", "--against", segments, before, after), &d)
	if d.Demand.Unit != "sessions" || d.Demand.Total != 10 || d.Demand.Moved != 2.5 {
		t.Errorf("got %+v, want a quarter of 10 sessions moved", d.Demand)
	}
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
