package beacon

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	ours   = netip.MustParseAddr("192.0.2.53")
	theirs = netip.MustParseAddr("2001:db8::53")
)

func see(t *testing.T, w *Writer, id string, list ...Sighting) {
	t.Helper()
	if err := w.AppendSightings(id, list); err != nil {
		t.Fatal(err)
	}
}

// TestJoin holds which resolver a session gets: the first that any node saw
// within two minutes, over the hour's end too, and never in place of a known one.
func TestJoin(t *testing.T) {
	dir := t.TempDir()
	w := writer(t, dir)
	client := netip.MustParseAddr("198.51.100.7")
	at := func(seconds int64) int64 { return noon.Unix() + seconds }
	row := func(session uint64, seconds int64, resolver netip.Addr) Row {
		return Row{Session: session, Time: at(seconds), Client: client, Resolver: resolver, RTT: 100}
	}
	appendRows(t, w, "rows", fleet, []Row{
		row(1, 100, netip.Addr{}), row(1, 101, netip.Addr{}),
		row(2, 100, netip.Addr{}),
		row(3, 500, netip.Addr{}),
		row(4, 1, netip.Addr{}),       // asked before the hour
		row(5, 3599, netip.Addr{}),    // and after it, by a clock that is ahead
		row(6, 3600+10, netip.Addr{}), // in the next hour
		row(7, 100, theirs),
		row(8, 100, netip.Addr{}), row(8, 101, theirs),
		row(9, 200, netip.Addr{}), row(9, 201, netip.Addr{}),
	})
	see(t, w, "fra1",
		Sighting{1, at(99), theirs}, Sighting{1, at(98), ours}, Sighting{1, at(98), ours},
		Sighting{3, at(500 - JoinWindow - 1), ours}, Sighting{3, at(500 + JoinWindow + 1), ours},
		Sighting{4, at(1 - JoinWindow), ours}, Sighting{5, at(3599 + JoinWindow), ours},
		Sighting{6, at(3600 - JoinWindow), ours}, // too early: 130 s
		Sighting{7, at(100), ours}, Sighting{8, at(100), ours})
	see(t, w, "iad1", Sighting{6, at(3600 + 9), theirs}, Sighting{9, at(200 + JoinWindow), theirs})
	want := "1:ours,ours 2:none 3:none 4:ours 5:ours 7:theirs 8:ours,theirs 9:theirs,theirs 6:theirs"
	check := func(when string) {
		t.Helper()
		var got []string
		set, err := OpenAll(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer set.Close()
		for s, err := range set.Sessions() {
			if err != nil {
				t.Fatal(err)
			}
			var who []string
			for _, r := range s.Rows {
				who = append(who, map[netip.Addr]string{{}: "none", ours: "ours", theirs: "theirs"}[r.Resolver])
			}
			got = append(got, fmt.Sprintf("%d:%s", s.ID, strings.Join(who, ",")))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: %s\nwant %s", when, text, want)
		}
	}
	check("as written")
	appendRows(t, w, "more", fleet, []Row{row(2, 100, netip.Addr{})}) // so that there is something to merge
	want = strings.Replace(want, "2:none", "2:none,none", 1)
	if _, err := w.Merge(noon.Add(24 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	check("merged")
	if n := len(names(t, dir)); n != 2+3 { // both hours' rows, and three hours' sightings
		t.Errorf("%d files after the merge: %v", n, names(t, dir))
	}
	// Rows were merged as they are: what is seen later, or elsewhere, still counts.
	see(t, w, "sin1", Sighting{2, at(100), ours})
	want = strings.Replace(want, "2:none,none", "2:ours,ours", 1)
	check("seen later")
}

// TestJoinAgainstPlain holds the join to a plain one over random rows.
func TestJoinAgainstPlain(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	dir := t.TempDir()
	w := writer(t, dir)
	rows := random(rng, 400, 3)
	var seen []Sighting
	for _, r := range rows {
		if rng.IntN(2) == 0 {
			seen = append(seen, Sighting{r.Session, r.Time + rng.Int64N(400) - 200, randomAddr(rng)})
		}
	}
	for i := 0; i < len(seen); i += 50 {
		see(t, w, fmt.Sprint("n", i), slices.Clone(seen[i:min(len(seen), i+50)])...)
	}
	appendRows(t, w, "rows", fleet, rows)
	set, err := OpenAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	joined := 0
	for s, err := range set.Sessions() {
		if err != nil {
			t.Fatal(err)
		}
		began := s.Time()
		best := Sighting{}
		for _, x := range seen {
			inside := x.Session == s.ID && x.Time >= began-JoinWindow && x.Time <= began+JoinWindow
			if inside && (!best.Resolver.IsValid() || compareSightings(x, best) < 0) {
				best = x
			}
		}
		for _, r := range s.Rows {
			known := slices.ContainsFunc(rows, func(x Row) bool {
				return x.Session == r.Session && x.Client == r.Client && x.Time == r.Time && x.RTT == r.RTT && x.Resolver == r.Resolver
			})
			if !known && r.Resolver != best.Resolver {
				t.Errorf("session %d: resolver %s, want %s", s.ID, r.Resolver, best.Resolver)
			}
			if !known {
				joined++
			}
		}
	}
	if joined < 100 {
		t.Errorf("only %d rows were joined", joined)
	}
}

func TestDamagedSightings(t *testing.T) {
	dir := t.TempDir()
	w := writer(t, dir)
	appendRows(t, w, "rows", fleet, []Row{{Session: 1, Time: noon.Unix(), Client: ours, RTT: 9}})
	see(t, w, "fra1", Sighting{1, noon.Unix(), ours})
	path := filepath.Join(dir, "2026061712-fra1.resolvers")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{
		"ends too early":    good[:10],
		"its checksum is":   append(append([]byte{}, good[:len(good)-1]...), good[len(good)-1]^1),
		"is not a file":     append([]byte("edbeacon"), good[8:]...),
		"it has version 2,": append(append(append([]byte{}, good[:8]...), 2), good[9:]...),
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenAll(dir); err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want it to say %q and %q", err, what, path)
		}
	}
	if err := os.Rename(path, filepath.Join(dir, "2026061713-fra1.resolvers")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "2026061713-fra1.resolvers"), good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAll(dir); err == nil || !strings.Contains(err.Error(), "it holds the hour 2026061712") {
		t.Errorf("another hour's: %v", err)
	}
}

func TestSightingsAreKeptAsRowsAre(t *testing.T) {
	dir := t.TempDir()
	w := writer(t, dir)
	for i := range int64(3) {
		see(t, w, "fra1", Sighting{1, noon.Unix() + i*hourLength, ours})
	}
	if _, err := Retain(dir, Keep{Age: time.Hour}, noon.Add(3*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(names(t, dir), " "), "2026061713-fra1.resolvers 2026061714-fra1.resolvers"; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
	if err := w.AppendSightings("../x", []Sighting{{1, 1, ours}}); err == nil {
		t.Error("an id that is a path was taken")
	}
	if err := w.AppendSightings("x", []Sighting{{1, 1, netip.MustParseAddr("::ffff:1.2.3.4")}}); err == nil {
		t.Error("a mapped address was taken")
	}
}

// FuzzSightings: whatever a file holds, reading it ends; and what it gives is
// written as the same octets.
func FuzzSightings(f *testing.F) {
	hour := uint32(noon.Unix() / hourLength)
	seed := encodeSightings(hour, []Sighting{{1, noon.Unix(), ours}, {2, noon.Unix() + 5, theirs}})
	f.Add(seed[:len(seed)-trailerSize], false)
	f.Add(seed, true)
	f.Fuzz(func(t *testing.T, b []byte, damaged bool) {
		if !damaged { // else the checksum ends it early
			b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
		}
		hour, list, err := parseSightings(b)
		if err != nil {
			return
		}
		again := encodeSightings(hour, list)
		for i := range list { // what stands behind an IPv4 address does not count
			if at := resolverHeader + i*sightingSize; list[i].Resolver.Is4() {
				copy(b[at+16:at+28], again[at+16:at+28])
			}
		}
		if !bytes.Equal(again[:len(again)-trailerSize], b[:len(b)-trailerSize]) {
			t.Errorf("reads as %v", list)
		}
	})
}
