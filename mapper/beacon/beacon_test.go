package beacon

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var (
	noon  = time.Date(2026, 6, 17, 12, 0, 0, 0, time.UTC)
	fleet = []string{"ams", "fra", "nyc", "sin"}
)

// random draws the rows of n sessions within some hours from noon.
func random(rng *rand.Rand, n, hours int) []Row {
	var rows []Row
	for range n {
		id := rng.Uint64() >> rng.IntN(62)
		at := noon.Unix() + rng.Int64N(int64(hours)*hourLength)
		client, resolver := randomAddr(rng), netip.Addr{}
		if rng.IntN(3) > 0 {
			resolver = randomAddr(rng)
		}
		for range 1 + rng.IntN(5) {
			rows = append(rows, Row{
				Session: id, Time: at + rng.Int64N(20), Client: client, Resolver: resolver,
				PoP: uint16(rng.IntN(len(fleet))), RTT: uint16(rng.IntN(3000)), Method: Method(rng.IntN(int(methods))),
			})
		}
		if rng.IntN(10) == 0 { // a session that changes its address
			r := rows[len(rows)-1]
			r.Client = randomAddr(rng)
			rows = append(rows, r)
		}
	}
	return rows
}

// randomAddr draws from few units and few addresses in each.
func randomAddr(rng *rand.Rand) netip.Addr {
	if rng.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{byte(1 + rng.IntN(3)*90), byte(rng.IntN(2)), byte(rng.IntN(4)), byte(rng.IntN(5))})
	}
	return netip.AddrFrom16([16]byte{0x20, byte(rng.IntN(2)), 0, 0, 0, byte(rng.IntN(8)), 15: byte(rng.IntN(5))})
}

func writer(t *testing.T, dir string) *Writer {
	t.Helper()
	w, err := NewWriter(dir)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func appendRows(t *testing.T, w *Writer, id string, pops []string, rows []Row) {
	t.Helper()
	if added, err := w.Append(Batch{ID: id, PoPs: pops, Rows: slices.Clone(rows)}); err != nil || !added {
		t.Fatalf("append %s: added %v, %v", id, added, err)
	}
}

// text writes sessions with the names of their PoPs.
func text(t *testing.T, dir string, from, to time.Time) []string {
	t.Helper()
	var list []string
	for s, err := range Sessions(dir, from, to) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Rows {
			list = append(list, line(r, s.PoPs))
		}
	}
	return list
}

func line(r Row, pops []string) string {
	return fmt.Sprint(r.Session, " ", r.Time, " ", r.Client, " ", r.Resolver, " ", pops[r.PoP], " ", r.RTT, " ", r.Method)
}

// all is a span that has every hour.
func all() (from, to time.Time) { return time.Time{}, noon.AddDate(100, 0, 0) }

func TestRowsComeBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	w := writer(t, dir)
	var want []string
	for i := range 7 {
		rows := random(rng, 300, 3)
		// Each batch has a table of its own.
		pops := slices.Clone(fleet)
		rng.Shuffle(len(pops), func(a, b int) { pops[a], pops[b] = pops[b], pops[a] })
		for _, r := range rows {
			want = append(want, line(r, pops))
		}
		appendRows(t, w, fmt.Sprintf("b%d", i), pops, rows)
	}
	got := text(t, dir, time.Time{}, noon.AddDate(1, 0, 0))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d rows came back of %d, or others", len(got), len(want))
	}
}

func TestSessionsAreWholeAndInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	rows := random(rng, 500, 2)
	whole, parts := t.TempDir(), t.TempDir()
	appendRows(t, writer(t, whole), "a", fleet, rows)
	w := writer(t, parts)
	// Rows of one session come in two batches.
	var odd, even []Row
	for i, r := range rows {
		if i%2 == 0 {
			even = append(even, r)
		} else {
			odd = append(odd, r)
		}
	}
	appendRows(t, w, "odd", fleet, odd)
	appendRows(t, w, "even", fleet, even)
	from, to := all()
	want, got := text(t, whole, from, to), text(t, parts, from, to)
	slices.Sort(want) // a session that passes the hour begins in either
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Error("in two batches the rows are others than in one")
	}
	type key struct {
		hour int64
		id   uint64
	}
	last, seen := key{}, map[key]bool{}
	for s, err := range Sessions(whole, from, to) {
		if err != nil {
			t.Fatal(err)
		}
		k := key{s.Time() / hourLength, s.ID}
		if seen[k] || k.hour < last.hour || k.hour == last.hour && k.id < last.id {
			t.Fatalf("session %v comes after %v, or twice", k, last)
		}
		seen[k], last = true, k
		if !slices.IsSortedFunc(s.Rows, compareRows) {
			t.Fatalf("rows of session %d are not in order", s.ID)
		}
	}
}

func TestUnits(t *testing.T) {
	for _, tt := range []struct{ addr, want string }{
		{"192.0.2.77", "192.0.2.0/24"},
		{"255.255.255.255", "255.255.255.0/24"},
		{"0.0.0.0", "0.0.0.0/24"},
		{"2001:db8:1:2::3", "2001:db8:1::/48"},
		{"ffff:ffff:ffff:ffff::", "ffff:ffff:ffff::/48"},
	} {
		u := UnitOf(netip.MustParseAddr(tt.addr))
		if u.String() != tt.want || u.Is4() != netip.MustParseAddr(tt.addr).Is4() || UnitOf(u.Prefix().Addr()) != u {
			t.Errorf("unit of %s is %s, want %s", tt.addr, u, tt.want)
		}
	}
	if UnitOf(netip.MustParseAddr("255.255.255.255")) >= UnitOf(netip.MustParseAddr("::")) {
		t.Error("units of IPv4 do not come before those of IPv6")
	}
}
