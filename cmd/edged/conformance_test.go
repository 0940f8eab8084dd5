package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"edged/dnsserver/conformance"
)

// conformanceZone adds to the test node's zone what the checks need: a zone cut
// and an answer that does not fit 512 octets.
var conformanceZone = fmt.Sprintf(testZone, 1) + `sub NS ns.sub
ns.sub A 192.0.2.54
large TXT ` + strings.Repeat(strings.Repeat("x", 200)+" ", 4) + "\n"

// TestConformanceOfEdged runs every check against edged itself, once per kind of
// policy: all must pass, without a warning and without one left out, but for one
// that does not suit a policy.
func TestConformanceOfEdged(t *testing.T) {
	for _, policy := range []string{"closest", "failover", "weighted", "sticky"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			d := newNodeDir(t)
			d.write("example.com.zone", conformanceZone)
			d.change("edged.yaml", "policy: closest", "policy: "+policy)
			if policy != "closest" {
				d.change("edged.yaml", "    map: default\n", "")
			}
			r := serveDir(t, d)
			defer r.stop()
			code, stdout, stderr := command(t, "conformance", r.dns.String(), "--json", "--timeout", "300ms",
				"--delegated", "x.sub.example.com", "--large", "large.example.com", "--subnet", "126.255.255.0/24", "--subnet", "128.0.0.0/24")
			if code != 0 {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			var report conformance.Report
			if err := json.Unmarshal([]byte(stdout), &report); err != nil {
				t.Fatalf("%v: %s", err, stdout)
			}
			for _, res := range report.Results {
				want := conformance.Pass
				// A sticky pool hashes whatever subnet it is given, so a private
				// one has a scope too.
				if policy == "sticky" && res.ID == "ecs-private" {
					want = conformance.Warn
				}
				if res.Verdict != want {
					t.Errorf("%s: %s: %s", res.ID, res.Verdict, res.Evidence)
				}
			}
		})
	}
}

func TestConformanceSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"conformance 127.0.0.1:1 --timeout 50ms", "no answer"},
		{"conformance 127.0.0.1:1 --subnet 192.0.2.1/24", `--subnet "192.0.2.1/24": not a prefix without host bits`},
		{"conformance 127.0.0.1:1 --subnet 10.1.2.0/24", `subnet "10.1.2.0/24" is of a special-purpose block`},
		{"conformance 127.0.0.1:99999", `server "127.0.0.1:99999"`},
	} {
		code, _, stderr := command(t, strings.Fields(c.args)...)
		if code != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, %q; want %q", c.args, code, stderr, c.want)
		}
	}
}
