package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edged/edge"
)

// writeData makes up a folder of measurements: cities around PoPs along a line, of
// which the nearest PoP is always slow to one, and probes in two networks.
func writeData(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var pops, rtt, dcs, probes, pings strings.Builder
	fmt.Fprintln(&pops, "pop,city,country,lat,lon")
	for p := range 14 {
		fmt.Fprintf(&pops, "P%d,x,y,50,%d\n", p, 5*p)
	}
	fmt.Fprintln(&rtt, "client,city,country,lat,lon,pop,min_ms,avg_ms,max_ms,mdev_ms")
	for c := range 13 {
		for p := range 14 {
			ms := 2 + 8*math.Abs(float64(c)+0.2-float64(p))
			if p == 3 {
				ms += 60
			}
			fmt.Fprintf(&rtt, "%d,c%d,Land %d,49.5,%f,P%d,%f,%f,%f,0\n", c, c, c/4, 5*(float64(c)+0.2), p, ms, ms+0.2, ms+2)
		}
	}
	fmt.Fprintln(&dcs, "dc_ip,name,lat,lon")
	for i, name := range []string{"FRA-aws", "FRA-gcp", "FRA-az", "FAR-x"} {
		fmt.Fprintf(&dcs, "192.0.2.%d,%s,%d,8.68\n", i, name, 50-10*(i/3))
	}
	fmt.Fprintln(&probes, "probe,prefix,cc,city,lat,lon,asn,dc_ip,min_ms")
	fmt.Fprintln(&pings, "ts,prefix,cc,asn,lat,lon,probe,dc_ip,min_ms,avg_ms,max_ms")
	for p := range 12 {
		for dc := range 4 {
			ms := 10 + 5*((dc+p%3)%3) + 40*(dc/3)
			fmt.Fprintf(&probes, "%d,20.1.%d.0/24,DE,x,51,%d,%d,192.0.2.%d,%d\n", p, p, 7+p%3, 64500+p%3, dc, ms)
			for k := range 20 {
				fmt.Fprintf(&pings, "%d,20.1.%d.0/24,DE,%d,51,7,%d,192.0.2.%d,%d,%d,%d\n", 1676174660+600*k, p, 64500+p%3, p, dc, ms, ms+k%2, ms+9)
			}
		}
	}
	for name, b := range map[string]*strings.Builder{
		"city_pops.csv": &pops, "city_rtt.csv": &rtt, "probe_dcs.csv": &dcs, "probe_rtt.csv": &probes, "probe_pings.csv": &pings,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWholeRun(t *testing.T) {
	dir := writeData(t)
	var out strings.Builder
	if err := run([]string{"--data", dir, "--json", "--only", "E1,E2,E3,E4,E5"}, &out); err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatal(err)
	}
	if r.E1.N != 13 || math.Abs(r.E1.Geo.Exact-12.0/13) > 1e-9 || r.E1.Within5 != 1 || r.E1.Oracle.Exact != 1 {
		t.Errorf("E1 %+v", r.E1)
	}
	if r.E2.N != 13 || r.E2.Mean > r.E2.Geo.Mean {
		t.Errorf("E2 %+v", r.E2)
	}
	if r.E3.N != 12 || math.Abs(r.E3.Geo.Exact-1.0/3) > 1e-9 || r.E3.Exact != 1 {
		t.Errorf("E3 %+v, want all exact where geo picks one of three", r.E3)
	}
	if r.E4.N != 12 || r.E4.Exact != 1 || r.E4.Geo.Mean != 5 {
		t.Errorf("E4 %+v", r.E4)
	}
	if r.E5.N != 48 || r.E5.P95 > 1 {
		t.Errorf("E5 %+v", r.E5)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal([]byte(out.String()), &keys); err != nil || len(keys) != 6 {
		t.Errorf("%d keys, error %v, want E1 to E5 and E7", len(keys), err)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "no data: give the folder of the measurements with --data"},
		{[]string{"--data", "x", "--half", "third"}, `bad half "third": want all, even or odd`},
		{[]string{"--data", "/nonexistent"}, "give the folder of the measurements with --data"},
	} {
		if err := run(tt.args, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: error %v, want %q", tt.args, err, tt.want)
		}
	}
}

func TestSummarize(t *testing.T) {
	s := summarize([]choice{{0, 1}, {6, 0}, {12, 0}, {30, 0}})
	s.MeanCI = [2]float64{}
	want := score{N: 4, Exact: 0.25, Within5: 0.25, Within10: 0.5, Within25: 0.75, Mean: 12, P95: 27.3, P99: 29.46}
	if math.Abs(s.P95-want.P95) > 1e-9 || math.Abs(s.P99-want.P99) > 1e-9 {
		t.Errorf("quantiles %v and %v, want %v and %v", s.P95, s.P99, want.P95, want.P99)
	}
	if s.P95, s.P99 = want.P95, want.P99; s != want {
		t.Errorf("score %+v, want %+v", s, want)
	}
	if got := summarize(nil); got != (score{}) {
		t.Errorf("score of nothing %+v", got)
	}
}

// The choices that cost nothing to make are shared out where they tie.
func TestSubjectChoices(t *testing.T) {
	s := subject{country: "A", rtt: map[uint16]float64{0: 10, 1: 30}}
	if got := s.spread([]uint16{0, 1}); got != (choice{10, 0.5}) {
		t.Errorf("both: %+v", got)
	}
	others := []subject{s, {country: "A", rtt: map[uint16]float64{0: 50, 1: 20}}, {country: "B", rtt: map[uint16]float64{0: 1}}}
	fleet := []edge.PoP{{Name: "p"}, {Name: "q", Lat: 9}}
	for i, want := range []uint16{1, 0, 0} {
		if got := byCountry(others, i, fleet); !slices.Equal(got, []uint16{want}) {
			t.Errorf("country's choice for %d: %v, want %d", i, got, want)
		}
	}
}

// Lies are a fifth of a city's samples, from two clients, in sessions of their own.
func TestLies(t *testing.T) {
	for _, flood := range []bool{false, true} {
		rows := lies(85, 3, 5, 0, []uint16{0, 1, 2, 3, 4, 5}, 12, flood)
		clients, sessions, onTarget := map[string]int{}, map[uint64]int{}, 0
		for _, r := range rows {
			clients[r.Client.String()]++
			sessions[r.Session]++
			if r.PoP == 5 {
				onTarget++
				if r.RTT != 120 {
					t.Errorf("target has %d tenths, want 120", r.RTT)
				}
			}
			if r.Session <= 85*sessionsPerCity {
				t.Errorf("session %d is one of the honest ones", r.Session)
			}
		}
		if len(rows) != 10 || len(clients) != 2 {
			t.Errorf("%d rows of %d clients, want 10 of 2", len(rows), len(clients))
		}
		if want := map[bool]int{false: 3, true: 10}[flood]; onTarget != want {
			t.Errorf("%d rows on the target, want %d", onTarget, want)
		}
	}
}

// TestElimination: all candidates have two turns, and then the three that were
// least above the nearest in any session are measured; a spike does not matter.
func TestElimination(t *testing.T) {
	var pops []edge.PoP
	c := city{pings: map[uint16]ping{}}
	for p := range uint16(14) {
		pops = append(pops, edge.PoP{Name: fmt.Sprint(p), Lon: float64(p)})
		ms := 100 - float64(p) // the farther the faster
		c.pings[p] = ping{ms, ms, ms}
	}
	rows := drawSessions(rand.New(rand.NewPCG(1, 1)), pops, 0, c)
	if len(rows) != sessionsPerCity*popsPerSession {
		t.Fatalf("%d rows", len(rows))
	}
	count := map[uint16]int{}
	for i, r := range rows {
		if i%popsPerSession == 0 && r.PoP != 0 {
			t.Errorf("session %d begins with pop %d, want the nearest", i/popsPerSession, r.PoP)
		}
		count[r.PoP]++
	}
	for p := range uint16(14) {
		want := map[bool]int{true: 2}[p > 0 && p < candidates]
		switch {
		case p == 0:
			want = sessionsPerCity
		case p == 7 || p == 8 || p == 9:
			want += sessionsPerCity - inTurns
		}
		if count[p] != want {
			t.Errorf("pop %d measured %d times, want %d", p, count[p], want)
		}
	}
}
