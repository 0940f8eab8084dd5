package mapper

import (
	"math"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"edged/edge"
	"edged/geo/place"
	"edged/mapper/simulate"
	"edged/maps"
	"edged/maps/mapstest"
)

// near and far are two PoPs; most clients are nearer to near.
func twoPoPs(near, far int64) []edge.PoP {
	return []edge.PoP{
		{Name: "near", Lat: 50, Lon: 8, Capacity: near},
		{Name: "far", Lat: 40, Lon: -74, Capacity: far},
	}
}

// netsAt are /24s, of which the n-th loses n ms by going to far.
func netsAt(t *testing.T, pops []edge.PoP, n int) []Net {
	t.Helper()
	var b strings.Builder
	for i := range n {
		b.WriteString(block(i).String())
		b.WriteString(",near:10 far:")
		b.WriteString([]string{"10", "11", "12", "13", "14", "15", "16", "17", "18", "19"}[i%10] + "\n")
	}
	nets, err := ReadNets(strings.NewReader(b.String()), "n", pops)
	if err != nil {
		t.Fatal(err)
	}
	return nets
}

func block(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
}

func demandOf(n int, requests float64) (list []simulate.Demand) {
	for i := range n {
		list = append(list, simulate.Demand{Prefix: block(i), Requests: requests})
	}
	return list
}

func mustBuild(t *testing.T, in Input) (*maps.Map, Report) {
	t.Helper()
	in.Created = created
	contents, report, err := Build(in)
	if err != nil {
		t.Fatal(err)
	}
	return mapstest.Map(t, contents), report
}

func firstOf(t *testing.T, m *maps.Map, addr netip.Addr) string {
	t.Helper()
	row, _, _ := m.ECS().Lookup(addr)
	pop, ok := m.First(row)
	if !ok {
		return ""
	}
	return m.PoPs()[pop].Name
}

// Ten blocks of 10 requests/s lose 0 to 9 ms by going far. Near can have 57.4 at
// 70 %, so those five that lose least go, and the price is what the fifth loses and
// the sixth would not.
func TestCapacityIsKept(t *testing.T) {
	pops := twoPoPs(82, 1000)
	m, r := mustBuild(t, Input{PoPs: pops, Nets: netsAt(t, pops, 10), Demand: demandOf(10, 10)})
	for i := range 10 {
		want := "near"
		if i < 5 {
			want = "far"
		}
		if got := firstOf(t, m, block(i).Addr()); got != want {
			t.Errorf("block %d goes to %q, want %q", i, got, want)
		}
	}
	if !r.Limited || r.Unit != Requests || r.Demand != 100 || len(r.Shortages) != 0 {
		t.Errorf("report %+v, want 100 requests/s within limits", r)
	}
	near := r.PoPs[0]
	if near.Load != 50 || !about(near.Soft, 57.4) || !about(near.Hard, 77.9) || near.Held != near.Soft || near.Price < 4 || near.Price > 5 {
		t.Errorf("near: %+v, want a load of 50 of 57.4 at 4 to 5 ms", near)
	}
	if far := r.PoPs[1]; far.Load != 50 || far.Price != 0 {
		t.Errorf("far: %+v, want a load of 50 at no price", far)
	}
	if r.Nearest != 10 || r.Mean != 11 {
		t.Errorf("mean %v and nearest %v ms, want 11 and 10", r.Mean, r.Nearest)
	}
	p := m.Prices()
	if len(p) != 2 || float64(p[0].Price) != 1000*near.Price || p[0].Soft != near.Soft || p[0].Hard != near.Hard || p[0].Demand != 50 || p[1].Demand != 50 {
		t.Errorf("prices in the map %+v", p)
	}
	sum := 0.0
	for _, l := range p[0].Leaving {
		sum += l.Demand
	}
	// Those that lose 5 to 9 ms without the price.
	if first := p[0].Leaving[0]; sum != 50 || first.Demand != 10 || first.Steps != uint32((5-near.Price)*2) {
		t.Errorf("leaving near: %+v", p[0].Leaving)
	}
}

// Without demand in requests nobody moves for capacity, and the map has no prices.
func TestCapacityNeedsDemand(t *testing.T) {
	pops := twoPoPs(1, 1)
	m, r := mustBuild(t, Input{PoPs: pops, Nets: netsAt(t, pops, 10)})
	if r.Limited || r.Unit != Blocks || m.Prices() != nil || r.PoPs[0].Load != 10 || r.PoPs[0].Soft != 0 {
		t.Errorf("report %+v and prices %+v, want 10 blocks at near and no limits", r, m.Prices())
	}
	if got := firstOf(t, m, block(0).Addr()); got != "near" {
		t.Errorf("block 0 goes to %q, want near", got)
	}
}

// Demand that does not fit is scaled evenly, and reported.
func TestShortage(t *testing.T) {
	pops := twoPoPs(100, 50)
	_, r := mustBuild(t, Input{PoPs: pops, Nets: netsAt(t, pops, 200), Demand: demandOf(200, 1), Tolerance: 2})
	if len(r.Shortages) != 1 {
		t.Fatalf("shortages %+v, want one", r.Shortages)
	}
	s := r.Shortages[0]
	if !reflect.DeepEqual(s.PoPs, []string{"near", "far"}) || !about(s.Demand, 200) || !about(s.Soft, 105) || !about(s.Hard, 142.5) || !about(s.Short, 57.5) {
		t.Errorf("shortage %+v, want 200 of 105, at most 142.5", s)
	}
	// What they were held to is in proportion, with 3 % to spare.
	near, far := r.PoPs[0], r.PoPs[1]
	if !about(near.Held/2, far.Held) || near.Held+far.Held < 206 || near.Held+far.Held > 207 {
		t.Errorf("near was held to %v and far to %v, want 206 shared as 2 to 1", near.Held, far.Held)
	}
	if near.Load > near.Held || far.Load > far.Held {
		t.Errorf("loads %v and %v are above %v and %v", near.Load, far.Load, near.Held, far.Held)
	}
	if all := r.PoPs[0].Load + r.PoPs[1].Load; all != 200 {
		t.Errorf("%v requests/s have a place, want all 200", all)
	}
}

func about(got, want float64) bool { return math.Abs(got-want) < 1e-3*want }

// A list without times, or not in their order, is somebody's will.
func TestListedOrderStays(t *testing.T) {
	pops := twoPoPs(1, 1000)
	nets, err := ReadNets(strings.NewReader("10.0.0.0/24,near far\n10.0.1.0/24,near:20 far:10\n10.0.2.0/24,near:10 far:20\n"), "n", pops)
	if err != nil {
		t.Fatal(err)
	}
	m, r := mustBuild(t, Input{PoPs: pops, Nets: nets, Demand: demandOf(3, 1), Tolerance: 2})
	got := []string{firstOf(t, m, block(0).Addr()), firstOf(t, m, block(1).Addr()), firstOf(t, m, block(2).Addr())}
	if want := []string{"near", "near", "far"}; !reflect.DeepEqual(got, want) {
		t.Errorf("first choices %q, want %q", got, want)
	}
	if r.PoPs[0].Load != 2 {
		t.Errorf("near has %v, want 2", r.PoPs[0].Load)
	}
}

// Places have no times of their own; what distance lets expect shares them out.
// Demand of one network is split where places or demand change, and where it is too
// much for one PoP.
func TestPlacesAreSharedOut(t *testing.T) {
	pops := twoPoPs(100, 1000)
	at := func(lat float64) place.Place { return place.Place{Country: "DE", Lat: lat, Lon: 8, HasCoord: true} }
	in := Input{
		PoPs: pops, Tolerance: 2,
		Place: sequence([]located{{netip.MustParsePrefix("10.0.0.0/9"), at(50)}, {netip.MustParsePrefix("10.128.0.0/9"), at(55)}}),
		Demand: []simulate.Demand{
			{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Requests: 100}, // 50 in each half
			{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Requests: 5},
			{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Requests: 7}, // nobody knows where
		},
	}
	m, r := mustBuild(t, in)
	if r.Demand != 112 || r.Nowhere != 7 {
		t.Errorf("demand %v and %v from nowhere, want 112 and 7", r.Demand, r.Nowhere)
	}
	// The limit is 70: of the northern half, which loses least, as many go as must, in
	// blocks of 50/32; 10.0.0.0/24 is in the other.
	if r.PoPs[1].Load != 23*50/32.0 || !about(r.PoPs[0].Load, 55+9*50/32.0) {
		t.Errorf("loads %+v, want 69.06 and 35.94", r.PoPs)
	}
	if len(r.Split) != 1 || r.Split[0].From.String() != "10.128.0.0" || r.Split[0].To.String() != "10.255.255.255" || r.SplitDemand != 50 ||
		!reflect.DeepEqual(r.Split[0].PoPs, []PoPShare{{"far", 23 / 32.0}, {"near", 9 / 32.0}}) {
		t.Errorf("split %+v, want the northern half", r.Split)
	}
	row, from, to := m.ECS().Lookup(netip.MustParseAddr("10.0.0.1"))
	if from.String() != "10.0.0.0" || to.String() != "10.127.255.255" || row.Measured() {
		t.Errorf("10.0.0.1 is in %v to %v, want all of the half", from, to)
	}
}

// Who has a PoP keeps it unless another gains more than 3 ms and a tenth; for
// capacity they go all the same.
func TestInForce(t *testing.T) {
	pops := twoPoPs(0, 0)
	read := func(text string) []Net {
		nets, err := ReadNets(strings.NewReader(text), "n", pops)
		if err != nil {
			t.Fatal(err)
		}
		return nets
	}
	before, _ := mustBuild(t, Input{PoPs: pops, Nets: read("10.0.0.0/24,far:10\n10.0.1.0/24,far:10\n10.0.2.0/24,far:50\n")})
	in := Input{PoPs: pops, Nets: read("10.0.0.0/24,near:10 far:13\n10.0.1.0/24,near:10 far:13.5\n10.0.2.0/24,near:50 far:55\n"), Demand: demandOf(3, 1), InForce: before}
	firsts := func(m *maps.Map) (list []string) {
		for i := range 3 {
			list = append(list, firstOf(t, m, block(i).Addr()))
		}
		return list
	}
	m, r := mustBuild(t, in)
	if got, want := firsts(m), []string{"far", "near", "far"}; !reflect.DeepEqual(got, want) {
		t.Errorf("first choices %q, want %q", got, want)
	}
	if r.InForce != 3 || r.Moved != 1 || r.Limited {
		t.Errorf("moved %v of %v, want 1 of 3", r.Moved, r.InForce)
	}
	row, _, _ := m.ECS().Lookup(block(0).Addr())
	if hops := m.Ranking(row.Ranking()).Hops; !reflect.DeepEqual(hops, []maps.Hop{{PoP: 1, RTT: 26}, {PoP: 0, RTT: 20}}) {
		t.Errorf("ranking %+v, want far first with the times as they are", hops)
	}
	for pop := range in.PoPs {
		in.PoPs[pop].Capacity = 1000
	}
	if m, _ = mustBuild(t, in); !reflect.DeepEqual(firsts(m), []string{"far", "near", "far"}) {
		t.Errorf("with capacity for all, first choices %q", firsts(m))
	}
	in.PoPs[1].Capacity = 2 // one goes, the one that its PoP in force is least worth
	if m, r = mustBuild(t, in); !reflect.DeepEqual(firsts(m), []string{"near", "near", "far"}) || r.Moved != 2 {
		t.Errorf("with capacity for one at far, first choices %q", firsts(m))
	}
}

// The result does not depend on how many processors there are.
func TestBuildIsReproducible(t *testing.T) {
	pops := twoPoPs(30_000, 60_000)
	in := Input{PoPs: pops, Nets: netsAt(t, pops, 40_000), Demand: demandOf(40_000, 1), Tolerance: 2, Created: created}
	encode := func() []byte {
		contents, _, err := Build(in)
		if err != nil {
			t.Fatal(err)
		}
		b, err := maps.Encode(contents)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	all := encode()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if one := encode(); string(one) != string(all) {
		t.Error("on one processor the map is another")
	}
	runtime.GOMAXPROCS(5)
	if five := encode(); string(five) != string(all) {
		t.Error("on five processors the map is another")
	}
}
