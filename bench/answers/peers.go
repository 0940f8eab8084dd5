//go:build linux

package main

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// server is a program to be measured: how to write its configuration and how to
// start it.
type server struct {
	name      string
	label     string // for the table
	binary    string // to be found in PATH or /usr/sbin; empty: configure finds it
	echo      bool   // answers nothing, sends the packet back
	static    bool   // has no map: the dynamic name is static too
	configure func(dir string, addr netip.AddrPort, d *data) (argv []string, err error)
}

// allServers lists what can be measured, in the order of the table.
func allServers(edgedBinary string) []*server {
	return []*server{
		{name: "echo", label: "C echo (limit)", echo: true, configure: configureEcho},
		{name: "edged", label: "edged", binary: edgedBinary, configure: edgedConfigurer(edgedBinary)},
		{name: "gdnsd", label: "gdnsd geoip", binary: "gdnsd", configure: configureGdnsd},
		{name: "knot", label: "Knot mod-geoip", binary: "knotd", configure: configureKnot},
		{name: "pdns", label: "PowerDNS geoip", binary: "pdns_server", configure: configurePDNS},
		{name: "nsd", label: "NSD, static", binary: "nsd", static: true, configure: configureNSD},
	}
}

// errNotInstalled marks a server whose program is missing.
var errNotInstalled = errors.New("not installed")

// find returns the path of a program.
func find(binary string) (string, error) {
	for _, dir := range []string{"", "/usr/sbin/", "/usr/local/sbin/"} {
		if path, err := exec.LookPath(dir + binary); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: %s", errNotInstalled, binary)
}

// freePort returns a loopback address whose port is free for UDP and TCP.
func freePort() (netip.AddrPort, error) {
	for range 50 {
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return netip.AddrPort{}, err
		}
		addr := udp.LocalAddr().(*net.UDPAddr).AddrPort()
		tcp, err := net.Listen("tcp", addr.String())
		udp.Close()
		if err == nil {
			tcp.Close()
			return addr, nil
		}
	}
	return netip.AddrPort{}, errors.New("no loopback port is free for both udp and tcp")
}

// writeFiles writes files into dir, making folders as needed.
func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeNets writes one line per prefix.
func writeNets(path, head string, d *data, line func(w *bufio.Writer, n net24)) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	w.WriteString(head)
	for _, n := range d.nets {
		line(w, n)
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// zoneText is the zone, with what stands at www; empty: nothing does.
func zoneText(www string) string {
	return fmt.Sprintf(`@ 300 SOA ns hostmaster 1 7200 3600 86400 300
@ 300 NS ns
ns 300 A 192.0.2.1
static 300 A %s
%s
`, staticAddress, www)
}

//go:embed echo/echo.c
var echoSource []byte

func configureEcho(dir string, addr netip.AddrPort, _ *data) ([]string, error) {
	gcc, err := find("gcc")
	if err != nil {
		return nil, err
	}
	source, binary := filepath.Join(dir, "echo.c"), filepath.Join(dir, "echo")
	if err := os.WriteFile(source, echoSource, 0o644); err != nil {
		return nil, err
	}
	if out, err := exec.Command(gcc, "-O2", "-o", binary, source).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return []string{binary, fmt.Sprint(addr.Port())}, nil
}

func configureGdnsd(dir string, addr netip.AddrPort, d *data) ([]string, error) {
	path, err := find("gdnsd")
	if err != nil {
		return nil, err
	}
	var names, addrs strings.Builder
	for i := range d.pops {
		fmt.Fprintf(&names, "%s,", popName(i))
		fmt.Fprintf(&addrs, "%s => %s,", popName(i), popAddress(i))
	}
	err = writeFiles(dir, map[string]string{
		"config": fmt.Sprintf(`options => {
  listen => %s, run_dir => "%s/run", state_dir => "%s/state"
  udp_threads => 1, tcp_threads => 1, udp_rcvbuf => 1048576, udp_sndbuf => 1048576
  tcp_clients_per_thread => 1024
}
plugins => { geoip => {
  maps => { m => { datacenters => [%s], nets => nets } }
  resources => { www => { map => m, dcmap => { %s } } }
} }
`, addr, dir, dir, names.String(), addrs.String()),
		"zones/example.com": zoneText("www 300 DYNA geoip!www"),
		"geoip/README":      "",
		"run/README":        "",
		"state/README":      "",
	})
	if err != nil {
		return nil, err
	}
	err = writeNets(filepath.Join(dir, "geoip/nets"), "", d, func(w *bufio.Writer, n net24) {
		fmt.Fprintf(w, "%s => [%s]\n", n.prefix(), popName(n.pop))
	})
	return []string{path, "-c", dir, "start"}, err
}

func configureKnot(dir string, addr netip.AddrPort, d *data) ([]string, error) {
	path, err := find("knotd")
	if err != nil {
		return nil, err
	}
	err = writeFiles(dir, map[string]string{
		"knot.conf": fmt.Sprintf(`server:
  listen: %s
  rundir: %s
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  edns-client-subnet: on
database:
  storage: %s
mod-geoip:
  - id: geo
    config-file: %s/geo.yml
    ttl: 300
    mode: subnet
zone:
  - domain: example.com
    file: %s/example.com.zone
    module: mod-geoip/geo
log:
  - target: stderr
    any: warning
`, strings.Replace(addr.String(), ":", "@", 1), dir, dir, dir, dir),
		"example.com.zone": "$ORIGIN example.com.\n" + zoneText("www 300 A "+staticAddress.String()),
	})
	if err != nil {
		return nil, err
	}
	err = writeNets(filepath.Join(dir, "geo.yml"), dynamicName+":\n", d, func(w *bufio.Writer, n net24) {
		fmt.Fprintf(w, "  - net: %s\n    A: %s\n", n.prefix(), popAddress(n.pop))
	})
	return []string{path, "-c", filepath.Join(dir, "knot.conf")}, err
}

func configurePDNS(dir string, addr netip.AddrPort, d *data) ([]string, error) {
	path, err := find("pdns_server")
	if err != nil {
		return nil, err
	}
	var head strings.Builder
	fmt.Fprintf(&head, `domains:
- domain: example.com
  ttl: 300
  records:
    example.com:
      - soa: ns.example.com hostmaster.example.com 1 7200 3600 86400 300
      - ns: ns.example.com
    ns.example.com:
      - a: 192.0.2.1
    %s:
      - a: %s
`, staticName, staticAddress)
	for i := range d.pops {
		fmt.Fprintf(&head, "    %s.pop.example.com:\n      - a: %s\n", popName(i), popAddress(i))
	}
	fmt.Fprintf(&head, "  services:\n    %s:\n      default: [ '%s.pop.example.com' ]\n", dynamicName, popName(0))
	err = writeFiles(dir, map[string]string{"pdns.conf": fmt.Sprintf(`launch=geoip
geoip-zones-file=%s/zones.yml
geoip-database-files=
local-address=%s
local-port=%d
socket-dir=%s
edns-subnet-processing=yes
guardian=no
daemon=no
receiver-threads=1
distributor-threads=1
max-tcp-connections=100
`, dir, addr.Addr(), addr.Port(), dir)})
	if err != nil {
		return nil, err
	}
	err = writeNets(filepath.Join(dir, "zones.yml"), head.String(), d, func(w *bufio.Writer, n net24) {
		fmt.Fprintf(w, "      %s: [ '%s.pop.example.com' ]\n", n.prefix(), popName(n.pop))
	})
	return []string{path, "--config-dir=" + dir}, err
}

func configureNSD(dir string, addr netip.AddrPort, _ *data) ([]string, error) {
	path, err := find("nsd")
	if err != nil {
		return nil, err
	}
	err = writeFiles(dir, map[string]string{
		"nsd.conf": fmt.Sprintf(`server:
  ip-address: %s
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: %s
  database: ""
  pidfile: %s/nsd.pid
  xfrdfile: %s/xfrd.state
  zonelistfile: %s/zone.list
  receive-buffer-size: 4194304
  send-buffer-size: 4194304
  tcp-count: 1000
  tcp-query-count: 0
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: example.com
  zonefile: example.com.zone
`, strings.Replace(addr.String(), ":", "@", 1), dir, dir, dir, dir),
		"example.com.zone": "$ORIGIN example.com.\n" + zoneText("www 300 A "+staticAddress.String()),
	})
	return []string{path, "-d", "-c", filepath.Join(dir, "nsd.conf")}, err
}
