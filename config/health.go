package config

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	"go.yaml.in/yaml/v3"

	"edged/edge"
)

// Check says how an endpoint is checked. An endpoint's own check takes from its
// pool's what it does not give.
type Check struct {
	Kind     string        `yaml:"kind"`     // none, http, https, tcp, dns, grpc, icmp, exec or external
	Port     int           `yaml:"port"`     // 1 to 65535; 0: the usual one of the kind
	Interval time.Duration `yaml:"interval"` // 100ms to 1h
	Timeout  time.Duration `yaml:"timeout"`  // 10ms to interval
	Fall     int           `yaml:"fall"`     // failures until it is down, 1 to 100
	Rise     int           `yaml:"rise"`     // successes in a row until it is up, 1 to 100
	Target   string        `yaml:"target"`   // address checked in place of the endpoint's

	Path    string            `yaml:"path"`    // http, https
	Host    string            `yaml:"host"`    // http, https, grpc
	Headers map[string]string `yaml:"headers"` // http, https
	Status  []int             `yaml:"status"`  // http, https
	Body    string            `yaml:"body"`    // http, https: must occur in it
	TLS     bool              `yaml:"tls"`     // tcp, grpc
	SNI     string            `yaml:"sni"`     // https, tcp, grpc; empty: host
	Verify  bool              `yaml:"verify"`  // https, tcp, grpc: the certificate must be valid
	Send    string            `yaml:"send"`    // tcp
	Expect  string            `yaml:"expect"`  // tcp
	Name    string            `yaml:"name"`    // dns
	Type    string            `yaml:"type"`    // dns
	Rcode   string            `yaml:"rcode"`   // dns
	Data    string            `yaml:"data"`    // dns
	Service string            `yaml:"service"` // grpc
	Command []string          `yaml:"command"` // exec
	Source  string            `yaml:"source"`  // external: absolute path, or http(s) URL
}

// checkKeys are the keys that mean something for a kind, beside those of all.
var checkKeys = map[string][]string{
	"http":     {"port", "target", "path", "host", "headers", "status", "body"},
	"https":    {"port", "target", "path", "host", "headers", "status", "body", "sni", "verify"},
	"tcp":      {"port", "target", "tls", "sni", "verify", "host", "send", "expect"},
	"dns":      {"port", "target", "name", "type", "rcode", "data"},
	"grpc":     {"port", "target", "host", "tls", "sni", "verify", "service"},
	"icmp":     {"target"},
	"exec":     {"command"},
	"external": {"source"},
}

// MarshalYAML leaves out what means nothing for the kind.
func (c Check) MarshalYAML() (any, error) {
	if c.Kind == "" || c.Kind == KindNone {
		return map[string]string{"kind": KindNone}, nil
	}
	keys := append([]string{"kind", "interval", "timeout", "fall", "rise"}, checkKeys[c.Kind]...)
	out := &yaml.Node{Kind: yaml.MappingNode}
	v := reflect.ValueOf(c)
	for _, f := range fieldsOf(v.Type()) {
		if !slices.Contains(keys, f.key) {
			continue
		}
		var value yaml.Node
		if err := value.Encode(v.Field(f.index).Interface()); err != nil {
			return nil, err
		}
		out.Content = append(out.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.key}, &value)
	}
	return out, nil
}

// KindNone is the kind of no check: the endpoint is taken as ok.
const KindNone = "none"

// checkKinds are the kinds with the port that each has by default, 0 for none.
var checkKinds = map[string]int{
	KindNone: 0, "http": 80, "https": 443, "tcp": 0, "dns": 53, "grpc": 443, "icmp": 0, "exec": 0, "external": 0,
}

// FailOpen says what a pool answers when no endpoint is better than failing.
type FailOpen struct {
	Order   string `yaml:"order"`   // ranked, last-known or fallback
	Drained bool   `yaml:"drained"` // drained endpoints may come back
}

// Quorum says how many observers change a verdict.
type Quorum struct {
	MinObservers int    `yaml:"min_observers"` // 0 to 100; 0: a majority of the fresh ones
	MinPoPs      int    `yaml:"min_pops"`      // 1 to 100
	Partition    string `yaml:"partition"`     // freeze, majority or local
}

// Fleet configures the gossip among nodes. Without a name there is none, and
// the node goes by its own checks.
type Fleet struct {
	Name        string           `yaml:"name"`
	Bind        netip.AddrPort   `yaml:"bind"`          // empty: as advertise
	Advertise   netip.AddrPort   `yaml:"advertise"`     // how other nodes reach this one; never a VIP
	Link        netip.AddrPort   `yaml:"link"`          // where members call this one over mutual TLS; empty: bind's address, and its port + 1
	Observers   int              `yaml:"observers"`     // members that check each target, 1 to 100
	Join        []netip.AddrPort `yaml:"join"`          // members to begin with
	KeyFile     Path             `yaml:"key_file"`      // 32 random octets in base64, one key a line; the first encrypts
	NodeKeyFile Path             `yaml:"node_key_file"` // empty: made in data_dir
	Members     []Member         `yaml:"members"`       // empty: all that were ever seen
}

// Member is a node that belongs to the fleet.
type Member struct {
	Name string `yaml:"name"`
	PoP  string `yaml:"pop"`
	Key  string `yaml:"key"` // ed25519: and the base64 of its public key, as "edged fleet key" prints it
}

// Rule is an assertion that no set of overrides may break. One of AtLeast and
// DrainedAtMost is given.
type Rule struct {
	AtLeast       int    `yaml:"at_least"`
	DrainedAtMost string `yaml:"drained_at_most"` // a share such as 30%
	Of            string `yaml:"of"`              // pops or endpoints; for drained_at_most pops or capacity
	Per           string `yaml:"per"`             // fleet or continent
}

// The defaults of what health has in lists and maps.
var (
	defaultCheck = Check{
		Kind: KindNone, Interval: 2 * time.Second, Timeout: time.Second, Fall: 3, Rise: 5,
		Path: "/", Status: []int{http.StatusOK}, Type: "A",
	}
	defaultFailOpen = FailOpen{Order: "ranked"}
	defaultQuorum   = Quorum{MinPoPs: 1, Partition: "freeze"}
	defaultRule     = Rule{Per: "fleet"}
)

const defaultUpFraction = 0.5

// health checks a pool's part in health, and gives each endpoint the check that
// it has in effect.
func (ck *checker) health(key string, p *Pool) {
	ck.check(key+".check", &p.Check)
	ck.oneOf(key+".fail_open.order", p.FailOpen.Order, "ranked", "last-known", "fallback")
	if p.FailOpen.Order == "fallback" && p.Fallback.CNAME == "" {
		ck.errorf(key+".fail_open.order", "fallback needs fallback.cname, which is not given")
	}
	ck.inRange(key+".quorum.min_observers", p.Quorum.MinObservers, 0, 100)
	ck.inRange(key+".quorum.min_pops", p.Quorum.MinPoPs, 1, 100)
	ck.oneOf(key+".quorum.partition", p.Quorum.Partition, "freeze", "majority", "local")
	if f := p.UpFraction; math.IsNaN(f) || f < 0 || f > 1 {
		ck.errorf(key+".up_fraction", "%v is out of range: want 0 to 1", f)
	}
	for i := range p.Endpoints {
		e, at := &p.Endpoints[i], index(key+".endpoints", i)
		own := ck.source.has(at + ".check")
		switch {
		case own && e.Pool != "":
			ck.errorf(at+".check", "a pool has its own checks; give them there")
		case own:
			e.Check = ck.inherit(at+".check", e.Check, p.Check)
			ck.check(at+".check", &e.Check)
		case e.Pool == "":
			e.Check = p.Check
		}
		needsAddress := e.Check.Kind != KindNone && e.Check.Kind != "exec" && e.Check.Kind != "external"
		if e.CNAME != "" && needsAddress && e.Check.Target == "" {
			if own {
				ck.errorf(at+".check", "a CNAME target has no address to check; give check.target, or the kind exec or external")
			}
			e.Check = Check{Kind: KindNone}
		}
	}
}

// inherit fills what an endpoint's check does not give from its pool's.
func (ck *checker) inherit(key string, own, pool Check) Check {
	out := reflect.ValueOf(&pool).Elem()
	for _, f := range fieldsOf(out.Type()) {
		if ck.source.has(key + "." + f.key) {
			out.Field(f.index).Set(reflect.ValueOf(own).Field(f.index))
		}
	}
	return pool
}

func (ck *checker) check(key string, c *Check) {
	port, known := checkKinds[c.Kind]
	if !known {
		ck.errorf(key+".kind", "unknown value %q; %s", c.Kind, edge.Suggest(c.Kind, sortedKeys(checkKinds)))
		return
	}
	if c.Kind == KindNone {
		ck.noCheck(key)
		return
	}
	for _, f := range fieldsOf(reflect.TypeFor[Check]()) {
		for other := range checkKeys {
			if slices.Contains(checkKeys[other], f.key) && !slices.Contains(checkKeys[c.Kind], f.key) && ck.source.has(key+"."+f.key) {
				ck.errorf(key+"."+f.key, "means nothing for kind %s", c.Kind)
				break
			}
		}
	}
	if c.Port == 0 {
		c.Port = port
	}
	if c.Interval < 100*time.Millisecond || c.Interval > time.Hour {
		ck.errorf(key+".interval", "%s is out of range: want 100ms to 1h", c.Interval)
	}
	if c.Timeout < 10*time.Millisecond || c.Timeout > c.Interval {
		ck.errorf(key+".timeout", "%s is out of range: want 10ms to the interval, %s", c.Timeout, c.Interval)
	}
	if c.Target != "" {
		if a, err := netip.ParseAddr(c.Target); err != nil || a.Zone() != "" {
			ck.errorf(key+".target", "want an IP address, got %q", c.Target)
		}
	}
	ck.inRange(key+".fall", c.Fall, 1, 100)
	ck.inRange(key+".rise", c.Rise, 1, 100)
	switch c.Kind {
	case "http", "https":
		ck.httpCheck(key, c)
	case "dns":
		ck.dnsCheck(key, c)
	case "exec":
		if len(c.Command) == 0 || !filepath.IsAbs(c.Command[0]) {
			ck.errorf(key+".command", "want a list that begins with the absolute path of a program, got %q", c.Command)
		}
	case "external":
		u, err := url.Parse(c.Source)
		if !filepath.IsAbs(c.Source) && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			ck.errorf(key+".source", "want an absolute path or an http(s) URL, got %q", c.Source)
		}
	}
	if c.Kind != "icmp" && c.Kind != "exec" && c.Kind != "external" {
		if c.Port == 0 {
			ck.errorf(key+".port", "required for kind %s, but not given", c.Kind)
		} else {
			ck.inRange(key+".port", c.Port, 1, 65535)
		}
	}
	if (c.Kind == "tcp" || c.Kind == "grpc") && !c.TLS {
		for _, f := range []string{"sni", "verify"} {
			if ck.source.has(key + "." + f) {
				ck.errorf(key+"."+f, "means nothing without tls: true")
			}
		}
		if c.Kind == "tcp" && ck.source.has(key+".host") {
			ck.errorf(key+".host", "means nothing for kind tcp without tls: true")
		}
	}
	if c.Kind == "https" || (c.Kind == "tcp" || c.Kind == "grpc") && c.TLS {
		if c.Verify && c.SNI == "" && c.Host == "" {
			ck.errorf(key+".verify", "a certificate is valid for a name; give host or sni")
		}
	}
}

// noCheck reports keys of a check that is none: whoever wrote them wants one.
func (ck *checker) noCheck(key string) {
	for _, f := range fieldsOf(reflect.TypeFor[Check]()) {
		switch {
		case f.key == "kind" || !ck.source.has(key+"."+f.key):
		case ck.source.has(key + ".kind"):
			ck.errorf(key+"."+f.key, "means nothing for kind %s", KindNone)
		default:
			ck.errorf(key+".kind", "required for a check, but not given")
			return
		}
	}
}

func (ck *checker) httpCheck(key string, c *Check) {
	for _, f := range []struct{ key, text string }{{"path", c.Path}, {"host", c.Host}} {
		if strings.ContainsFunc(f.text, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			ck.errorf(key+"."+f.key, "%q holds a blank or a control character", f.text)
		}
	}
	if !strings.HasPrefix(c.Path, "/") {
		ck.errorf(key+".path", "want a path that begins with \"/\", got %q", c.Path)
	}
	if len(c.Status) == 0 {
		ck.errorf(key+".status", "is empty; want at least one status code")
	}
	for _, s := range c.Status {
		if s < 100 || s > 599 {
			ck.errorf(key+".status", "%d is out of range: want 100 to 599", s)
		}
	}
	for _, name := range sortedKeys(c.Headers) {
		value := c.Headers[name]
		if name == "" || strings.ContainsAny(name, " \t\r\n:") || strings.ContainsAny(value, "\r\n") {
			ck.errorf(key+".headers", "%q: %q is no header", name, value)
			continue
		}
		switch http.CanonicalHeaderKey(name) {
		case "Host":
			ck.errorf(key+".headers", "%q has a key of its own; give host", name)
		case "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Te", "Trailer", "Keep-Alive", "Proxy-Connection":
			ck.errorf(key+".headers", "%q says how the request is sent, which is not for a check to choose", name)
		}
	}
}

func (ck *checker) dnsCheck(key string, c *Check) {
	if ck.given(key+".name", c.Name) {
		name, err := domain(c.Name)
		if err != nil {
			ck.errorf(key+".name", "%v", err)
		}
		c.Name = name
	}
	c.Type = strings.ToUpper(c.Type)
	if _, ok := dns.StringToType[c.Type]; !ok {
		ck.errorf(key+".type", "unknown type %q", c.Type)
	}
	c.Rcode = strings.ToUpper(c.Rcode)
	if _, ok := dns.StringToRcode[c.Rcode]; c.Rcode != "" && !ok {
		ck.errorf(key+".rcode", "unknown rcode %q", c.Rcode)
	}
	if _, known := dns.StringToType[c.Type]; known && c.Data != "" {
		if rr, err := dns.NewRR(". 0 IN " + c.Type + " " + c.Data); err != nil || rr == nil {
			ck.errorf(key+".data", "%q is not the data of a record of type %s", c.Data, c.Type)
		}
	}
}

// fleet checks the fleet, the rules, and that the pools' quorums can be reached.
func (ck *checker) fleet() {
	f := &ck.Fleet
	if f.Name != "" {
		ck.members(f)
	} else if f.Bind.IsValid() || f.Advertise.IsValid() || len(f.Join) > 0 || f.KeyFile != "" || len(f.Members) > 0 {
		ck.errorf("fleet.name", "required when there is a fleet, but not given")
	}
	for i := range ck.Rules {
		ck.rule(index("rules", i), ck.Rules[i])
	}
	ck.quorums()
	ck.endpointNodes()
}

// endpointNodes holds the nodes that endpoints stand on to the members.
func (ck *checker) endpointNodes() {
	pops := map[string]string{} // by node
	for _, m := range ck.Fleet.Members {
		pops[m.Name] = m.PoP
	}
	for _, name := range sortedKeys(ck.Pools) {
		for i, e := range ck.Pools[name].Endpoints {
			key := index("pools."+name+".endpoints", i) + ".node"
			pop, known := pops[e.Node]
			switch {
			case e.Node == "":
			case e.Pool != "":
				ck.errorf(key, "a pool stands on no node; give it at the endpoints of pool %q", e.Pool)
			case len(pops) == 0:
				if err := checkLabel(e.Node); err != nil {
					ck.errorf(key, "%v", err)
				}
			case !known:
				ck.errorf(key, "unknown node %q; %s", e.Node, edge.Suggest(e.Node, sortedKeys(pops)))
			case e.PoP != "" && e.PoP != pop:
				ck.errorf(key, "node %q stands in %q, says fleet.members, and the endpoint in %q", e.Node, pop, e.PoP)
			}
		}
	}
}

func (ck *checker) members(f *Fleet) {
	if err := checkLabel(f.Name); err != nil {
		ck.errorf("fleet.name", "%v", err)
	}
	if !f.Advertise.IsValid() || f.Advertise.Addr().IsUnspecified() || f.Advertise.Port() == 0 {
		if !ck.reported["fleet.advertise"] {
			ck.errorf("fleet.advertise", "want the address and port at which other nodes reach this one, got %q", text(f.Advertise))
		}
	}
	if !f.Bind.IsValid() {
		f.Bind = f.Advertise
	}
	if !f.Link.IsValid() && f.Bind.Port() < 65535 {
		f.Link = netip.AddrPortFrom(f.Bind.Addr(), f.Bind.Port()+1)
	}
	ck.inRange("fleet.observers", f.Observers, 1, 100)
	ck.given("fleet.key_file", string(f.KeyFile))
	seen, keys := map[string]bool{}, map[string]string{}
	for i, m := range f.Members {
		key := index("fleet.members", i)
		if ck.reported[key] {
			continue
		}
		if ck.given(key+".name", m.Name) {
			if err := checkLabel(m.Name); err != nil {
				ck.errorf(key+".name", "%v", err)
			}
			if seen[m.Name] {
				ck.errorf(key+".name", "member %q is listed already", m.Name)
			}
			seen[m.Name] = true
		}
		if ck.given(key+".pop", m.PoP) {
			ck.knownPoP(key+".pop", m.PoP)
		}
		if ck.given(key+".key", m.Key) {
			if other, dup := keys[m.Key]; dup {
				ck.errorf(key+".key", "is that of member %q: each has its own, as edged fleet key prints it", other)
			}
			keys[m.Key] = m.Name
		}
		if m.Name == ck.Node.Name && m.PoP != ck.Node.PoP {
			ck.errorf(key+".pop", "this node stands in %q, says node.pop", ck.Node.PoP)
		}
	}
	if len(f.Members) > 0 && ck.Node.Name != "" && !seen[ck.Node.Name] {
		ck.errorf("fleet.members", "this node, %q, is not among them", ck.Node.Name)
	}
}

func text(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// quorums holds what pools ask of their observers to who there is.
func (ck *checker) quorums() {
	reach, pops := 1, 1
	if ck.Fleet.Name != "" {
		if len(ck.Fleet.Members) == 0 {
			return // who there is shows later
		}
		standing := map[string]bool{}
		for _, m := range ck.Fleet.Members {
			standing[m.PoP] = true
		}
		reach, pops = min(len(ck.Fleet.Members), ck.Fleet.Observers), len(standing)
	}
	for _, name := range sortedKeys(ck.Pools) {
		q, key := ck.Pools[name].Quorum, "pools."+name+".quorum"
		if q.MinObservers > reach {
			ck.errorf(key+".min_observers", "%d can never be reached: each target has %d observers", q.MinObservers, reach)
		}
		if q.MinPoPs > min(pops, reach) {
			ck.errorf(key+".min_pops", "%d can never be reached: observers stand in %d pops", q.MinPoPs, min(pops, reach))
		}
	}
}

func (ck *checker) rule(key string, r Rule) {
	if ck.reported[key] {
		return
	}
	switch {
	case (r.AtLeast != 0) == (r.DrainedAtMost != ""):
		ck.errorf(key, "want exactly one of at_least and drained_at_most")
	case r.AtLeast != 0:
		ck.inRange(key+".at_least", r.AtLeast, 1, 100_000)
		if ck.oneOf(key+".of", r.Of, "pops", "endpoints"); r.Per == "fleet" || r.Per == "continent" {
			ck.reachable(key, r)
		}
	default:
		if _, err := Percent(r.DrainedAtMost); err != nil {
			ck.errorf(key+".drained_at_most", "%v", err)
		}
		ck.oneOf(key+".of", r.Of, "pops", "capacity")
	}
	ck.oneOf(key+".per", r.Per, "fleet", "continent")
	if r.Of == "capacity" && !slices.ContainsFunc(ck.PoPs, func(p edge.PoP) bool { return p.Capacity > 0 }) {
		ck.errorf(key+".of", "no pop has a capacity")
	}
}

// reachable holds a rule to what there is when all is in service.
func (ck *checker) reachable(key string, r Rule) {
	where := map[string]string{} // of each pop
	count := map[string]int{}
	for _, p := range ck.PoPs {
		where[p.Name] = "the fleet"
		if r.Per == "continent" {
			where[p.Name] = cmp.Or(p.Continent, "no continent")
		}
		if r.Of == "pops" {
			count[where[p.Name]]++
		}
	}
	for _, p := range ck.Pools {
		for _, e := range p.Endpoints {
			if r.Of == "endpoints" && e.Address.IsValid() {
				place := where[e.PoP]
				if r.Per == "fleet" {
					place = "the fleet"
				}
				count[cmp.Or(place, "no continent")]++
			}
		}
	}
	if r.Of == "endpoints" && len(count) == 0 {
		count["the fleet"] = 0
	}
	for _, place := range sortedKeys(count) {
		if n := count[place]; n < r.AtLeast {
			ck.errorf(key+".at_least", "%d can never be met: %s in %s: %d", r.AtLeast, r.Of, place, n)
		}
	}
}

// Percent reads a share such as "30%", 0 to 100, and returns it as 0 to 1.
func Percent(s string) (float64, error) {
	digits, ok := strings.CutSuffix(s, "%")
	n, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || !(n >= 0 && n <= 100) {
		return 0, fmt.Errorf("want a share from 0%% to 100%%, got %q", s)
	}
	return n / 100, nil
}
