package fleet

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edged/edge"
	"edged/maps"
	"edged/test/fleet/rig"
)

// pricedMap writes a map for which all clients are 10 ms from fra and 13 ms from
// iad, and fra should have 1000 requests/s at most. So few leave it at first that
// its price rises by 2 ms in each epoch.
func pricedMap(path string) error {
	var v4 maps.Builder4
	v4.Add(0, maps.MakeRow(0, true))
	var v6 maps.Builder6
	v6.Add(0, 0, maps.MakeRow(0, true))
	table := maps.Table{V4: v4.Finish(), V6: v6.Finish()}
	c := &maps.Contents{
		Created: time.Unix(1700000000, 0), Orders: [][]uint16{{}}, ECS: table, Resolver: table,
		Rankings: []maps.Ranking{{Hops: []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1, RTT: 26}}, Order: 0}},
		Prices:   make([]maps.Pricing, len(rig.Sites)),
	}
	for i, s := range rig.Sites {
		c.PoPs = append(c.PoPs, edge.PoP{Name: s.PoP, Lat: s.Lat, Lon: s.Lon, Continent: s.Continent})
		c.Orders[0] = append(c.Orders[0], uint16(i))
	}
	c.Prices[0] = maps.Pricing{Soft: 1000, Demand: 500, Leaving: []maps.Leaving{{Steps: 6, Demand: 10}, {Steps: 60, Demand: 1}}}
	data, err := maps.Encode(c)
	if err != nil {
		return err
	}
	return maps.WriteFile(path, data)
}

// loadOf is what a node prints of the first PoP, in short.
func loadOf(n *rig.Node) (epoch uint64, load, price float64, err error) {
	out, errOut, err := n.Edged("load", "--json")
	if err != nil {
		return 0, 0, 0, fmt.Errorf("%s: %w: %s", n.Name, err, errOut)
	}
	var r struct {
		Epoch uint64
		PoPs  []struct {
			Requests float64 `json:"requests_per_second"`
			Price    float64 `json:"price_ms"`
		}
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return 0, 0, 0, err
	}
	return r.Epoch, r.PoPs[0].Requests, r.PoPs[0].Price, nil
}

// Two nodes have one price for a PoP that is told to have too much load, and
// answer by it. One that is cut off keeps what it knows, and has the same again
// when it hears the other.
func TestPricesAgree(t *testing.T) {
	f := makeFleet(t, rig.Config{Nodes: 2})
	path := filepath.Join(t.TempDir(), "priced.edmap")
	f.must(pricedMap(path))
	f.do("configure", f.Nodes, func(n *rig.Node) error {
		config := filepath.Join(n.Dir, "edged.yaml")
		text, err := os.ReadFile(config)
		if err != nil {
			return err
		}
		return os.WriteFile(config, []byte(strings.Replace(string(text), program.Map, path, 1)), 0o600)
	})
	f.do("start", f.Nodes, (*rig.Node).Start)
	f.waitAgreed(time.Minute, f.Nodes)
	watches := f.watch(f.Nodes, "www")
	all := func(pop string) map[string]string {
		want := map[string]string{}
		for _, s := range rig.Sites {
			want[s.PoP] = pop
		}
		return want
	}
	f.wait(5*time.Second, "fra has all clients", func() error { return f.Answered(watches, "www", all("fra")) })

	tell := func(load string) func() {
		return func() {
			if _, errOut, err := f.Nodes[0].Edged("load", "--tell", load); err != nil {
				f.t.Fatalf("edged load --tell %s: %v: %s", load, err, errOut)
			}
		}
	}
	// same errs unless both have a price from low to high, and the same one if they
	// are in the same epoch.
	same := func(low, high float64) error {
		first, _, price, err := loadOf(f.Nodes[0])
		if err != nil {
			return err
		}
		second, _, other, err := loadOf(f.Nodes[1])
		switch {
		case err != nil:
			return err
		case first != second:
			return fmt.Errorf("asked in epochs %d and %d", first, second)
		case price != other:
			return fmt.Errorf("in epoch %d %s has a price of %v, %s of %v", first, f.Nodes[0].Name, price, f.Nodes[1].Name, other)
		case price < low || price > high:
			return fmt.Errorf("the price is %v, want %v to %v", price, low, high)
		}
		return nil
	}
	tell("1500")()
	f.wait(60*time.Second, "the price is 4 ms or more at both", func() error { return same(4, 8) })
	f.wait(5*time.Second, "both answer by it", func() error { return f.Answered(watches, "www", all("iad")) })
	if out, _, err := f.Nodes[1].Edged("explain", "www.example.com", "--client", "84.130.1.0/24"); err != nil || !strings.Contains(out, "(load 150 % of soft limit): iad instead by price") {
		t.Errorf("%s explains: %v\n%s", f.Nodes[1].Name, err, out)
	}

	f.must(f.Nodes[1].Cut(rig.Gossip))
	tell("1500")()
	f.wait(40*time.Second, "the price goes on at the one that is told", func() error {
		_, _, price, err := loadOf(f.Nodes[0])
		if err == nil && price < 10 {
			err = fmt.Errorf("the price is %v", price)
		}
		return err
	})
	if _, _, price, err := loadOf(f.Nodes[1]); err != nil || price > 8 {
		t.Errorf("the one that is cut off has %v (%v), want what it had", price, err)
	}
	tell("980")() // enough: the price stays
	f.must(f.Nodes[1].Join(rig.Gossip))
	f.wait(90*time.Second, "both have the same price again", func() error { return same(10, 64) })
	noneBad(t, watches)
}
