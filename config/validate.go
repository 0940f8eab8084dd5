package config

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"edged/edge"
)

// continents are the codes that a PoP may give.
var continents = []string{"AF", "AN", "AS", "EU", "NA", "OC", "SA"}

// checker holds a Config against the ranges of its values and against itself.
type checker struct {
	*Config
	problems Problems
	reported map[string]bool // keys that problems name
	popNames map[string]bool // of pops
}

// newChecker starts from what was found while reading.
func newChecker(c *Config, found Problems) *checker {
	ck := &checker{
		Config:   c,
		problems: found,
		reported: map[string]bool{},
		popNames: map[string]bool{},
	}
	c.origins = map[string]bool{}
	for _, p := range found {
		ck.reported[p.Key] = true
	}
	return ck
}

func (ck *checker) errorf(key, format string, args ...any) {
	ck.problems = append(ck.problems, ck.source.problem(key, format, args...))
	ck.reported[key] = true
}

// required reports a key that is not given. One that is given but did not fit
// was reported already.
func (ck *checker) required(key string) {
	if !ck.source.has(key) {
		ck.errorf(key, "required, but not given")
	}
}

func (ck *checker) inRange(key string, n, low, high int) {
	if n < low || n > high {
		ck.errorf(key, "%d is out of range: want %d to %d", n, low, high)
	}
}

func (ck *checker) oneOf(key, word string, known ...string) {
	if !slices.Contains(known, word) {
		ck.errorf(key, "unknown value %q; %s", word, edge.Suggest(word, known))
	}
}

func (ck *checker) all() {
	ck.pops()
	ck.node()
	ck.listen()
	ck.hosts()
	ck.zones()
	for _, name := range sortedKeys(ck.Maps) {
		if key := "maps." + name; !ck.reported[key] {
			ck.given(key+".file", string(ck.Maps[name].File))
		}
	}
	ck.pools()
	ck.names()
	ck.fleet()
	ck.bgp()
	ck.beacon()
	ck.load()
	ck.aggregate()
	ck.limits()
}

// given says whether text is not empty, and reports it when it is. A value that
// stands in the file and did not fit was reported already.
func (ck *checker) given(key, text string) bool {
	switch {
	case text != "":
		return true
	case !ck.source.has(key):
		ck.errorf(key, "required, but not given")
	case !ck.reported[key]:
		ck.errorf(key, "is empty")
	}
	return false
}

func (ck *checker) node() {
	if ck.given("node.name", ck.Node.Name) {
		if err := checkLabel(ck.Node.Name); err != nil {
			ck.errorf("node.name", "%v", err)
		}
	}
	if ck.given("node.pop", ck.Node.PoP) {
		ck.knownPoP("node.pop", ck.Node.PoP)
	}
	ck.given("data_dir", string(ck.DataDir))
}

func (ck *checker) knownPoP(key, name string) {
	if !ck.popNames[name] {
		ck.errorf(key, "unknown pop %q; %s", name, edge.Suggest(name, sortedKeys(ck.popNames)))
	}
}

func (ck *checker) pops() {
	if len(ck.PoPs) == 0 {
		ck.given("pops", "")
	}
	if len(ck.PoPs) > edge.MaxPoPs {
		ck.errorf("pops", "%d pops are too many: want 1 to %d", len(ck.PoPs), edge.MaxPoPs)
	}
	first := map[string]int{}
	for i, p := range ck.PoPs {
		key := index("pops", i)
		ck.popNames[p.Name] = true
		if ck.reported[key] {
			continue
		}
		if ck.given(key+".name", p.Name) {
			if err := checkLabel(p.Name); err != nil {
				ck.errorf(key+".name", "%v", err)
			} else if j, dup := first[p.Name]; dup {
				ck.errorf(key+".name", "pop %q is listed already, as pops[%d]", p.Name, j)
			} else {
				first[p.Name] = i
			}
		}
		ck.required(key + ".lat")
		ck.required(key + ".lon")
		if p.Lat < -90 || p.Lat > 90 {
			ck.errorf(key+".lat", "%v is out of range: want -90 to 90 degrees", p.Lat)
		}
		if p.Lon < -180 || p.Lon > 180 {
			ck.errorf(key+".lon", "%v is out of range: want -180 to 180 degrees", p.Lon)
		}
		if p.Continent != "" {
			ck.oneOf(key+".continent", p.Continent, continents...)
		}
		if p.Capacity < 0 {
			ck.errorf(key+".capacity", "%d is out of range: want 0 or more", p.Capacity)
		}
	}
}

func (ck *checker) listen() {
	if len(ck.Listen.External) == 0 {
		ck.given("listen.external", "")
	}
	for i, a := range ck.Listen.External {
		key := index("listen.external", i)
		switch {
		case ck.reported[key]:
		case !a.IsValid():
			ck.errorf(key, "is empty; want an address such as 127.0.0.1:5354")
		case a.Port() != 0 && slices.Contains(ck.Listen.External[:i], a):
			ck.errorf(key, "%s is listed already", a)
		}
	}
	ck.inRange("listen.threads", ck.Listen.Threads, 0, 1024)
}

func (ck *checker) hosts() {
	for i, h := range ck.Admin.Hosts {
		key := index("admin.hosts", i)
		name, err := domain(h)
		if err == nil && !ck.reported[key] {
			ck.Admin.Hosts[i] = strings.TrimSuffix(name, ".")
		} else if !ck.reported[key] {
			ck.errorf(key, "%v", err)
		}
	}
}

func (ck *checker) zones() {
	first := map[string]int{}
	for i := range ck.Zones {
		z, key := &ck.Zones[i], index("zones", i)
		if ck.reported[key] {
			continue
		}
		if ck.given(key+".name", z.Name) {
			name, err := domain(z.Name)
			switch j, dup := first[name]; {
			case err != nil:
				ck.errorf(key+".name", "%v", err)
			case strings.HasPrefix(name, "*"):
				ck.errorf(key+".name", "a zone's name cannot begin with \"*\", got %q", z.Name)
			case dup:
				ck.errorf(key+".name", "zone %q is listed already, as zones[%d]", name, j)
			default:
				z.Name, first[name], ck.origins[name] = name, i, true
			}
		}
		ck.given(key+".file", string(z.File))
	}
}

func (ck *checker) limits() {
	ck.inRange("rrl.per_second", ck.RRL.PerSecond, 0, 1_000_000)
	ck.inRange("rrl.slip", ck.RRL.Slip, 0, 10)
	for i, p := range ck.RRL.Exempt {
		if p.IsValid() && p != p.Masked() {
			ck.errorf(index("rrl.exempt", i), "prefix %s has host bits set; did you mean %s?", p, p.Masked())
		}
	}
	ck.inRange("edns.max_udp", ck.EDNS.MaxUDP, 512, 4096)
	if d := ck.TCP.Idle; d < time.Second || d > 5*time.Minute {
		ck.errorf("tcp.idle", "%s is out of range: want 1s to 5m", d)
	}
	ck.inRange("tcp.max_connections", ck.TCP.MaxConnections, 1, 1_000_000)
	ck.inRange("tcp.max_per_client", ck.TCP.MaxPerClient, 1, max(1, ck.TCP.MaxConnections))
	if ck.Dnstap.Socket != "" && ck.Dnstap.File != "" {
		ck.errorf("dnstap", "has both socket and file: want one of them")
	}
	ck.inRange("dnstap.sample", ck.Dnstap.Sample, 0, 1_000_000)
	ck.oneOf("log.level", ck.Log.Level, "debug", "info", "warn", "error")
	ck.oneOf("log.format", ck.Log.Format, "text", "json")
}

// usable reports why an address cannot be answered to a client.
func usable(a netip.Addr) string {
	switch {
	case a.Is4In6():
		return "is IPv4 mapped into IPv6; write it as " + a.Unmap().String()
	case a.Zone() != "":
		return "has a zone, which means nothing to a client"
	case a.IsUnspecified(), a.IsMulticast():
		return "is not the address of a host"
	}
	return ""
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
