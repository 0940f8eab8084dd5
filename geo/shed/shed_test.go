package shed

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"edged/maps"
)

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		name   string
		hops   []maps.Hop
		prices []Price
		want   int
	}{
		{"no prices", []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1, RTT: 21}}, nil, 0},
		{"a tie stays", []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1, RTT: 22}}, []Price{1000, 0}, 0},
		{"a step more leaves", []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1, RTT: 22}}, []Price{1500, 0}, 1},
		{"prices of both count", []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1, RTT: 22}, {PoP: 2, RTT: 23}}, []Price{2500, 2000, 0}, 2},
		{"a pop beyond the prices has none", []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 9, RTT: 22}}, []Price{1500}, 1},
		{"no time is not near", []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1}}, []Price{MaxPrice, 0}, 0},
		{"no time at all", []maps.Hop{{PoP: 3}, {PoP: 1, RTT: 7}}, []Price{0, 0, 0, 500}, 0},
	} {
		if got := Choose(test.hops, test.prices, 1, 1); got != test.want {
			t.Errorf("%s: hop %d, want %d", test.name, got, test.want)
		}
	}
}

// TestMargin holds that a price between two steps moves its share of the blocks
// for which that decides, the same ones throughout a turn, more of them when it
// rises, and others in the next turn.
func TestMargin(t *testing.T) {
	hops := []maps.Hop{{PoP: 4, RTT: 20}, {PoP: 1, RTT: 21}} // leaves at two steps, 1000 µs
	const blocks, epoch = 20_000, 7200
	gone := func(price Price, epoch uint64) (list []bool) {
		for b := range uint64(blocks) {
			list = append(list, Choose(hops, []Price{0, 0, 0, 0, price}, b, epoch) == 1)
		}
		return list
	}
	count := func(list []bool) (n int) {
		for _, g := range list {
			if g {
				n++
			}
		}
		return n
	}
	before := gone(500, epoch)
	if count(before) != 0 {
		t.Errorf("%d blocks leave at a price that is no more than they would lose", count(before))
	}
	for price := Price(550); price <= 1000; price += 50 {
		now := gone(price, epoch)
		if want := blocks * float64(price-500) / 500; math.Abs(float64(count(now))-want) > 0.02*blocks {
			t.Errorf("at %d µs %d blocks leave, want about %.0f", price, count(now), want)
		}
		for b := range now {
			if before[b] && !now[b] {
				t.Fatalf("block %d comes back when the price rises to %d", b, price)
			}
		}
		before = now
	}
	same, other := gone(750, epoch+turnEpochs-1), gone(750, epoch+turnEpochs)
	if !slices.Equal(gone(750, epoch), same) {
		t.Error("the blocks at the margin change within a turn")
	}
	if slices.Equal(same, other) || count(other) < 9000 || count(other) > 11000 {
		t.Errorf("in the next turn the same blocks leave, or %d of them", count(other))
	}
}

func TestCurve(t *testing.T) {
	c := NewCurves(2)
	near := []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1, RTT: 20}} // a tie: leaves at one step
	far := []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1, RTT: 24}}  // at five
	c.Add(near, nil, 30)
	c.Add(far, nil, 50)
	c.Add([]maps.Hop{{PoP: 0, RTT: 20}}, nil, 20)                                // never
	c.Add([]maps.Hop{{PoP: 1, RTT: 30}, {PoP: 0, RTT: 20}}, []Price{5000, 0}, 1) // the map's prices: 0 costs as much
	c.Add([]maps.Hop{{PoP: 9, RTT: 30}}, nil, 1)                                 // not in the fleet
	curve := c.Curve(0)
	for price, want := range map[Price]float64{0: 0, 250: 0.15, 500: 0.3, 2000: 0.3, 2250: 0.55, 2500: 0.8, MaxPrice: 0.8} {
		if got := curve.Left(price); math.Abs(got-want) > 1e-12 {
			t.Errorf("at %d µs %.3f leave, want %.3f", price, got, want)
		}
	}
	filed := make([]maps.Pricing, 2)
	c.Fill(filed)
	if want := []maps.Leaving{{Steps: 0, Demand: 30}, {Steps: 4, Demand: 50}}; filed[0].Demand != 100 || !slices.Equal(filed[0].Leaving, want) {
		t.Errorf("a map is told %v, want %v of 100", filed[0], want)
	}
	for pop := range 2 {
		if got := CurveOf(filed[pop]); !slices.Equal(got.below, c.Curve(pop).below) {
			t.Errorf("by the map pop %d has another curve, %v", pop, got)
		}
	}
	if got := CurveOf(maps.Pricing{Demand: 2, Leaving: []maps.Leaving{{Steps: 1000, Demand: 2}}}).Left(MaxPrice); got != 0 {
		t.Errorf("%.3f leave at the highest price who lose more", got)
	}
	if got := c.Curve(1).Left(500); got != 1 {
		t.Errorf("of pop 1 %.3f leave at one step, want all", got)
	}
	for share, want := range map[float64]Price{0: 0, 0.15: 250, 0.3: 2000, 0.55: 2250, 0.9: MaxPrice} {
		if got := curve.priceFor(share); got != want {
			t.Errorf("the price for %.2f is %d, want %d", share, got, want)
		}
	}
	if got := (Curve{}).Left(MaxPrice); got != 0 {
		t.Errorf("of nobody %.3f leave", got)
	}
}

// TestBounds holds both bounds for all prices, curves and loads.
func TestBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		c := NewCurves(1)
		for range 1 + rng.IntN(20) {
			c.Add([]maps.Hop{{PoP: 0, RTT: 20}, {PoP: 0, RTT: uint16(20 + rng.IntN(1+rng.IntN(60)))}}, nil, rng.ExpFloat64())
		}
		curve := c.Curve(0)
		price := Price(rng.IntN(int(MaxPrice) + 1))
		load := Load{Now: 3 * rng.Float64(), Target: 1, Known: rng.IntN(10) > 0}
		next := Next([]Price{price}, []Curve{curve}, []Load{load})[0]
		if next < 0 || next > MaxPrice || next > price+2000 || next < price-2000 {
			t.Fatalf("price %d becomes %d", price, next)
		}
		if moved := curve.Left(next) - curve.Left(price); math.Abs(moved) > 0.025+1e-9 {
			t.Fatalf("from price %d to %d %.4f of the demand move, want 0.025 at most", price, next, moved)
		}
		switch {
		case !load.Known && next != price:
			t.Fatalf("price %d becomes %d without a load", price, next)
		case load.Known && load.Now > 1 && next < price, load.Known && load.Now < 1 && next > price:
			t.Fatalf("price %d becomes %d at load %v", price, next, load)
		}
	}
	if got := Next([]Price{5000}, make([]Curve, 1), []Load{{Now: 9, Known: true}})[0]; got != 3000 {
		t.Errorf("without a target price 5000 becomes %d, want 3000", got)
	}
}

// fleet is clients of three PoPs that come by a new answer some epochs later.
type fleet struct {
	hops   [][]maps.Hop
	at     []int // the PoP of each
	ttl    int   // epochs
	prices []Price
	curves []Curve
}

func newFleet(n, ttl int) *fleet {
	rng := rand.New(rand.NewPCG(2, 1))
	f := &fleet{ttl: ttl, prices: make([]Price, 3)}
	c := NewCurves(3)
	for i := range n {
		first := uint16(i % 3)
		f.hops = append(f.hops, []maps.Hop{
			{PoP: first, RTT: 20}, {PoP: (first + 1) % 3, RTT: 20 + uint16(rng.ExpFloat64()*8)}, {PoP: (first + 2) % 3, RTT: 60},
		})
		f.at = append(f.at, int(first))
		c.Add(f.hops[i], nil, 1)
	}
	for pop := range 3 {
		f.curves = append(f.curves, c.Curve(pop))
	}
	return f
}

// epoch lets an epoch pass with this demand for clients of PoP 0, and 1 for
// others; it returns the loads, and which share of PoP 0's clients it has lost.
func (f *fleet) epoch(epoch int, hot, target float64) (loads []Load, left float64) {
	loads = make([]Load, 3)
	mine, gone := 0, 0
	for i, hops := range f.hops {
		if i%f.ttl == epoch%f.ttl { // its answer has run out
			f.at[i] = int(hops[Choose(hops, f.prices, uint64(i), uint64(epoch))].PoP)
		}
		demand := 1.0
		if hops[0].PoP == 0 {
			demand = hot
			mine++
			if f.at[i] != 0 {
				gone++
			}
		}
		loads[f.at[i]].Now += demand
	}
	for pop := range loads {
		loads[pop].Target, loads[pop].Known = target, true
	}
	f.prices = Next(f.prices, f.curves, loads)
	return loads, float64(gone) / float64(mine)
}

// TestFlashCrowd closes the loop: demand near one PoP rises by two fifths, and falls
// again. The overload goes away, slowly, without swinging, without overrunning
// the neighbour, and so does the price.
func TestFlashCrowd(t *testing.T) {
	const clients = 9000
	target := 1.2 * clients / 3
	for _, ttl := range []int{1, 2, 6} {
		f := newFleet(clients, ttl)
		var left []float64
		peak := 0.0
		for e := range 240 {
			loads, gone := f.epoch(e, 1.4, target)
			left = append(left, gone)
			if n := len(left); n > 6 && left[n-1]-left[n-7] > 0.15+0.02 {
				t.Errorf("ttl %d: %.3f of the demand left within a minute", ttl, left[n-1]-left[n-7])
			}
			peak = max(peak, gone)
			if e > 60 && loads[0].Now > 1.03*target {
				t.Errorf("ttl %d: the load is %.2f of the target after %d epochs", ttl, loads[0].Now/target, e)
				break
			}
			if loads[1].Now > 1.05*target || loads[2].Now > 1.05*target {
				t.Errorf("ttl %d: a neighbour has %v", ttl, loads)
			}
		}
		settled := left[len(left)-1]
		if peak-settled > 0.06 {
			t.Errorf("ttl %d: at first %.3f leave, in the end %.3f: it swings", ttl, peak, settled)
		}
		for e := range 120 {
			f.epoch(240+e, 1, target)
		}
		if !slices.Equal(f.prices, make([]Price, 3)) {
			t.Errorf("ttl %d: prices %v are left when all is over", ttl, f.prices)
		}
	}
}

// TestLeastRegretFirst holds that nobody who loses more by it leaves before all
// who lose a step less have left.
func TestLeastRegretFirst(t *testing.T) {
	f := newFleet(9000, 1)
	for e := range 60 {
		f.epoch(e, 1.3, 3600)
		if f.prices[1]+f.prices[2] > 0 {
			t.Fatal("a neighbour has a price: the test is too hard")
		}
		most, least := -1, 1000 // lost by those who left, and by those who stay
		for i, hops := range f.hops {
			if hops[0].PoP != 0 {
				continue
			}
			lost := int(hops[1].RTT) - int(hops[0].RTT)
			if f.at[i] != 0 {
				most = max(most, lost)
			} else {
				least = min(least, lost)
			}
		}
		if most > least {
			t.Fatalf("epoch %d: somebody left for %d steps, somebody stays for %d", e, most, least)
		}
	}
}

func TestChooseAllocates(t *testing.T) {
	hops, prices := []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1, RTT: 22}}, []Price{1250, 0}
	if n := testing.AllocsPerRun(100, func() { Choose(hops, prices, 1, 1) }); n != 0 {
		t.Errorf("Choose allocates %v times, want 0", n)
	}
}

// TestOrder holds that Order puts first what Choose chooses, again and again, and
// that Divided says for which hops that differs by block.
func TestOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	divided := 0
	for range 3000 {
		var hops []maps.Hop
		prices := make([]Price, 4)
		for pop := range prices {
			hops = append(hops, maps.Hop{PoP: uint16(pop), RTT: uint16(20 + rng.IntN(5) - 20*(rng.IntN(9)/8))})
			prices[pop] = Price(rng.IntN(5)) * 250
		}
		orders := map[string]bool{}
		for block := range uint64(200) {
			ordered := slices.Clone(hops)
			Order(ordered, prices, block, 1)
			left := slices.Clone(hops)
			for i := range ordered {
				best := Choose(left, prices, block, 1)
				if ordered[i] != left[best] {
					t.Fatalf("%v at %v: %v, want %v at %d", hops, prices, ordered, left[best], i)
				}
				left = slices.Delete(left, best, best+1)
			}
			orders[fmt.Sprint(ordered)] = true
		}
		if Divided(hops, prices) != (len(orders) > 1) {
			t.Fatalf("%v at %v: divided is %v, but blocks have %d orders", hops, prices, Divided(hops, prices), len(orders))
		}
		divided += min(1, len(orders)-1)
	}
	if divided < 300 || divided > 2700 {
		t.Errorf("%d of 3000 rankings are divided: the test is too easy", divided)
	}
}
