package speaker

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edged/bgp"
)

// frrPath is where Debian puts FRR's daemons.
const frrPath = "/usr/lib/frr"

// FRR and ExaBGP see a route come, change and go, as BIRD does in TestRouteLife.
// (B16)
func TestOtherRouters(t *testing.T) {
	for name, start := range map[string]func(*lab, *router) func() []string{"frr": frr, "exabgp": exabgp} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			r := l.router(1)
			routes := start(l, r)
			has := func(want ...string) {
				t.Helper()
				until(t, 10*time.Second, func() string {
					if got := routes(); !slices.Equal(got, want) {
						return fmt.Sprintf("it has %q, want %q", got, want)
					}
					return ""
				})
			}
			p := r.peer()
			p.Password = "shared"        // both know MD5
			p.Passive = name == "exabgp" // it connects, and does not listen
			s := speak(t, Config{Listen: 179, Peers: []Peer{p}})
			allow(t, s, vip4)
			up(t, s)
			apply(t, s, plain(vip4))
			has(vip4 + " as_path 64512 next_hop 192.0.2.11")
			low := plain(vip4)
			low.Attributes = bgp.Attributes{Communities: []bgp.Community{64512<<16 | 100, bgp.GracefulShutdown}, Prepend: 3, MED: 50}
			apply(t, s, low)
			has(vip4 + " as_path 64512 64512 64512 64512 next_hop 192.0.2.11 med 50 community (64512,100) (65535,0)")
			apply(t, s)
			has()
			if p := s.Peers()[0]; p.Flaps != 0 || p.LastError != "" {
				t.Errorf("%d flaps, last error %q, want none", p.Flaps, p.LastError)
			}
		})
	}
}

// heard is a route as a router tells it.
type heard struct {
	path, nextHop string
	med           int
	communities   []string // as (64512,100)
}

func (h heard) line(prefix string) string {
	line := prefix + " as_path " + h.path + " next_hop " + h.nextHop
	if h.med > 0 {
		line += fmt.Sprintf(" med %d", h.med)
	}
	if len(h.communities) > 0 {
		line += " community " + strings.Join(h.communities, " ")
	}
	return line
}

// frr starts zebra and bgpd, and returns what bgpd has.
func frr(l *lab, r *router) func() []string {
	need(l.t, filepath.Join(frrPath, "zebra"), filepath.Join(frrPath, "bgpd"), "vtysh")
	dir := l.t.TempDir()
	config := r.file("bgpd.conf", fmt.Sprintf(`router bgp %d
 bgp router-id %s
 no bgp ebgp-requires-policy
 neighbor %s remote-as %d
 neighbor %s password shared
`, theirASN, r.v4(), our4, ourASN, our4))
	for daemon, file := range map[string]string{"zebra": "/dev/null", "bgpd": config} {
		r.run(filepath.Join(frrPath, daemon), "-S", "-P", "0", "-f", file, "-i", filepath.Join(dir, daemon+".pid"),
			"-z", filepath.Join(dir, "zserv"), "--vty_socket", dir, "--log", "stdout")
	}
	return func() []string {
		out, err := exec.Command("vtysh", "--vty_socket", dir, "-c", "show bgp ipv4 unicast "+vip4+" json").Output()
		if err != nil {
			return []string{err.Error()} // not started yet
		}
		var answer struct {
			Paths []struct {
				ASPath    struct{ String string }
				Metric    int
				Community struct{ String string }
				Nexthops  []struct{ IP string }
			}
		}
		must(l.t, json.Unmarshal(out, &answer))
		var lines []string
		for _, p := range answer.Paths {
			h := heard{path: p.ASPath.String, nextHop: p.Nexthops[0].IP, med: p.Metric}
			for _, word := range strings.Fields(p.Community.String) {
				if word == "graceful-shutdown" {
					word = "65535:0"
				}
				h.communities = append(h.communities, "("+strings.ReplaceAll(word, ":", ",")+")")
			}
			lines = append(lines, h.line(vip4))
		}
		return lines
	}
}

// exabgp starts ExaBGP, which only tells what it hears, and returns what that
// comes to.
func exabgp(l *lab, r *router) func() []string {
	need(l.t, "exabgp")
	log := filepath.Join(l.t.TempDir(), "log")
	// ExaBGP takes a process for dead when that closes its output, which the shell keeps.
	script := r.file("tell", "#!/bin/sh\ncat >"+log+"\nexit\n")
	must(l.t, os.Chmod(script, 0o755))
	config := r.file("exabgp.conf", fmt.Sprintf(`process tell { run %s; encoder json; }
neighbor %s {
	router-id %s; local-address %s; local-as %d; peer-as %d; md5-password shared;
	family { ipv4 unicast; }
	api { processes [ tell ]; receive { parsed; update; } }
}
`, script, our4, r.v4(), r.v4(), theirASN, ourASN))
	r.run("env", "exabgp.daemon.user=root", "exabgp.api.cli=false", "exabgp", config)
	return func() []string {
		text, err := os.ReadFile(log)
		if err != nil {
			return []string{err.Error()} // not started yet
		}
		type route struct{ NLRI string }
		routes := map[string]heard{}
		for line := range strings.Lines(string(text)) {
			var event struct {
				Neighbor struct {
					Message struct {
						Update struct {
							Attribute struct {
								ASPath    []int `json:"as-path"`
								MED       int
								Community [][2]int
							}
							Announce map[string]map[string][]route
							Withdraw map[string][]route
						}
					}
				}
			}
			if json.Unmarshal([]byte(line), &event) != nil {
				continue // the line is not all there yet
			}
			update := event.Neighbor.Message.Update
			for _, r := range update.Withdraw["ipv4 unicast"] {
				delete(routes, r.NLRI)
			}
			for hop, announced := range update.Announce["ipv4 unicast"] {
				h := heard{path: strings.Trim(fmt.Sprint(update.Attribute.ASPath), "[]"), nextHop: hop, med: update.Attribute.MED}
				for _, c := range update.Attribute.Community {
					h.communities = append(h.communities, fmt.Sprintf("(%d,%d)", c[0], c[1]))
				}
				for _, r := range announced {
					routes[r.NLRI] = h
				}
			}
		}
		var lines []string
		for _, prefix := range slices.Sorted(maps.Keys(routes)) {
			lines = append(lines, routes[prefix].line(prefix))
		}
		return lines
	}
}
