package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"edged/admin"
	"edged/bgp"
	"edged/bgp/announcer"
	"edged/bgp/link"
	"edged/bgp/loopback"
	"edged/bgp/selfcheck"
	"edged/bgp/speaker"
	"edged/config"
	"edged/dnsserver"
	"edged/edge"
	"edged/health"
	"edged/health/fleet"
)

// spread is how much longer than its TTL an answer may be given that still names
// a PoP: until all nodes have heard that it leaves.
const spread = 3 * time.Second

// readVIPs reads what the configuration says of VIPs.
func (b *builder) readVIPs(fault func(key string, err error)) {
	f := &b.announce
	for i, p := range b.config.BGP.Peers {
		password := ""
		if p.PasswordFile != "" {
			text, err := os.ReadFile(string(p.PasswordFile))
			if err == nil {
				password = string(bytes.TrimRight(text, "\r\n"))
				err = checkPassword(password)
			}
			if err != nil {
				fault(fmt.Sprintf("bgp.peers[%d].password_file", i), err)
				password = b.passwordOf(p.Address)
			}
		}
		f.Peers = append(f.Peers, speaker.Peer{
			Name: p.Name, Address: p.Address, ASN: uint32(p.ASN), Local: p.LocalAddress, Password: password,
			GTSM: p.GTSM, Multihop: p.Multihop, Passive: p.Passive, Hold: p.Hold,
			Groups: p.Groups,
		})
		if p.BFD.Interval > 0 { // without, the multiplier's default means nothing
			f.Peers[i].BFD = speaker.BFD{Interval: p.BFD.Interval, Multiplier: p.BFD.Multiplier}
		}
	}
	if len(b.config.VIPs) > 0 && len(b.config.Zones) == 0 {
		fault("zones", errors.New("none, but vips are to be announced: all that clients ask would be refused"))
	}
	if b.config.BGP.ASN > 0 && len(f.Peers) == 0 && len(b.config.VIPs) > 0 {
		b.warnf("bgp.peers", "none: nobody hears of any vip")
	}
	for _, name := range sortedKeys(b.config.VIPs) {
		v := vipOf(name, b.config.VIPs[name])
		f.VIPs = append(f.VIPs, v)
		if len(f.Peers) > 0 {
			b.warnUnheard(v)
		}
		if b.config.Fleet.Name == "" && v.MinAnnouncers > 1 {
			b.warnf("vips."+name+".min_announcers", "%d others must stay before this node withdraws, but there is no fleet whose members could promise that: it never withdraws, but by force; set fleet.name and fleet.members", v.MinAnnouncers)
		}
		if n := len(b.config.Fleet.Members); n > 0 && v.MinAnnouncers >= n {
			b.warnf("vips."+name+".min_announcers", "%s must stay before a node withdraws, and there are only %d: no node can, but by force", bgp.Counted(v.MinAnnouncers, "other"), n-1)
		}
	}
	f.Required = map[string]time.Duration{}
	for _, name := range sortedKeys(b.config.Pools) {
		p := b.config.Pools[name]
		if p.RequiresVIP == "" {
			continue
		}
		f.Required[p.RequiresVIP] = max(f.Required[p.RequiresVIP], p.TTL.Max+spread)
		if _, here := b.config.VIPs[p.RequiresVIP]; !here && b.config.BGP.ASN > 0 {
			b.warnf("pools."+name+".requires_vip", "there is no vip %q in this file: this PoP is not answered unless another node here announces it", p.RequiresVIP)
		}
	}
}

func checkPassword(s string) error {
	if s == "" || len(s) > 80 {
		return fmt.Errorf("a password has 1 to 80 octets, this one %d", len(s))
	}
	return nil
}

// vipOf turns a VIP of the configuration, which is in order, into one of package
// bgp.
func vipOf(name string, c config.VIP) bgp.VIP {
	v := bgp.VIP{
		Name: name, Prefixes: slices.Clone(c.Prefixes), Port: uint16(c.Listen), MinAnnouncers: c.MinAnnouncers, MinPoPs: c.MinPoPs,
		Groups: c.Groups, Hold: c.Drain.Hold, Linger: c.Drain.Linger,
	}
	slices.SortFunc(v.Prefixes, netip.Prefix.Compare)
	for _, text := range c.Communities {
		community, _ := bgp.ParseCommunity(text) // the configuration has checked it
		v.Communities = append(v.Communities, community)
	}
	slices.Sort(v.Communities)
	for _, r := range c.Ladder {
		rung := bgp.Rung{Kind: bgp.RungKind(r.Kind)}
		switch r.Kind {
		case "withdraw":
			rung.Kind = bgp.Withdraw
		case "community":
			community, _ := bgp.ParseCommunity(r.Value)
			rung.Value = uint32(community)
		case "prepend", "med":
			n, _ := strconv.ParseUint(r.Value, 10, 32)
			rung.Value = uint32(n)
		}
		v.Ladder = append(v.Ladder, rung)
	}
	return v
}

// warnUnheard warns of prefixes that no peer hears.
func (b *builder) warnUnheard(v bgp.VIP) {
	for i, p := range v.Prefixes {
		if !slices.ContainsFunc(b.announce.Peers, func(peer speaker.Peer) bool { return announcer.Carries(peer, v, p) }) {
			b.warnf(fmt.Sprintf("vips.%s.prefixes[%d]", v.Name, i), "no peer hears of %s: IPv6 goes over IPv6 sessions only, and groups must meet", p)
		}
	}
}

// Why a configuration is not taken by a node that announces VIPs.
var (
	errPlanned    = errors.New("this node announces VIPs")
	errPlanUnread = errors.New("nobody can tell whether this node is to announce VIPs")
)

// checkPlanned errs when a node is to announce VIPs by its plan or its own word, and could not with a
// configuration (errPlanned): they would go from all nodes that are given such a file, one
// restart after the other. So it does when what the node is to announce cannot be read, and the
// configuration is without BGP (errPlanUnread).
func checkPlanned(c *config.Config) error {
	i, err := announcer.IntentOf(vipsDir(c.DataDir))
	switch {
	case err != nil && c.BGP.ASN == 0:
		return fmt.Errorf("%s%w: %s; if it is not, move that away", c.Problem("bgp.asn", "not given, but "), errPlanUnread, strings.Join(lines(err), "; "))
	case err != nil: // it announces nothing then, and says so
		return nil
	}
	key, what := unfit(c, i)
	switch {
	case key == "":
		return nil
	case len(i.VIPs) > 0:
		return fmt.Errorf("%s%w by its plan, %s; leave it as it was, take vips out, and have edged vip plan and apply take them off the node first", c.Problem(key, "%s, but ", what), errPlanned, namesOf(i.VIPs))
	case len(i.Announced) > 0:
		return fmt.Errorf("%s%w by its own word, %s; leave it as it was until edged vip release --local --vip NAME has ended that", c.Problem(key, "%s, but ", what), errPlanned, namesOf(i.Announced))
	}
	return nil
}

// checkMoved errs when a configuration has another data_dir than a node was started with that
// is to announce VIPs: from a folder without its plan it would start as a new one, and announce what
// is drained.
func checkMoved(is, was *config.Config) error {
	i, err := announcer.IntentOf(vipsDir(was.DataDir))
	if sameFolder(is.DataDir, was.DataDir) || err == nil && len(i.VIPs)+len(i.Announced) == 0 {
		return nil
	}
	return fmt.Errorf("%s%w as %q says, drained or not; stop it, move that folder, and start it", is.Problem("data_dir", "changed, but "), errPlanned, vipsDir(was.DataDir))
}

// unfit returns the key of a configuration for which a node cannot announce what it is to, and what
// is wrong with it.
func unfit(c *config.Config, i announcer.Intent) (key, what string) {
	switch {
	case c.BGP.ASN == 0:
		return "bgp.asn", "not given"
	case len(c.BGP.Peers) == 0 && i.Heard: // without, it is as before
		return "bgp.peers", "none are given"
	case len(c.Zones) == 0:
		return "zones", "none are given"
	}
	for _, v := range i.VIPs { // those of the file were looked at before
		for _, p := range v.Prefixes {
			for _, l := range c.Listen.External {
				if config.Covers(l, p.Addr(), int(v.Port)) {
					return "listen.external", fmt.Sprintf("%s is %s, too, where a VIP listens by itself", l, netip.AddrPortFrom(p.Addr(), v.Port))
				}
			}
		}
	}
	return "", ""
}

func namesOf(vips []bgp.VIP) string {
	var names []string
	for _, v := range vips {
		names = append(names, v.Name)
	}
	return strings.Join(names, ", ")
}

// startVIPs starts what announces VIPs, if the configuration has BGP.
func (n *node) startVIPs(l *loaded) (err error) {
	c := l.config
	if c.BGP.ASN == 0 {
		return nil
	}
	key, err := signingKey(c, n.apart)
	if err != nil {
		return err
	}
	members := vipFleet{name: c.Fleet.Name, self: bgp.Member{Name: c.Node.Name, PoP: c.Node.PoP}, fleet: n.fleet, required: n.required}
	if c.Fleet.Name != "" && !n.apart {
		if members.link, err = link.New(link.Config{Name: c.Node.Name, Key: key, KeyOf: n.fleet.Key, Log: n.log}); err != nil {
			return fmt.Errorf("fleet.link: %w", err)
		}
		n.link = members.link
		if _, err = n.link.Listen(c.Fleet.Link); err != nil {
			return fmt.Errorf("fleet.link: %w", err)
		}
	}
	if n.speaker, err = n.newSpeaker(l); err != nil {
		return fmt.Errorf("bgp: %w", err)
	}
	a, err := announcer.Start(announcer.Config{
		Self: members.self, Key: key, Dir: vipsDir(c.DataDir), Log: n.log, Alarm: n.vipAlarm,
		Speaker: n.speaker, Addresses: loopback.New(n.log), Listener: n.server, Check: n.checkVIP, Probe: selfcheck.Probe, Fleet: members,
		Answers: n.answers, File: l.announce,
	})
	if err != nil {
		return fmt.Errorf("vips: %w", err)
	}
	n.vips.Store(a)
	if n.link != nil {
		return n.link.Serve(a.Handle)
	}
	return nil
}

// newSpeaker listens, too, where routers connected to the node before, though its file names none that
// does: they are to be there again.
func (n *node) newSpeaker(l *loaded) (*speaker.Speaker, error) {
	c := l.config
	s := speaker.Config{ASN: uint32(c.BGP.ASN), RouterID: c.BGP.RouterID, Listen: uint16(c.BGP.Listen), Peers: l.announce.Peers, Log: n.log}
	before, _ := announcer.IntentOf(vipsDir(c.DataDir)) // the announcer tells what cannot be read
	if s.Listen > 0 || !before.Passive {
		return speaker.New(s)
	}
	listens := s
	listens.Listen = config.PortBGP
	made, err := speaker.New(listens)
	if err != nil {
		n.log.Warn("routers that connected to this node before cannot now", "error", err)
		return speaker.New(s)
	}
	return made, nil
}

// stopVIPs takes this node's VIPs away before anything else ends, and says what
// could not be done in time.
func (n *node) stopVIPs(ctx context.Context) (errs []error) {
	if a := n.vips.Load(); a != nil {
		errs = append(errs, a.Stop(ctx))
	}
	if n.link != nil {
		errs = append(errs, n.link.Close(ctx))
	}
	if n.speaker != nil {
		errs = append(errs, n.speaker.Close(ctx))
	}
	return errs
}

// useVIPs tells what the files want of VIPs now. What they want beyond the plan
// is pending until an engineer applies it. It returns the peers whose sessions are
// made anew, or end. Peers wait for the restart that the rest of bgp needs.
func (n *node) useVIPs(l *loaded) (resets []string) {
	a := n.vips.Load()
	if a == nil {
		return nil
	}
	f, was, is := l.announce, n.started.BGP, l.config.BGP
	if was.ASN != is.ASN || was.RouterID != is.RouterID || was.Listen != is.Listen {
		f.Peers = a.Peers()
	}
	return a.Use(f)
}

// vipAlarm raises an alarm of the VIPs, or ends it when there is no detail.
func (n *node) vipAlarm(overdue bool, detail []string) {
	reason, what := alarmVIPs, "VIPs are not as they should be"
	if overdue {
		reason, what = alarmOverdue, "an operation's time has run out"
	}
	if len(detail) == 0 {
		n.clear(reason)
		return
	}
	n.raise(reason, what, detail)
}

// VIPs implements admin.Node.
func (n *node) VIPs() admin.VIPs {
	if a := n.vips.Load(); a != nil {
		return a
	}
	return nil
}

// checkVIP asks through a VIP what the node serves.
func (n *node) checkVIP(ctx context.Context, v bgp.VIP) (asked int, err error) {
	l := n.serving()
	q := selfcheck.Questions{Node: l.config.Node.Name}
	for _, z := range l.zones {
		q.Zones = append(q.Zones, z.Origin())
	}
	asked, err = selfcheck.Run(ctx, v, q)
	if len(q.Zones) == 0 && err == nil {
		err = errNoZone
	}
	return asked, err
}

var errNoZone = errors.New("no zone is loaded: all that clients ask is refused")

// answers counts what the node answered since its start.
func (n *node) answers() bgp.Tally {
	totals := n.server.Stats()
	t := bgp.Tally{Latency: totals.Latency}
	for key, count := range totals.Replies {
		t.Queries += count
		if key.Rcode == "SERVFAIL" {
			t.Servfails += count
		}
	}
	return t
}

// required says whether a pool requires a VIP.
func (n *node) required(vip string) bool {
	_, ok := n.serving().vips[vipAt{vip, n.started.Node.PoP}]
	return ok
}

// vipFleet is the fleet as VIPs see it.
type vipFleet struct {
	name     string
	self     bgp.Member
	fleet    *fleet.Fleet
	link     *link.Link // nil: this node is alone
	required func(vip string) bool
}

// Name implements announcer.Fleet.
func (f vipFleet) Name() string { return f.name }

// Members implements announcer.Fleet.
func (f vipFleet) Members() []bgp.Member {
	all := []bgp.Member{f.self}
	for _, m := range f.fleet.Members() {
		if m.Name != f.self.Name {
			all = append(all, bgp.Member{Name: m.Name, PoP: m.PoP})
		}
	}
	slices.SortFunc(all, func(a, b bgp.Member) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// Key implements announcer.Fleet.
func (f vipFleet) Key(member string) (ed25519.PublicKey, bool) { return f.fleet.Key(member) }

// Frozen implements announcer.Fleet.
func (f vipFleet) Frozen() string { return f.fleet.View().Frozen }

// Call implements announcer.Fleet.
func (f vipFleet) Call(ctx context.Context, member, path string, in, out any) error {
	if f.link == nil {
		return errors.New("this node is in no fleet")
	}
	at := f.fleet.Link(member)
	if !at.IsValid() {
		return fmt.Errorf("%s has not been heard yet, so nobody knows where it takes calls", member)
	}
	return f.link.Call(ctx, member, at, path, in, out)
}

// State implements announcer.Fleet.
func (f vipFleet) State(vip string, v edge.Verdict, reason string) {
	if f.required(vip) {
		f.fleet.State(health.NewVIP(vip, f.self.PoP).ID, v, reason)
	}
}

var _ announcer.Listener = (*dnsserver.Server)(nil)
