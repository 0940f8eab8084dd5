package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edged/mapper"
	"edged/mapper/beacon"
	"edged/mapper/gate"
	"edged/maps"
)

func TestMapBuildIsGated(t *testing.T) {
	dir := mapFiles(t)
	config := filepath.Join(dir, "edged.yaml")
	before, after := filepath.Join(dir, "before.edmap"), filepath.Join(dir, "after.edmap")
	demand := filepath.Join(dir, "demand.csv")
	if err := os.WriteFile(demand, []byte("203.0.113.64/26,30\n203.0.113.0/26,70\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := mustMapRun(t, "build", "--config", config, "--demand", demand, "-o", before)
	for _, line := range []string{"gate, against no map in force", "not applicable", "no map is in force", "of demand has no first choice"} {
		if !strings.Contains(out, line) {
			t.Errorf("the first build says\n%s\nwant %q in it", out, line)
		}
	}

	args := []string{"build", "--config", config, "--demand", demand, "--nets", filepath.Join(dir, "nets.csv"), "--in-force", before, "-o", after}
	out, err := mapRun(args...)
	if want := "gate refuses the map (moved): nothing was written; sign it off with --accept REASON if it is right"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if !strings.Contains(out, "30.00 %") || !strings.Contains(out, "of requests/s, most (30.00 %) from fra to nyc") {
		t.Errorf("a build that is refused says\n%s", out)
	}
	if _, err := os.Stat(after); err == nil {
		t.Fatal("a build that was refused left a map")
	}

	mustMapRun(t, append(args, "--accept", "nyc has a new cable", "--by", "ann")...)
	var s mapSummary
	decode(t, mustMapRun(t, "show", "--json", after), &s)
	g := s.Gate
	if g == nil || g.Accepted == nil || *g.Accepted != (maps.Acceptance{By: "ann", Reason: "nyc has a new cable"}) || len(g.Rules) != 6 ||
		g.Rules[3].Name != "moved" || g.Rules[3].Outcome != maps.Refused || g.Rules[3].Figure != 30 {
		t.Errorf("the map has gate %+v", g)
	}
	if out := mustMapRun(t, "show", after); !strings.Contains(out, "accepted by ann: nyc has a new cable\n") {
		t.Errorf("show says\n%s", out)
	}
	// Where nothing refuses, there is nothing to sign.
	again := []string{"build", "--config", config, "--demand", demand, "--in-force", before, "--accept", "why not", "-o", filepath.Join(dir, "again.edmap")}
	if out := mustMapRun(t, again...); !strings.Contains(out, "not signed: no rule refuses the map, so --accept is not in it\n") || strings.Contains(out, "why not") {
		t.Errorf("a build that needs no signature says\n%s", out)
	}
	// The signature counts for that map in force alone.
	mustMapRun(t, "gate", "--demand", demand, "--config", config, before, after)
	other := filepath.Join(dir, "other.edmap")
	mustMapRun(t, "build", "--config", config, "-o", other)
	_, err = mapRun("gate", "--demand", demand, other, after)
	if want := "gate refuses the map (moved): nobody signed it off when it was built"; err == nil || err.Error() != want {
		t.Errorf("against another map: error %v, want %s", err, want)
	}
}

// The sessions that no map is built from tell that a map became worse.
func TestMapGateByHeldSessions(t *testing.T) {
	dir := mapFiles(t)
	config, segments := filepath.Join(dir, "edged.yaml"), filepath.Join(dir, "segments")
	before, after, nets := filepath.Join(dir, "before.edmap"), filepath.Join(dir, "after.edmap"), filepath.Join(dir, "worse.csv")
	if err := os.WriteFile(nets, []byte("203.0.113.0/24,nyc fra\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := beacon.NewWriter(segments)
	if err != nil {
		t.Fatal(err)
	}
	var rows []beacon.Row
	held := 0
	for i := range 600 {
		if mapper.HeldBack(uint64(i + 1)) {
			held++
		}
		for pop, rtt := range []uint16{200, 900, 2500} {
			rows = append(rows, beacon.Row{
				Session: uint64(i + 1), Time: 1_700_000_000, PoP: uint16(pop), RTT: rtt + uint16(i%7),
				Client: netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), Resolver: netip.MustParseAddr("192.0.2.53"),
			})
		}
	}
	if _, err := w.Append(beacon.Batch{ID: "b", PoPs: []string{"fra", "nyc", "sin"}, Rows: rows}); err != nil {
		t.Fatal(err)
	}
	out := mustMapRun(t, "build", "--config", config, "--segments", segments, "-o", before)
	if want := fmt.Sprintf("held back: %d more sessions", held); !strings.Contains(out, want) || held < gate.LeastHeld {
		t.Errorf("build says\n%s\nwant %q", out, want)
	}
	out, err = mapRun("build", "--config", config, "--segments", segments, "--nets", nets, "--in-force", before, "-o", after)
	if want := "gate refuses the map (moved, regret): "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	if want := fmt.Sprintf("70.00 ms in place of 0.00 above the best, by %d sessions held back", held); !strings.Contains(out, want) {
		t.Errorf("build says\n%s\nwant %q", out, want)
	}

	// The resolver's clients are all in one block, so it has their ranking.
	var answers []mapAnswer
	decode(t, mustMapRun(t, "lookup", "--resolver", "--json", before, "192.0.2.53", "192.0.2.200", "192.0.3.1"), &answers)
	if answers[0].Source != "measured" || answers[0].Ranking[0].PoP != "fra" || answers[1].Source != "measured" || answers[2].Source == "measured" {
		t.Errorf("resolver table: %+v", answers)
	}
	if out := mustMapRun(t, "resolvers", "--config", config, "--segments", segments); out != "no client loses anything by the one answer of its resolver (1 resolvers)\n" {
		t.Errorf("resolvers says\n%s", out)
	}
}
