package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"edged/edge"
)

// maxTTL is the longest TTL of a pool: a week, after which no decision about
// distance or health can still be called one.
const maxTTL = 168 * time.Hour

func index(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

func (ck *checker) pools() {
	for _, name := range sortedKeys(ck.Pools) {
		key := "pools." + name
		p := ck.Pools[name]
		if ck.reported[key] {
			continue
		}
		if ck.given(key+".policy", p.Policy) {
			ck.oneOf(key+".policy", p.Policy, "closest", "failover", "weighted", "sticky")
		}
		if _, known := ck.Maps[p.Map]; p.Map != "" && !known {
			ck.errorf(key+".map", "unknown map %q; %s", p.Map, edge.Suggest(p.Map, sortedKeys(ck.Maps)))
		} else if p.Map == "" && p.Policy == "closest" {
			ck.errorf(key+".map", "required for policy closest, but not given")
		}
		ck.ttl(key+".ttl", &p.TTL)
		ck.inRange(key+".answers", p.Answers, 1, 16)
		ck.endpoints(key, &p)
		if p.Fallback.CNAME != "" {
			p.Fallback.CNAME = ck.target(key+".fallback.cname", p.Fallback.CNAME)
		}
		ck.health(key, &p)
		if p.RequiresVIP != "" {
			if err := checkLabel(p.RequiresVIP); err != nil {
				ck.errorf(key+".requires_vip", "%v", err)
			}
		}
		ck.Pools[name] = p
	}
	ck.cycles()
	for _, name := range sortedKeys(ck.Pools) {
		ck.composition("pools."+name, name)
	}
}

// composition checks what a pool holds together with the pools in it.
func (ck *checker) composition(key, name string) {
	var addresses, targets, places int
	ck.walkPools(name, map[string]bool{}, func(p Pool) {
		for _, e := range p.Endpoints {
			switch {
			case e.Address.IsValid():
				addresses++
			case e.CNAME != "":
				targets++
			}
			if e.PoP != "" {
				places++
			}
		}
	})
	if addresses > 0 && targets > 0 {
		ck.errorf(key, "holds both addresses and CNAME targets, itself or in the pools in it; an answer can be only one of them")
	}
	if ck.Pools[name].Policy == "closest" && places == 0 && addresses+targets > 0 && !ck.reported[index(key+".endpoints", 0)+".pop"] {
		ck.errorf(key+".endpoints", "no endpoint has a pop; policy closest needs at least one")
	}
}

func (ck *checker) ttl(key string, t *TTL) {
	if !ck.source.has(key + ".min") {
		t.Min = min(t.Min, t.Max) // a short max alone brings the default min down
	}
	for _, f := range []struct {
		key   string
		value time.Duration
	}{{key + ".min", t.Min}, {key + ".max", t.Max}} {
		if f.value < time.Second || f.value > maxTTL || f.value%time.Second != 0 {
			ck.errorf(f.key, "%s is out of range: want 1s to 168h in whole seconds", f.value)
		}
	}
	if t.Min > t.Max {
		ck.errorf(key, "min %s is above max %s", t.Min, t.Max)
	}
}

func (ck *checker) endpoints(key string, p *Pool) {
	if len(p.Endpoints) == 0 {
		ck.given(key+".endpoints", "")
	}
	for i := range p.Endpoints {
		e, at := &p.Endpoints[i], index(key+".endpoints", i)
		if ck.reported[at] {
			continue
		}
		if e.PoP != "" {
			ck.knownPoP(at+".pop", e.PoP)
		} else if p.Policy == "closest" && e.Pool == "" {
			ck.given(at+".pop", "") // closest to where?
		}
		var given []string
		for _, k := range []string{"address", "cname", "pool"} {
			if ck.source.has(at + "." + k) {
				given = append(given, k)
			}
		}
		if len(given) != 1 {
			got := "none"
			if len(given) > 1 {
				got = strings.Join(given, " and ")
			}
			ck.errorf(at, "want exactly one of address, cname and pool, got %s", got)
		}
		if ck.source.has(at + ".address") {
			ck.given(at+".address", addrText(e.Address))
		}
		if why := usable(e.Address); e.Address.IsValid() && why != "" {
			ck.errorf(at+".address", "address %s %s", e.Address, why)
		}
		if ck.source.has(at+".cname") && ck.given(at+".cname", e.CNAME) {
			e.CNAME = ck.target(at+".cname", e.CNAME)
		}
		if ck.source.has(at+".pool") && ck.given(at+".pool", e.Pool) {
			ck.knownPool(at+".pool", e.Pool)
		}
		ck.inRange(at+".weight", e.Weight, 0, 65535)
	}
}

// knownPool reports a pool that does not exist. One that stands in the file and
// did not fit was reported already.
func (ck *checker) knownPool(key, name string) bool {
	_, known := ck.Pools[name]
	if !known && !ck.source.has("pools."+name) {
		ck.errorf(key, "unknown pool %q; %s", name, edge.Suggest(name, sortedKeys(ck.Pools)))
	}
	return known
}

// target returns the absolute form of a CNAME target.
func (ck *checker) target(key, name string) string {
	absolute, err := domain(name)
	if err == nil && strings.HasPrefix(absolute, "*") {
		ck.errorf(key, "a target cannot be a wildcard, got %q", name)
	} else if err != nil {
		ck.errorf(key, "%v", err)
	}
	return absolute
}

// cycles reports each pool through which pools contain each other, once.
func (ck *checker) cycles() {
	done := map[string]bool{}
	var path []string
	var visit func(name string)
	visit = func(name string) {
		if i := slices.Index(path, name); i >= 0 {
			ck.errorf("pools."+name, "pools contain each other: %s", strings.Join(append(slices.Clone(path[i:]), name), " → "))
			return
		}
		if done[name] {
			return
		}
		path = append(path, name)
		for _, e := range ck.Pools[name].Endpoints {
			if _, known := ck.Pools[e.Pool]; known {
				visit(e.Pool)
			}
		}
		path = path[:len(path)-1]
		done[name] = true
	}
	for _, name := range sortedKeys(ck.Pools) {
		visit(name)
	}
}

func (ck *checker) names() {
	for _, name := range sortedKeys(ck.Names) {
		key := NameKey(name)
		if ck.reported[key] {
			continue
		}
		if ck.ZoneOf(name) == "" {
			ck.errorf(key, "lies in none of the zones; add the zone that holds it")
		}
		pool := ck.Names[name].Pool
		if !ck.given(key+".pool", pool) {
			continue
		}
		if !ck.knownPool(key+".pool", pool) {
			continue
		}
		for _, target := range ck.Targets(pool) {
			switch {
			case ck.origins[name]:
				ck.errorf(key, "pool %q holds the CNAME target %q, but %s is a zone's apex, which can have no CNAME (RFC 1034 section 3.6.2)", pool, target, name)
			case target == name:
				ck.errorf(key, "pool %q holds the CNAME target %q, which is the name itself", pool, target)
			}
		}
	}
}

// Targets returns every CNAME target that a pool can answer with, its own and
// those of the pools in it, fallbacks included.
func (c *Config) Targets(pool string) []string {
	var out []string
	c.walkPools(pool, map[string]bool{}, func(p Pool) {
		for _, e := range p.Endpoints {
			if e.CNAME != "" {
				out = append(out, e.CNAME)
			}
		}
		if p.Fallback.CNAME != "" {
			out = append(out, p.Fallback.CNAME)
		}
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// PoPsOf returns the names of the PoPs that a pool chooses among: those of its
// endpoints and, for a pool in it that is not itself placed, those of that pool.
func (c *Config) PoPsOf(pool string) []string {
	var out []string
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, e := range c.Pools[name].Endpoints {
			if e.PoP != "" {
				out = append(out, e.PoP)
			} else if e.Pool != "" {
				visit(e.Pool)
			}
		}
	}
	visit(pool)
	slices.Sort(out)
	return slices.Compact(out)
}

// walkPools calls visit for a pool and each pool in it, once each.
func (c *Config) walkPools(name string, seen map[string]bool, visit func(Pool)) {
	p, known := c.Pools[name]
	if !known || seen[name] {
		return
	}
	seen[name] = true
	visit(p)
	for _, e := range p.Endpoints {
		c.walkPools(e.Pool, seen, visit)
	}
}

// Warnings lists what is allowed but likely not meant: pools and maps that
// nothing uses, and a query log that logs nothing.
func (c *Config) Warnings() Problems {
	var out Problems
	used, usedMaps := map[string]bool{}, map[string]bool{}
	for _, n := range c.Names {
		c.walkPools(n.Pool, used, func(Pool) {})
	}
	for _, name := range sortedKeys(c.Pools) {
		if !used[name] {
			out = append(out, c.Problem("pools."+name, "no name uses this pool"))
		}
		usedMaps[c.Pools[name].Map] = true
	}
	for _, name := range sortedKeys(c.Maps) {
		if !usedMaps[name] {
			out = append(out, c.Problem("maps."+name, "no pool uses this map"))
		}
	}
	if d := c.Dnstap; d.Sample == 0 && d.Socket+d.File != "" {
		out = append(out, c.Problem("dnstap", "sample is 0, so no query is logged; 1 logs all"))
	}
	return out.sorted()
}
