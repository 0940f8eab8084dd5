package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"edged/admin"
)

// TestMain lets the test binary be the demo's sites, and edged, too.
func TestMain(m *testing.M) {
	beChild()
	if len(os.Args) > 1 && os.Args[1] == "demo-site" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

const (
	europe  = "20.0.0.0/24"  // the map's lower half
	america = "200.0.0.0/24" // the map's upper half
)

// health asks the node over its control socket.
func (r *running) health() admin.Health {
	r.t.Helper()
	c, err := admin.NewClient(r.socket, "")
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	var h admin.Health
	if err := c.Get(r.t.Context(), "/healthz", nil, &h); err != nil {
		r.t.Fatal(err)
	}
	return h
}

// metric returns the line of a metric.
func (r *running) metric(name string) string {
	r.t.Helper()
	c, err := admin.NewClient(r.socket, "")
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	var text []byte
	if err := c.Get(r.t.Context(), "/metrics", nil, &text); err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return "none"
}

// want checks an answer.
func (r *running) want(name string, qtype uint16, subnet, want string) {
	r.t.Helper()
	if got := r.answer(name, qtype, subnet); got != want {
		r.t.Errorf("%s %s for %q: got %q, want %q", name, dns.TypeToString[qtype], subnet, got, want)
	}
}

func TestServe(t *testing.T) {
	d := newNodeDir(t)
	r := serveDir(t, d)
	r.want("www.example.com.", dns.TypeA, europe, "198.51.100.1")
	r.want("www.example.com.", dns.TypeA, america, "198.51.100.2")
	r.want("static.example.com.", dns.TypeA, "", "192.0.2.1")
	r.want("text.example.com.", dns.TypeTXT, "", `"one"`)
	r.want("none.example.com.", dns.TypeA, "", "NXDOMAIN")
	if h := r.health(); h.Status != "ok" || len(h.Alarms) != 0 {
		t.Errorf("health %+v", h)
	}
	for metric, want := range map[string]string{
		`edged_decisions_total{pool="www",pop="fra",source="ecs"}`:                           "1",
		`edged_replies_total{rcode="NXDOMAIN",transport="udp",type="A",zone="example.com."}`: "1",
		`edged_alarm{reason="config"}`:                                                       "0",
		`edged_last_reload_ok`:                                                               "1",
		`edged_zone_serial{zone="example.com."}`:                                             "1",
		`edged_ecs_scope_count`:                                                              "2",
	} {
		if got := r.metric(metric); got != want {
			t.Errorf("%s is %s, want %s", metric, got, want)
		}
	}

	code, out, errs := command(t, "explain", "www.example.com", "--client", "200.0.0.7", "--node", r.socket)
	if code != 0 || !strings.Contains(out, "198.51.100.2") || !strings.Contains(out, "located   by ecs 200.0.0.0/24") {
		t.Errorf("explain: %d\n%s%s", code, out, errs)
	}
	offline, online := "", ""
	for _, place := range []struct {
		out  *string
		flag string
		at   string
	}{{&offline, "--config", d.file("edged.yaml")}, {&online, "--node", r.socket}} {
		code, out, errs := command(t, "explain", "www.example.com", "aaaa", "--client", "10.0.0.0/8", "--resolver", "192.0.2.9", "--json", place.flag, place.at)
		if code != 0 || !json.Valid([]byte(out)) {
			t.Errorf("explain: %d\n%s%s", code, out, errs)
		}
		*place.out = out
	}
	if offline != online {
		t.Errorf("explained from files:\n%s\nand by the node:\n%s", offline, online)
	}
	code, out, errs = command(t, "status", "--config", d.file("edged.yaml"))
	for _, want := range []string{"node     fra1 in fra, edged ", "zone     example.com. serial 1\n", "serves   1 names from 1 pools; "} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("status: %d, lacks %q\n%s%s", code, want, out, errs)
		}
	}
	code, out, _ = command(t, "status", "--json", "--node", r.socket)
	var s status
	if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil || s.Node != "fra1" || len(s.Maps) != 1 {
		t.Errorf("status: %d, %v\n%s", code, err, out)
	}

	code, _, errs = command(t, "serve", "--config", d.file("edged.yaml"))
	if want := "another node runs on it"; code != 1 || !strings.Contains(errs, want) {
		t.Errorf("a second node on the same files: %d, want %q in\n%s", code, want, errs)
	}
	r.stop()
	if _, err := os.Stat(r.socket); !os.IsNotExist(err) {
		t.Errorf("the control socket is left behind: %v", err)
	}
}

func TestReload(t *testing.T) {
	d := newNodeDir(t)
	r := serveDir(t, d)

	d.change("more.inc", "one", "two")
	d.write("default.edmap", string(testMap(t, testPoPs, 1)))
	if code, out, errs := command(t, "reload", "--node", r.socket); code != 0 || out != "reloaded\n" {
		t.Fatalf("reload: %d %s%s", code, out, errs)
	}
	r.want("text.example.com.", dns.TypeTXT, "", `"two"`)
	r.want("www.example.com.", dns.TypeA, europe, "198.51.100.2")

	d.change("edged.yaml", "policy: closest", "policy: closets")
	code, _, errs := command(t, "reload", "--node", r.socket)
	want := d.file("edged.yaml") + `:12: pools.www.policy: unknown value "closets"; did you mean "closest"?
edged: reload refused; what was served is served still
`
	if code != 1 || errs != want {
		t.Errorf("reload of a bad file: %d\n%s\nwant\n%s", code, errs, want)
	}
	r.want("text.example.com.", dns.TypeTXT, "", `"two"`)
	if h := r.health(); h.Status != "alarm" || len(h.Alarms) != 1 || h.Alarms[0].Reason != "reload" || len(h.Alarms[0].Detail) != 1 {
		t.Errorf("health %+v", h)
	}
	if f, ok := r.metric("edged_reload_failures_total"), r.metric("edged_last_reload_ok"); f != "1" || ok != "0" {
		t.Errorf("failures %s, last ok %s", f, ok)
	}

	// A signal does the same as the command.
	d.change("edged.yaml", "closets", "closest")
	d.change("edged.yaml", "threads: 1", "threads: 2")
	d.change("more.inc", "two", "three")
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if _, ok := r.log.waitFor("msg=reloaded"); !ok {
		t.Fatalf("no reload:\n%s", r.log)
	}
	if line, _ := r.log.waitFor("msg=reload "); !strings.Contains(line, "listen: changed; a restart brings it into force") {
		t.Errorf("log: %s", line)
	}
	r.want("text.example.com.", dns.TypeTXT, "", `"three"`)
	if h := r.health(); h.Status != "ok" {
		t.Errorf("health %+v", h)
	}
	r.stop()
}

// TestStartFromLastGood breaks what a node is made of, one thing at a time. The
// node must serve what it served last, and say that it does.
func TestStartFromLastGood(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(d nodeDir)
		want  string // in the log
	}{
		"config syntax": {func(d nodeDir) { d.write("edged.yaml", "data_dir: state\nnode: {") }, "not YAML"},
		"config value":  {func(d nodeDir) { d.change("edged.yaml", "pop: fra}", "pop: none}") }, `unknown pop \"none\"`},
		"config gone, data_dir in the environment": {func(d nodeDir) {
			d.t.Setenv("EDGED_DATA_DIR", d.file("state"))
			os.Remove(d.file("edged.yaml"))
		}, "no such file"},
		"zone":        {func(d nodeDir) { d.change("example.com.zone", "@ NS ns1", "") }, "no NS record at the apex"},
		"include":     {func(d nodeDir) { d.write("more.inc", "text TXT") }, "more.inc:"},
		"zone gone":   {func(d nodeDir) { os.Remove(d.file("example.com.zone")) }, "no such file"},
		"map":         {func(d nodeDir) { d.write("default.edmap", "not a map") }, "default.edmap"},
		"map cut off": {func(d nodeDir) { os.Truncate(d.file("default.edmap"), 200) }, "default.edmap"},
		"map gone":    {func(d nodeDir) { os.Remove(d.file("default.edmap")) }, "no such file"},
		"map of other pops": {func(d nodeDir) {
			other := []string{testPoPs[0].Name, "lhr"}
			pops := append(testPoPs[:1:1], testPoPs[1])
			pops[1].Name = other[1]
			d.write("default.edmap", string(testMap(d.t, pops, 0)))
		}, `does not rank the pop \"iad\"`},
		"tokens file": {func(d nodeDir) {
			d.change("edged.yaml", "zones:", "admin: {tokens_file: none}\nzones:")
		}, "tokens file"},
		"address of another machine": {func(d nodeDir) {
			d.change("edged.yaml", `"127.0.0.1:0"], threads`, `"192.0.2.200:53"], threads`)
		}, "192.0.2.200"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newNodeDir(t)
			first := serveDir(t, d)
			first.stop()
			tc.spoil(d)
			r := serveDir(t, d)
			r.want("www.example.com.", dns.TypeA, europe, "198.51.100.1")
			r.want("www.example.com.", dns.TypeA, america, "198.51.100.2")
			r.want("text.example.com.", dns.TypeTXT, "", `"one"`)
			if log := r.log.String(); !strings.Contains(log, tc.want) || !strings.Contains(log, "started from the last good state") {
				t.Errorf("the log does not say %q:\n%s", tc.want, log)
			}
			if h := r.health(); h.Status != "alarm" || len(h.Alarms) != 1 || h.Alarms[0].Reason != "config" {
				t.Errorf("health %+v", h)
			}
			if got := r.metric(`edged_alarm{reason="config"}`); got != "1" {
				t.Errorf("alarm is %s", got)
			}
			r.stop()
		})
	}
}

// TestStartWithoutParts takes away, between two starts, what a node can answer
// without. It must answer, and keep its control socket.
func TestStartWithoutParts(t *testing.T) {
	d := newNodeDir(t)
	port, err := freePort(28053)
	if err != nil {
		t.Fatal(err)
	}
	d.change("edged.yaml", `admin: "127.0.0.1:0"`, fmt.Sprintf("admin: %q", port))
	d.change("edged.yaml", "zones:", "dnstap: {file: taps/tap, sample: 1}\nzones:")
	if err := os.Mkdir(d.file("taps"), 0o700); err != nil {
		t.Fatal(err)
	}
	first := serveDir(t, d)
	first.stop()
	taken, err := net.Listen("tcp", port.String())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := os.RemoveAll(d.file("taps")); err != nil {
		t.Fatal(err)
	}
	r := serveDir(t, d)
	r.want("www.example.com.", dns.TypeA, america, "198.51.100.2")
	if got := r.metric(`edged_alarm{reason="part"}`); got != "1" {
		t.Errorf("alarm is %s", got)
	}
	for _, want := range []string{`msg="started without a part" alarm=part error="dnstap: `, `error="listen.admin: `, "address already in use"} {
		if log := r.log.String(); !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
	r.stop()
}

// TestLastGoodIsClearedByReload repairs the files of a node that runs from its
// last good state.
func TestLastGoodIsClearedByReload(t *testing.T) {
	d := newNodeDir(t)
	first := serveDir(t, d)
	d.write("example.com.zone", fmt.Sprintf(testZone, 2))
	if code, _, errs := command(t, "reload", "--node", first.socket); code != 0 {
		t.Fatal(errs)
	}
	first.stop()
	d.change("example.com.zone", "@ NS", "@ NOSUCHTYPE")
	r := serveDir(t, d)
	if got := r.metric(`edged_zone_serial{zone="example.com."}`); got != "2" {
		t.Errorf("serves serial %s, less than it served last", got)
	}
	d.write("example.com.zone", fmt.Sprintf(testZone, 3))
	if code, _, errs := command(t, "reload", "--node", r.socket); code != 0 {
		t.Fatal(errs)
	}
	if h := r.health(); h.Status != "ok" {
		t.Errorf("health %+v", h)
	}
	if got := r.metric(`edged_zone_serial{zone="example.com."}`); got != "3" {
		t.Errorf("serves serial %s, want 3", got)
	}
	r.stop()
	generations, err := os.ReadDir(d.file("state/last-good"))
	if err != nil || len(generations) != 2 { // one, and the file that names it
		t.Errorf("kept: %v, %v", generations, err)
	}
}

// TestFirstStartWithBadFiles holds that a node that has not served yet lists
// everything and does not start.
func TestFirstStartWithBadFiles(t *testing.T) {
	d := newNodeDir(t)
	d.change("example.com.zone", "static A 192.0.2.1", "static A 192.0.2.256")
	d.write("default.edmap", "not a map")
	d.change("edged.yaml", "zones: [", "geo: {city: none.mmdb}\nadmin: {tokens_file: none}\nzones: [")
	code, _, errs := command(t, "serve", "--config", d.file("edged.yaml"))
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"edged.yaml:11: zones[0].file: ", "example.com.zone:6: ", "edged.yaml:8: maps.default.file: ", "edged.yaml:9: geo.city: ", "edged.yaml:10: admin.tokens_file: "} {
		if !strings.Contains(errs, want) {
			t.Errorf("lacks %q:\n%s", want, errs)
		}
	}
	// The files of another configuration are not this node's.
	good := newNodeDir(t)
	good.change("edged.yaml", "data_dir: state", "data_dir: "+d.file("state"))
	r := serveDir(t, good)
	r.stop()
	if code, _, errs := command(t, "serve", "--config", d.file("edged.yaml")); code != 1 || strings.Contains(errs, "last good") {
		t.Errorf("started from what another configuration served: %d\n%s", code, errs)
	}
}

// TestStartWithoutNodeKey: a node whose own key cannot be read starts from its last good state, apart
// from its fleet, and answers.
func TestStartWithoutNodeKey(t *testing.T) {
	d := newNodeDir(t)
	port, err := freePort(28153)
	if err != nil {
		t.Fatal(err)
	}
	d.write("gossip.key", base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n")
	d.change("edged.yaml", "zones:", fmt.Sprintf("fleet: {name: prod, bind: %q, advertise: %q, key_file: gossip.key, node_key_file: node.key}\nzones:", port, port))
	serveDir(t, d).stop()
	for what, spoil := range map[string]func(){
		"mode":  func() { os.Chmod(d.file("node.key"), 0o644) },
		"empty": func() { d.write("node.key", "") },
	} {
		spoil()
		r := serveDir(t, d)
		r.want("www.example.com.", dns.TypeA, america, "198.51.100.2")
		if got, want := r.alarmed(), "part config "; got != want {
			t.Errorf("%s: alarms of %q, want %q", what, got, want)
		}
		if log, want := r.log.String(), "fleet.node_key_file"; !strings.Contains(log, want) {
			t.Errorf("%s: the log does not say %q:\n%s", what, want, log)
		}
		r.stop()
	}
}
