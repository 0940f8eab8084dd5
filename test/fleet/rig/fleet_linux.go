package rig

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"edged/test/netns"
)

// Site is a PoP with a client whose closest it is.
type Site struct {
	PoP       string
	Lat, Lon  float64
	Continent string
	Client    netip.Prefix
}

// Sites are the PoPs of every fleet. The web server of the first has the address
// 203.0.113.1, and so on.
var Sites = []Site{
	{"fra", 50.03, 8.56, "EU", netip.MustParsePrefix("84.130.1.0/24")},
	{"iad", 38.95, -77.45, "NA", netip.MustParsePrefix("12.0.1.0/24")},
	{"nrt", 35.77, 140.39, "AS", netip.MustParsePrefix("126.1.2.0/24")},
	{"gru", -23.43, -46.47, "SA", netip.MustParsePrefix("177.40.1.0/24")},
	{"syd", -33.95, 151.18, "OC", netip.MustParsePrefix("1.128.1.0/24")},
}

// Zone is what the fleet serves: each pool is a name in it.
const Zone = "example.com."

// Possible returns why no fleet can run here; nil: it can.
func Possible() error { return netns.Possible() }

// Build builds edged in dir, and the map that all fleets use. It must be called
// inside the module.
func Build(dir string) (Program, error) {
	p := Program{Binary: filepath.Join(dir, "edged"), Map: filepath.Join(dir, "m.edmap")}
	build := exec.Command("go", "build", "-o", p.Binary, "edged/cmd/edged")
	if out, err := build.CombinedOutput(); err != nil {
		return p, fmt.Errorf("build: %w\n%s", err, out)
	}
	path := filepath.Join(dir, "map.yaml")
	text := "node: {name: builder, pop: fra}\n" + popsText() + "maps: {m: {file: m.edmap}}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return p, err
	}
	if out, err := exec.Command(p.Binary, "map", "build", "--config", path, "-o", p.Map).CombinedOutput(); err != nil {
		return p, fmt.Errorf("map build: %w\n%s", err, out)
	}
	return p, nil
}

// Program is what Build makes.
type Program struct{ Binary, Map string }

// Config says what a fleet is like.
type Config struct {
	Program Program
	Dir     string            // for the nodes' files; its path must be short, for it holds sockets
	Nodes   int               // 1 to 99, at the Sites in turn
	Pools   map[string]string // further keys of each pool; all have one endpoint at each of Sites
	Guests  []Guest           // members that are no nodes

	Observers int // fleet.observers; 0: its default, of 5
}

// Guest is a member that the rig does not run, but makes room for in the gossip.
type Guest struct{ Name, PoP, Key string }

// Fleet is nodes and what they check.
type Fleet struct {
	Nodes   []*Node
	Servers []*Server // at the Sites
	Guests  []*Host

	config  Config
	network *netns.Network
	lossy   *netns.Lossy
}

// Host is a place in the gossip's network, for the process of a Guest.
type Host struct {
	Address netip.Addr
	inside  *netns.Host
}

// Start starts a process there. It is killed with the fleet.
func (h *Host) Start(cmd *exec.Cmd) error { return h.inside.Start(cmd) }

// New makes a fleet, and starts the web servers, but no node.
func New(c Config) (f *Fleet, err error) {
	f = &Fleet{config: c}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if f.network, err = netns.NewNetwork(gossipSwitch, islandSwitch, uplinkSwitch); err != nil {
		return f, err
	}
	if err := f.plug(); err != nil {
		return f, err
	}
	if err := f.configure(); err != nil {
		return f, err
	}
	for _, s := range f.Servers {
		if err := s.Start(); err != nil {
			return f, err
		}
	}
	return f, nil
}

// plug makes the hosts. Servers stand beside the nodes' uplinks, in another
// network on the same wire.
func (f *Fleet) plug() error {
	var servers []netip.Prefix
	for i, s := range Sites {
		a := address("203.0.113.0/24", i+1)
		servers = append(servers, a)
		f.Servers = append(f.Servers, &Server{PoP: s.PoP, Address: a.Addr()})
	}
	servers = append(servers, address("198.51.100.0/24", 254))
	host, err := f.network.Plug(uplink(servers...))
	if err != nil {
		return err
	}
	for _, s := range f.Servers {
		s.host = host
	}
	for i := range f.config.Nodes {
		number := i + 1
		at := address("192.0.2.0/24", number)
		inside, err := f.network.Plug(gossip(at), uplink(address("198.51.100.0/24", number)))
		if err != nil {
			return err
		}
		if err := inside.IP("route add 203.0.113.0/24 dev " + Uplink); err != nil {
			return err
		}
		name := fmt.Sprintf("n%d", number)
		dir := filepath.Join(f.config.Dir, name)
		f.Nodes = append(f.Nodes, &Node{
			Name: name, PoP: Sites[i%len(Sites)].PoP, Dir: dir, Address: at.Addr(),
			inside: inside, program: f.config.Program.Binary,
		})
	}
	for i := range f.config.Guests {
		a := address("192.0.2.0/24", 100+i)
		inside, err := f.network.Plug(gossip(a))
		if err != nil {
			return err
		}
		f.Guests = append(f.Guests, &Host{Address: a.Addr(), inside: inside})
	}
	return nil
}

// address is the n-th of a network.
func address(network string, n int) netip.Prefix {
	p := netip.MustParsePrefix(network)
	a := p.Addr().As4()
	a[3] = byte(n)
	return netip.PrefixFrom(netip.AddrFrom4(a), p.Bits())
}

// configure writes the nodes' files: first without the members, for the keys
// that the nodes then make.
func (f *Fleet) configure() error {
	if err := f.SetGossipKeys(f.Nodes, NewGossipKey()); err != nil {
		return err
	}
	var members []string
	for _, n := range f.Nodes {
		if err := f.write(n, nil); err != nil {
			return err
		}
		key, err := exec.Command(f.config.Program.Binary, "fleet", "key", "--config", n.config()).Output()
		if err != nil {
			return fmt.Errorf("fleet key: %w", err)
		}
		members = append(members, fmt.Sprintf("{name: %s, pop: %s, key: %q}", n.Name, n.PoP, strings.TrimSpace(string(key))))
	}
	for _, g := range f.config.Guests {
		members = append(members, fmt.Sprintf("{name: %s, pop: %s, key: %q}", g.Name, g.PoP, g.Key))
	}
	for _, n := range f.Nodes {
		if err := f.write(n, members); err != nil {
			return err
		}
	}
	return nil
}

func popsText() string {
	var pops []string
	for _, s := range Sites {
		pops = append(pops, fmt.Sprintf("{name: %s, lat: %v, lon: %v, continent: %s}", s.PoP, s.Lat, s.Lon, s.Continent))
	}
	return "pops: [" + strings.Join(pops, ", ") + "]\n"
}

const zoneText = "@ 300 SOA ns1 hostmaster 1 7200 3600 1209600 60\n@ 300 NS ns1.example.net.\n"

// write writes a node's configuration and zone.
func (f *Fleet) write(n *Node, members []string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "node: {name: %s, pop: %s}\ndata_dir: state\nlog: {format: json}\n", n.Name, n.PoP)
	b.WriteString(popsText())
	fmt.Fprintf(&b, "listen: {external: [%q, %q], threads: 1}\n", "127.0.0.1:53", n.Address.String()+":53")
	fmt.Fprintf(&b, "maps: {m: {file: %q}}\nzones: [{name: %s, file: zone}]\n", f.config.Program.Map, strings.TrimSuffix(Zone, "."))
	var endpoints []string
	for _, s := range f.Servers {
		endpoints = append(endpoints, fmt.Sprintf("{pop: %s, address: %s}", s.PoP, s.Address))
	}
	names := slices.Sorted(maps.Keys(f.config.Pools))
	b.WriteString("pools:\n")
	for _, name := range names {
		fmt.Fprintf(&b, "  %s:\n    policy: closest\n    map: m\n    ttl: {min: 1s, max: 60s}\n    check: {kind: http, port: 80}\n    endpoints: [%s]\n", name, strings.Join(endpoints, ", "))
		if more := f.config.Pools[name]; more != "" {
			fmt.Fprintf(&b, "    %s\n", more)
		}
	}
	b.WriteString("names:\n")
	for _, name := range names {
		fmt.Fprintf(&b, "  %s.%s: {pool: %s}\n", name, strings.TrimSuffix(Zone, "."), name)
	}
	var join []string
	for _, other := range f.Nodes {
		join = append(join, fmt.Sprintf("%q", other.Address.String()+":7946"))
	}
	fmt.Fprintf(&b, "fleet:\n  name: test\n  advertise: \"%s:7946\"\n  join: [%s]\n  key_file: gossip.key\n  node_key_file: node.ed25519\n", n.Address, strings.Join(join, ", "))
	if f.config.Observers > 0 {
		fmt.Fprintf(&b, "  observers: %d\n", f.config.Observers)
	}
	if len(members) > 0 {
		fmt.Fprintf(&b, "  members: [%s]\n", strings.Join(members, ", "))
	}
	return errors.Join(
		os.WriteFile(n.config(), []byte(b.String()), 0o600),
		os.WriteFile(filepath.Join(n.Dir, "zone"), []byte(zoneText), 0o600))
}

// NewGossipKey returns a key for SetGossipKeys.
func NewGossipKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}

// SetGossipKeys writes the key files of nodes, which a reload brings into force.
func (f *Fleet) SetGossipKeys(nodes []*Node, keys ...string) error {
	for _, n := range nodes {
		if err := os.MkdirAll(n.Dir, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(n.Dir, "gossip.key"), []byte(strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Lose loses a share of the UDP packets of the nodes' gossip from now on, until the
// fleet is closed. It is called once at most.
func (f *Fleet) Lose(share float64) (err error) {
	var hosts []*netns.Host
	for _, n := range f.Nodes {
		hosts = append(hosts, n.inside)
	}
	f.lossy, err = f.network.Lose(Gossip, share, hosts...)
	return err
}

// Lost returns how many packets of the gossip passed and were lost since Lose.
func (f *Fleet) Lost() (passed, lost uint64) { return f.lossy.Stats() }

// Close ends all processes and removes the networks. The files remain.
func (f *Fleet) Close() {
	for _, n := range f.Nodes {
		n.Kill()
	}
	for _, s := range f.Servers {
		s.Kill()
	}
	if f.network != nil {
		f.network.Close()
	}
}
