package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"edged/edge"
)

// demoPoPs are sites in real cities on all continents that have any.
var demoPoPs = []edge.PoP{
	{Name: "iad", Lat: 38.95, Lon: -77.45, Continent: "NA"},  // Washington
	{Name: "sjc", Lat: 37.36, Lon: -121.93, Continent: "NA"}, // San Jose
	{Name: "gru", Lat: -23.43, Lon: -46.47, Continent: "SA"}, // São Paulo
	{Name: "scl", Lat: -33.39, Lon: -70.79, Continent: "SA"}, // Santiago
	{Name: "lhr", Lat: 51.47, Lon: -0.45, Continent: "EU"},   // London
	{Name: "fra", Lat: 50.03, Lon: 8.56, Continent: "EU"},    // Frankfurt
	{Name: "los", Lat: 6.58, Lon: 3.32, Continent: "AF"},     // Lagos
	{Name: "jnb", Lat: -26.13, Lon: 28.24, Continent: "AF"},  // Johannesburg
	{Name: "bom", Lat: 19.09, Lon: 72.87, Continent: "AS"},   // Mumbai
	{Name: "sin", Lat: 1.36, Lon: 103.99, Continent: "AS"},   // Singapore
	{Name: "nrt", Lat: 35.77, Lon: 140.39, Continent: "AS"},  // Tokyo
	{Name: "syd", Lat: -33.95, Lon: 151.18, Continent: "OC"}, // Sydney
}

// demoClients are networks on three continents, as resolvers would send them.
var demoClients = []struct{ country, subnet string }{
	{"Germany", "84.130.1.0/24"},
	{"Japan", "126.1.2.0/24"},
	{"Brazil", "177.40.1.0/24"},
}

// demoHome is the PoP that the first of demoClients is answered from.
const demoHome = "fra"

const demoZone = `$ORIGIN example.com.
$TTL 300
@     SOA   ns1 hostmaster 1 7200 3600 1209600 60
@     NS    ns1
@     NS    ns2
@     MX    10 mail
@     TXT   "served by edged"
@     HTTPS 1 . alpn=h2,h3
www   HTTPS 1 . alpn=h2,h3
ns1   A     192.0.2.241
ns2   A     192.0.2.242
mail  A     192.0.2.243
`

// The first ports that a demo tries.
const (
	demoPort      = 5354
	demoAdminPort = 8053
)

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "run a node with sample data on loopback",
		Long: `Run a node on loopback with a sample zone, a dozen PoPs and a map built from the
built-in country data and from beacons' rows that are made up. Each PoP has a small web server that is checked. Nothing
needs to be installed or edited, and nothing is left behind. Ctrl-C ends it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

func demo(ctx context.Context, stdout, stderr io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // its terminal was closed
	defer stop()
	dir, err := os.MkdirTemp("", "edged-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	sites, err := startSites(ctx)
	if err != nil {
		return err
	}
	defer stopSites(sites)
	if err := writeDemoMap(ctx, dir); err != nil {
		return err
	}
	n, dns, admin, err := startDemo(dir, sites, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	describeDemo(stdout, dir, dns, admin, sites)
	<-ctx.Done()
	return nil
}

// startDemo starts the demo's node on ports that are free. Another process may
// take one of them meanwhile: then it tries others.
func startDemo(dir string, sites []*site, stderr io.Writer) (n *node, dns, admin netip.AddrPort, err error) {
	for range 5 {
		if dns, err = freePort(demoPort); err != nil {
			break
		}
		if admin, err = freePort(demoAdminPort); err != nil {
			break
		}
		if err = writeDemo(dir, dns, admin, sites); err != nil {
			break
		}
		n, err = startNode(filepath.Join(dir, "edged.yaml"), stderr)
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return n, dns, admin, err
}

// freePort returns the first loopback address from port on that nobody uses,
// for UDP and TCP.
func freePort(port uint16) (netip.AddrPort, error) {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for p := port; p < port+100; p++ {
		a := netip.AddrPortFrom(loopback, p)
		tcp, err := net.Listen("tcp", a.String())
		if err != nil {
			continue
		}
		udp, err := net.ListenPacket("udp", a.String())
		tcp.Close()
		if err == nil {
			udp.Close()
			return a, nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("no port from %d to %d on %s is free", port, port+99, loopback)
}

// writeDemo writes the demo's configuration and zone.
func writeDemo(dir string, dns, admin netip.AddrPort, sites []*site) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "edged.yaml"), []byte(demoConfig(dns, admin, sites)), 0o600),
		os.WriteFile(filepath.Join(dir, "example.com.zone"), []byte(demoZone), 0o600),
	)
}

func demoConfig(dns, admin netip.AddrPort, sites []*site) string {
	var b strings.Builder
	fmt.Fprintf(&b, "node: {name: demo, pop: fra}\ndata_dir: state\nlog: {level: warn}\n")
	fmt.Fprintf(&b, "listen: {external: [%q], threads: 1, admin: %q}\npops:\n", dns, admin)
	for _, p := range demoPoPs {
		fmt.Fprintf(&b, "  - {name: %s, lat: %v, lon: %v, continent: %s}\n", p.Name, p.Lat, p.Lon, p.Continent)
	}
	fmt.Fprintf(&b, "maps: {%s: {file: %[1]s.edmap}}\nzones: [{name: example.com, file: example.com.zone}]\n", demoMap)
	fmt.Fprintf(&b, "pools:\n  www:\n    policy: closest\n    map: %s\n    ttl: {min: 1s}\n", demoMap)
	fmt.Fprintf(&b, "    check: {kind: http, target: 127.0.0.1, interval: 500ms, timeout: 400ms, rise: 3}\n    endpoints:\n")
	for i, p := range demoPoPs {
		check := fmt.Sprintf("check: {port: %d}", sites[i].port)
		fmt.Fprintf(&b, "      - {pop: %s, address: %s, %s}\n", p.Name, demoAddress(i), check)
		fmt.Fprintf(&b, "      - {pop: %s, address: \"2001:db8:%d::1\", %s}\n", p.Name, i+1, check)
	}
	fmt.Fprintf(&b, "names:\n  example.com: {pool: www}\n  www.example.com: {pool: www}\n  \"*.cdn.example.com\": {pool: www}\n")
	return b.String()
}

// demoAddress is the IPv4 address of PoP i.
func demoAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}) }

func describeDemo(w io.Writer, dir string, dns, admin netip.AddrPort, sites []*site) {
	var countries, pops []string
	for _, c := range demoClients {
		countries = append(countries, c.country)
	}
	for i, p := range demoPoPs {
		pops = append(pops, fmt.Sprintf("%s %s", p.Name, demoAddress(i)))
	}
	last := len(countries) - 1
	fmt.Fprintf(w, `This node answers example.com, www.example.com and *.cdn.example.com on
%s over UDP and TCP, with the PoP that is closest for the client, from a map of the
built-in country data and of round trips that are made up: nobody measured them.
Each PoP has its own address:
  %s
  %s
The admin API is at http://%s/v1/status. Ctrl-C ends the demo.

In another terminal, be a client in %s and %s:

`, dns, strings.Join(pops[:6], ", "), strings.Join(pops[6:], ", "), admin, strings.Join(countries[:last], ", "), countries[last])
	for _, c := range demoClients {
		fmt.Fprintf(w, "dig @%s -p %d www.example.com A +subnet=%s +noall +answer\n", dns.Addr(), dns.Port(), c.subnet)
	}
	fmt.Fprintf(w, "\nand ask why:\n\ngo run ./cmd/edged explain www.example.com --client %s --node http://%s\n", demoClients[last].subnet, admin)
	fmt.Fprintf(w, "\nand where the map's numbers come from:\n\ngo run ./cmd/edged map explain %s %s\n", filepath.Join(dir, demoMap+".edmap"), demoClients[last].subnet)
	for _, s := range sites {
		if s.pop == demoHome {
			fmt.Fprintf(w, "\nEach PoP has a small web server, which is checked. End that of %s, and two seconds\nlater the first line is answered from elsewhere:\n\nkill %d\n", s.pop, s.cmd.Process.Pid)
		}
	}
}
