package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "edged"

// anyOfOurs as an entry of packages allows every import.
const anyOfOurs = "*"

// row is one line of the table of packages.
type row struct {
	path    string
	imports []string
}

// packages is every package of the module and which of our packages it may
// import. The order is that of the layers: nothing imports what stands below
// it. Tests are free: the compiler keeps them from making a circle.
var packages = []row{
	{"edge", nil},
	{"zone", []string{"edge"}},
	{"edge/pages", nil},
	{"maps", []string{"edge", "edge/pages"}},
	{"maps/mapstest", []string{"maps"}}, // maps for tests
	{"geo/place/internal/country", nil},
	{"geo/place", []string{"edge", "geo/place/internal/country"}},
	{"geo/place/internal/gen", []string{"geo/place", "geo/place/internal/country"}},
	{"geo/prefetch", nil},
	{"geo/shed", []string{"maps"}},
	{"geo/pricer", []string{"edge", "geo/shed", "maps"}},
	{"geo", []string{"edge", "edge/pages", "geo/place", "geo/prefetch", "geo/shed", "maps"}},
	{"mapper/beacon", []string{"edge"}},
	{"mapper/beacon/token", nil},
	{"mapper/beacon/page", []string{"edge", "mapper/beacon", "mapper/beacon/token"}},
	{"mapper/clickhouse/clickhousetest", nil}, // servers for tests
	{"mapper/clickhouse", []string{"edge", "mapper/beacon"}},
	{"mapper/assign", nil},
	{"mapper/compress", []string{"maps"}},
	{"mapper/simulate", []string{"maps"}},
	{"mapper/generate", []string{"edge", "geo/place", "mapper/beacon"}},
	{"mapper/estimate", []string{"edge", "geo/place", "mapper/beacon"}},
	{"mapper", []string{
		"edge", "geo/place", "maps", "mapper/assign", "mapper/beacon", "mapper/compress", "mapper/estimate", "mapper/simulate",
	}},
	{"mapper/mappertest", []string{"edge", "mapper", "maps", "maps/mapstest"}}, // small maps for tests
	{"mapper/compare", []string{"geo/place", "mapper/simulate", "maps"}},
	{"mapper/picture", []string{"edge", "mapper/compare"}},
	{"mapper/gate", []string{"mapper", "mapper/compare", "mapper/simulate", "maps"}},
	{"dnsserver", []string{"edge", "zone", "geo", "geo/prefetch", "maps"}},
	{"dnsserver/conformance", nil}, // a black box: it must not know edged
	{"health", []string{"edge"}},
	{"health/probe", []string{"edge", "health"}},
	{"health/gossip", []string{"edge", "health"}},
	{"health/gossip/lossy", nil}, // a network for tests
	{"health/override", []string{"edge", "health"}},
	{"health/fleet", []string{"edge", "health", "health/probe", "health/gossip", "health/override"}},
	{"bgp", []string{"edge"}},
	{"bgp/speaker", []string{"bgp"}},
	{"bgp/link", nil},
	{"bgp/loopback", nil},
	{"bgp/audit", []string{"edge"}},
	{"bgp/selfcheck", []string{"bgp"}},
	{"bgp/announcer", []string{"edge", "bgp", "bgp/audit", "bgp/link", "bgp/speaker"}},
	{"admin", []string{
		"edge", "zone", "maps", "geo", "geo/place", "mapper", "mapper/beacon", "dnsserver", "dnsserver/conformance",
		"health", "health/override", "health/fleet", "bgp", "bgp/announcer",
	}},
	{"config", []string{
		"edge", "zone", "maps", "geo", "geo/place", "mapper", "mapper/clickhouse", "dnsserver", "dnsserver/conformance",
		"health", "health/probe", "health/gossip", "health/override", "health/fleet", "admin", "bgp",
	}},
	{"cmd/edged", []string{anyOfOurs}},
	{"test/netns", nil},
	{"test/lab", []string{"admin", "bgp", "bgp/speaker", "test/netns"}},
	{"test/lab/start", []string{"test/lab"}},
	{"test/fleet/rig", []string{"edge", "health", "admin", "test/netns"}},
	{"bench/bars", nil},
	{"bench/pin", nil},
	{"bench/answers", []string{anyOfOurs}},
	{"bench/checks", []string{anyOfOurs}},
	{"bench/failover", []string{anyOfOurs}},
	{"bench/hostile", []string{anyOfOurs}},
	{"bench/lookup", []string{anyOfOurs}},
	{"bench/mapper", []string{anyOfOurs}},
	{"bench/steering", []string{anyOfOurs}},
	{"bench/steering", []string{anyOfOurs}},
	{"bench/vips", []string{anyOfOurs}},
	{"test/beacon", []string{anyOfOurs}},
	{"test/daemon", []string{anyOfOurs}},
	{"test/fleet", []string{anyOfOurs}},
	{"test/layout", []string{anyOfOurs}},
}

// listed is what go list tells about a package.
type listed struct {
	ImportPath string
	Name       string
	Doc        string
	Imports    []string
}

// list asks go list about all packages of the module as built for a system.
func list(t *testing.T, goos string) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Imports", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
}

// faults holds packages against the table.
func faults(all []listed) []string {
	var found []string
	seen := map[string]bool{}
	for _, p := range all {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		seen[path] = true
		if p.Doc == "" {
			found = append(found, path+": no package comment")
		}
		at := slices.IndexFunc(packages, func(r row) bool { return r.path == path })
		if at < 0 {
			found = append(found, path+": not in the table of packages; enter it with what it may import")
			continue
		}
		allowed := packages[at].imports
		for _, imported := range p.Imports {
			ours, ok := strings.CutPrefix(imported, module+"/")
			if ok && !slices.Contains(allowed, ours) && !slices.Contains(allowed, anyOfOurs) {
				found = append(found, fmt.Sprintf("%s: may not import %s, only %v", path, ours, allowed))
			}
		}
	}
	for _, r := range packages {
		if !seen[r.path] {
			found = append(found, r.path+": in the table of packages, but there is no such package")
		}
	}
	return found
}

func TestPackages(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "freebsd"} {
		for _, fault := range faults(list(t, goos)) {
			t.Errorf("%s: %s", goos, fault)
		}
	}
}

// TestPackageOrder holds that the table itself has no circle: a package may
// import only what stands above it.
func TestPackageOrder(t *testing.T) {
	above := map[string]bool{anyOfOurs: true}
	for _, r := range packages {
		for _, imported := range r.imports {
			if !above[imported] {
				t.Errorf("%s may import %q, which does not stand above it", r.path, imported)
			}
		}
		above[r.path] = true
	}
}

// TestPackageFaults shows that the rules can fail.
func TestPackageFaults(t *testing.T) {
	var all []listed
	for _, r := range packages {
		all = append(all, listed{ImportPath: module + "/" + r.path, Doc: "Package."})
	}
	if found := faults(all); len(found) != 0 {
		t.Fatalf("faults in a tree without any: %q", found)
	}
	change := map[string]func(){
		"edge: no package comment": func() { all[0].Doc = "" },
		"zone: may not import maps, only [edge]": func() {
			all[1].Imports = []string{"fmt", "edged/edge", "edged/maps"}
		},
		"util: not in the table of packages; enter it with what it may import": func() {
			all = append(all, listed{ImportPath: "edged/util", Doc: "Package util."})
		},
		"geo: in the table of packages, but there is no such package": func() {
			all = slices.DeleteFunc(all, func(p listed) bool { return p.ImportPath == "edged/geo" })
		},
	}
	whole := all
	for want, do := range change {
		all = slices.Clone(whole)
		do()
		if found := faults(all); !slices.Equal(found, []string{want}) {
			t.Errorf("faults %q, want %q", found, want)
		}
	}
}
