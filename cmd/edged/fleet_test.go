package main

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const inFra = "84.130.1.0/24" // a client whose closest PoP is fra

// eventually waits for an answer: overrides take a moment to be answered by.
func (r *running) eventually(name, subnet, want string) {
	r.t.Helper()
	got := ""
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = r.answer(name, dns.TypeA, subnet); got == want {
			return
		}
	}
	r.t.Fatalf("%s for %s is answered %q, want %q; log:\n%s", name, subnet, got, want, r.log)
}

// override runs a command that must be accepted, and returns what it prints.
func (r *running) override(args ...string) string {
	r.t.Helper()
	code, out, errs := command(r.t, append(args, "--node", r.socket, "--reason", "test", "--owner", "ops")...)
	if code != 0 {
		r.t.Fatalf("edged %q: exit code %d: %s", args, code, errs)
	}
	return out
}

// A drained node takes out the endpoints that stand on it, and nothing else.
func TestDrainNode(t *testing.T) {
	d := newNodeDir(t)
	d.change("edged.yaml", "address: 198.51.100.1}", "address: 198.51.100.1, node: fra1}\n      - {pop: fra, address: 198.51.100.9, node: fra2}")
	r := serveDir(t, d)
	if out := r.override("drain", "node/fra1"); !strings.Contains(out, "matches 0 pops, 0 nodes, 1 endpoints") {
		t.Errorf("the drain of a node prints %q", out)
	}
	r.eventually("www.example.com.", inFra, "198.51.100.9")
	r.override("drain", "node/fra*")
	r.eventually("www.example.com.", inFra, "198.51.100.2")
	for _, q := range []string{"node/fra1", "node/fra*"} {
		r.override("clear", q)
	}
	for range 100 { // both come back, in turn
		if got := r.answer("www.example.com.", dns.TypeA, inFra); got == "198.51.100.1" {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error(fmt.Sprint("the drained endpoint never came back; log:\n", r.log))
}

// A rule counts a PoP that checks find down: the last one that is up stays.
func TestRuleCountsWhatIsDown(t *testing.T) {
	d := newNodeDir(t)
	closed := closedPort(t)
	d.change("edged.yaml", "address: 198.51.100.1}", fmt.Sprintf(
		"address: 198.51.100.1, check: {kind: tcp, target: 127.0.0.1, port: %d, interval: 100ms, timeout: 100ms, fall: 1}}", closed))
	d.change("edged.yaml", "names: {", "rules: [{at_least: 1, of: pops}]\nnames: {")
	r := serveDir(t, d)
	r.eventually("www.example.com.", inFra, "198.51.100.2")
	for _, more := range []string{"", "--dry-run"} {
		args := strings.Fields("drain pop/iad --reason test --owner ops --node " + r.socket + " " + more)
		code, _, errs := command(t, args...)
		const want = `edged: drain pop/iad breaks rule "at least 1 pops per fleet": 0 of 2 pops in the fleet would stay in service, want 1 ` +
			"(out: fra, iad; overrides would leave 1, of which checks find 1 down)\n"
		if code != 1 || errs != want {
			t.Errorf("exit code %d: %s\nwant %s", code, errs, want)
		}
	}
	r.override("drain", "pop/fra")
}

// closedPort is a TCP port of 127.0.0.1 that nobody listens on.
func closedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// told waits for a line of "edged health" about a target.
func (r *running) told(target, want string) {
	r.t.Helper()
	out := ""
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		_, out, _ = command(r.t, "health", "--node", r.socket)
		for line := range strings.Lines(out) {
			if strings.Contains(line, target) && regexp.MustCompile(want).MatchString(strings.TrimSuffix(line, "\n")) {
				return
			}
		}
	}
	r.t.Fatalf("edged health has no line with %s and %q:\n%s", target, want, out)
}

// A source that vanishes after it said something leaves its verdict as it was,
// and edged health tells since when, and why.
func TestExternalSourceVanishes(t *testing.T) {
	d := newNodeDir(t)
	d.write("site", "ok\n")
	d.change("edged.yaml", "address: 198.51.100.1}", "address: 198.51.100.1, check: {kind: external, source: "+d.file("site")+", interval: 100ms, timeout: 100ms}}")
	r := serveDir(t, d)
	r.told("external ", `  ok  .*  own check$`)
	if err := os.Remove(d.file("site")); err != nil {
		t.Fatal(err)
	}
	r.told("external ", `  ok  .*kept since 20[0-9-]+T[0-9:]+Z: no file /.*; own check$`)
	r.eventually("www.example.com.", inFra, "198.51.100.1")
	d.write("site", "dead switched off\n")
	r.told("external ", `  dead  .*switched off; own check$`)
	if err := os.Remove(d.file("site")); err != nil {
		t.Fatal(err)
	}
	r.told("external ", `  dead  .*kept since 20[0-9-]+T[0-9:]+Z: no file /.*; own check$`)
	r.eventually("www.example.com.", inFra, "198.51.100.2")
}

// Targets that differ only in what is not in their names are told apart.
func TestHealthTellsTargetsApart(t *testing.T) {
	d := newNodeDir(t)
	d.change("edged.yaml", "address: 198.51.100.1}", "address: 198.51.100.1, check: {kind: http, target: 127.0.0.1, port: 1, status: [204], interval: 1s}}")
	d.change("edged.yaml", "address: 198.51.100.2}", "address: 198.51.100.2, check: {kind: http, target: 127.0.0.1, port: 1, headers: {X-A: b}, interval: 5s, timeout: 500ms}}")
	r := serveDir(t, d)
	r.told("http://127.0.0.1:1/ interval=1s status=[204] timeout=1s ", `www/198.51.100.1`)
	r.told("http://127.0.0.1:1/ headers=map[x-a:b] interval=5s status=[200] timeout=500ms ", `www/198.51.100.2`)
}

// An explanation names the override that keeps an endpoint from being answered.
func TestExplainNamesTheOverride(t *testing.T) {
	r := serveDir(t, newNodeDir(t))
	r.override("drain", "pop/fra")
	r.override("force-down", "endpoint/www/198.51.100.2")
	var out string
	for end := time.Now().Add(5 * time.Second); !strings.Contains(out, "force-down by") && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		_, out, _ = command(t, "explain", "www.example.com", "--client", inFra, "--node", r.socket)
	}
	for _, want := range []string{
		`drained by fra1-1-1: drain pop/fra by ops: "test", until cleared`,
		`force-down by fra1-1-2: force-down endpoint/www/198.51.100.2 by ops: "test", until cleared`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("explain does not say %s:\n%s", want, out)
		}
	}
}
