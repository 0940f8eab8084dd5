package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"edged/geo/shed"
	"edged/maps"
)

// pricedTestMap is a map of the PoPs fra and iad for which all of IPv4 is 10 ms from
// fra and 13 ms from iad, with limits.
func pricedTestMap(t *testing.T) []byte {
	t.Helper()
	var v4 maps.Builder4
	v4.Add(0, maps.MakeRow(0, true))
	var v6 maps.Builder6
	v6.Add(0, 0, maps.MakeRow(0, true))
	table := maps.Table{V4: v4.Finish(), V6: v6.Finish()}
	data, err := maps.Encode(&maps.Contents{
		PoPs: testPoPs, Created: time.Unix(1700000000, 0), Orders: [][]uint16{{0, 1}},
		Rankings: []maps.Ranking{{Hops: []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1, RTT: 26}}, Order: 0}},
		Prices: []maps.Pricing{
			{Soft: 1000, Hard: 1200, Demand: 500, Leaving: []maps.Leaving{{Steps: 6, Demand: 10}, {Steps: 60, Demand: 1}}},
			{Price: 250, Soft: 700},
		},
		ECS: table, Resolver: table,
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// nowEpoch is the present epoch.
func nowEpoch() uint64 { return shed.EpochOf(uint64(time.Now().Unix())) }

func loads(t *testing.T, n *running) (r loadReport) {
	t.Helper()
	code, out, errs := command(t, "load", "--json", "--node", n.socket)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// tellLoad posts a load over the control socket.
func tellLoad(t *testing.T, n *running, body string) (status int) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", n.socket)
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Post("http://localhost/v1/load", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// A node that starts goes on with the price that its PoP had, and everything that
// tells of it does: answers, explain, edged load and the metrics. Then it takes a
// load that is told, raises the alarm at the hard limit, and moves the price.
func TestPricesOfANode(t *testing.T) {
	d := newNodeDir(t)
	d.write("default.edmap", string(pricedTestMap(t)))
	if err := os.Mkdir(d.file("state"), 0o750); err != nil {
		t.Fatal(err)
	}
	told := shed.Report{Epoch: nowEpoch() - 3, Load: 980, Known: true, Price: 4000} // within the soft limit: the price stays
	d.write("state/load", told.String()+"\n")
	n := serveDir(t, d)
	defer n.stop()

	if got := n.answer("www.example.com.", 1, inFra); got != "198.51.100.2" {
		t.Errorf("at the price kept, the answer is %q, want that of iad", got)
	}
	_, out, _ := command(t, "explain", "www.example.com", "--client", inFra, "--node", n.socket)
	for _, want := range []string{
		`\* +iad +13\.0 .* least round-trip time plus price, fra without prices\n`,
		`  +fra +10\.0 .* \+4\.0 ms \(load 98 % of soft limit, not told since\): iad instead by price\n`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("explain does not match %q:\n%s", want, out)
		}
	}
	_, out, _ = command(t, "load", "--node", n.socket)
	want := "" +
		"pop  load/s       soft  hard  of soft  price    of the map\n" +
		"fra  980.0 (old)  1000  1200  98 %     +4.0 ms  0.0 ms\n" +
		"iad  ?            700   -     -        +0.0 ms  0.2 ms\n"
	if head, table, _ := strings.Cut(out, "\n"); table != want || !strings.HasPrefix(head, "epoch ") {
		t.Errorf("edged load prints\n%s\nwant\n%s", out, want)
	}
	for series, want := range map[string]string{
		`edged_pop_load{pop="fra"}`: "980", `edged_pop_price_seconds{pop="fra"}`: "0.004", `edged_pop_price_seconds{pop="iad"}`: "0",
		`edged_pop_load_limit{limit="hard",pop="fra"}`: "1200", `edged_pop_load_limit{limit="soft",pop="iad"}`: "700", `edged_pop_load_fresh{pop="fra"}`: "0",
	} {
		if got := n.metric(series); got != want {
			t.Errorf("metric %s is %q, want %q", series, got, want)
		}
	}

	for body, want := range map[string]int{
		`{"requests_per_second": 1250.5}`: 200, `{"requests_per_second": -1}`: 400, `{"requests_per_second": "many"}`: 400, `{}`: 400, `{"rps": 1}`: 400,
	} {
		if got := tellLoad(t, n, body); got != want {
			t.Errorf("%s is answered with status %d, want %d", body, got, want)
		}
	}
	if testing.Short() {
		return
	}
	// It says what it was told in the epoch that follows, and the price is worked out
	// in the one after that, so this is three epochs at most.
	p := loads(t, n).PoPs[0]
	for end := time.Now().Add(3*shed.Epoch + 5*time.Second); p.Price == 4 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		p = loads(t, n).PoPs[0]
	}
	if p.Load == nil || *p.Load != 1250.5 || !p.Fresh || p.Price != 6 {
		t.Errorf("the price of 4 is followed by %+v, want a load of 1250.5 and a price of 6", p)
	}
	deadline := time.Now().Add(5 * time.Second)
	for n.metric(`edged_alarm{reason="load"}`) != "1" {
		if time.Now().After(deadline) {
			t.Fatalf("no alarm; log:\n%s", n.log)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if kept, err := os.ReadFile(d.file("state/load")); err != nil || !slices.Contains(strings.Fields(string(kept)), "1250.5") {
		t.Errorf("kept is %q (%v)", kept, err)
	}
}

func TestMapShowsPrices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.edmap")
	if err := maps.WriteFile(path, pricedTestMap(t)); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"pop  price ms  demand/s  soft  hard\n" +
		"fra  0.0       500.0     1000  1200\n" +
		"iad  0.2       0.0       700   -\n"
	if code, out, errs := command(t, "map", "show", path); code != 0 || !strings.HasSuffix(out, "\n\n"+want) {
		t.Errorf("exit code %d, %s, prints\n%s\nwant at its end\n%s", code, errs, out, want)
	}
}

// TestBadLoadTold: the command said what its own JSON encoder thinks of NaN.
func TestBadLoadTold(t *testing.T) {
	for _, text := range []string{"NaN", "-1", "Inf", "1e16"} {
		_, _, errs := command(t, "load", "--node", "http://127.0.0.1:1", "--tell="+text)
		if want := " in --tell: want requests a second, all machines of the PoP together, 0 to 1e+15"; !strings.Contains(errs, "load of ") || !strings.Contains(errs, want) {
			t.Errorf("%s: %s, want%s", text, errs, want)
		}
	}
}
