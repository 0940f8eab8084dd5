package main

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"edged/mapper"
	"edged/mapper/beacon"
)

// writeTorn has clients in Berlin and in Singapore behind one resolver, and more of
// those in Berlin behind another.
func writeTorn(t *testing.T, dir string) {
	t.Helper()
	w, err := beacon.NewWriter(dir)
	if err != nil {
		t.Fatal(err)
	}
	var rows []beacon.Row
	session := uint64(0)
	add := func(n int, client, resolver string, rtts ...uint16) {
		at := netip.MustParseAddr(client)
		for range n {
			for session++; mapper.HeldBack(session); session++ {
			}
			at = at.Next()
			for pop, rtt := range rtts {
				rows = append(rows, beacon.Row{
					Session: session, Time: 1_700_000_000, PoP: uint16(pop), RTT: rtt, Client: at, Resolver: netip.MustParseAddr(resolver),
				})
			}
		}
	}
	add(30, "203.0.113.0", "198.51.100.53", 200, 1000, 2500)
	add(30, "203.0.113.100", "192.0.2.53", 200, 1000, 2500)
	for i := range 20 { // each in a network of its own: one source has little weight
		add(1, netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 1, 0, byte(i)}).String(), "192.0.2.53", 2000, 2600, 100)
	}
	if _, err := w.Append(beacon.Batch{ID: "b", PoPs: []string{"fra", "nyc", "sin"}, Rows: rows}); err != nil {
		t.Fatal(err)
	}
}

func TestMapResolvers(t *testing.T) {
	dir := mapFiles(t)
	config, segments, file := filepath.Join(dir, "edged.yaml"), filepath.Join(dir, "segments"), filepath.Join(dir, "m.edmap")
	writeTorn(t, segments)
	want := `2 resolvers; those whose clients lose most by one answer:
resolver    pop  blocks  sessions  round trip  lost     lose 20 ms  
192.0.2.53  fra  2       50.0      92.0 ms     76.0 ms  40.00 %     ecs needed
`
	got := mustMapRun(t, "resolvers", "--config", config, "--segments", segments)
	if got != want {
		t.Errorf("resolvers wrote\n%s\nwant\n%s", got, want)
	}
	var list []mapper.ResolverNeed
	decode(t, mustMapRun(t, "resolvers", "--json", "--limit", "1", "--config", config, "--segments", segments), &list)
	if len(list) != 1 || list[0].Resolver.String() != "192.0.2.53" || list[0].Sessions != 50 || !list[0].Needed || list[0].PoP != "fra" {
		t.Errorf("resolvers gave %+v", list)
	}

	out := mustMapRun(t, "build", "--config", config, "--segments", segments, "-o", file)
	_, table, _ := strings.Cut(want, ":\n")
	if !strings.Contains(out, "\nresolvers whose clients lose most by one answer:\n"+table) {
		t.Errorf("build says\n%s\nwant\n%s in it", out, table)
	}
	// Both go to fra, but from different distances. The place of a resolver, here none
	// near its clients, counts as four sessions.
	var answers []mapAnswer
	decode(t, mustMapRun(t, "lookup", "--json", "--resolver", file, "192.0.2.53", "198.51.100.53"), &answers)
	if r := answers[0].Ranking; r[0].PoP != "fra" || r[0].RTT < 80 || r[1].PoP != "sin" {
		t.Errorf("the torn resolver has ranking %v", r)
	}
	if r := answers[1].Ranking; r[0].PoP != "fra" || r[0].RTT > 60 || r[1].PoP != "nyc" {
		t.Errorf("the other resolver has ranking %v", r)
	}
}
