//go:build linux

package main

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildEdged compiles the working folder's edged into dir, as it is shipped.
func buildEdged(dir string) (string, error) {
	binary := filepath.Join(dir, "edged")
	if out, err := exec.Command("make", "-s", "build", "EDGED="+binary).CombinedOutput(); err != nil {
		return "", fmt.Errorf("make build: %w: %s", err, out)
	}
	return binary, nil
}

// edgedConfigurer returns the configure function for a binary: edged.yaml, the
// zone, the nets, and the map that "edged map build" makes of them.
func edgedConfigurer(binary string) func(string, netip.AddrPort, *data) ([]string, error) {
	return func(dir string, addr netip.AddrPort, d *data) ([]string, error) {
		if binary == "" {
			return nil, fmt.Errorf("%w: edged was not built", errNotInstalled)
		}
		admin, err := freePort()
		if err != nil {
			return nil, err
		}
		var pops, endpoints strings.Builder
		for i, p := range d.pops {
			fmt.Fprintf(&pops, "  - {name: %s, lat: %g, lon: %g, capacity: %d}\n", p.Name, p.Lat, p.Lon, p.Capacity)
			fmt.Fprintf(&endpoints, "      - {pop: %s, address: %s}\n", p.Name, popAddress(i))
		}
		err = writeFiles(dir, map[string]string{
			"edged.yaml": fmt.Sprintf(`node: {name: bench1, pop: %s}
data_dir: %s/data
pops:
%slisten: {external: ["%s"], threads: 1, admin: "%s"}
maps:
  default: {file: default.edmap}
zones:
  - {name: example.com, file: example.com.zone}
pools:
  www:
    policy: closest
    map: default
    ttl: {min: 300s, max: 300s}
    answers: 1
    endpoints:
%snames:
  %s: {pool: www}
`, popName(0), dir, pops.String(), addr, admin, endpoints.String(), dynamicName),
			"example.com.zone": "$ORIGIN example.com.\n" + zoneText(""),
		})
		if err != nil {
			return nil, err
		}
		if err := buildMap(binary, dir, d); err != nil {
			return nil, err
		}
		return []string{binary, "serve", "--config", filepath.Join(dir, "edged.yaml")}, nil
	}
}

// buildMap compiles the data into dir/default.edmap, replacing the one there.
func buildMap(binary, dir string, d *data) error {
	nets := filepath.Join(dir, "nets.csv")
	err := writeNets(nets, "prefix,ranking\n", d, func(w *bufio.Writer, n net24) {
		fmt.Fprintf(w, "%s,%s\n", n.prefix(), popName(n.pop))
	})
	if err != nil {
		return err
	}
	cmd := exec.Command(binary, "map", "build", "--config", filepath.Join(dir, "edged.yaml"), "--nets", nets, "-o", filepath.Join(dir, "default.edmap"))
	cmd.Env = os.Environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("edged map build: %w: %s", err, out)
	}
	return nil
}
