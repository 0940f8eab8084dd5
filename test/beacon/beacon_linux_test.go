package beacon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"edged/admin"
	"edged/mapper/beacon"
	"edged/test/netns"

	// What the binary is made of, so that results are not cached over a change.
	_ "edged/config"
	_ "edged/dnsserver"
	_ "edged/mapper/beacon/page"
)

// The network. Its addresses are like real ones: they are in the US, by the
// built-in place data.
const (
	fraAddr  = "12.1.0.1"
	iadAddr  = "12.1.0.2"
	fraAway  = "12.1.0.11" // where the nodes are measured
	iadAway  = "12.1.0.12"
	siteAddr = "12.1.0.9"
	sinAddr  = "12.1.0.13" // nobody listens there
)

// own are the browser's addresses, all of one block: so many that the map
// believes the median of what they measure.
var own = []string{"12.0.0.11", "12.0.0.12", "12.0.0.13", "12.0.0.14", "12.0.0.15"}

// How far PoPs are: the one that is nearer on the map is farther by the network,
// as it is where a detour leads there. Neither is as fast as light.
const (
	fraDelay = 100 * time.Millisecond
	iadDelay = 160 * time.Millisecond
)

// wait is how long anything else may take.
const wait = 30 * time.Second

const config = `
node: {name: %[1]s1, pop: %[1]s}
data_dir: %[1]s
pops: [{name: fra, lat: 50.11, lon: 8.68}, {name: iad, lat: 38.95, lon: -77.45}]
listen: {external: ["%[2]s:53"], threads: 1, admin: ""}
maps: {default: {file: default.edmap}}
zones: [{name: example.com, file: example.zone}, {name: b.example.com, file: b.zone}]
pools: {edges: {policy: closest, map: default, ttl: {min: 1s, max: 1s}, endpoints: [{pop: fra, address: 12.1.0.1}, {pop: iad, address: 12.1.0.2}]}}
names: {app.example.com: {pool: edges}, "*.b.example.com": {pool: edges}}
beacon:
  zone: b.example.com
  listen: ["%[2]s:443"]
  cert_file: cert.pem
  key_file: key.pem
  token_key_file: token.keys
  origins: ["https://www.example.com"]
`

const exampleZone = `
@ 3600 SOA ns1 hostmaster 1 7200 3600 1209600 60
@ 3600 NS ns1
ns1 A 12.1.0.1
www A 12.1.0.9
`

const beaconZone = `
@ 3600 SOA ns1.example.com. hostmaster.example.com. 1 7200 3600 1209600 60
@ 3600 NS ns1.example.com.
js A 12.1.0.1
fra A 12.1.0.11
iad A 12.1.0.12
`

// The site's pages. Those that are to be quiet say when they have loaded and been
// idle, and a second later, after whatever the script does then.
const (
	script = `<!doctype html><title>page</title><script async src="https://js.b.example.com/beacon.js"></script>`
	idle   = `<script>addEventListener('load', () => requestIdleCallback(() => setTimeout(() => fetch('/idle', {method: 'POST'}), 1000)))</script>`
)

var pages = map[string]string{
	"/":       script + `<p>Hello.`,
	"/quiet":  `<!doctype html><title>quiet</title><iframe src="/save"></iframe><iframe src="/hidden"></iframe>`,
	"/save":   `<script>Object.defineProperty(navigator, 'connection', {value: {saveData: true}})</script>` + script + idle,
	"/hidden": `<script>Object.defineProperty(document, 'visibilityState', {value: 'hidden'})</script>` + script + idle,
}

// lab is a network with the nodes' host, the page and a browser's host.
type lab struct {
	dir, edged   string
	edge, client *netns.Host
	idle         atomic.Int32 // pages that said so
}

// newLab makes the network and all that nodes read. No node runs.
func newLab(t *testing.T) *lab {
	t.Helper()
	possible(t)
	l := &lab{dir: t.TempDir(), edged: binary}
	writeFiles(t, l.dir)
	addSin(t, l.dir)
	run(t, l.dir, l.edged, "map", "build", "--config", "fra.yaml", "-o", "default.edmap")
	network, err := netns.NewNetwork("one")
	must(t, err)
	t.Cleanup(network.Close)
	l.edge = plug(t, network, fraAddr, iadAddr, fraAway, iadAway, siteAddr, sinAddr)
	l.client = plug(t, network, own...)
	proxy(t, l.edge, fraAway+":443", fraAddr+":443", fraDelay)
	proxy(t, l.edge, iadAway+":443", iadAddr+":443", iadDelay)
	l.serveSite(t)
	return l
}

// TestPage is the whole way: a page measures, its reports become segments, those
// of both nodes together a map, and the map changes the answer.
func TestPage(t *testing.T) {
	l := newLab(t)
	fra, iad := l.serve(t, "fra"), l.serve(t, "iad")
	if got := ask(t, l.client, own[0]); got != iadAddr {
		t.Fatalf("before: app.example.com is %s, want %s, which is nearest by distance", got, iadAddr)
	}
	for i, addr := range own {
		must(t, l.client.IP("route replace 12.1.0.0/16 dev wire src "+addr))
		browse(t, l.client, fraAddr, "https://www.example.com/", func() error {
			if n := count(t, l.dir, "*.beacons"); n < i+1 {
				return fmt.Errorf("%d reports are kept of %d sessions", n, i+1)
			}
			return nil
		})
	}
	// Nodes write who asked when they stop, too.
	stop(t, fra)
	stop(t, iad)
	gather(t, l.dir)
	checkRows(t, filepath.Join(l.dir, "all"))

	t.Log(run(t, l.dir, l.edged, "map", "build", "--config", "fra.yaml", "--segments", "all", "-o", "default.edmap"))
	l.serve(t, "fra")
	if got := ask(t, l.client, own[0]); got != fraAddr {
		t.Errorf("after: app.example.com is %s, want %s, which was measured to be closer; edged explains:\n%s",
			got, fraAddr, run(t, l.dir, l.edged, "explain", "app.example.com", "--client", own[0], "--config", "fra.yaml"))
	}
}

// TestOneNode is what pages do when only one node runs.
func TestOneNode(t *testing.T) {
	l := newLab(t)
	l.serve(t, "fra")

	// Where data is to be saved, and in hidden pages, nothing is measured.
	browse(t, l.client, fraAddr, "https://www.example.com/quiet", func() error {
		if n := l.idle.Load(); n < 2 {
			return fmt.Errorf("%d of 2 pages have loaded and are idle", n)
		}
		return nil
	})
	scripts, sessions := l.metric(t, `edged_beacon_requests_total{what="script"}`), l.metric(t, `edged_beacon_requests_total{what="session"}`)
	if scripts == "" || scripts == "0" || sessions != "0" {
		t.Errorf("quiet pages have asked for %q scripts and %q sessions, want some, and 0", scripts, sessions)
	}

	// A page whose own name leads to the node that is down reports by the name of
	// a PoP that it could measure. It comes through the proxy there, so not from
	// the session's block, and is counted as that.
	browse(t, l.client, fraAddr, "https://www.example.com/", func() error {
		if got := l.metric(t, `edged_beacon_reports_total{outcome="other_block"}`); got == "" || got == "0" {
			return fmt.Errorf("%q reports came by the second path", got)
		}
		return nil
	})
}

// metric returns a metric of fra's.
func (l *lab) metric(t *testing.T, name string) string {
	t.Helper()
	c, err := admin.NewClient(filepath.Join(l.dir, "fra", "control.sock"), "")
	must(t, err)
	defer c.Close()
	var text []byte
	must(t, c.Get(t.Context(), "/metrics", nil, &text))
	_, rest, _ := strings.Cut(string(text), "\n"+name+" ")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// checkRows holds what the page measured: both PoPs, no faster than they are, and
// with the resolver, which the other node saw. A session whose second request met a
// browser that was too slow for the page's patience has one PoP; most have both.
func checkRows(t *testing.T, dir string) {
	t.Helper()
	set, err := beacon.OpenAll(dir)
	must(t, err)
	defer set.Close()
	seen, whole, failed := map[string]bool{}, 0, 0
	for s, err := range set.Sessions() {
		must(t, err)
		least := map[string]time.Duration{"fra": fraDelay, "iad": iadDelay}
		for _, r := range s.Rows {
			t.Log(r.Client, r.Resolver, s.PoPs[r.PoP], r.RTT, r.Method)
			if down := s.PoPs[r.PoP] == "sin"; r.Failed() || down {
				if !r.Failed() {
					t.Errorf("%s measured %d to sin, where nobody listens", r.Client, r.RTT)
				}
				if down {
					failed++
				}
				continue
			}
			if rtt := time.Duration(r.RTT) * 100 * time.Microsecond; rtt < least[s.PoPs[r.PoP]] {
				t.Errorf("%s measured %v to %s, want %v or more", r.Client, rtt, s.PoPs[r.PoP], least[s.PoPs[r.PoP]])
			}
			if r.Resolver != r.Client { // this resolver asks for itself
				t.Errorf("%s has the resolver %s", r.Client, r.Resolver)
			}
			delete(least, s.PoPs[r.PoP])
			seen[r.Client.String()] = true
		}
		if len(least) == 0 {
			whole++
		}
	}
	if want := len(own)/2 + 1; whole < want {
		t.Errorf("%d of %d sessions measured both PoPs, want %d", whole, len(own), want)
	}
	if failed < len(own)/2+1 {
		t.Errorf("%d of %d sessions say that sin fails, want %d", failed, len(own), len(own)/2+1)
	}
	for _, addr := range own {
		if !seen[addr] {
			t.Errorf("nothing was measured from %s", addr)
		}
	}
}

// possible skips the test where it cannot run.
func possible(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	err := netns.Possible()
	for _, name := range []string{"chromium", "unshare"} {
		if _, missing := exec.LookPath(name); missing != nil {
			err = errors.Join(err, missing)
		}
	}
	if err != nil && os.Getenv("CI") != "" {
		t.Fatalf("no browser can run here: %v", err)
	}
	if err != nil {
		t.Skipf("no browser can run here: %v", err)
	}
}

func plug(t *testing.T, n *netns.Network, addrs ...string) *netns.Host {
	t.Helper()
	link := netns.Link{Name: "wire", Switch: "one"}
	for _, a := range addrs {
		link.Addresses = append(link.Addresses, netip.PrefixFrom(netip.MustParseAddr(a), 8))
	}
	h, err := n.Plug(link)
	must(t, err)
	return h
}

// addSin adds a PoP where nobody listens.
func addSin(t *testing.T, dir string) {
	t.Helper()
	for name, change := range map[string][2]string{
		"fra.yaml": {"pops: [", "pops: [{name: sin, lat: 1.35, lon: 103.82}, "},
		"iad.yaml": {"pops: [", "pops: [{name: sin, lat: 1.35, lon: 103.82}, "},
		"b.zone":   {"fra A", "sin A " + sinAddr + "\nfra A"},
	} {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, []byte(strings.Replace(string(text), change[0], change[1], 1)), 0o600))
	}
}

// writeFiles writes what the nodes read.
func writeFiles(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"*.b.example.com", "www.example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	for name, text := range map[string]string{
		"fra.yaml":     fmt.Sprintf(config, "fra", fraAddr),
		"iad.yaml":     fmt.Sprintf(config, "iad", iadAddr),
		"example.zone": exampleZone,
		"b.zone":       beaconZone,
		"token.keys":   strings.Repeat("5e", 32) + "\n",
		"cert.pem":     string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"key.pem":      string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
}

// node is a running edged.
type node struct {
	cmd *exec.Cmd
	log string
}

// serve starts a node and waits until it serves.
func (l *lab) serve(t *testing.T, name string) *node {
	t.Helper()
	n := &node{cmd: exec.Command(l.edged, "serve", "--config", name+".yaml"), log: filepath.Join(l.dir, name+".log")}
	file, err := os.Create(n.log)
	must(t, err)
	defer file.Close()
	n.cmd.Dir, n.cmd.Stderr = l.dir, file
	must(t, l.edge.Start(n.cmd))
	t.Cleanup(func() {
		if n.cmd.ProcessState == nil {
			_ = n.cmd.Process.Kill() // an error: it has ended
			_ = n.cmd.Wait()
		}
		if text, err := os.ReadFile(n.log); err == nil && t.Failed() {
			t.Logf("%s:\n%s", name, text)
		}
	})
	must(t, until(wait, func() error {
		text, err := os.ReadFile(n.log)
		if err == nil && !strings.Contains(string(text), "msg=serving") {
			err = fmt.Errorf("node %s does not serve:\n%s", name, text)
		}
		return err
	}))
	return n
}

// stop ends a node like an operator does.
func stop(t *testing.T, n *node) {
	t.Helper()
	must(t, n.cmd.Process.Signal(syscall.SIGTERM))
	must(t, n.cmd.Wait())
}

// serveSite serves the pages.
func (l *lab) serveSite(t *testing.T) {
	t.Helper()
	socket := listen(t, l.edge, siteAddr+":443")
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/idle" {
			l.idle.Add(1)
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, pages[r.URL.Path]) // an error is the browser's: it has gone
	})}
	go server.ServeTLS(socket, filepath.Join(l.dir, "cert.pem"), filepath.Join(l.dir, "key.pem"))
	t.Cleanup(func() { server.Close() })
}

// ask returns what a client is answered for app.example.com.
func ask(t *testing.T, h *netns.Host, from string) string {
	t.Helper()
	var conn net.Conn
	must(t, h.Do(func() (err error) {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
		conn, err = d.Dial("udp", fraAddr+":53")
		return err
	}))
	defer conn.Close()
	c := dns.Client{Timeout: wait}
	in, _, err := c.ExchangeWithConn(new(dns.Msg).SetQuestion("app.example.com.", dns.TypeA), &dns.Conn{Conn: conn})
	must(t, err)
	if len(in.Answer) != 1 {
		t.Fatalf("answer %v", in)
	}
	return in.Answer[0].(*dns.A).A.String()
}

// count returns how many files of both nodes match.
func count(t *testing.T, dir, pattern string) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "???", "beacons", pattern))
	must(t, err)
	return len(found)
}

// gather brings the segments of all nodes into one folder.
func gather(t *testing.T, dir string) {
	t.Helper()
	must(t, os.Mkdir(filepath.Join(dir, "all"), 0o755))
	found, err := filepath.Glob(filepath.Join(dir, "???", "beacons", "*"))
	must(t, err)
	kinds := map[string]int{}
	for _, from := range found {
		kinds[filepath.Ext(from)]++
		data, err := os.ReadFile(from)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, "all", filepath.Base(from)), data, 0o644))
	}
	if kinds[".beacons"] == 0 || kinds[".resolvers"] == 0 || !slices.ContainsFunc(found, func(path string) bool { return strings.Contains(path, "/iad/") }) {
		t.Fatalf("the nodes kept %q", found)
	}
}

// run runs a program to its end and returns what it prints.
func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// until tries something until it works, or time runs out.
func until(limit time.Duration, do func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; <-tick.C {
		err := do()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
