package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"edged/admin"
	"edged/edge"
	"edged/geo"
	"edged/mapper/beacon/page"
	"edged/mapper/beacon/token"
	"edged/mapper/estimate"
	"edged/maps"
	"edged/maps/mapstest"
)

const pageConfig = `
beacon: {zone: b.example.com, listen: ["127.0.0.1:0"], cert_file: cert.pem, key_file: key.pem, token_key_file: token.keys, origins: ["https://www.example.com"], allow_private: true}
`

const pageZone = `
@ 300 SOA ns1 hostmaster 1 7200 3600 1209600 60
@ 300 NS ns1.example.com.
fra 300 A 127.0.0.1
iad 300 AAAA 2001:db8::2
`

var key1, key2 = strings.Repeat("01", 32), strings.Repeat("02", 32)

// newPageDir is a node's folder with a beacon.
func newPageDir(t *testing.T) nodeDir {
	t.Helper()
	d := newNodeDir(t)
	d.change("edged.yaml", "names: {", `names: {"*.b.example.com": {pool: www}, `)
	d.change("edged.yaml", "zones: [", "zones: [{name: b.example.com, file: b.zone}, ")
	text, err := os.ReadFile(d.file("edged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d.write("edged.yaml", string(text)+pageConfig)
	d.write("b.zone", pageZone)
	d.write("token.keys", "# of the beacon\n"+key1+"\n")
	d.certify(1)
	return d
}

// certify writes a certificate of some serial number.
func (d nodeDir) certify(serial int64) {
	d.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"*.b.example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		d.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		d.t.Fatal(err)
	}
	d.write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	d.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

// TestAskedWhileStarting scrapes and reloads a node from the moment that its
// control socket is there, while other parts still start.
func TestAskedWhileStarting(t *testing.T) {
	d := newPageDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	t.Cleanup(asking.Wait)
	reloads := 0
	ask := func(f func(*admin.Client) error) {
		asking.Go(func() {
			c, err := admin.NewClient(d.file("state/control.sock"), "")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for answered := false; ctx.Err() == nil; {
				if err := f(c); err == nil {
					answered = true
				} else if answered && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	ask(func(c *admin.Client) error { return c.Get(ctx, "/metrics", nil, new([]byte)) })
	ask(func(c *admin.Client) error {
		r, err := c.Reload(context.WithoutCancel(ctx)) // one that was begun is counted
		if err == nil {
			reloads++
			if !r.Applied {
				t.Error(r.Errors)
			}
		}
		return err
	})
	r := serveDir(t, d)
	cancel()
	asking.Wait()
	if got := r.metric("edged_reloads_total"); got != fmt.Sprint(reloads) {
		t.Errorf("%s reloads are counted, %d were asked for", got, reloads)
	}
	r.stop()
}

// TestPageFaults holds what check says of a beacon's files.
func TestPageFaults(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(nodeDir)
		code  int
		want  string
	}{
		"none":    {func(nodeDir) {}, 0, "edged.yaml: ok"},
		"cert":    {func(d nodeDir) { d.write("cert.pem", "nothing") }, 1, `beacon.cert_file: certificate "`},
		"keys":    {func(d nodeDir) { d.write("token.keys", key1+"\n0102\n") }, 1, "token.keys:2: want 64 hex digits; make them with: openssl rand -hex 32"},
		"no keys": {func(d nodeDir) { d.write("token.keys", "#\n") }, 1, "there is none"},
		"mode": {func(d nodeDir) {
			if err := os.Chmod(d.file("token.keys"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, 1, "mode 0644 lets others use them; chmod 600"},
		"one pop": {func(d nodeDir) { d.change("b.zone", "iad 300", "far 300") }, 0, `beacon.zone: zone "b.example.com." has no addresses for iad: not measured`},
		"no pop": {func(d nodeDir) {
			d.change("b.zone", "iad 300", "far 300")
			d.change("b.zone", "fra 300 A 127.0.0.1", "fra 300 TXT x")
		}, 1, "it the addresses of each pop, such as fra.b.example.com. A"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newPageDir(t)
			c.spoil(d)
			code, out, errs := command(t, "check", "--config", d.file("edged.yaml"))
			if code != c.code || !strings.Contains(out+errs, c.want) {
				t.Errorf("%d, want %d and %q in\n%s%s", code, c.code, c.want, out, errs)
			}
			if strings.Contains(out+errs, key1) {
				t.Error("a key is shown")
			}
		})
	}
}

// TestPageCandidates holds that a session's PoPs come in the map's order for the
// client's block, those without a name in the zone left out, with the one that
// the client would be answered.
func TestPageCandidates(t *testing.T) {
	d := newPageDir(t)
	l, _, err := load(d.file("edged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	fra, iad := page.Candidate{PoP: "fra"}, page.Candidate{PoP: "iad"}
	for client, want := range map[string][]page.Candidate{"20.0.0.7": {fra, iad}, "200.0.0.7": {iad, fra}} {
		list, inForce := l.candidates(netip.MustParseAddr(client), 0)
		if !reflect.DeepEqual(list, want) || inForce != 0 {
			t.Errorf("%s: %v and %d in force, want %v and 0", client, list, inForce, want)
		}
	}
	d.change("edged.yaml", "policy: closest", "policy: failover") // then the first endpoint answers
	if l, _, err = load(d.file("edged.yaml")); err != nil {
		t.Fatal(err)
	}
	if list, inForce := l.candidates(netip.MustParseAddr("200.0.0.7"), 0); list[inForce] != fra {
		t.Errorf("%v with %d in force, want fra", list, inForce)
	}
	d.change("b.zone", "fra 300", "far 300")
	if l, _, err = load(d.file("edged.yaml")); err != nil {
		t.Fatal(err)
	}
	if list, inForce := l.candidates(netip.MustParseAddr("20.0.0.7"), 0); !reflect.DeepEqual(list, []page.Candidate{iad}) || inForce != 0 {
		t.Errorf("%v with %d in force, want iad alone", list, inForce)
	}
}

// TestPageOfferedDeadPoPs: clients are not sent to measure what is known not to
// answer, unless nothing else is left.
func TestPageOfferedDeadPoPs(t *testing.T) {
	d := newPageDir(t)
	l, _, err := load(d.file("edged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	alive := l.view
	for _, c := range []struct {
		fra, iad edge.Verdict
		want     string
		inForce  int
	}{
		{edge.OK, edge.OK, "fra iad", 0},
		{edge.Failing, edge.Unknown, "fra iad", 1},
		{edge.Dead, edge.OK, "iad", 0},
		{edge.OK, edge.Disabled, "fra", 0},
		{edge.OK, edge.Drained, "fra", 0},
		{edge.Dead, edge.Dead, "fra iad", 0},
	} {
		g, err := alive.Geo().WithVerdicts(func(_ string, m geo.Member) geo.State {
			return geo.State{Verdict: map[string]edge.Verdict{"fra": c.fra, "iad": c.iad}[m.PoP]}
		})
		if err != nil {
			t.Fatal(err)
		}
		if l.view, err = alive.WithGeo(g); err != nil {
			t.Fatal(err)
		}
		list, inForce := l.candidates(netip.MustParseAddr("20.0.0.7"), 0)
		var names []string
		for _, p := range list {
			names = append(names, p.PoP)
		}
		if got := strings.Join(names, " "); got != c.want || inForce != c.inForce {
			t.Errorf("fra %v, iad %v: %q with %d in force, want %q with %d", c.fra, c.iad, got, inForce, c.want, c.inForce)
		}
	}
}

// TestPageSamples holds which numbers of a map count as measured by the block: those
// whose origin is the unit itself, and none where a map names no origins.
func TestPageSamples(t *testing.T) {
	own, network := maps.MakeOrigin(uint8(estimate.Own)+1, 13), maps.MakeOrigin(uint8(estimate.NetMetro)+1, 13)
	for name, c := range map[string]struct {
		origins *maps.Origins
		want    [2]int // of fra and iad
	}{
		"none":          {nil, [2]int{}},
		"both":          {&maps.Origins{Hops: []maps.Origin{own, own}}, [2]int{12, 12}},
		"a guess":       {&maps.Origins{Hops: []maps.Origin{own, network}}, [2]int{12, 0}},
		"no level":      {&maps.Origins{Hops: []maps.Origin{0, own}}, [2]int{0, 12}},
		"no such level": {&maps.Origins{Hops: []maps.Origin{maps.MakeOrigin(15, 64), own}}, [2]int{0, 12}},
	} {
		var v4 maps.Builder4
		v4.Add(0, maps.MakeRow(0, true))
		var v6 maps.Builder6
		v6.Add(0, 0, maps.MakeRow(0, true))
		table := maps.Table{V4: v4.Finish(), V6: v6.Finish()}
		m := mapstest.Map(t, &maps.Contents{
			PoPs: testPoPs, Created: time.Unix(1700000000, 0), Orders: [][]uint16{{0, 1}},
			Rankings: []maps.Ranking{{Order: 0, Hops: []maps.Hop{{PoP: 0, RTT: 20}, {PoP: 1, RTT: 181}}}},
			ECS:      table, Resolver: table, Origins: c.origins,
		})
		want := []page.Candidate{{PoP: "fra", RTT: 10, Samples: c.want[0]}, {PoP: "iad", RTT: 90.5, Samples: c.want[1]}}
		if got := ranked(m, netip.MustParseAddr("20.0.0.7")); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestServePage begins a session, asks for its name, reports, and does it again
// after a reload with another certificate and another key that signs.
func TestServePage(t *testing.T) {
	d := newPageDir(t)
	r := serveDir(t, d)
	found := regexp.MustCompile(`https=\[(\S+)\]`).FindStringSubmatch(r.log.String())
	if found == nil {
		t.Fatalf("the beacon does not serve:\n%s", r.log)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	session := func(serial int64) (tok, body string) {
		t.Helper()
		resp, err := client.Get("https://" + found[1] + "/session")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var s struct {
			Token string   `json:"token"`
			PoPs  []string `json:"pops"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&s); err != nil || len(s.PoPs) != 2 {
			t.Fatalf("session %+v, %v", s, err)
		}
		if got := resp.TLS.PeerCertificates[0].SerialNumber.Int64(); got != serial {
			t.Errorf("certificate %d, want %d", got, serial)
		}
		return s.Token, s.Token + "\n" + s.PoPs[0] + " 12.5\n" + s.PoPs[1] + " -\n"
	}
	report := func(body string) {
		t.Helper()
		resp, err := client.Post("https://"+found[1]+"/r", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNoContent {
			t.Errorf("a report is answered %s", resp.Status)
		}
	}
	signedBy := func(tok, key string) bool {
		t.Helper()
		k, err := hex.DecodeString(key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = token.Parse(tok, []token.Key{token.Key(k)})
		return err == nil
	}
	tok, body := session(1)
	if !signedBy(tok, key1) {
		t.Error("the first session's token is not signed with the first key")
	}
	r.want(strings.ToUpper(tok)+".b.example.com.", dns.TypeA, europe, "198.51.100.1")
	r.want("wrong.b.example.com.", dns.TypeA, europe, "198.51.100.1")

	d.certify(2)
	d.write("token.keys", key2+"\n"+key1+"\n")
	if code, out, errs := command(t, "reload", "--node", r.socket); code != 0 || out != "reloaded\n" {
		t.Fatalf("reload: %d %s%s", code, out, errs)
	}
	report(body) // a key that goes still checks
	next, body := session(2)
	if !signedBy(next, key2) {
		t.Error("a token is not signed with the key that is first now")
	}
	report(body)
	report(body)
	d.write("token.keys", "short\n")
	if code, _, errs := command(t, "reload", "--node", r.socket); code == 0 || !strings.Contains(errs, "want 64 hex digits") {
		t.Errorf("a reload with bad keys: %d\n%s", code, errs)
	}
	session(2)
	for metric, want := range map[string]string{
		`edged_beacon_reports_total{outcome="kept"}`:  "2",
		`edged_beacon_reports_total{outcome="used"}`:  "1",
		`edged_beacon_requests_total{what="session"}`: "3",
		`edged_beacon_rows_total`:                     "2",
	} {
		if got := r.metric(metric); got != want {
			t.Errorf("%s is %s, want %s", metric, got, want)
		}
	}
	r.stop()
	code, out, errs := command(t, "beacon", "list", d.file("state/beacons"))
	if code != 0 || !strings.Contains(out, "all") || !regexp.MustCompile(`(?m)^all +2 `).MatchString(out) {
		t.Errorf("beacon list: %d\n%s%s", code, out, errs)
	}
}
