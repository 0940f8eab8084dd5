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
		next := Next(price, curve, load)
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
	c := NewCurves(1)
	c.Add([]maps.Hop{{PoP: 0, RTT: 10}, {PoP: 0, RTT: 16}}, nil, 1)
	for price, want := range map[Price]Price{0: 2000, 2000: 3012, 3000: 3012, 3480: 3492, 3495: 3500, 3500: 3500, 9000: 9000} {
		// All leave between 3000 and 3500, and nobody for more.
		if got := Next(price, c.Curve(0), Load{Now: 9, Target: 1, Known: true}); got != want {
			t.Errorf("with all leaving at six steps price %d becomes %d, want %d", price, got, want)
		}
	}
	if got := Next(0, Curve{}, Load{Now: 9, Target: 1, Known: true}); got != 0 {
		t.Errorf("when nobody is known to leave the price becomes %d", got)
	}
	if got := Next(5000, Curve{}, Load{Now: 9, Known: true}); got != 3000 {
		t.Errorf("without a target price 5000 becomes %d, want 3000", got)
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
	for range 1000 {
		var hops []maps.Hop
		prices := make([]Price, 4)
		for pop := range prices {
			hops = append(hops, maps.Hop{PoP: uint16(pop), RTT: uint16(20 + rng.IntN(5) - 20*(rng.IntN(9)/8))})
			prices[pop] = Price(rng.IntN(5)) * 250
		}
		orders := map[string]bool{}
		for block := range uint64(100) {
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
	if divided < 100 || divided > 900 {
		t.Errorf("%d of 1000 rankings are divided: the test is too easy", divided)
	}
}
