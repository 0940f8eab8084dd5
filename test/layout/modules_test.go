package layout

import (
	"encoding/json"
	"os/exec"
	"slices"
	"testing"
)

// modules is every module that edged depends on directly, and why. A new one
// needs a reason that the standard library, or a page of our own code, does not
// meet.
var modules = map[string]string{
	"github.com/dchest/siphash":               "SipHash-2-4, which RFC 9018 server cookies are made with; the standard library keeps its own private",
	"github.com/dnstap/golang-dnstap":         "the dnstap schema and its Frame Streams output",
	"github.com/gaissmai/bart":                "bench and tests only: the fast general trie that map lookups are compared with",
	"github.com/go-viper/mapstructure/v2":     "decode hooks for viper, so that values arrive as netip and time types",
	"github.com/hashicorp/memberlist":         "membership and gossip among the nodes of a fleet (decision 0019)",
	"github.com/klauspost/compress":           "zstd, in which beacons are uploaded",
	"github.com/maxmind/mmdbwriter":           "tests only: makes the databases that geo/place is tested on",
	"github.com/miekg/dns":                    "zone files, record types and messages off the query path (decision 0001)",
	"github.com/oschwald/maxminddb-golang/v2": "reads MaxMind DB files with netip types (decision 0002)",
	"github.com/osrg/gobgp/v4":                "BGP and BFD sessions with routers (decision 0023)",
	"github.com/parquet-go/parquet-go":        "reads beacons from Parquet files",
	"github.com/prometheus/client_golang":     "metrics (decision 0006)",
	"github.com/rogpeppe/go-internal":         "tests only: txtar, so that a test reads as text",
	"github.com/spf13/cobra":                  "the command line (decision 0003)",
	"github.com/spf13/viper":                  "defaults, file and environment in layers (decision 0003)",
	"github.com/vishvananda/netlink":          "addresses on lo, with a mark that the standard library cannot set (decision 0025)",
	"go.uber.org/goleak":                      "tests only: no goroutine outlives its server",
	"go.yaml.in/yaml/v3":                      "the configuration's tree with line numbers, for errors that say where",
	"go4.org/netipx":                          "tests only: mmdbwriter takes its networks in netipx form",
	"golang.org/x/net":                        "netutil.LimitListener, which bounds the admin API's connections",
	"golang.org/x/sys":                        "recvmmsg, sendmmsg, socket options and mmap",
	"gonum.org/v1/gonum":                      "tests only: the simplex that the assignment is compared with",
	"google.golang.org/protobuf":              "encodes dnstap messages",
}

func TestModules(t *testing.T) {
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod edit -json: %v", err)
	}
	var file struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Replace []struct{ Old struct{ Path string } }
	}
	if err := json.Unmarshal(out, &file); err != nil {
		t.Fatal(err)
	}
	var direct []string
	for _, r := range file.Require {
		if !r.Indirect {
			direct = append(direct, r.Path)
		}
	}
	for _, path := range direct {
		if modules[path] == "" {
			t.Errorf("go.mod requires %s directly, but the list of modules gives no reason for it", path)
		}
	}
	for path := range modules {
		if !slices.Contains(direct, path) {
			t.Errorf("the list of modules has %s, but go.mod does not require it directly", path)
		}
	}
	for _, r := range file.Replace {
		t.Errorf("go.mod replaces %s: a clone could not be installed", r.Old.Path)
	}
}
