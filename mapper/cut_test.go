package mapper

import (
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"edged/edge"
	"edged/mapper/simulate"
	"edged/maps"
)

// Clients of one network are too many for any PoP: its blocks are shared out, evenly
// by capacity where all of it is too little.
func TestOneNetworkIsSharedOut(t *testing.T) {
	pops := []edge.PoP{
		{Name: "a", Lat: 50, Lon: 8, Capacity: 100},
		{Name: "b", Lat: 51, Lon: 8, Capacity: 200},
		{Name: "c", Lat: 52, Lon: 8, Capacity: 300},
	}
	for _, tt := range []struct {
		name     string
		network  string
		requests float64
		load     []float64
		short    float64 // requests/s above the hard limits
	}{
		{"fits into two", "10.0.0.0/8", 200, []float64{70, 130, 0}, 0},
		{"above all soft limits", "10.0.0.0/8", 500, []float64{500 / 6.0, 1000 / 6.0, 250}, 0},
		{"above all hard limits", "10.0.0.0/8", 1200, []float64{200, 400, 600}, 630},
		{"the same in IPv6", "2001:db8::/32", 1200, []float64{200, 400, 600}, 630},
		{"all of IPv4", "0.0.0.0/0", 500, []float64{500 / 6.0, 1000 / 6.0, 250}, 0},
		{"all of IPv6", "::/0", 500, []float64{500 / 6.0, 1000 / 6.0, 250}, 0},
	} {
		for _, tolerance := range []float64{0, 2} {
			p := netip.MustParsePrefix(tt.network)
			nets, err := ReadNets(strings.NewReader(tt.network+",a:10 b:20 c:30\n"), "n", pops)
			if err != nil {
				t.Fatal(err)
			}
			m, r := mustBuild(t, Input{PoPs: pops, Nets: nets, Demand: []simulate.Demand{{Prefix: p, Requests: tt.requests}}, Tolerance: tolerance})
			all := 0.0
			for i, want := range tt.load {
				got := r.PoPs[i].Load
				all += got
				// Pieces are a thirty-second of the least limit, and a limit that is raised has
				// as much to spare.
				if math.Abs(got-want) > tt.requests/25 {
					t.Errorf("%s: %s has %.1f, want about %.1f", tt.name, pops[i].Name, got, want)
				}
			}
			if !about(all, tt.requests) || !about(r.SplitDemand, tt.requests) {
				t.Errorf("%s: %v requests/s have a place and %v are of split networks, want all", tt.name, all, r.SplitDemand)
			}
			short := 0.0
			for _, s := range r.Shortages {
				short = max(short, s.Short)
			}
			if math.Abs(short-tt.short) > 1 {
				t.Errorf("%s: short of %.1f, want %.1f: %+v", tt.name, short, tt.short, r.Shortages)
			}
			if len(r.Split) != 1 || r.Split[0].From != p.Addr() || r.Split[0].To != maps.LastOf(p) || !about(r.Split[0].Demand, tt.requests) {
				t.Fatalf("%s: report says %+v was split, want the network", tt.name, r.Split)
			}
			for _, share := range r.Split[0].PoPs {
				for i, pop := range pops {
					if pop.Name == share.Name && math.Abs(share.Share*tt.requests-r.PoPs[i].Load) > 1e-6 {
						t.Errorf("%s: %s has %v of the network and a load of %v", tt.name, pop.Name, share.Share, r.PoPs[i].Load)
					}
				}
			}
			// What has one PoP is one range again.
			if n := m.ECS().V4.Len() + m.ECS().V6.Len(); p.Bits() > 0 && n > 1<<16+64 {
				t.Errorf("%s: %d ranges", tt.name, n)
			}
		}
	}
}

// A block of the finest kind stays whole, and so does a network with one PoP only.
func TestWhatIsNotCut(t *testing.T) {
	pops := twoPoPs(10, 10)
	nets, err := ReadNets(strings.NewReader("10.0.0.0/24,near:10 far:20\n11.0.0.0/8,near far\n12.0.0.0/8,near:10\n2001:db8::/48,near:10 far:20\n"), "n", pops)
	if err != nil {
		t.Fatal(err)
	}
	var demand []simulate.Demand
	for _, n := range nets {
		demand = append(demand, simulate.Demand{Prefix: n.Prefix, Requests: 100})
	}
	m, r := mustBuild(t, Input{PoPs: pops, Nets: nets, Demand: demand})
	if len(r.Split) != 0 || r.SplitDemand != 0 {
		t.Errorf("split %+v, want none", r.Split)
	}
	for _, n := range nets {
		_, from, to := m.ECS().Lookup(n.Prefix.Addr())
		if n.Prefix.Bits() > 16 && (from != n.Prefix.Addr() || to != maps.LastOf(n.Prefix)) {
			t.Errorf("%v is in %v to %v", n.Prefix, from, to)
		}
	}
}

// Aligned pieces of every leaf that has too much, no piece above it unless it is of
// the finest kind: by counting blocks one by one.
func TestCutMatchesSlowTwin(t *testing.T) {
	v4 := func(a uint64) maps.Addr6 { return maps.Addr6{Lo: a} }
	v6 := func(a uint64) maps.Addr6 { return maps.Addr6{Hi: a << 8} } // in /56s
	for _, tt := range []struct {
		name   string
		bits   int
		starts []maps.Addr6
		served []served
		want   []served
		from   []maps.Addr6 // of all leaves
	}{
		{
			"an eighth each", 32,
			[]maps.Addr6{v4(0), v4(1 << 16), v4(2 << 16)},
			[]served{{1, 80, 7}},
			[]served{{1, 10, 7}, {2, 10, 7}, {3, 10, 7}, {4, 10, 7}, {5, 10, 7}, {6, 10, 7}, {7, 10, 7}, {8, 10, 7}},
			[]maps.Addr6{v4(0), v4(8 << 13), v4(9 << 13), v4(10 << 13), v4(11 << 13), v4(12 << 13), v4(13 << 13), v4(14 << 13), v4(15 << 13), v4(2 << 16)},
		},
		{
			"not aligned", 32,
			[]maps.Addr6{v4(0), v4(128), v4(896)},
			[]served{{0, 1, noPoP}, {1, 60, noPoP}, {2, 5, noPoP}},
			[]served{{0, 1, noPoP}, {1, 10, noPoP}, {2, 20, noPoP}, {3, 20, noPoP}, {4, 10, noPoP}, {5, 5, noPoP}},
			[]maps.Addr6{v4(0), v4(128), v4(256), v4(512), v4(768), v4(896)},
		},
		{
			"no finer than a /24", 32,
			[]maps.Addr6{v4(1<<32 - 512)},
			[]served{{0, 4000, noPoP}},
			[]served{{0, 2000, noPoP}, {1, 2000, noPoP}},
			[]maps.Addr6{v4(1<<32 - 512), v4(1<<32 - 256)},
		},
		{
			"no finer than a /48", 128,
			[]maps.Addr6{v6(0x20010db8000000), v6(0x20010db8000200)},
			[]served{{0, 4000, noPoP}},
			[]served{{0, 2000, noPoP}, {1, 2000, noPoP}},
			[]maps.Addr6{v6(0x20010db8000000), v6(0x20010db8000100), v6(0x20010db8000200)},
		},
		{
			"to the end of IPv6", 128,
			[]maps.Addr6{v6(0), v6(0xe0 << 48)},
			[]served{{1, 40, noPoP}},
			[]served{{1, 10, noPoP}, {2, 10, noPoP}, {3, 10, noPoP}, {4, 10, noPoP}},
			[]maps.Addr6{v6(0), v6(0xe0 << 48), v6(0xe8 << 48), v6(0xf0 << 48), v6(0xf8 << 48)},
		},
		{"little enough", 32, []maps.Addr6{v4(0)}, []served{{0, 10, noPoP}}, []served{{0, 10, noPoP}}, []maps.Addr6{v4(0)}},
	} {
		s := &space{bits: tt.bits, served: tt.served}
		for _, start := range tt.starts {
			s.leaves = append(s.leaves, leaf{start: start, outlook: 3})
		}
		s.cut(func(served) float64 { return 10 })
		var from []maps.Addr6
		for _, l := range s.leaves {
			from = append(from, l.start)
			if l.outlook != 3 {
				t.Errorf("%s: leaf %+v has another outlook", tt.name, l)
			}
		}
		if !reflect.DeepEqual(s.served, tt.want) || !reflect.DeepEqual(from, tt.from) {
			t.Errorf("%s: got %v from %x\nwant %v from %x", tt.name, s.served, from, tt.want, tt.from)
		}
	}
}
