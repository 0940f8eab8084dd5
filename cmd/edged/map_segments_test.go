package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edged/mapper"
	"edged/mapper/beacon"
)

// writeSegments has ten clients of 203.0.113.0/24, which is in Berlin, measure
// fra as slow, nyc as fast and sin as far; so many of them do not reach nyc.
func writeSegments(t *testing.T, dir string, failing ...int) {
	t.Helper()
	w, err := beacon.NewWriter(dir)
	if err != nil {
		t.Fatal(err)
	}
	var rows []beacon.Row
	for i := range 10 {
		for pop, rtt := range []uint16{900, 700, 2500} {
			rtt += uint16(10 * i)
			if len(failing) > 0 && pop == 1 && i < failing[0] {
				rtt = 0
			}
			rows = append(rows, beacon.Row{
				Session: uint64(i + 1), Time: 1_700_000_000 + int64(i), PoP: uint16(pop), RTT: rtt,
				Client: netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}),
			})
		}
	}
	if _, err := w.Append(beacon.Batch{ID: "b", PoPs: []string{"fra", "nyc", "sin"}, Rows: rows}); err != nil {
		t.Fatal(err)
	}
}

func TestMapFromSegments(t *testing.T) {
	dir := mapFiles(t)
	config, segments := filepath.Join(dir, "edged.yaml"), filepath.Join(dir, "segments")
	writeSegments(t, segments)
	before, after := filepath.Join(dir, "before.edmap"), filepath.Join(dir, "after.edmap")
	mustMapRun(t, "build", "--config", config, "-o", before)
	mustMapRun(t, "build", "--config", config, "--segments", segments, "--in-force", before, "--accept", "it is all there is", "-o", after)

	var answers []mapAnswer
	if err := json.Unmarshal([]byte(mustMapRun(t, "lookup", "--json", after, "203.0.113.9")), &answers); err != nil {
		t.Fatal(err)
	}
	// The medians are 74.5, 94.5 and 254.5 ms; nyc is held back a little by what
	// distance says.
	got := fmt.Sprint(answers[0].Source, answers[0].Ranking)
	if want := "measured[{nyc 77.5} {fra 94.5} {sin 254.5}]"; got != want {
		t.Errorf("ranking %s, want %s", got, want)
	}

	for _, tt := range []struct {
		file  string
		exact float64
		mean  float64
	}{{before, 0, 20}, {after, 1, 0}} {
		var e mapper.Evaluation
		if err := json.Unmarshal([]byte(mustMapRun(t, "evaluate", "--json", "--against", segments, tt.file)), &e); err != nil {
			t.Fatal(err)
		}
		if e.Units != 1 || e.Sessions != 10 || e.ByDemand.Map.Exact != tt.exact || e.ByDemand.Map.Mean != tt.mean || e.ByDemand.Map.P95 != tt.mean {
			t.Errorf("evaluation of %s: %+v, want 10 sessions with %v exact and %v ms", filepath.Base(tt.file), e, tt.exact, tt.mean)
		}
	}
	if out := mustMapRun(t, "evaluate", "--against", segments, before); !strings.Contains(out, "20.00 ms (20.00 to 20.00)") {
		t.Errorf("evaluation says\n%s", out)
	}

	again := filepath.Join(dir, "again.edmap")
	mustMapRun(t, "build", "--config", config, "--segments", segments, "--in-force", before, "--accept", "it is all there is", "-o", again)
	a, _ := os.ReadFile(after)
	b, _ := os.ReadFile(again)
	// The header has the creation time and a hash over that.
	if len(a) == 0 || string(a[96:]) != string(b[96:]) {
		t.Error("the same segments gave another map")
	}
}

// TestMapSaysWhatItDoesNotBelieve: one address sends a hundred rows, one is faster
// than light, three agree that their block is near New York.
func TestMapSaysWhatItDoesNotBelieve(t *testing.T) {
	dir := mapFiles(t)
	config, segments := filepath.Join(dir, "edged.yaml"), filepath.Join(dir, "segments")
	w, err := beacon.NewWriter(segments)
	if err != nil {
		t.Fatal(err)
	}
	var rows []beacon.Row
	add := func(client string, pop, rtt uint16) {
		rows = append(rows, beacon.Row{
			Session: uint64(len(rows) + 1), Time: 1_700_000_000 + int64(len(rows)), PoP: pop, RTT: rtt, Client: netip.MustParseAddr(client),
		})
	}
	for range 100 {
		add("2001:db8:1::1", 2, 90)
	}
	add("2001:db8:2::1", 0, 3) // Singapore is 100 ms away from Frankfurt
	for host := range 3 {
		add(fmt.Sprintf("203.0.113.%d", host), 1, 50)
	}
	if _, err := w.Append(beacon.Batch{ID: "b", PoPs: []string{"fra", "nyc", "sin"}, Rows: rows}); err != nil {
		t.Fatal(err)
	}
	// The last one's report came to another node, too.
	elsewhere, err := beacon.NewWriter(filepath.Join(segments, "iad_443"))
	if err != nil {
		t.Fatal(err)
	}
	last := rows[len(rows)-1]
	last.Time += 3
	if _, err := elsewhere.Append(beacon.Batch{ID: "b", PoPs: []string{"fra", "nyc", "sin"}, Rows: []beacon.Row{last}}); err != nil {
		t.Fatal(err)
	}
	hosting := filepath.Join(dir, "hosting")
	if err := os.WriteFile(hosting, []byte("AS64500\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := mustMapRun(t, "build", "--config", config, "--segments", segments, "--hosting", hosting, "-o", filepath.Join(dir, "m"))
	_, got, _ := strings.Cut(out, "\nmeasured: ")
	got, _, _ = strings.Cut(got, "\ngate, ")
	want := `98 sessions, 98 rows of 2 blocks
  held back: 5 more sessions, to judge maps by
  counted once: 1 sessions that were reported to several nodes; 1 rows of later reports do not count
  limited to their share: sources that bring more than 3 samples in an hour and 5 % of a block's: 1 (2001:db8:1::/64); 100 rows count less
  not believed: sources that alone in their block are faster than light from there: 1 (2001:db8:2::/64); 1 rows do not count
  misplaced: blocks of which several sources show that they are elsewhere than the place data say: 1 (203.0.113.0/24)
`
	if got != want {
		t.Errorf("build says\n%s\nwant\n%s", got, want)
	}
	if err := os.WriteFile(hosting, []byte("cloud\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = mapRun("build", "--config", config, "--segments", segments, "--hosting", hosting, "-o", filepath.Join(dir, "m"))
	if want := hosting + `:1: bad number of an autonomous system "cloud": want one like AS64500`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestMapFromNoSegments(t *testing.T) {
	dir := mapFiles(t)
	_, err := mapRun("build", "--config", filepath.Join(dir, "edged.yaml"), "--segments", t.TempDir(), "-o", filepath.Join(dir, "x"))
	if err == nil || !strings.Contains(err.Error(), "has no segments: bring measurements in with edged beacon import") {
		t.Errorf("error %v", err)
	}
}
