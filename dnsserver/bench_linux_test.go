package dnsserver

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"edged/edge"
	"edged/geo"
	"edged/maps"
	"edged/maps/mapstest"
)

// bigView answers www.example.com from a map of random /24s to 64 PoPs.
func bigView(b *testing.B, nets int) (*View, []netip.Prefix) {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	c := &maps.Contents{Created: time.Unix(0, 0), Rankings: []maps.Ranking{{Order: maps.NoOrder}}}
	pool := geo.Pool{Name: "www", Policy: geo.Closest, Map: "m", TTLMin: 60, TTLMax: 60, Answers: 1}
	for i := range 64 {
		name := fmt.Sprintf("p%d", i)
		c.PoPs = append(c.PoPs, edge.PoP{Name: name, Lat: rng.Float64()*120 - 60, Lon: rng.Float64()*360 - 180})
		c.Rankings = append(c.Rankings, maps.Ranking{Hops: []maps.Hop{{PoP: uint16(i)}}, Order: maps.NoOrder})
		pool.Members = append(pool.Members, geo.Member{PoP: name, Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Weight: 1})
	}
	starts := make([]uint32, nets)
	for i := range starts {
		starts[i] = (1+rng.Uint32N(220))<<24 | rng.Uint32N(1<<16)<<8
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	var v4 maps.Builder4
	v4.Add(0, 0)
	var clients []netip.Prefix
	for i, s := range starts {
		v4.Add(s, maps.MakeRow(1+rng.Uint32N(64), true))
		if i+1 < len(starts) && starts[i+1] > s+256 {
			v4.Add(s+256, 0)
		}
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], s)
		clients = append(clients, netip.PrefixFrom(netip.AddrFrom4(a), 24))
	}
	var v6 maps.Builder6
	v6.Add(0, 0, 0)
	c.ECS = maps.Table{V4: v4.Finish(), V6: v6.Finish()}
	c.Resolver = c.ECS
	m := mapstest.Map(b, c)
	g, err := geo.Build(geo.Config{Node: "n", PoP: "p0", PoPs: c.PoPs, Pools: []geo.Pool{pool}, Maps: map[string]geo.MapSource{"m": {Map: m}}})
	if err != nil {
		b.Fatal(err)
	}
	z := mustZone(b, "example.com.", strings.ReplaceAll(smallZone, "www A", "web A"), "www.example.com.")
	v, err := BuildView(ViewConfig{Zones: nil, Geo: g})
	if err != nil {
		b.Fatal(err)
	}
	if v, err = BuildView(ViewConfig{Zones: append(v.Zones(), z), Geo: g, Names: map[string]string{"www.example.com.": "www"}}); err != nil {
		b.Fatal(err)
	}
	return v, clients
}

// BenchmarkAnswer is the cost of one answer in batches of 64, all steps from
// parsing on, for a name of a pool with a random client subnet each time, over
// a map of 300,000 and of a million networks.
func BenchmarkAnswer(b *testing.B) {
	for _, nets := range []int{300_000, 1_000_000} {
		b.Run(fmt.Sprint(nets), func(b *testing.B) { benchmarkAnswer(b, nets) })
	}
}

func benchmarkAnswer(b *testing.B, nets int) {
	v, clients := bigView(b, nets)
	rng := rand.New(rand.NewPCG(2, 2))
	packets := make([][]byte, 1<<16)
	for i := range packets {
		m := question("www.example.com.", dns.TypeA)
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{subnetOption(clients[rng.IntN(len(clients))])}
		var err error
		if packets[i], err = m.Pack(); err != nil {
			b.Fatal(err)
		}
	}
	s := &Server{cfg: Config{MaxUDP: 1232}, sum: newSum()}
	s.cookies.Store(newCookieJar(nil))
	s.view.Store(v)
	w := &udpWorker{server: s, responder: s.newResponder("udp"), slots: make([]byte, batch*slotStride)}
	for i := range w.names {
		w.names[i].Family, w.names[i].Port = 2, 4000
	}
	b.ReportAllocs()
	at := 0
	for n := 0; n < b.N; n += batch {
		for i := range batch {
			p := packets[at&(1<<16-1)]
			at++
			copy(w.slot(i), p)
			w.in[i].n = uint32(len(p))
		}
		w.responder.begin(s, v, time.Now())
		if w.answer(v, batch) != batch {
			b.Fatal("a query was not answered")
		}
	}
}
