package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"edged/edge"
	"edged/maps"
)

const testZone = `$ORIGIN example.com.
$TTL 300
@ SOA ns1 hostmaster %d 7200 3600 1209600 60
@ NS ns1
ns1 A 192.0.2.53
static A 192.0.2.1
$INCLUDE more.inc
`

const testConfig = `
node: {name: fra1, pop: fra}
data_dir: state
pops:
  - {name: fra, lat: 50.11, lon: 8.68, continent: EU}
  - {name: iad, lat: 38.95, lon: -77.45, continent: NA}
listen: {external: ["127.0.0.1:0"], threads: 1, admin: "127.0.0.1:0"}
maps: {default: {file: default.edmap}}
zones: [{name: example.com, file: example.com.zone}]
pools:
  www:
    policy: closest
    map: default
    endpoints:
      - {pop: fra, address: 198.51.100.1}
      - {pop: iad, address: 198.51.100.2}
names: {www.example.com: {pool: www}}
`

// testMap encodes a map of the PoPs fra and iad: the lower half of IPv4 is
// nearer to first, the rest to the other.
func testMap(t testing.TB, pops []edge.PoP, first uint16) []byte {
	t.Helper()
	orders := make([][]uint16, 2)
	for i := range orders {
		orders[i] = []uint16{(first + uint16(i)) % 2, (first + uint16(i) + 1) % 2}
	}
	var v4 maps.Builder4
	v4.Add(0, maps.MakeRow(0, false))
	v4.Add(1<<31, maps.MakeRow(1, false))
	var v6 maps.Builder6
	v6.Add(0, 0, maps.MakeRow(0, false))
	table := maps.Table{V4: v4.Finish(), V6: v6.Finish()}
	data, err := maps.Encode(&maps.Contents{
		PoPs: pops, Created: time.Unix(1700000000, 0), Orders: orders,
		Rankings: []maps.Ranking{{Order: 0}, {Order: 1}},
		ECS:      table, Resolver: table,
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var testPoPs = []edge.PoP{
	{Name: "fra", Lat: 50.11, Lon: 8.68, Continent: "EU"},
	{Name: "iad", Lat: 38.95, Lon: -77.45, Continent: "NA"},
}

// nodeDir is a folder with a node's files, good at first.
type nodeDir struct {
	t    *testing.T
	path string
}

func newNodeDir(t *testing.T) nodeDir {
	t.Helper()
	d := nodeDir{t, t.TempDir()}
	d.write("edged.yaml", testConfig)
	d.write("example.com.zone", fmt.Sprintf(testZone, 1))
	d.write("more.inc", "text TXT \"one\"\n")
	d.write("default.edmap", string(testMap(t, testPoPs, 0)))
	return d
}

func (d nodeDir) file(name string) string { return filepath.Join(d.path, name) }

// write puts a file in place like an editor does: whole, by a rename.
func (d nodeDir) write(name, text string) {
	d.t.Helper()
	beside := d.file(name + "~")
	if err := os.WriteFile(beside, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	if err := os.Rename(beside, d.file(name)); err != nil {
		d.t.Fatal(err)
	}
}

// change replaces text in a file, which must hold it.
func (d nodeDir) change(name, old, new string) {
	d.t.Helper()
	data, err := os.ReadFile(d.file(name))
	if err != nil {
		d.t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		d.t.Fatalf("%s has no %q", name, old)
	}
	d.write(name, strings.ReplaceAll(string(data), old, new))
}

// command runs a command line to its end.
func command(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// running is a node that runs "edged serve".
type running struct {
	t      *testing.T
	socket string
	log    *logBuffer
	cancel context.CancelFunc
	ended  chan int
	dns    netip.AddrPort
}

// serveDir starts a node and waits until it serves.
func serveDir(t *testing.T, d nodeDir) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, socket: d.file("state/control.sock"), log: newLogBuffer(), cancel: cancel, ended: make(chan int, 1)}
	go func() {
		code := run(ctx, []string{"serve", "--config", d.file("edged.yaml")}, strings.NewReader(""), io.Discard, r.log)
		r.log.close()
		r.ended <- code
	}()
	t.Cleanup(func() { cancel(); <-r.log.closed })
	line, ok := r.log.waitFor("msg=serving ")
	if !ok {
		t.Fatalf("the node did not start:\n%s", r.log)
	}
	_, rest, _ := strings.Cut(line, "dns=")
	address, _, _ := strings.Cut(strings.Trim(rest, `"[`), "]")
	if _, err := fmt.Sscan(address, new(string)); err != nil {
		t.Fatal(err)
	}
	r.dns = netip.MustParseAddrPort(strings.Fields(address)[0])
	return r
}

// stop ends the node like a signal does.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	if code := <-r.ended; code != 0 {
		r.t.Errorf("exit code %d:\n%s", code, r.log)
	}
}

// answer returns what the node answers to one question, each record in short.
func (r *running) answer(name string, qtype uint16, subnet string) string {
	r.t.Helper()
	m := new(dns.Msg).SetQuestion(name, qtype)
	if subnet != "" {
		p := netip.MustParsePrefix(subnet)
		m.SetEdns0(1232, false)
		opt := m.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()})
	}
	client := dns.Client{Timeout: 5 * time.Second}
	in, _, err := client.ExchangeContext(r.t.Context(), m, r.dns.String())
	if err != nil {
		r.t.Fatalf("%v; log:\n%s", err, r.log)
	}
	if in.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[in.Rcode]
	}
	var out []string
	for _, rr := range in.Answer {
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return strings.Join(out, " ")
}

// logBuffer collects what a node logs, and wakes those who wait for a line.
type logBuffer struct {
	in     *io.PipeWriter
	lines  chan string
	closed chan struct{}
	all    chan string // holds the whole text so far
}

func newLogBuffer() *logBuffer {
	out, in := io.Pipe()
	b := &logBuffer{in: in, lines: make(chan string, 10000), closed: make(chan struct{}), all: make(chan string, 1)}
	b.all <- ""
	go func() {
		defer close(b.closed)
		defer close(b.lines)
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			b.all <- <-b.all + scanner.Text() + "\n"
			b.lines <- scanner.Text()
		}
	}()
	return b
}

func (b *logBuffer) Write(p []byte) (int, error) { return b.in.Write(p) }

func (b *logBuffer) close() { b.in.Close() }

// String returns the log so far.
func (b *logBuffer) String() string {
	s := <-b.all
	b.all <- s
	return s
}

// waitFor returns the next line that holds text; ok is false when the log ends.
func (b *logBuffer) waitFor(text string) (line string, ok bool) {
	for line := range b.lines {
		if strings.Contains(line, text) {
			return line, true
		}
	}
	return "", false
}
