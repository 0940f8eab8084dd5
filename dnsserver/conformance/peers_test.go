package conformance

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// peer is a real server that serves example.com with one name, www, that
// depends on the client: 20.0.0.0/8 and 2a00::/16 get 198.51.100.1, and inside
// them 20.1.0.0/16 and 2a00:1::/32 get 198.51.100.2.
type peer struct {
	binary string
	args   []string
	files  map[string]string // path under the peer's folder → text, with DIR and PORT to be filled in
	faults []string          // the checks that this version is known to fail: no others may
	warns  []string          // and those that it is known to get a warning for
	skips  []string          // all of a prefix that it has no support for
}

const peerZone = `$ORIGIN example.com.
$TTL 300
@ SOA ns hostmaster 1 7200 3600 86400 300
@ NS ns
ns A 192.0.2.1
www A 198.51.100.1
sub NS ns.sub
ns.sub A 192.0.2.2
`

var peers = map[string]peer{
	// gdnsd knows the scope of every answer, but not that a negative one has
	// none; it has no NSID option set, no extended errors, and its own cookies.
	"gdnsd": {
		binary: "gdnsd", args: []string{"-c", "DIR", "start"},
		files: map[string]string{
			"config": `options => { listen => 127.0.0.1:PORT, run_dir => "DIR", state_dir => "DIR", udp_threads => 1, tcp_threads => 1 }
plugins => { geoip => {
  maps => { m => { datacenters => [a, b], nets => nets } }
  resources => { www => { map => m, dcmap => { a => 198.51.100.1, b => 198.51.100.2 } } }
} }
`,
			"geoip/nets":        "20.0.0.0/8 => [a]\n20.1.0.0/16 => [b]\n2a00::/16 => [a]\n2a00:1::/32 => [b]\n",
			"zones/example.com": strings.NewReplacer("$ORIGIN example.com.\n", "", "www A 198.51.100.1", "www DYNA geoip!www").Replace(peerZone),
		},
		faults: []string{"ecs-nodata"},
		warns:  []string{"ede-refused", "ecs-private", "cookie-v1", "nsid"},
	},
	// Knot's geoip module takes the longest prefix but announces its length as
	// the scope although another lies inside it, and reads malformed options.
	"knot": {
		binary: "knotd", args: []string{"-c", "DIR/knot.conf"},
		files: map[string]string{
			"knot.conf": `server:
  listen: 127.0.0.1@PORT
  rundir: DIR
  nsid: knot1
  edns-client-subnet: on
database:
  storage: DIR
mod-geoip:
  - id: geo
    config-file: DIR/geo.yml
    ttl: 20
    mode: subnet
mod-cookies:
  - id: default
template:
  - id: default
    storage: DIR
    global-module: mod-cookies
zone:
  - domain: example.com
    file: DIR/example.com.zone
    module: mod-geoip/geo
`,
			"geo.yml": `www.example.com:
  - net: 20.0.0.0/8
    A: 198.51.100.1
  - net: 20.1.0.0/16
    A: 198.51.100.2
  - net: 2a00::/16
    A: 198.51.100.1
  - net: 2a00:1::/32
    A: 198.51.100.2
`,
			"example.com.zone": peerZone,
		},
		faults: []string{"ecs-long", "ecs-hostbits", "ecs-scope", "ecs-cover4", "ecs-cover6"},
	},
	// NSD has no client subnet at all, and nothing else to be found wrong.
	"nsd": {
		binary: "nsd", args: []string{"-d", "-c", "DIR/nsd.conf"},
		files: map[string]string{
			"nsd.conf": `server:
  ip-address: 127.0.0.1@PORT
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: DIR
  database: ""
  pidfile: DIR/nsd.pid
  xfrdfile: DIR/xfrd.state
  zonelistfile: DIR/zone.list
  nsid: "ascii_nsd1"
  answer-cookie: yes
remote-control:
  control-enable: no
zone:
  name: example.com
  zonefile: example.com.zone
`,
			"example.com.zone": peerZone,
		},
		skips: []string{"ecs-"},
	},
	// PowerDNS reads malformed options as if they were not there, drops an
	// unknown opcode and takes two OPT records.
	"pdns": {
		binary: "pdns_server", args: []string{"--config-dir=DIR"},
		files: map[string]string{
			"pdns.conf": `launch=geoip
geoip-zones-file=DIR/zones.yml
geoip-database-files=
local-address=127.0.0.1
local-port=PORT
socket-dir=DIR
edns-subnet-processing=yes
guardian=no
daemon=no
server-id=pdns1
`,
			"zones.yml": `domains:
- domain: example.com
  ttl: 300
  records:
    example.com:
      - soa: ns.example.com hostmaster.example.com 1 7200 3600 86400 300
      - ns: ns.example.com
    ns.example.com:
      - a: 192.0.2.1
    a.pop.example.com:
      - a: 198.51.100.1
    b.pop.example.com:
      - a: 198.51.100.2
  services:
    www.example.com:
      default: [ 'a.pop.example.com' ]
      20.0.0.0/8: [ 'a.pop.example.com' ]
      20.1.0.0/16: [ 'b.pop.example.com' ]
`,
		},
		faults: []string{
			"hdr-opcode", "pkt-twoopts", "pkt-optionlength", "ecs-short", "ecs-long", "ecs-hostbits",
			"ecs-scope", "ecs-mask4", "ecs-mask6", "ecs-header",
		},
		warns: []string{"ede-refused"},
		skips: []string{"cookie-"},
	},
}

// TestPeers runs all checks against each installed peer and wants exactly the
// faults that are known of it: a fault not found means a blind check, a fault
// not listed means a check that is too strict, or a new version of the peer.
func TestPeers(t *testing.T) {
	for name, p := range peers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := p.start(t)
			o := Options{
				Server: server, Name: "www.example.com", Timeout: 300 * time.Millisecond,
				Subnets: []netip.Prefix{netip.MustParsePrefix("20.1.2.0/24"), netip.MustParsePrefix("2a00:1::/48")},
			}
			if name != "pdns" { // its geoip backend has no zone cuts
				o.Delegated = "x.sub.example.com"
			}
			report, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, res := range report.Results {
				want := Pass
				switch {
				case slices.Contains(p.faults, res.ID):
					want = Fail
				case slices.Contains(p.warns, res.ID):
					want = Warn
				case res.ID == "edns-tc" || res.ID == "ecs-referral" && o.Delegated == "":
					want = Skip
				}
				for _, prefix := range p.skips {
					if strings.HasPrefix(res.ID, prefix) && !strings.HasSuffix(res.ID, "-unasked") {
						want = Skip
					}
				}
				if res.Verdict != want {
					t.Errorf("%s: got %s, want %s: %s", res.ID, res.Verdict, want, res.Evidence)
				}
			}
		})
	}
}

// start runs the peer until the test ends and returns its address once it
// answers. A missing binary skips the test, or fails it in CI.
func (p peer) start(t *testing.T) netip.AddrPort {
	t.Helper()
	path, err := exec.LookPath(p.binary)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + p.binary)
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed", p.binary)
		}
		t.Skipf("%s is not installed", p.binary)
	}
	dir := t.TempDir()
	server := freePort(t)
	fill := strings.NewReplacer("DIR", dir, "PORT", server.String()[strings.LastIndex(server.String(), ":")+1:])
	for name, text := range p.files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(fill.Replace(text)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var args []string
	for _, a := range p.args {
		args = append(args, fill.Replace(a))
	}
	var log strings.Builder
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	died := make(chan error, 1)
	go func() { died <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-died:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-died
		}
	})
	s := &session{Options: Options{Server: server, Name: "www.example.com.", Timeout: 50 * time.Millisecond}}
	for deadline := time.Now().Add(20 * time.Second); !s.alive(); {
		select {
		case err := <-died:
			died <- err
			t.Fatalf("%s ended before it answered: %v\n%s", p.binary, err, log.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer", p.binary)
		}
	}
	return server
}

// freePort returns a loopback address whose port is free for UDP and TCP.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	for range 20 {
		udp, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := udp.LocalAddr().(*net.UDPAddr).AddrPort()
		tcp, err := net.Listen("tcp", addr.String())
		udp.Close()
		if err == nil {
			tcp.Close()
			return addr
		}
	}
	t.Fatal("no port is free for both udp and tcp")
	return netip.AddrPort{}
}
