package layout

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// bare sets what is required, and what has no default so that it is printed.
const bare = `
node: {name: a1, pop: a}
pops: [{name: a, lat: 0, lon: 0}]
listen: {external: ["127.0.0.1:0"]}
maps: {m: {file: m.edmap}}
zones: [{name: example.com, file: zone}]
pools:
  p: {policy: closest, map: m, endpoints: [{pop: a, address: 192.0.2.1, node: a1}, {pop: a, pool: q}]}
  q: {policy: failover, endpoints: [{address: 192.0.2.2}]}
  c: {policy: failover, endpoints: [{cname: www.example.net}]}
  h: {policy: failover, check: {kind: https}, endpoints: [{address: 192.0.2.3}]}
  t: {policy: failover, check: {kind: tcp, port: 1}, endpoints: [{address: 192.0.2.3}]}
  d: {policy: failover, check: {kind: dns, name: a}, endpoints: [{address: 192.0.2.3}]}
  g: {policy: failover, check: {kind: grpc}, endpoints: [{address: 192.0.2.3}]}
  e: {policy: failover, check: {kind: exec, command: [/bin/true]}, endpoints: [{address: 192.0.2.3}]}
  x: {policy: failover, check: {kind: external, source: /x}, endpoints: [{address: 192.0.2.3}]}
names:
  www.example.com: {pool: p}
  alias.example.com: {pool: c}
  h.example.com: {pool: h}
  t.example.com: {pool: t}
  d.example.com: {pool: d}
  g.example.com: {pool: g}
  e.example.com: {pool: e}
  x.example.com: {pool: x}
fleet: {name: f, advertise: "192.0.2.9:7946", key_file: gossip.key, members: [{name: a1, pop: a, key: "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}, {name: a2, pop: a, key: "ed25519:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}
bgp: {asn: 64512, router_id: 192.0.2.9, peers: [{name: tor, address: 192.0.2.1, asn: 64500, local_address: 192.0.2.9, groups: [fabric], bfd: {interval: 300ms}}]}
vips: {ns1: {prefixes: [198.51.100.53/32]}}
rules: [{at_least: 1, of: pops}]
`

const bareZone = `
@ 300 SOA ns1 hostmaster 1 7200 3600 1209600 60
@ 300 NS ns1.example.net.
@ 300 NS ns2.example.net.
`

// given are the keys that bare sets, with what docs/config.md says of them in
// place of a default.
var given = map[string]string{
	"node.name": "required", "node.pop": "required", "listen.external": "required",
	"pops[].name": "required", "pops[].lat": "required", "pops[].lon": "required",
	"maps.NAME.file": "required", "zones[].name": "required", "zones[].file": "required",
	"names.NAME.pool": "required", "pools.NAME.policy": "required", "pools.NAME.map": `""`,
	"pools.NAME.endpoints[].pop": "none", "pools.NAME.endpoints[].address": "none",
	"pools.NAME.endpoints[].node": "none", "pools.NAME.endpoints[].cname": "none", "pools.NAME.endpoints[].pool": "none",
	"pools.NAME.check.kind": "none", "pools.NAME.check.port": "by kind", "pools.NAME.check.name": `""`,
	"pools.NAME.check.command": "[]", "pools.NAME.check.source": `""`,
	"fleet.name": `""`, "fleet.advertise": `""`, "fleet.bind": `""`, "fleet.key_file": `""`,
	"fleet.members[].name": "required", "fleet.members[].pop": "required", "fleet.members[].key": "required",
	"fleet.link": `""`, "bgp.asn": "0", "bgp.router_id": "none", "bgp.peers[].name": "required", "bgp.peers[].address": "required",
	"bgp.peers[].asn": "required", "bgp.peers[].local_address": "none", "bgp.peers[].gtsm": "by multihop",
	"bgp.peers[].groups": "[]", "bgp.peers[].bfd.interval": "0s",
	"vips.NAME.prefixes": "required", "vips.NAME.ladder": "[gshut, prepend: 3, withdraw]", "vips.NAME.communities": "[]",
	"rules[].at_least": "0", "rules[].of": `""`,
}

// keyRow is a row of a table of keys in docs/config.md: key, default, text.
var keyRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\|")

// TestConfigDocument holds docs/config.md to what "edged check --print" shows:
// every key has a row, every row a key, and the defaults are the real ones.
func TestConfigDocument(t *testing.T) {
	documented := map[string]string{}
	for _, m := range keyRow.FindAllStringSubmatch(documents(t)["docs/config.md"], -1) {
		documented[m[1]] = strings.Trim(strings.TrimSpace(m[2]), "`")
	}

	dir := t.TempDir()
	key := "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	for name, text := range map[string]string{"edged.yaml": bare, "zone": bareZone, "gossip.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edged := buildEdged(t)
	edged.run(t, dir, "map", "build", "--config", "edged.yaml", "-o", "m.edmap")
	defaults := map[string]string{}
	flatten(parseYAML(t, edged.run(t, dir, "check", "--config", "edged.yaml", "--print")), "", defaults)

	for key, want := range defaults {
		if strings.HasPrefix(key, "pools.NAME.endpoints[].check.") {
			continue // the same keys as the pool's
		}
		if word, ok := given[key]; ok {
			want = word
		}
		if got, ok := documented[key]; !ok {
			t.Errorf("docs/config.md has no row for %s", key)
		} else if got != want {
			t.Errorf("docs/config.md: %s has the default %q, want %q", key, got, want)
		}
	}
	for key := range documented {
		if _, ok := defaults[key]; !ok {
			t.Errorf("docs/config.md has a row for %s, but there is no such key", key)
		}
	}
}

// sections with names of the user's choice.
var sections = map[string]bool{"maps": true, "pools": true, "names": true, "vips": true}

// flatten turns a YAML document into its keys with their values. Elements of
// lists share a key, as do names of the user's choice.
func flatten(v any, key string, into map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 {
			into[key] = "{}"
		}
		for name, item := range v {
			if sections[key] {
				name = "NAME"
			}
			if key != "" {
				name = key + "." + name
			}
			flatten(item, name, into)
		}
	case []any:
		if len(v) == 0 {
			into[key] = "[]"
		}
		for _, item := range v {
			if _, isMap := item.(map[string]any); !isMap || strings.HasSuffix(key, ".ladder") {
				into[key] = fmt.Sprint(v)
				continue
			}
			flatten(item, key+"[]", into)
		}
	case string:
		if into[key] = v; v == "" {
			into[key] = `""`
		}
	default:
		into[key] = fmt.Sprint(v)
	}
}

func parseYAML(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestExample holds that the example works: its map builds, and a check finds
// nothing to complain about. README shows the same configuration.
func TestExample(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "example")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(root, "docs", "example"))); err != nil {
		t.Fatal(err)
	}
	edged := buildEdged(t)
	edged.run(t, dir, "map", "build", "--config", "edged.yaml", "--nets", "nets.csv", "-o", "default.edmap")
	edged.run(t, dir, "check", "--config", "edged.yaml")
	answer := edged.run(t, dir, "explain", "www.example.com", "A", "--client", "203.0.113.7", "--config", "edged.yaml")
	if want := "  www.example.com. 300 IN A 192.0.2.2\n  ECS scope /24\n"; !strings.Contains(answer, want) {
		t.Errorf("explain says\n%s\nwant it to hold\n%s", answer, want)
	}

	text, err := os.ReadFile(filepath.Join(root, "docs", "example", "edged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(documents(t)["README.md"], "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	if shown, real := parseYAML(t, block), parseYAML(t, string(text)); !reflect.DeepEqual(shown, real) {
		t.Errorf("README.md shows\n%s\nwant what docs/example/edged.yaml says", block)
	}
}
