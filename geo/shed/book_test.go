package shed

import (
	"slices"
	"testing"
	"time"

	"edged/edge"
	"edged/maps"
	"edged/maps/mapstest"
)

func TestReportText(t *testing.T) {
	for text, want := range map[string]Report{
		"epoch 178012345 load 1120.5 price 4000":                         {178012345, 1120.5, true, 4000},
		"epoch 0 load ? price 0":                                         {},
		"epoch 18446744073709551615 load 1000000000000000.0 price 64000": {1<<64 - 1, maps.MaxRequests, true, MaxPrice},
	} {
		got, err := ParseReport(text)
		if err != nil || got != want || want.String() != text || len(text) > 64 {
			t.Errorf("%q is %+v (%v), want %+v, whose text is %q", text, got, err, want, want)
		}
	}
	if got := (Report{Load: 0.04, Known: true}).String(); got != "epoch 0 load 0.0 price 0" {
		t.Errorf("less than a tenth: %q", got)
	}
	for _, text := range []string{
		"", "epoch 1 load 2.0 price", "epoch -1 load 2.0 price 0", "epoch 1 load 2 price 0", "epoch 1 load 2.00 price 0", "epoch 01 load 2.0 price 0",
		"epoch 1 load NaN price 0", "epoch 1 load Inf price 0", "epoch 1 load -0.0 price 0", "epoch 1 load 1000000000000001.0 price 0", "epoch 1 load 1e3 price 0",
		"epoch 1 load 2.0 price 64001", "epoch 1 load 2.0 price -1", "epoch 1 load 2.0 price 1 ", "epoch 1  load 2.0 price 1", "load 1 epoch 2.0 price 1",
	} {
		if r, err := ParseReport(text); err == nil {
			t.Errorf("%q is taken for %+v", text, r)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add("epoch 178012345 load 1120.5 price 4000")
	f.Add("epoch 1 load ? price 0")
	f.Add("epoch 1 load 0x1p4 price 0")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReport(s)
		if err == nil && (r.String() != s || r.Price < 0 || r.Price > MaxPrice || !(r.Load >= 0 && r.Load <= maps.MaxRequests)) {
			t.Errorf("%q is taken for %+v", s, r)
		}
	})
}

// TestBook holds the price of one epoch, 100, by what was heard. The PoP has a
// curve on which a share of the demand leaves at each price, and a soft limit of
// 1000 requests/s.
func TestBook(t *testing.T) {
	c := NewCurves(1)
	for lost := range uint16(100) {
		c.Add([]maps.Hop{{PoP: 0, RTT: 10}, {PoP: 0, RTT: 10 + lost}}, nil, 1)
	}
	site := []Site{{Name: "fra", Curve: c.Curve(0), Soft: 1000}}
	report := func(epoch uint64, load float64, price Price) Report { return Report{epoch, load, load > 0, price} }
	said := func(reports ...Report) (all []Said) {
		for i, r := range reports {
			all = append(all, Said{"fra", string(rune('a' + i)), r})
		}
		return all
	}
	over := Next(5000, site[0].Curve, Load{Now: 1100, Target: 1000, Known: true})
	if over != 5600 { // 1.2 % of the demand is at 1.2 steps of half a millisecond
		t.Fatalf("a tenth too much at 5000 makes %d", over)
	}
	far := Next(40_000, site[0].Curve, Load{Now: 2000, Target: 1000, Known: true})
	for _, tt := range []struct {
		name   string
		before Price // in force in epoch 99; -1: none, the node has just started
		told   [][]Said
		want   Price
		load   float64
		fresh  bool
	}{
		{"nothing", -1, nil, 0, 0, false},
		{"nothing more", 5000, nil, 3000, 0, false},
		{"of the epoch that counts", 5000, [][]Said{said(report(98, 1100, 5000))}, over, 1100, true},
		{"said too late to count, a node that starts", -1, [][]Said{said(report(99, 1100, 5000))}, 5000, 0, false},
		{"said too late to count", 5000, [][]Said{said(report(99, 1100, 5000))}, 5000, 0, false},
		{"by a node that starts", -1, [][]Said{said(report(98, 1100, 5000))}, over, 1100, true},
		{"a newer one came early", 5000, [][]Said{said(report(98, 1100, 5000)), said(report(99, 3000, 9000))}, over, 1100, true},
		{"the last one is late: as it was worked out then", over, [][]Said{said(report(97, 1100, 5000))}, over, 1100, false},
		{"and by a node that starts", -1, [][]Said{said(report(42, 1100, 5000))}, over, 1100, false},
		{"a load that is not known", 5000, [][]Said{said(report(98, 0, 5000))}, 5000, 0, false},
		{"what others have is far away: 2 ms nearer", 5000, [][]Said{said(report(98, 2000, 40_000))}, 7000, 2000, true},
		{"but not for one that starts", -1, [][]Said{said(report(98, 2000, 40_000))}, far, 2000, true},
		{"a clock that is far ahead", 5000, [][]Said{said(report(98, 1100, 5000)), said(report(103, 1100, 9000))}, over, 1100, true},
		{"a clock that was far ahead", 5000, [][]Said{said(report(9999, 1100, 9000)), said(report(98, 1100, 5000))}, over, 1100, true},
		{"of several the upper median", 5000, [][]Said{said(report(98, 1, 60_000), report(98, 1100, 5000), report(98, 9000, 5000))}, over, 1100, true},
		{"of two the higher", 5000, [][]Said{said(report(98, 1, 4000), report(98, 1100, 5000))}, over, 1100, true},
		{"one that is behind does not count", 5000, [][]Said{said(report(98, 1100, 5000), report(97, 9000, 9000))}, over, 1100, true},
		{"one that does not know the load", 5000, [][]Said{said(report(98, 1100, 5000), report(98, 0, 5000))}, over, 1100, true},
		{"of another PoP", -1, [][]Said{{{"ams", "a", report(98, 1100, 5000)}}}, 0, 0, false},
		{"taken back", 5000, [][]Said{said(report(98, 1100, 5000)), {}}, 3000, 0, false},
	} {
		var b Book
		if tt.before >= 0 {
			b.prices = map[string]Price{"fra": tt.before}
		}
		b.hear(99, nil)
		for i, told := range tt.told {
			if i < len(tt.told)-1 {
				b.hear(100, told)
			}
		}
		var last []Said
		if len(tt.told) > 0 {
			last = tt.told[len(tt.told)-1]
		}
		got := b.Turn(100, last, site)[0]
		if got.Price != tt.want || got.Load != tt.load || got.Fresh != tt.fresh {
			t.Errorf("%s: price %d by load %v (fresh %v), want %d by %v (%v)", tt.name, got.Price, got.Load, got.Fresh, tt.want, tt.load, tt.fresh)
		}
	}
}

// TestBookIsBounded holds that a node that says something new all the time is not
// remembered at length.
func TestBookIsBounded(t *testing.T) {
	var b Book
	for epoch := range uint64(100) {
		b.hear(epoch, []Said{{"fra", "a", Report{Epoch: epoch}}})
	}
	reports := b.heard[[2]string{"fra", "a"}]
	if len(reports) != keep || !slices.IsSortedFunc(reports, func(x, y Report) int { return int(x.Epoch) - int(y.Epoch) }) || reports[3].Epoch != 99 {
		t.Errorf("held are %v, want the last %d", reports, keep)
	}
}

// TestSites holds how maps are put together.
func TestSites(t *testing.T) {
	m := func(prices ...maps.Pricing) *maps.Map {
		var r4 maps.Builder4
		var r6 maps.Builder6
		r4.Add(0, maps.MakeRow(0, false))
		r6.Add(0, 0, maps.MakeRow(0, false))
		table := maps.Table{V4: r4.Finish(), V6: r6.Finish()}
		return mapstest.Map(t, &maps.Contents{
			PoPs: []edge.PoP{{Name: "fra"}, {Name: "ams"}}, Created: time.Unix(0, 0), Prices: prices,
			Rankings: []maps.Ranking{{Order: maps.NoOrder}}, ECS: table, Resolver: table,
		})
	}
	one := m(maps.Pricing{Soft: 70, Hard: 95, Demand: 100, Leaving: []maps.Leaving{{Steps: 0, Demand: 50}}}, maps.Pricing{})
	two := m(maps.Pricing{Soft: 80, Demand: 100, Leaving: []maps.Leaving{{Steps: 0, Demand: 10}, {Steps: 1, Demand: 90}}}, maps.Pricing{Hard: 5})
	sites := Sites([]string{"ams", "fra", "sin"}, []*maps.Map{one, m(), two})
	want := []Site{{Name: "ams", Hard: 5}, {Name: "fra", Soft: 70, Hard: 95}, {Name: "sin"}}
	for i, site := range sites {
		if site.Name != want[i].Name || site.Soft != want[i].Soft || site.Hard != want[i].Hard {
			t.Errorf("site %+v, want %+v", site, want[i])
		}
	}
	if got := []float64{sites[1].Curve.Left(500), sites[1].Curve.Left(1000), sites[0].Curve.Left(1000)}; !slices.Equal(got, []float64{0.3, 0.75, 0}) {
		t.Errorf("of fra and ams %v leave at one step and at two", got)
	}
}
