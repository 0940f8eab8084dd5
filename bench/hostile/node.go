package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Connection limits that the node is given, and that descriptors and goroutines
// are judged by.
const (
	maxConnections = 500
	maxPerClient   = 50
)

const zoneText = `$ORIGIN example.com.
@ 300 SOA ns hostmaster 1 7200 3600 86400 300
@ 300 NS ns
ns 300 A 192.0.2.1
static 300 A 192.0.2.80
*.wild 300 A 192.0.2.81
sub 300 NS ns.sub
ns.sub 300 A 192.0.2.2
alias 300 CNAME static
old 300 DNAME wild
@ 300 TXT "text"
@ 300 MX 10 ns
`

const configText = `node: {name: hostile1, pop: a}
data_dir: %[1]s/data
pops:
  - {name: a, lat: 50, lon: 8}
  - {name: b, lat: 40, lon: -70}
listen: {external: ["%[2]s"], threads: 1, admin: "%[3]s"}
tcp: {max_connections: %[4]d, max_per_client: %[5]d, idle: 10s}
maps:
  default: {file: default.edmap}
zones:
  - {name: example.com, file: example.com.zone}
pools:
  www:
    policy: closest
    map: default
    ttl: {min: 30s, max: 300s}
    answers: 1
    endpoints:
      - {pop: a, address: 198.51.100.1}
      - {pop: b, address: 198.51.100.2}
names:
  www.example.com: {pool: www}
`

// node is the edged under attack.
type node struct {
	server, admin netip.AddrPort
	cmd           *exec.Cmd
	died          chan error // gets the exit error, once
	log           string     // its path
}

// startNode builds edged unless a binary is given, configures it in dir, starts
// it and waits for its first answer.
func startNode(ctx context.Context, dir, binary string) (*node, error) {
	if binary == "" {
		binary = filepath.Join(dir, "edged")
		if out, err := exec.CommandContext(ctx, "make", "-s", "build", "EDGED="+binary).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("make build: %w: %s", err, out)
		}
	}
	n := &node{died: make(chan error, 1), log: filepath.Join(dir, "log")}
	var err error
	if n.server, err = freePort(); err != nil {
		return nil, err
	}
	if n.admin, err = freePort(); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "edged.yaml")
	for path, text := range map[string]string{
		config:                                 fmt.Sprintf(configText, dir, n.server, n.admin, maxConnections, maxPerClient),
		filepath.Join(dir, "example.com.zone"): zoneText,
		filepath.Join(dir, "nets.csv"):         "prefix,ranking\n20.0.0.0/9,a b\n20.128.0.0/9,b a\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	build := exec.CommandContext(ctx, binary, "map", "build", "--config", config, "--nets", filepath.Join(dir, "nets.csv"), "-o", filepath.Join(dir, "default.edmap"))
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("edged map build: %w: %s", err, out)
	}
	log, err := os.Create(n.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	n.cmd = exec.Command(binary, "serve", "--config", config)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { n.died <- n.cmd.Wait() }()
	for begin := time.Now(); time.Since(begin) < 10*time.Second; {
		if conn, err := net.DialTimeout("tcp", n.server.String(), 100*time.Millisecond); err == nil {
			conn.Close()
			return n, nil
		}
		if !pause(ctx, 20*time.Millisecond) || !n.alive() {
			break
		}
	}
	n.stop()
	return nil, fmt.Errorf("edged does not listen: %s", n.lastLog())
}

// alive tells whether the process runs.
func (n *node) alive() bool {
	select {
	case err := <-n.died:
		n.died <- err
		return false
	default:
		return true
	}
}

// stop asks the process to end and returns an error unless it does so cleanly.
func (n *node) stop() error {
	n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-n.died:
		n.died <- err
		return err
	case <-time.After(20 * time.Second):
		n.cmd.Process.Kill()
		<-n.died
		return errors.New("did not stop within 20 s of SIGTERM")
	}
}

func (n *node) lastLog() string {
	text, _ := os.ReadFile(n.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// usage is what the process holds at one moment.
type usage struct {
	rss         int64 // bytes
	descriptors int
	goroutines  int // -1: the metrics did not answer
}

// usage reads /proc and the metrics.
func (n *node) usage() usage {
	u := usage{goroutines: -1}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	for _, line := range strings.Split(string(status), "\n") {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			u.rss = kb << 10
		}
	}
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.cmd.Process.Pid))
	u.descriptors = len(fds)
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + n.admin.String() + "/metrics")
	if err != nil {
		return u
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 16<<20))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			u.goroutines, _ = strconv.Atoi(value)
		}
	}
	return u
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
