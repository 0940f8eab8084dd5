package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"edged/edge"
)

const minimal = `
node: {name: fra1, pop: fra}
pops: [{name: fra, lat: 50.11, lon: 8.68}]
listen: {external: ["127.0.0.1:5354"]}
`

// write puts text into a new file and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edged.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEveryKey(t *testing.T) {
	data, err := os.ReadFile("testdata/full.yml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(data, "/etc/edged/edged.yaml")
	if err != nil {
		t.Fatal(err)
	}
	https := defaultCheck
	https.Kind, https.Port, https.Path, https.Host = "https", 443, "/healthz", "www.example.com"
	https.Status, https.Verify = []int{200, 204}, true
	https6 := https
	https6.Path, https6.Headers = "/v6", map[string]string{"x-from": "edged"} // names of headers are case-insensitive
	want := &Config{
		Node:    Node{Name: "fra1", PoP: "fra"},
		DataDir: "/etc/edged/state",
		PoPs: []edge.PoP{
			{Name: "fra", Lat: 50.11, Lon: 8.68, Continent: "EU", Capacity: 100000},
			{Name: "iad", Lat: 38.95, Lon: -77},
		},
		Listen: Listen{
			External: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:5354"), netip.MustParseAddrPort("[::1]:5354")},
			Threads:  2,
			Admin:    netip.MustParseAddrPort("127.0.0.1:8053"),
		},
		Admin: Admin{TokensFile: "/etc/edged/tokens", CertFile: "/etc/edged/admin.pem", KeyFile: "/etc/edged/admin.key", Hosts: []string{"edge1.example.net"}, Pprof: true},
		Geo:   Geo{City: "/etc/edged/city.mmdb", ASN: "/srv/asn.mmdb"},
		Maps:  map[string]Map{"default": {File: "/etc/edged/default.edmap"}},
		Zones: []Zone{{Name: "example.com.", File: "/etc/edged/zones/example.com.zone"}},
		Pools: map[string]Pool{
			"www": {
				Policy: "closest", Map: "default", Answers: 2,
				TTL: TTL{Min: time.Minute, Max: 5 * time.Minute},
				Endpoints: []Endpoint{
					{PoP: "fra", Address: netip.MustParseAddr("198.51.100.1"), Node: "fra1", Weight: 50, Check: https},
					{PoP: "fra", Address: netip.MustParseAddr("2001:db8::1"), Weight: 100, Check: https6},
					{PoP: "iad", Pool: "far", Weight: 100},
				},
				Fallback:   Fallback{CNAME: "last-resort.example.net."},
				Check:      https,
				FailOpen:   FailOpen{Order: "fallback", Drained: true},
				Quorum:     Quorum{MinObservers: 2, MinPoPs: 2, Partition: "majority"},
				UpFraction: 0.25, RequiresVIP: "ns1",
			},
			"far": {
				Policy: "failover", Answers: 1,
				TTL:       TTL{Min: 20 * time.Second, Max: 20 * time.Second}, // a short max brings min down
				Endpoints: []Endpoint{{Address: netip.MustParseAddr("192.0.2.1"), Weight: 100, Check: defaultCheck}},
				Check:     defaultCheck, FailOpen: defaultFailOpen, Quorum: defaultQuorum, UpFraction: defaultUpFraction,
			},
		},
		Names: map[string]Name{
			"www.example.com.":   {Pool: "www"},
			"*.cdn.example.com.": {Pool: "www"},
			"*.example.com.":     {Pool: "www"},
			"example.com.":       {Pool: "far"},
		},
	}
	want.Fleet = Fleet{
		Name: "prod", Bind: netip.MustParseAddrPort("[::]:7946"), Advertise: netip.MustParseAddrPort("192.0.2.11:7946"),
		Link: netip.MustParseAddrPort("[::]:7950"), Observers: 4, Join: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:7946")},
		KeyFile: "/etc/edged/gossip.key", NodeKeyFile: "/etc/edged/node.ed25519",
		Members: []Member{{Name: "fra1", PoP: "fra", Key: "ed25519:1"}, {Name: "iad1", PoP: "iad", Key: "ed25519:2"}},
	}
	want.Rules = []Rule{{AtLeast: 1, Of: "pops", Per: "continent"}, {DrainedAtMost: "30%", Of: "capacity", Per: "fleet"}}
	want.BGP = BGP{
		ASN: 64512, RouterID: netip.MustParseAddr("192.0.2.11"), Listen: 1179,
		Peers: []Peer{
			{
				Name: "tor-a", Address: netip.MustParseAddr("192.0.2.1"), ASN: 64500, LocalAddress: netip.MustParseAddr("192.0.2.11"),
				PasswordFile: "/etc/edged/md5", GTSM: true, Hold: 9 * time.Second,
				BFD: BFD{Interval: 300 * time.Millisecond, Multiplier: 3}, Groups: []string{"fabric"},
			},
			{Name: "far", Address: netip.MustParseAddr("2001:db8::1"), ASN: 64501, Multihop: 3, Passive: true, Hold: 9 * time.Second, BFD: defaultBFD},
		},
	}
	want.VIPs = map[string]VIP{
		"ns1": {
			Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.53/32"), netip.MustParsePrefix("2001:db8::53/128")},
			Listen:   53, MinAnnouncers: 2, MinPoPs: 2, Communities: []string{"64512:100"}, Groups: []string{"fabric"},
			Drain:  Drain{Hold: 40 * time.Second, Linger: 30 * time.Second},
			Ladder: []Rung{{"gshut", ""}, {"prepend", "3"}, {"med", "1000"}, {"community", "64512:666"}, {"withdraw", ""}},
		},
		"ns2": {
			Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.54/32")},
			Listen:   53, MinAnnouncers: 1, MinPoPs: 1, Drain: defaultDrain, Ladder: defaultVIP.Ladder,
		},
	}
	want.Beacon = Beacon{
		Zone: "example.com.", Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:443")},
		CertFile: "/etc/edged/cert.pem", KeyFile: "/etc/edged/key.pem", TokenKeyFile: "/etc/edged/token.keys",
		Origins: []string{"https://www.example.com", "http://[2001:db8::1]:8080"}, Sources: []string{"https://iad1.example.net:8053"},
		AllowPrivate: true, Keep: Keep{Days: 30, SizeMB: 500}, Quota: Quota{Rows: 1000, SizeMB: 10, Uploads: 1},
	}
	want.Load = LoadSource{URL: "http://127.0.0.1:9100/load"}
	want.Aggregate = Aggregate{
		Engine: "clickhouse", URLs: []string{"http://192.0.2.21:8123", "http://192.0.2.22:8123"}, Cluster: "beacons",
		Database: "geo", User: "edged", PasswordFile: "/etc/edged/clickhouse.password", Timeout: 30 * time.Second,
	}
	want.RRL = RRL{PerSecond: 100, Slip: 3, Exempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	want.Cookies = Cookies{SecretFile: "/etc/edged/cookie.secret"}
	want.EDNS = EDNS{MaxUDP: 1400}
	want.TCP = TCP{Idle: 5 * time.Second, MaxConnections: 10, MaxPerClient: 3}
	want.Dnstap = Dnstap{Socket: "/run/tap.sock", Sample: 100}
	want.Log = Log{Level: "debug", Format: "json"}
	want.source, want.origins = got.source, got.origins
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	// Every key of a Config stands in the file, so that none goes untested.
	for _, s := range singles(reflect.ValueOf(*got), nil) {
		if key := strings.Join(s.path, "."); !got.source.has(key) && key != "dnstap.file" {
			t.Errorf("testdata/full.yml does not have %s", key)
		}
	}
}

func TestDefaults(t *testing.T) {
	got, err := Parse([]byte(minimal), "/etc/edged/edged.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Node = Node{Name: "fra1", PoP: "fra"}
	want.PoPs = []edge.PoP{{Name: "fra", Lat: 50.11, Lon: 8.68}}
	want.Listen.External = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:5354")}
	want.source, want.origins = got.source, got.origins
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
}

// TestPrintedConfigLoads holds the printed form to the file's: reading it again
// gives the same configuration.
func TestPrintedConfigLoads(t *testing.T) {
	for _, file := range []string{"testdata/full.yml", "testdata/documented.yml", write(t, minimal)} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first, err := Parse(data, "/etc/edged/edged.yaml")
		if err != nil {
			t.Fatal(err)
		}
		text, err := first.YAML()
		if err != nil {
			t.Fatal(err)
		}
		second, err := Parse(text, "/elsewhere/edged.yaml")
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		again, err := second.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if string(again) != string(text) {
			t.Errorf("printed first:\n%s\nprinted second:\n%s", text, again)
		}
	}
}

func TestEnvironment(t *testing.T) {
	path := write(t, minimal+"log: {level: debug}\n")
	t.Setenv("EDGED_LISTEN_ADMIN", "")
	t.Setenv("EDGED_LISTEN_THREADS", "3")
	t.Setenv("EDGED_LOG_LEVEL", "warn")
	t.Setenv("EDGED_TCP_IDLE", "3s")
	t.Setenv("EDGED_DATA_DIR", "state")
	t.Setenv("EDGED_ADMIN_PPROF", "true")
	t.Setenv("EDGED_NODE", "http://127.0.0.1:8053") // the command line's, not a key
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen.Admin.IsValid() || c.Listen.Threads != 3 || c.Log.Level != "warn" || c.TCP.Idle != 3*time.Second || !c.Admin.Pprof {
		t.Errorf("not overridden: %+v", c)
	}
	if want := Path(filepath.Join(filepath.Dir(path), "state")); c.DataDir != want {
		t.Errorf("data_dir %s, want %s", c.DataDir, want)
	}
	if len(c.Listen.External) != 1 {
		t.Errorf("the rest of its section is lost: %+v", c.Listen)
	}
}

func TestEnvironmentErrors(t *testing.T) {
	path := write(t, minimal)
	t.Setenv("EDGED_LISTEN_THREADS", "many")
	t.Setenv("EDGED_EDNS_MAX_UDP", "100")
	_, err := Load(path)
	want := `environment: EDGED_LISTEN_THREADS: want a whole number, got "many"
environment: EDGED_EDNS_MAX_UDP: 100 is out of range: want 512 to 4096`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

// TestEnvironmentNamesDiffer holds that no variable means two keys.
func TestEnvironmentNamesDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, s := range singles(reflect.ValueOf(defaults()), nil) {
		name, key := envName(s.path...), strings.Join(s.path, ".")
		if other, dup := seen[name]; dup {
			t.Errorf("%s sets both %s and %s", name, other, key)
		}
		seen[name] = key
	}
	if len(seen) < 20 {
		t.Errorf("only %d single values", len(seen))
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "cannot open: no such file or directory",
		dir:                             "cannot open: not a regular file",
	} {
		_, err := Load(path)
		if err == nil || err.Error() != path+": "+want {
			t.Errorf("got %v, want %s: %s", err, path, want)
		}
	}
	_, err := Load(write(t, strings.Repeat("#\n", MaxSize/2)+"#"))
	if err == nil || !strings.HasSuffix(err.Error(), "edged.yaml: the file is larger than 4 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestLoadPoPs(t *testing.T) {
	pops, geo, err := LoadPoPs(write(t, `
pops: [{name: fra, lat: 50.11, lon: 8.68}, {name: iad, lat: 38.95, lon: -77.45}]
geo: {city: /srv/city.mmdb}
pools: {www: {policy: "not yet"}}
unknown: {a: 1}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(pops) != 2 || pops[1].Name != "iad" || geo.City != "/srv/city.mmdb" {
		t.Errorf("got %+v and %+v", pops, geo)
	}
	for text, want := range map[string]string{
		"geo: {}\n":                                   "pops: required, but not given",
		"pops: [{name: fra, lat: 1}]\n":               "1: pops[0].lon: required, but not given",
		"pops: [{name: a, lat: 1, lon: 1}]\ngeo: 1\n": "2: geo: want a mapping, got the number 1",
	} {
		_, _, err := LoadPoPs(write(t, text))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: got %v, want it to end in %q", text, err, want)
		}
	}
}

func TestLoadAggregate(t *testing.T) {
	got, err := LoadAggregate(write(t, "aggregate: {engine: clickhouse, urls: ['http://[::1]:8123']}\npools: nothing yet\n"))
	want := defaultAggregate
	want.Engine, want.URLs = "clickhouse", []string{"http://[::1]:8123"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if got, err := LoadAggregate(write(t, "pops: []\n")); err != nil || !reflect.DeepEqual(got, defaultAggregate) {
		t.Errorf("without the section: got %+v, %v", got, err)
	}
	_, err = LoadAggregate(write(t, "aggregate: {engine: clickhouse}\n"))
	if err == nil || !strings.HasSuffix(err.Error(), "aggregate.urls: required, but not given") {
		t.Errorf("without servers: %v", err)
	}
}

func TestGuessDataDir(t *testing.T) {
	for text, want := range map[string]string{
		minimal: DefaultDataDir,
		minimal + "data_dir: /srv/edged # here\npools: {":   "/srv/edged",
		minimal + "data_dir: \"/srv/my edged\"\r\n\tbroken": "/srv/my edged",
		minimal + "data_dir: [a]\n":                         DefaultDataDir,
		"":                                                  DefaultDataDir,
	} {
		if got := GuessDataDir(write(t, text)); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	path := write(t, "data_dir: state\n")
	if got, want := GuessDataDir(path), filepath.Join(filepath.Dir(path), "state"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	t.Setenv("EDGED_DATA_DIR", "/from/env")
	if got := GuessDataDir(path); got != "/from/env" {
		t.Errorf("got %s, want /from/env", got)
	}
	if got := GuessDataDir("/no/such/file"); got != "/from/env" {
		t.Errorf("got %s, want /from/env", got)
	}
}

func TestWarnings(t *testing.T) {
	c, err := Parse([]byte(minimal+`
maps: {used: {file: a}, idle: {file: b}}
zones: [{name: example.com, file: z}]
pools:
  a: {policy: failover, endpoints: [{pool: b}]}
  b: {policy: closest, map: used, endpoints: [{pop: fra, address: 192.0.2.1}]}
  c: {policy: failover, endpoints: [{pool: b}]}
names: {example.com: {pool: a}}
dnstap: {file: tap}
`), "edged.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := `edged.yaml:6: maps.idle: no pool uses this map
edged.yaml:11: pools.c: no name uses this pool
edged.yaml:13: dnstap: sample is 0, so no query is logged; 1 logs all`
	if got := c.Warnings().Error(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestZoneOf(t *testing.T) {
	c, err := Parse([]byte(minimal+"zones: [{name: example.com, file: a}, {name: b.Example.com, file: b}, {name: net, file: c}]\n"), "edged.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"example.com.":     "example.com.",
		"a.example.com.":   "example.com.",
		"b.example.com.":   "b.example.com.",
		"a.b.example.com.": "b.example.com.",
		"*.example.com.":   "example.com.",
		"ab.example.com.":  "example.com.",
		"badexample.com.":  "",
		"example.net.":     "net.",
		"com.":             "",
		".":                "",
	} {
		if got := c.ZoneOf(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	c.origins = map[string]bool{".": true}
	if got := c.ZoneOf("example.org."); got != "." {
		t.Errorf("under the root: got %q", got)
	}
}

// FuzzParse holds that no file stops the node with a panic, that a refusal
// always says something, and that what is accepted prints to what loads.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds (error %v)", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data, "/etc/edged/edged.yaml")
		if err != nil {
			ps, ok := err.(Problems)
			if !ok || len(ps) == 0 {
				t.Fatalf("refused with %#v", err)
			}
			for _, p := range ps {
				if p.File == "" || p.Message == "" || p.Line < 0 {
					t.Fatalf("empty problem %#v", p)
				}
			}
			return
		}
		text, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(text, "/etc/edged/edged.yaml")
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		second, _ := again.YAML()
		if string(text) != string(second) {
			t.Fatalf("printed first:\n%s\nprinted second:\n%s", text, second)
		}
	})
}
