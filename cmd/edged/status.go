package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"edged/admin"
	"edged/dnsserver"
)

// status is what a node tells about itself: the JSON of /v1/status.
type status struct {
	Node    string           `json:"node"`
	PoP     string           `json:"pop"`
	Version string           `json:"version"`
	Config  string           `json:"config"` // the configuration file
	DNS     []netip.AddrPort `json:"dns"`
	Admin   string           `json:"admin"` // URL; empty: only the control socket
	Built   time.Time        `json:"built"` // when what is served was built
	Alarms  []admin.Alarm    `json:"alarms"`
	Reloads int              `json:"reloads"`
	Refused int              `json:"reloads_refused"`
	Restart []string         `json:"needs_restart"`
	Zones   []zoneStatus     `json:"zones"`
	Maps    []mapStatus      `json:"maps"`
	Pools   int              `json:"pools"`
	Names   int              `json:"names"`
	Replies uint64           `json:"replies"` // since the start
}

type zoneStatus struct {
	Name   string `json:"name"`
	Serial uint32 `json:"serial"`
}

type mapStatus struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Created time.Time `json:"created"`
	PoPs    int       `json:"pops"`
}

// Status implements admin.Node.
func (n *node) Status() any {
	n.mu.Lock()
	l := n.current
	s := status{Alarms: append([]admin.Alarm{}, n.alarms...), Reloads: n.reloads, Refused: n.failures}
	n.mu.Unlock()
	c := l.config
	s.Node, s.PoP, s.Version, s.Config = c.Node.Name, c.Node.PoP, version(), n.source
	s.DNS, s.Admin, s.Built = n.server.Addrs(), n.adminURL(), l.view.Created().UTC()
	s.Restart, s.Zones, s.Maps = n.needsRestart(l), []zoneStatus{}, []mapStatus{}
	for _, z := range l.zones {
		s.Zones = append(s.Zones, zoneStatus{z.Origin(), z.Serial()})
	}
	for _, name := range sortedKeys(l.maps) {
		m := l.maps[name]
		s.Maps = append(s.Maps, mapStatus{name, m.Version(), m.Created(), len(m.PoPs())})
	}
	s.Pools, s.Names = len(c.Pools), len(c.Names)
	s.Replies = replies(n.server.Stats())
	return s
}

func replies(t dnsserver.Totals) (sum uint64) {
	for _, count := range t.Replies {
		sum += count
	}
	return sum
}

// writeText writes a status for a person.
func (s *status) writeText(w io.Writer) {
	line := func(key, format string, args ...any) { fmt.Fprintf(w, "%-8s %s\n", key, fmt.Sprintf(format, args...)) }
	line("node", "%s in %s, edged %s", s.Node, s.PoP, s.Version)
	line("config", "%s, built %s, %d reloads, %d of them refused", s.Config, s.Built.Format(time.RFC3339), s.Reloads, s.Refused)
	var dns []string
	for _, a := range s.DNS {
		dns = append(dns, a.String())
	}
	line("dns", "%s", strings.Join(dns, " "))
	if s.Admin != "" {
		line("admin", "%s", s.Admin)
	}
	for _, z := range s.Zones {
		line("zone", "%s serial %d", z.Name, z.Serial)
	}
	for _, m := range s.Maps {
		line("map", "%s version %s of %s, %d pops", m.Name, m.Version, m.Created.Format(time.RFC3339), m.PoPs)
	}
	line("serves", "%d names from %d pools; %d replies since the start", s.Names, s.Pools, s.Replies)
	for _, r := range s.Restart {
		line("restart", "%s", r)
	}
	for _, a := range s.Alarms {
		line("alarm", "%s since %s", a.Reason, a.Since.Format(time.RFC3339))
		for _, d := range a.Detail {
			line("", "%s", d)
		}
	}
}
