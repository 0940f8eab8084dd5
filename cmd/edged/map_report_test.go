package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"edged/geo/place"
	"edged/mapper/beacon"
	"edged/maps"
)

// capacityFiles are a fleet of two PoPs of which fra is small, and demand of a
// hundred blocks, of which the n-th loses n/10 ms by going to ams.
func capacityFiles(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	var nets, demand strings.Builder
	for i := range 100 {
		fmt.Fprintf(&nets, "10.0.%d.0/24,fra:20 ams:%.1f\n", i, 20+float64(i)/2)
		fmt.Fprintf(&demand, "10.0.%d.0/24,3\n", i)
	}
	for name, text := range map[string]string{
		"edged.yaml": `pops:
  - {name: fra, lat: 50.11, lon: 8.68, capacity: 300}
  - {name: ams, lat: 52.37, lon: 4.9, capacity: 1000}
`,
		"nets.csv":   nets.String(),
		"demand.csv": "prefix,requests\n" + demand.String(),
		"none.csv":   "prefix,requests\n",
		"bad.csv":    "10.0.0.0/24,many\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// buildIn runs map build on files of a folder.
func buildIn(dir string, args ...string) (string, error) {
	for i, arg := range args {
		if strings.Contains(arg, ".") && !strings.Contains(arg, "/") {
			args[i] = filepath.Join(dir, arg)
		}
	}
	return mapRun(append([]string{"build", "--config", filepath.Join(dir, "edged.yaml")}, args...)...)
}

func TestMapBuildKeepsCapacity(t *testing.T) {
	dir := capacityFiles(t)
	out, err := buildIn(dir, "--nets", "nets.csv", "--demand", "demand.csv", "--tolerance", "0", "-o", "m.edmap")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"demand: 300.0 requests/s, 100.00 % of it measured\n",
		"capacity: kept, at 0.00 % above the least possible cost\n", // what fits exactly does
		"pop  load   share    soft limit  hard limit  price\n",
		"fra  210.0  70.00 %  210.0       285.0       1", // and up to half a ms more
		"ams  90.0   30.00 %  700.0       950.0       0.0 ms\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("build says\n%s\nwant %q in it", out, want)
		}
	}
	var r buildReport
	text, err := buildIn(dir, "--json", "--nets", "nets.csv", "--demand", "demand.csv", "--in-force", "m.edmap", "-o", "again.edmap")
	if err != nil {
		t.Fatal(err)
	}
	decode(t, text, &r)
	if !r.Limited || r.InForce != 300 || r.Moved != 0 || len(r.PoPs) != 2 || r.PoPs[0].Load != 210 || r.Tables[0].Leaves == 0 || r.Tables[0].Bytes >= r.Bytes {
		t.Errorf("report %+v, want nothing moved", r)
	}
	m, err := maps.Open(filepath.Join(dir, "m.edmap"))
	if err != nil {
		t.Fatal(err)
	}
	if p := m.Prices(); len(p) != 2 || p[0].Price < 14_000 || p[0].Price > 15_000 || p[0].Soft != 210 || p[1].Demand != 90 {
		t.Errorf("prices in the map: %+v", p)
	}
}

func TestMapBuildSaysWhatItCannotKeep(t *testing.T) {
	dir := capacityFiles(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--nets", "nets.csv"}, "capacity: not kept, since nobody said how many requests/s clients make (--demand); loads are in /24 blocks\n"},
		{[]string{"--demand", "bad.csv"}, `bad.csv:1: "many" is not a number of requests per second`},
		{[]string{"--demand", "none.csv"}, "none.csv: no demand in it"},
		{[]string{"--tolerance", "-1"}, "bad tolerance -1: want 0 to 1000 ms"},
	} {
		out, err := buildIn(dir, append(tt.args, "-o", "m.edmap")...)
		if !strings.Contains(fmt.Sprint(out, err), tt.want) {
			t.Errorf("build %q says\n%s%v\nwant %q in it", tt.args, out, err, tt.want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "edged.yaml"), []byte("pops: [{name: fra, lat: 50, lon: 8, capacity: 100}, {name: ams, lat: 52, lon: 5, capacity: 50}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := buildIn(dir, "--nets", "nets.csv", "--demand", "demand.csv", "-o", "m.edmap")
	if want := "shortage: 300.0 requests/s have no other choice than fra, ams, which should have 105.0 at most and can have 142.5: 157.5 too many\n"; err != nil || !strings.Contains(out, want) || !strings.Contains(out, "above the hard limit\n") || !strings.Contains(out, "capacity: not kept: 2 of 2 pops are above their hard limit\n") {
		t.Errorf("build says\n%s%v\nwant %q in it", out, err, want)
	}
}

// Clients of one network are too many for fra, and most addresses have no demand. What
// is told apart is a network's part in one country: of three such only one has two PoPs.
func TestMapBuildSplitsOneNetwork(t *testing.T) {
	dir := capacityFiles(t)
	for name, text := range map[string]string{
		"large.csv": "203.0.112.0/20,fra:20 ams:30\n198.51.100.0/24,fra:20\n",
		"most.csv":  "203.0.112.0/20,320\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := buildIn(dir, "--nets", "large.csv", "--demand", "most.csv", "-o", "m.edmap")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"demand: 320.0 requests/s, 100.00 % of it measured\n",
		" /24 blocks) have no demand: the map answers them as well, and they are in no load\n",
		"split: 120.0 requests/s of networks that are too large for one pop\n  203.0.116.0 - 203.0.121.255, 120.0 requests/s: fra 66.67 %, ams 33.33 %\n",
		"fra  200.0  62.50 %",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("build says\n%s\nwant %q in it", out, want)
		}
	}
}

// The same files give the same bytes, on any number of processors, at any time.
func TestMapBuildIsReproducible(t *testing.T) {
	dir := capacityFiles(t)
	writeSegments(t, filepath.Join(dir, "segments"))
	rng := rand.New(rand.NewPCG(1, 1))
	var demand strings.Builder
	for range 20_000 {
		fmt.Fprintf(&demand, "%d.%d.%d.0/24,%.2f\n", 80+rng.IntN(12), rng.IntN(256), rng.IntN(256), rng.Float64()/10)
	}
	if err := os.WriteFile(filepath.Join(dir, "demand.csv"), []byte(demand.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var first []byte
	for _, processors := range []int{1, 5} {
		// A fresh copy of the inputs has times of its own.
		long := time.Now().Add(-time.Duration(processors) * 1000 * time.Hour)
		for _, name := range []string{"edged.yaml", "nets.csv", "demand.csv"} {
			if err := os.Chtimes(filepath.Join(dir, name), long, long); err != nil {
				t.Fatal(err)
			}
		}
		before := runtime.GOMAXPROCS(processors)
		_, err := buildIn(dir, "--nets", "nets.csv", "--segments", filepath.Join(dir, "segments"), "--demand", "demand.csv", "-o", "m.edmap")
		runtime.GOMAXPROCS(before)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "m.edmap"))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b
		}
		if string(b) != string(first) {
			t.Errorf("on %d processors the map is another", processors)
		}
	}
}

// A map is of the newest date that its inputs say, or of what somebody says.
func TestMapDate(t *testing.T) {
	dir := mapFiles(t)
	config, segments, file := filepath.Join(dir, "edged.yaml"), filepath.Join(dir, "segments"), filepath.Join(dir, "m.edmap")
	writeSegments(t, segments) // of 2023: the built-in place data are newer
	places, err := place.Open("", "")
	if err != nil {
		t.Fatal(err)
	}
	builtIn := places.Sources()[0].Built
	recent := filepath.Join(dir, "recent")
	w, err := beacon.NewWriter(recent)
	if err != nil {
		t.Fatal(err)
	}
	newest := time.Date(2038, 1, 2, 3, 4, 5, 0, time.UTC)
	row := beacon.Row{Session: 1, Time: newest.Unix(), RTT: 900, Client: netip.MustParseAddr("203.0.113.1")}
	if _, err := w.Append(beacon.Batch{ID: "b", PoPs: []string{"fra"}, Rows: []beacon.Row{row}}); err != nil {
		t.Fatal(err)
	}
	future := filepath.Join(dir, "future.edmap")
	mustMapRun(t, "build", "--config", config, "--date", "2040-05-06", "-o", future)
	day := func(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		epoch string
		args  []string
		want  time.Time
		err   string
	}{
		{want: builtIn},
		{args: []string{"--segments", segments}, want: builtIn},
		{args: []string{"--segments", recent}, want: newest},
		{args: []string{"--in-force", future}, want: day(2040, 5, 6)},
		{args: []string{"--in-force", future, "--date", "2030-01-02"}, want: day(2030, 1, 2)},
		{epoch: "86400", args: []string{"--segments", recent}, want: day(1970, 1, 2)},
		{epoch: "86400", args: []string{"--date", "2030-01-02T01:00:00+01:00"}, want: day(2030, 1, 2)},
		{epoch: "-1", err: `bad $SOURCE_DATE_EPOCH "-1": want seconds since 1970`},
		{args: []string{"--date", "tuesday"}, err: `bad date "tuesday": want one like 2026-06-17 or 2026-06-17T19:00:00Z`},
	} {
		t.Setenv("SOURCE_DATE_EPOCH", tt.epoch)
		_, err := mapRun(append([]string{"build", "--config", config, "-o", file}, tt.args...)...)
		if text := fmt.Sprint(err); tt.err != "" && text != tt.err || tt.err == "" && err != nil {
			t.Errorf("%s %q: error %v, want %q", tt.epoch, tt.args, err, tt.err)
		}
		if err != nil {
			continue
		}
		m, err := maps.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		if !m.Created().Equal(tt.want) {
			t.Errorf("%s %q: map is of %v, want %v", tt.epoch, tt.args, m.Created(), tt.want)
		}
	}
}
