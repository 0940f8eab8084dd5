package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"edged/bgp"
	"edged/config"
)

// keeps writes what a node keeps of its VIPs.
func (d nodeDir) keeps(node string, planned, announced []bgp.VIP) {
	d.t.Helper()
	d.keepsAll(map[string]any{
		"saved": "2026-01-01T00:00:00Z", "plan": bgp.NodePlan{Node: node, PoP: "fra", Generation: 3, VIPs: planned}, "announced": announced,
	})
}

func (d nodeDir) keepsAll(k map[string]any) {
	d.t.Helper()
	body, err := json.Marshal(k)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := os.MkdirAll(d.file("state/vips"), 0o700); err != nil {
		d.t.Fatal(err)
	}
	d.write("state/vips/vip-state.json", fmt.Sprintf("edged vip-state 1 sha256:%x\n%s", sha256.Sum256(body), body))
}

// TestPlanWithoutBGP: a file without BGP takes no VIP off a node that is to announce it: neither does
// the node take the file, nor does it start from it while it has another one.
func TestPlanWithoutBGP(t *testing.T) {
	ns1 := []bgp.VIP{{Name: "ns1", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.53/32")}, Port: 53, MinAnnouncers: 1, MinPoPs: 1}}
	const byPlan = "bgp.asn: not given, but this node announces VIPs by its plan, ns1; leave it as it was, take vips out, and have edged vip plan and apply take them off the node first"
	const byWord = "bgp.asn: not given, but this node announces VIPs by its own word, ns1; leave it as it was until edged vip release --local --vip NAME has ended that"
	d := newNodeDir(t)
	for want, keep := range map[string]func(){
		byPlan: func() { d.keeps("fra1", ns1, nil) },
		byWord: func() { d.keeps("fra1", nil, ns1) },
	} {
		keep()
		if code, _, errs := command(t, "serve", "--config", d.file("edged.yaml")); code != 1 || !strings.Contains(errs, want) {
			t.Errorf("a first start: code %d, %q, want %q", code, errs, want)
		}
	}

	d.keeps("old1", nil, nil)
	r := serveDir(t, d)
	if h := r.health(); h.Status != "ok" {
		t.Errorf("nothing is planned: health %+v", h)
	}
	d.keeps("fra1", ns1, nil)
	d.change("edged.yaml", "data_dir: state", "data_dir: elsewhere")
	if code, out, errs := command(t, "reload", "--node", r.socket); code != 1 || !strings.Contains(out+errs, "data_dir: changed, but this node announces VIPs as ") {
		t.Errorf("a reload with another data_dir: code %d, %q, %q", code, out, errs)
	}
	d.change("edged.yaml", "data_dir: elsewhere", "data_dir: state/")
	code, out, errs := command(t, "reload", "--node", r.socket)
	if strings.Contains(out+errs, "data_dir: changed") {
		t.Errorf("the same data_dir: %q, %q", out, errs)
	}
	d.change("edged.yaml", "data_dir: state/", "data_dir: state")
	if h := r.health(); code != 1 || !strings.Contains(out+errs, byPlan) || h.Status != "alarm" || h.Alarms[0].Reason != "reload" {
		t.Errorf("a reload: code %d, %q, %q, health %+v, want %q", code, out, errs, h, byPlan)
	}
	if got := r.metric("edged_reload_failures_total"); got != "2" {
		t.Errorf("%s reloads were refused, want 2", got)
	}
	r.stop()
	// What it served last has no BGP either: it answers, and says so.
	r = serveDir(t, d)
	if log := r.log.String(); !strings.Contains(log, byPlan) {
		t.Errorf("the log does not say %q:\n%s", byPlan, log)
	}
	if got, want := r.alarmed(), "part config "; got != want {
		t.Errorf("alarms of %q, want %q", got, want)
	}
	r.stop()

	d.write("state/vips/vip-state.json", "edged vip-state 1 sha256:0\n{}")
	r = serveDir(t, d)
	log := r.log.String()
	for _, want := range []string{"but nobody can tell whether this node is to announce VIPs: ", `vips/vip-state.json\": `, "its checksum is "} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
	if code, _, errs := command(t, "reload", "--node", r.socket); code != 0 {
		t.Errorf("a node that announces nothing refuses all files: %s", errs)
	}
	if got, want := r.alarmed(), "part "; got != want {
		t.Errorf("alarms of %q, want %q", got, want)
	}
}

// TestPlanInAnotherFolder: nor does a reload take a file with another data_dir, from which the node would start as a new one.
func TestPlanInAnotherFolder(t *testing.T) {
	ns1 := []bgp.VIP{{Name: "ns1", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.53/32")}, Port: 53, MinAnnouncers: 1, MinPoPs: 1}}
	d := newNodeDir(t)
	was, err := config.Load(d.file("edged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		planned []bgp.VIP
		to      string
		want    string
	}{
		{nil, "elsewhere", ""},
		{ns1, "state", ""},
		{ns1, "elsewhere", `edged.yaml:3: data_dir: changed, but this node announces VIPs as "` + d.file("state/vips") + `" says, drained or not; stop it, move that folder, and start it`},
	} {
		d.keeps("fra1", c.planned, nil)
		is := *was
		is.DataDir = config.Path(d.file(c.to))
		if err := checkMoved(&is, was); (c.want == "") != (err == nil) || err != nil && !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("to %s, planned %v: %v, want %q", c.to, c.planned, err, c.want)
		}
	}
}

// TestPlanWithoutPeersOrZones: likewise files without peers, where there were some, and without zones.
func TestPlanWithoutPeersOrZones(t *testing.T) {
	ns1 := []bgp.VIP{{Name: "ns1", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.53/32")}, Port: 53, MinAnnouncers: 1, MinPoPs: 1}}
	peer := map[string]any{"192.0.2.1": map[string]any{"groups": nil}}
	d := newNodeDir(t)
	for _, c := range []struct {
		bgp, zones string
		had        map[string]any
		want       string
	}{
		{"{asn: 64512, router_id: 192.0.2.11}", "[{name: example.com, file: example.com.zone}]", peer, "bgp.peers: none are given, but this node announces VIPs by its plan, ns1; "},
		{"{asn: 64512, router_id: 192.0.2.11}", "[{name: example.com, file: example.com.zone}]", nil, ""},
		{"{asn: 64512, router_id: 192.0.2.11, peers: [{name: tor, address: 192.0.2.1, asn: 64500}]}", "[{name: example.com, file: example.com.zone}]", peer, ""},
		{"{asn: 64512, router_id: 192.0.2.11, peers: [{name: tor, address: 192.0.2.1, asn: 64500}]}", "[]", peer, "zones: none are given, but this node announces VIPs by its plan, ns1; "},
	} {
		d.keepsAll(map[string]any{"saved": "2026-01-01T00:00:00Z", "plan": bgp.NodePlan{Node: "fra1", PoP: "fra", Generation: 3, VIPs: ns1}, "peers": c.had})
		text := strings.Replace(testConfig, "zones: [{name: example.com, file: example.com.zone}]", "zones: "+c.zones+"\nbgp: "+c.bgp, 1)
		d.write("edged.yaml", strings.Replace(text, "names: {www.example.com: {pool: www}}", "", 1))
		l, _, err := load(d.file("edged.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := checkPlanned(l.config); (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("bgp %s, zones %s: %v, want %q", c.bgp, c.zones, err, c.want)
		}
	}
}

// TestPlanListensThere: nor may another socket have the address that a VIP of the plan listens on.
func TestPlanListensThere(t *testing.T) {
	d := newNodeDir(t)
	d.keeps("fra1", []bgp.VIP{{Name: "ns1", Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.53/32")}, Port: 53, MinAnnouncers: 1, MinPoPs: 1}}, nil)
	d.change("edged.yaml", "zones:", "bgp: {asn: 64512, router_id: 192.0.2.11, peers: [{name: tor, address: 192.0.2.1, asn: 64500}]}\nzones:")
	for listen, want := range map[string]string{
		`["0.0.0.0:53"]`:       "listen.external: 0.0.0.0:53 is 198.51.100.53:53, too, where a VIP listens by itself, but this node announces VIPs by its plan, ns1; leave it as it was, take vips out, and have edged vip plan and apply take them off the node first",
		`["[::]:53"]`:          "",
		`["0.0.0.0:5353"]`:     "",
		`["198.51.100.53:53"]`: "listen.external: 198.51.100.53:53 is 198.51.100.53:53, too, where ",
	} {
		text, err := os.ReadFile(d.file("edged.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		d.change("edged.yaml", `["127.0.0.1:0"]`, listen)
		l, _, err := load(d.file("edged.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := checkPlanned(l.config); (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", listen, err, want)
		}
		d.write("edged.yaml", string(text))
	}
}

// alarmed returns the reasons of the alarms.
func (r *running) alarmed() (reasons string) {
	for _, a := range r.health().Alarms {
		reasons += a.Reason + " "
	}
	return reasons
}

// TestVIPsWithoutZones: a node that would refuse all questions is not to draw them.
func TestVIPsWithoutZones(t *testing.T) {
	d := newNodeDir(t)
	d.change("edged.yaml", "zones: [{name: example.com, file: example.com.zone}]",
		"zones: []\nbgp: {asn: 64512, router_id: 192.0.2.11, peers: [{name: tor, address: 192.0.2.1, asn: 64500}]}\nvips: {ns1: {prefixes: [198.51.100.53/32]}}")
	d.change("edged.yaml", "names: {www.example.com: {pool: www}}", "")
	code, _, errs := command(t, "check", "--config", d.file("edged.yaml"))
	if want := "edged.yaml:9: zones: none, but vips are to be announced: all that clients ask would be refused\n"; code != 1 || !strings.Contains(errs, want) {
		t.Errorf("code %d, %q, want %q", code, errs, want)
	}
	d.change("edged.yaml", "vips: {ns1: {prefixes: [198.51.100.53/32]}}", "")
	l, _, err := load(d.file("edged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	n := &node{current: l}
	if _, err := n.checkVIP(t.Context(), bgp.VIP{}); err != errNoZone {
		t.Errorf("a check of a VIP of the plan: %v, want %v", err, errNoZone)
	}
}
