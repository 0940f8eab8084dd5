package zone

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/txtar"
)

// explained lists where a peer's answer may differ, and why. An entry that
// explains nothing any more fails the test.
var explained = []struct {
	peer, why string
	is        func(q question, ours Result, theirs *dns.Msg) bool
	used      int
}{
	{
		peer: "knot", why: "follows 5 links of a chain, ours 16: RFC 1034 §3.6.2 sets no number",
		is: func(_ question, ours Result, theirs *dns.Msg) bool {
			return links(theirs.Answer) == 5 && theirs.Rcode == dns.RcodeSuccess && len(theirs.Ns) == 0 &&
				len(ours.Answer) > len(theirs.Answer) && sameSet(ours.Answer[:len(theirs.Answer)], theirs.Answer)
		},
	},
	{
		peer: "nsd", why: "follows a chain to its end, ours for 16 links: RFC 1034 §3.6.2 sets no number",
		is: func(_ question, ours Result, theirs *dns.Msg) bool {
			return links(ours.Answer) == maxChain && len(ours.Ns) == 0 &&
				len(theirs.Answer) >= len(ours.Answer) && sameSet(ours.Answer, theirs.Answer[:len(ours.Answer)])
		},
	},
	{
		peer: "nsd", why: "lets the $TTL of an included file hold on after it; Knot and ours end it, as RFC 1035 §5.1 does with the origin",
		is: func(q question, ours Result, theirs *dns.Msg) bool {
			return (q.name == "again.master.test." || q.name == "three.master.test.") && len(theirs.Answer) == 1 &&
				dns.IsDuplicate(ours.Answer[0], theirs.Answer[0]) && theirs.Answer[0].Header().Ttl == 5
		},
	},
	{
		peer: "knot", why: "repeats the CNAMEs of a DNAME loop until its limit; RFC 1034 §3.6.2 wants loops to end",
		is: func(_ question, ours Result, theirs *dns.Msg) bool {
			last, ok := ours.Answer[len(ours.Answer)-1].(*dns.CNAME)
			return ok && theirs.Rcode == dns.RcodeSuccess && len(theirs.Answer) > len(ours.Answer) && len(theirs.Ns) == 0 &&
				slices.ContainsFunc(ours.Answer, func(rr dns.RR) bool { return strings.EqualFold(rr.Header().Name, last.Target) }) &&
				sameSet(ours.Answer, theirs.Answer[:len(ours.Answer)])
		},
	},
	{
		peer: "knot", why: "adds an SOA when a DNAME makes the name too long, sometimes with NXDOMAIN; RFC 6672 §2.2 wants YXDOMAIN, no denial",
		is: func(_ question, ours Result, theirs *dns.Msg) bool {
			return ours.Rcode == dns.RcodeYXDomain && theirs.Rcode != dns.RcodeSuccess && sameSet(ours.Answer, theirs.Answer)
		},
	},
	{
		peer: "knot", why: "does not follow a CNAME for RRSIG and NSEC, which may stand beside it (RFC 4035 §2.5); RFC 1034 §4.3.2 follows, as NSD does",
		is: func(q question, ours Result, theirs *dns.Msg) bool {
			return (q.rrtype == dns.TypeRRSIG || q.rrtype == dns.TypeNSEC) && links(ours.Answer) > links(theirs.Answer) &&
				theirs.Rcode == dns.RcodeSuccess && sameSet(ours.Answer[:len(theirs.Answer)], theirs.Answer)
		},
	},
	{
		peer: "knot", why: `spells the owner of a DNAME at "*" as the question's name, which RFC 6672 §3.1 copies as it is`,
		is: func(q question, ours Result, theirs *dns.Msg) bool {
			i := slices.IndexFunc(ours.Answer, func(rr dns.RR) bool {
				return rr.Header().Rrtype == dns.TypeDNAME && isWildcard(rr.Header().Name)
			})
			if i < 0 || i >= len(theirs.Answer) || ours.Rcode != theirs.Rcode || theirs.Answer[i].Header().Rrtype != dns.TypeDNAME {
				return false
			}
			theirs.Answer[i].Header().Name = ours.Answer[i].Header().Name
			return sameSet(ours.Answer, theirs.Answer) && sameSet(ours.Ns, theirs.Ns)
		},
	},
}

// links counts the CNAME records of an answer.
func links(rrs []dns.RR) (n int) {
	for _, rr := range rrs {
		if rr.Header().Rrtype == dns.TypeCNAME {
			n++
		}
	}
	return n
}

type question struct {
	name   string
	rrtype uint16
}

// TestPeers serves the same zones from NSD and Knot and wants the same answers
// to every name and type of the zones, and to random names around them.
func TestPeers(t *testing.T) {
	zones := peerZones(t)
	for _, peer := range []string{"nsd", "knot"} {
		t.Run(peer, func(t *testing.T) {
			address := startPeer(t, peer, zones)
			conn, err := dns.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			asked, wrong := 0, 0
			for origin, file := range zones {
				z, err := ParseFile(origin, file.ours, Options{})
				if err != nil {
					t.Fatal(err)
				}
				for q := range questions(z) {
					asked++
					theirs, err := exchange(conn, q)
					if err != nil {
						t.Fatalf("%s %s: %v", q.name, dns.Type(q.rrtype), err)
					}
					if difference := differ(peer, q, z.Lookup(q.name, q.rrtype), theirs); difference != "" {
						if wrong++; wrong <= 10 {
							t.Errorf("%s %s: %s\nours\n%s%s\n%s", q.name, dns.Type(q.rrtype), difference, render(z.Lookup(q.name, q.rrtype)), peer, theirs)
						}
					}
				}
			}
			t.Logf("%d questions, %d differ", asked, wrong)
			for _, e := range explained {
				if e.peer == peer {
					t.Logf("explained %d times: %s %s", e.used, e.peer, e.why)
					if e.used == 0 {
						t.Errorf("no longer needed: %s %s", e.peer, e.why)
					}
				}
			}
		})
	}
}

// zoneFile is one zone as this package reads it, and as the peers do: the same
// file but for $GENERATE, which they lack.
type zoneFile struct{ ours, theirs string }

// peerZones returns origin → file of the zones to serve: the big one, and those
// of the text tests that have no dynamic names, each under a name of its own.
func peerZones(t *testing.T) map[string]zoneFile {
	t.Helper()
	dir := t.TempDir()
	big, err := os.ReadFile("testdata/peers/example.org.zone")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	zones := map[string]zoneFile{}
	put := func(origin, text string) {
		path := write(origin+"zone", text)
		zones[origin] = zoneFile{path, path}
	}
	var generated strings.Builder
	for i := 1; i <= 200; i += 3 {
		fmt.Fprintf(&generated, "gen-%04x.gen 77 A 192.0.2.%d\n", i+4096, i)
		fmt.Fprintf(&generated, "%x.%x.rev TXT \"$%03d\"\n", i&15, i>>4, i)
	}
	zones["example.org."] = zoneFile{
		ours: write("example.org.ours", string(big)+`
$GENERATE 1-200/3 gen-${4096,4,x}.gen 77 A 192.0.2.$
$GENERATE 1-200/3 ${0,3,n}.rev TXT "\$${0,3}"
`),
		theirs: write("example.org.theirs", string(big)+generated.String()),
	}
	for _, name := range []string{"wildcards", "cuts", "cname", "dname", "negative"} {
		archive, err := txtar.ParseFile("testdata/lookup/" + name + ".txtar")
		if err != nil {
			t.Fatal(err)
		}
		origin := name + ".test."
		put(origin, strings.ReplaceAll(string(archive.Files[0].Data), "example.com.", origin))
	}
	// Master file syntax: without what the peers lack ($GENERATE, relative origins)
	// or do otherwise (TTLs that differ in a set), and with all files in one folder,
	// since NSD's $INCLUDE starts from there.
	archive, err := txtar.ParseFile("testdata/lookup/master.txtar")
	if err != nil {
		t.Fatal(err)
	}
	adapt := strings.NewReplacer("example.com.", "master.test.", "inc/", "", "$ORIGIN @", ";", "$ORIGIN sub", "$ORIGIN sub.master.test.", "zone more", "zone more.master.test.")
	for _, f := range archive.Files[:3] {
		var text strings.Builder
		for row := range strings.Lines(string(f.Data)) {
			if !strings.HasPrefix(row, "$GENERATE") && !strings.HasPrefix(row, "ttls") {
				text.WriteString(adapt.Replace(row))
			}
		}
		if f.Name == "example.com.zone" {
			put("master.test.", text.String())
		} else {
			write(filepath.Base(f.Name), text.String())
		}
	}
	return zones
}

// questions yields every name of a zone, and names below, beside and between
// them, with every type of the zone; then random ones.
func questions(z *Zone) func(func(question) bool) {
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeDS, dns.TypePTR, dns.TypeHTTPS, 65399}
	var names, labels []string
	for n := range z.Nodes() {
		types = append(types, n.Types...)
		names = append(names, n.Name)
		if n.Name != z.Origin() {
			i, _ := dns.NextLabel(n.Name, 0)
			labels = append(labels, n.Name[:i-1])
		}
	}
	slices.Sort(types)
	types = slices.Compact(types)
	return func(yield func(question) bool) {
		ask := func(name string, types ...uint16) bool {
			if !isName(name) {
				return true
			}
			for _, rrtype := range types {
				if !yield(question{name, rrtype}) {
					return false
				}
			}
			return true
		}
		for _, name := range names {
			up := parent(name)
			if !ask(name, types...) ||
				!ask("none."+name, dns.TypeA, dns.TypeTXT, dns.TypeDS, dns.TypeCNAME, dns.TypeDNAME) ||
				!ask("x.Y.z."+name, dns.TypeA, dns.TypeMX, dns.TypeNS) ||
				!ask("*."+name, dns.TypeA, dns.TypeTXT) ||
				!ask("a.*."+name, dns.TypeA, dns.TypeSOA) ||
				!ask(strings.Repeat("x", 49)+"."+name, dns.TypeA) || // 49 to 52: the limit of the long DNAMEs
				!ask(strings.Repeat("x", 50)+"."+name, dns.TypeA) ||
				!ask(strings.Repeat("x", 51)+"."+name, dns.TypeA) ||
				!ask(strings.Repeat("x", 52)+"."+name, dns.TypeA) ||
				name != z.Origin() && !ask("beside."+up, dns.TypeA, dns.TypeMX) {
				return
			}
		}
		random := rand.New(rand.NewPCG(1, uint64(len(names))))
		for range 3000 {
			name := names[random.IntN(len(names))]
			for range random.IntN(4) {
				name = labels[random.IntN(len(labels))] + "." + name
			}
			if !ask(name, types[random.IntN(len(types))]) {
				return
			}
		}
	}
}

// exchange asks one question, without recursion or EDNS.
func exchange(conn *dns.Conn, q question) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.rrtype)
	m.RecursionDesired = false
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	if err := conn.WriteMsg(m); err != nil {
		return nil, err
	}
	return conn.ReadMsg()
}

// differ says how a peer's answer differs from ours, "" when it does not or the
// difference is explained. Additional records count where NS records ask for
// them: NSD and Knot disagree about the other types, and we add none.
func differ(peer string, q question, ours Result, theirs *dns.Msg) string {
	difference := ""
	wantExtra := len(ours.Extra) > 0 || q.rrtype == dns.TypeNS ||
		slices.ContainsFunc(theirs.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeNS })
	switch {
	case ours.Rcode != theirs.Rcode:
		difference = "rcode"
	case ours.Authoritative != theirs.Authoritative:
		difference = "aa"
	case !sameSet(ours.Answer, theirs.Answer):
		difference = "answer"
	case !sameSet(ours.Ns, theirs.Ns):
		difference = "authority"
	case wantExtra && !sameSet(ours.Extra, theirs.Extra):
		difference = "additional"
	}
	if difference == "" {
		return ""
	}
	for i := range explained {
		if e := &explained[i]; e.peer == peer && len(ours.Answer) > 0 && e.is(q, ours, theirs) {
			e.used++
			return ""
		}
	}
	return difference
}

// sameSet compares records without regard to order, names without case.
func sameSet(a, b []dns.RR) bool {
	if len(a) != len(b) {
		return false
	}
	left := slices.Clone(b)
	for _, rr := range a {
		i := slices.IndexFunc(left, func(other dns.RR) bool {
			return rr.Header().Ttl == other.Header().Ttl && dns.IsDuplicate(rr, other)
		})
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return true
}

// startPeer runs NSD or Knot on a loopback port with the zones, and returns its
// address when it answers for each of them.
func startPeer(t *testing.T, peer string, zones map[string]zoneFile) string {
	t.Helper()
	binary := map[string]string{"nsd": "nsd", "knot": "knotd"}[peer]
	path, err := exec.LookPath(binary)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed, and CI must have it", binary)
		}
		t.Skipf("%s is not installed: nothing to compare with", binary)
	}
	dir := t.TempDir()
	port := freePort(t)
	var conf string
	var args []string
	if peer == "nsd" {
		conf, args = nsdConf(dir, port, zones), []string{"-d", "-c", filepath.Join(dir, "conf")}
	} else {
		conf, args = knotConf(dir, port, zones), []string{"-c", filepath.Join(dir, "conf")}
	}
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	var log strings.Builder
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", binary, log.String())
		}
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for origin := range zones {
		waitFor(ctx, t, address, origin)
	}
	return address
}

// waitFor asks for a zone's SOA until it comes.
func waitFor(ctx context.Context, t *testing.T, address, origin string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		m := new(dns.Msg)
		m.SetQuestion(origin, dns.TypeSOA)
		reply, err := dns.ExchangeContext(ctx, m, address)
		if err == nil && reply.Rcode == dns.RcodeSuccess && len(reply.Answer) == 1 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s does not serve %s: %v %v", address, origin, reply, err)
		case <-tick.C:
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func nsdConf(dir string, port int, zones map[string]zoneFile) string {
	var conf strings.Builder
	fmt.Fprintf(&conf, `server:
  ip-address: 127.0.0.1@%d
  chroot: ""
  username: ""
  server-count: 1
  minimal-responses: yes
  rrl-ratelimit: 0
  tcp-timeout: 60
  database: ""
  zonesdir: %[3]q
  pidfile: "%[2]s/pid"
  xfrdfile: "%[2]s/xfrd"
  xfrdir: %[2]q
  zonelistfile: "%[2]s/zones"
remote-control:
  control-enable: no
`, port, dir, filepath.Dir(zones["master.test."].theirs))
	for origin, file := range zones {
		fmt.Fprintf(&conf, "zone:\n  name: %q\n  zonefile: %q\n", origin, file.theirs)
	}
	return conf.String()
}

func knotConf(dir string, port int, zones map[string]zoneFile) string {
	var conf strings.Builder
	fmt.Fprintf(&conf, `server:
    listen: 127.0.0.1@%d
    rundir: %[2]q
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    tcp-idle-timeout: 60
database:
    storage: %[2]q
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: %[2]q
    semantic-checks: off
    journal-content: none
    zonefile-sync: -1
zone:
`, port, dir)
	for origin, file := range zones {
		fmt.Fprintf(&conf, "  - domain: %q\n    file: %q\n", origin, file.theirs)
	}
	return conf.String()
}
