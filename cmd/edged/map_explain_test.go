package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var aVersion = regexp.MustCompile(`map [0-9a-f]{12}`)

func TestMapExplain(t *testing.T) {
	dir := mapFiles(t)
	config, segments, file := filepath.Join(dir, "edged.yaml"), filepath.Join(dir, "segments"), filepath.Join(dir, "m.edmap")
	writeSegments(t, segments)
	mustMapRun(t, "build", "--config", config, "--segments", segments, "-o", file)

	got := aVersion.ReplaceAllString(mustMapRun(t, "explain", file, "203.0.113.9"), "map VERSION")
	want := `203.0.113.9  in the ecs table of map VERSION
range        203.0.113.0 - 203.0.113.255, answers for 203.0.113.0/24
source       measured
block        203.0.113.0/24: 10 sessions of 10 sources, 0 h before the newest on average; 87.4 ms of every round trip are its own access
newest       2023-11-14T22:13:29Z

pop  round trip  price  from                          why here
nyc  77.5 ms     -      8 or more samples of its own  least round trip
fra  94.5 ms     -      8 or more samples of its own  17.0 ms behind nyc
sin  254.5 ms    -      8 or more samples of its own  160.0 ms behind fra
`
	if got != want {
		t.Errorf("explain wrote\n%s\nwant\n%s", got, want)
	}
	got = mustMapRun(t, "explain", "--config", config, "--segments", segments, file, "203.0.113.9")
	_, got, _ = strings.Cut(got, "\nestimated again")
	want = `  ms     
nyc              77.4   
  distance       107.6  6386 km along the line
  access         +87.4  
  all levels     195.0  without its own samples
  own            74.5   median of 10 samples of 10 sources, p90 74.5, spread 0.0, believed 97.56 %
fra              94.5   
  distance       7.1    422 km along the line
  access         +87.4  
  all levels     94.5   without its own samples
  own            94.5   median of 10 samples of 10 sources, p90 94.5, spread 0.0, believed 97.56 %
sin              254.5  
  distance       167.1  9917 km along the line
  access         +87.4  
  all levels     254.5  without its own samples
  own            254.5  median of 10 samples of 10 sources, p90 254.5, spread 0.0, believed 97.56 %
`
	if got != want {
		t.Errorf("explain with segments wrote\n%s\nwant\n%s", got, want)
	}

	var list []mapExplanation
	decode(t, mustMapRun(t, "explain", "--json", "--config", config, "--segments", segments, file, "203.0.113.0/24"), &list)
	if len(list) != 1 || list[0].Source != "measured" || list[0].Unit == nil || list[0].Unit.Sessions != 10 || list[0].Hops[0].Level != "own" ||
		len(list[0].Traces) != 3 || list[0].Traces[0].Own.Samples != 10 {
		t.Errorf("explain gave %+v", list)
	}
	list = nil
	decode(t, mustMapRun(t, "explain", "--json", "--resolver", file, "203.0.112.0/23"), &list)
	if len(list) != 2 || list[0].Source != "unknown" || list[1].Source != "measured" || list[1].Hops[0].Level != "own" || list[1].Unit != nil {
		t.Errorf("explain of resolvers gave %+v", list)
	}
	for _, more := range [][]string{{"--hosting", "x"}, {"--pull"}, {"--config", config}} {
		_, err := mapRun(append([]string{"explain", file, "203.0.113.9"}, more...)...)
		if want := more[0] + " says nothing without --segments: give both or neither"; err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", more, err, want)
		}
	}
	if _, err := mapRun("explain", "--resolver", "--config", config, "--segments", segments, file, "203.0.113.9"); err == nil || !strings.Contains(err.Error(), "[resolver segments]") {
		t.Errorf("estimates of resolvers: error %v", err)
	}
	if _, err := mapRun("explain", "--segments", segments, file, "203.0.113.9"); err == nil || !strings.Contains(err.Error(), "name the configuration, too (--config)") {
		t.Errorf("without places: error %v", err)
	}
}

// TestMapLeavesOutWhatFails: nyc is the fastest for most, and four of ten do not
// reach it.
func TestMapLeavesOutWhatFails(t *testing.T) {
	dir := mapFiles(t)
	config, segments, file := filepath.Join(dir, "edged.yaml"), filepath.Join(dir, "segments"), filepath.Join(dir, "m.edmap")
	writeSegments(t, segments, 4)
	out := mustMapRun(t, "build", "--config", config, "--segments", segments, "-o", file)
	for _, want := range []string{
		"measured: 10 sessions, 26 rows of 1 blocks\n  failed: 4 attempts to reach a pop, of clients who reached another\n" +
			"  not among the choices: pops of which surely more than 5 % of a block's attempts fail: 1 (nyc at 203.0.113.0/24)\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("build says\n%s\nwant in it\n%s", out, want)
		}
	}
	out = mustMapRun(t, "explain", "--config", config, "--segments", segments, file, "203.0.113.9")
	if want := "not among the choices: 4 of 10 attempts of 10 sources fail, surely more than 16.82 % of them\n"; !strings.Contains(out, want) || strings.Count(out, "not among") != 1 {
		t.Errorf("explain says\n%s\nwant in it\n%s", out, want)
	}
	var answers []mapAnswer
	decode(t, mustMapRun(t, "lookup", "--json", file, "203.0.113.9"), &answers)
	if got := fmt.Sprint(answers[0].Ranking[0].PoP, len(answers[0].Ranking)); got != "fra2" {
		t.Errorf("ranking %v, want fra first, and not nyc", answers[0].Ranking)
	}
}
