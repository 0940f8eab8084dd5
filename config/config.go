package config

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"edged/edge"
)

// DefaultDataDir holds the state of a node whose file does not say where.
const DefaultDataDir = "/var/lib/edged"

// Path is a file or folder. In a loaded Config it is empty or absolute: a
// relative one in the file is taken from the folder of the configuration file.
type Path string

// Config is one node's whole configuration.
type Config struct {
	Node    Node            `yaml:"node"`
	DataDir Path            `yaml:"data_dir"` // state that must survive a restart; made when first written
	PoPs    []edge.PoP      `yaml:"pops"`     // every PoP of the fleet, 1 to edge.MaxPoPs
	Listen  Listen          `yaml:"listen"`
	Admin   Admin           `yaml:"admin"`
	Geo     Geo             `yaml:"geo"`
	Maps    map[string]Map  `yaml:"maps"` // by name
	Zones   []Zone          `yaml:"zones"`
	Pools   map[string]Pool `yaml:"pools"` // by name
	Names   map[string]Name `yaml:"names"` // by absolute lower-case owner name
	Fleet   Fleet           `yaml:"fleet"`
	BGP     BGP             `yaml:"bgp"`
	VIPs    map[string]VIP  `yaml:"vips"` // by name
	Beacon  Beacon          `yaml:"beacon"`
	Load    LoadSource      `yaml:"load"`
	Rules   []Rule          `yaml:"rules"`
	RRL     RRL             `yaml:"rrl"`
	Cookies Cookies         `yaml:"cookies"`
	EDNS    EDNS            `yaml:"edns"`
	TCP     TCP             `yaml:"tcp"`
	Dnstap  Dnstap          `yaml:"dnstap"`
	Log     Log             `yaml:"log"`

	Aggregate Aggregate `yaml:"aggregate"`

	source  source          // where each key was set
	origins map[string]bool // the zones' names
}

// Node says which machine this is.
type Node struct {
	Name string `yaml:"name"` // lower case
	PoP  string `yaml:"pop"`  // one of pops
}

// Listen says where the node answers.
type Listen struct {
	External []netip.AddrPort `yaml:"external"` // DNS over UDP and TCP
	Threads  int              `yaml:"threads"`  // sockets and OS threads per address, 0 to 1024; 0 = one per usable core
	Admin    netip.AddrPort   `yaml:"admin"`    // HTTP; empty: only the control socket
}

// Admin configures the HTTP API.
type Admin struct {
	TokensFile Path     `yaml:"tokens_file"` // bearer tokens and clients' keys; empty: changes only over the control socket
	CertFile   Path     `yaml:"cert_file"`   // PEM chain: TLS on listen.admin; empty: none
	KeyFile    Path     `yaml:"key_file"`    // PEM
	Hosts      []string `yaml:"hosts"`       // host names under which TCP clients may ask, beside IP literals and localhost
	Pprof      bool     `yaml:"pprof"`       // serve profiles on the control socket
}

// Geo names the databases that say where an address is.
type Geo struct {
	City      Path `yaml:"city"`      // mmdb; empty: the built-in country data
	ASN       Path `yaml:"asn"`       // mmdb; empty: none
	Overrides Path `yaml:"overrides"` // CSV of corrections; empty: none
}

// Map is a compiled closeness map.
type Map struct {
	File Path `yaml:"file"`
}

// Zone is a zone that the node answers with authority.
type Zone struct {
	Name string `yaml:"name"` // absolute, lower case
	File Path   `yaml:"file"` // master file, or tinydns data
}

// Pool is a set of endpoints with the policy that chooses among them.
type Pool struct {
	Policy    string     `yaml:"policy"` // closest, failover, weighted or sticky
	Map       string     `yaml:"map"`    // one of maps; needed for closest
	TTL       TTL        `yaml:"ttl"`
	Answers   int        `yaml:"answers"` // addresses from the chosen PoP, 1 to 16
	Endpoints []Endpoint `yaml:"endpoints"`
	Fallback  Fallback   `yaml:"fallback"`

	Check      Check    `yaml:"check"` // of each endpoint that has none of its own
	FailOpen   FailOpen `yaml:"fail_open"`
	Quorum     Quorum   `yaml:"quorum"`
	UpFraction float64  `yaml:"up_fraction"` // a PoP counts as up while this share of its endpoints is, 0 to 1

	RequiresVIP string `yaml:"requires_vip"` // a PoP that does not announce it is not answered; empty: none
}

// TTL bounds the TTL of a pool's answers, 1s to 168h in whole seconds.
type TTL struct {
	Min time.Duration `yaml:"min"`
	Max time.Duration `yaml:"max"`
}

// Endpoint is one member of a pool: exactly one of Address, CNAME and Pool.
type Endpoint struct {
	PoP     string     `yaml:"pop"` // one of pops; needed under closest, but for pools
	Address netip.Addr `yaml:"address"`
	Node    string     `yaml:"node"`   // the node that serves at the address, for overrides; empty: none of the fleet's
	CNAME   string     `yaml:"cname"`  // absolute, lower case
	Pool    string     `yaml:"pool"`   // another pool
	Weight  int        `yaml:"weight"` // share among its equals, 0 to 65535; 0: only when no other is left
	Check   Check      `yaml:"check"`  // once loaded, the one in effect; its kind is empty for a pool
}

// Fallback is what a pool answers when it has no usable endpoint.
type Fallback struct {
	CNAME string `yaml:"cname"` // absolute, lower case; empty: all endpoints, as if all were up
}

// Name binds an owner name to the pool that answers it.
type Name struct {
	Pool string `yaml:"pool"`
}

// RRL limits the rate of like responses to one client network.
type RRL struct {
	PerSecond int            `yaml:"per_second"` // 0 to 1000000; 0 = off
	Slip      int            `yaml:"slip"`       // every slip-th dropped response goes out truncated instead, 0 to 10; 0 = none
	Exempt    []netip.Prefix `yaml:"exempt"`
}

// Cookies configures DNS cookies (RFC 7873, RFC 9018).
type Cookies struct {
	SecretFile Path `yaml:"secret_file"` // one secret of 32 hex digits per line: the first signs, all verify; empty: random at each start
}

// EDNS configures EDNS (RFC 6891).
type EDNS struct {
	MaxUDP int `yaml:"max_udp"` // largest UDP response, 512 to 4096 octets
}

// TCP bounds DNS over TCP (RFC 7766).
type TCP struct {
	Idle           time.Duration `yaml:"idle"`            // a connection without a query is closed after this, 1s to 5m
	MaxConnections int           `yaml:"max_connections"` // 1 to 1000000
	MaxPerClient   int           `yaml:"max_per_client"`  // from one address, 1 to max_connections
}

// Dnstap configures the query log. At most one of Socket and File is set.
type Dnstap struct {
	Socket Path `yaml:"socket"` // Frame Streams over a unix socket
	File   Path `yaml:"file"`   // Frame Streams file
	Sample int  `yaml:"sample"` // one query in this many is logged, 0 to 1000000; 0 = none
}

// Log configures the node's own log, on standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // text or json
}

// defaults is the Config of an empty file.
func defaults() Config {
	return Config{
		DataDir: DefaultDataDir,
		Listen:  Listen{Admin: netip.MustParseAddrPort("127.0.0.1:8053")},
		Beacon:  Beacon{Keep: defaultKeep, Quota: defaultQuota},
		RRL:     RRL{Slip: 2},       // every second drop is an invitation to TCP
		EDNS:    EDNS{MaxUDP: 1232}, // fits the smallest IPv6 MTU unfragmented
		TCP:     TCP{Idle: 10 * time.Second, MaxConnections: 1000, MaxPerClient: 50},
		Log:     Log{Level: "info", Format: "text"},
		Fleet:   Fleet{Observers: 5},

		Aggregate: defaultAggregate,
	}
}

// The defaults of what stands in lists and maps, where each element has its own.
var (
	defaultTTL  = TTL{Min: 30 * time.Second, Max: 300 * time.Second}
	defaultPool = Pool{
		TTL: defaultTTL, Answers: 1,
		Check: defaultCheck, FailOpen: defaultFailOpen, Quorum: defaultQuorum, UpFraction: defaultUpFraction,
	}
	defaultEndpoint = Endpoint{Weight: 100}
)

// YAML returns the whole effective configuration, defaults and overrides
// included and paths absolute, in the form that [Parse] reads. It holds no
// secret: those are in files that it only names.
func (c *Config) YAML() ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	err := errors.Join(e.Encode(c), e.Close())
	return b.Bytes(), err
}

// MarshalYAML leaves out what the endpoint does not have: yaml's omitempty
// takes every netip.Addr for empty.
func (e Endpoint) MarshalYAML() (any, error) {
	out := struct {
		PoP     string      `yaml:"pop,omitempty"`
		Node    string      `yaml:"node,omitempty"`
		Address *netip.Addr `yaml:"address,omitempty"`
		CNAME   string      `yaml:"cname,omitempty"`
		Pool    string      `yaml:"pool,omitempty"`
		Weight  int         `yaml:"weight"`
		Check   *Check      `yaml:"check,omitempty"`
	}{PoP: e.PoP, Node: e.Node, CNAME: e.CNAME, Pool: e.Pool, Weight: e.Weight}
	if e.Check.Kind != "" {
		out.Check = &e.Check
	}
	if e.Address.IsValid() {
		out.Address = &e.Address
	}
	return out, nil
}

// ZoneOf returns the name of the zone that holds an absolute lower-case name:
// the longest one that is the name or ends it. It is empty when there is none.
func (c *Config) ZoneOf(name string) string {
	for rest := name; rest != ""; _, rest, _ = strings.Cut(rest, ".") {
		if c.origins[rest] {
			return rest
		}
	}
	if c.origins["."] {
		return "."
	}
	return ""
}

// File returns the path of the file that the Config was read from.
func (c *Config) File() string { return c.source.file }
