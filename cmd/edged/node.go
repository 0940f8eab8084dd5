package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"edged/admin"
	"edged/bgp"
	"edged/bgp/announcer"
	"edged/bgp/link"
	"edged/bgp/speaker"
	"edged/config"
	"edged/dnsserver"
	"edged/geo/pricer"
	"edged/health/fleet"
	"edged/mapper/beacon/page"
)

// The reasons for alarms: labels of the metric edged_alarm.
const (
	alarmConfig   = "config"    // started from the last good state
	alarmReload   = "reload"    // the last reload was refused
	alarmLastGood = "last_good" // what is served could not be kept
	alarmPart     = "part"      // started without a part of the node
	alarmFrozen   = "frozen"    // verdicts are kept: no majority of the members is heard
	alarmKey      = "key"       // a member is heard with another key than its own
	alarmHealth   = "health"    // verdicts or overrides that are kept could not be used, or be written
	alarmVIPs     = "vips"      // a VIP cannot be had, or what is kept of VIPs not be used
	alarmLoad     = "load"      // this node's PoP is at its hard limit
	alarmOverdue  = "overdue"   // the time of a drain, maintenance or hold has run out
)

var alarmReasons = []string{alarmConfig, alarmReload, alarmLastGood, alarmPart, alarmFrozen, alarmKey, alarmHealth, alarmVIPs, alarmLoad, alarmOverdue}

// errLocked says that a data folder is in use.
var errLocked = errors.New("another node runs on it")

// node is a running node: its parts in the order in which they start. It is
// what the admin API shows.
type node struct {
	source  string // the configuration file
	log     *slog.Logger
	started *config.Config // what the sockets and limits were opened with
	lock    *os.File
	tap     *dnsserver.Tap
	watch   *dnsserver.Watch // nil without a beacon
	fleet   *fleet.Fleet
	pricer  *pricer.Pricer
	server  *dnsserver.Server
	admin   *admin.Server
	speaker *speaker.Speaker                    // nil without BGP, as are the next two
	link    *link.Link                          // nil in no fleet, too
	vips    atomic.Pointer[announcer.Announcer] // as page, set while the admin API is served
	page    atomic.Pointer[page.Server]

	measured *measurements

	reloading sync.Mutex // one reload at a time, and none before all parts have started; taken before viewing
	viewing   sync.Mutex // one change of what is served at a time; taken before mu
	following sync.WaitGroup
	apart     bool          // the fleet could not be joined at the start
	leave     chan struct{} // ends following

	mu           sync.Mutex
	current      *loaded       // what is served; guarded by mu
	alarms       []admin.Alarm // guarded by mu
	reloads      int           // guarded by mu, as is the next
	failures     int
	lastReloadOK bool
	differences  []string // of the last survey; guarded by mu
}

// newNode starts all parts of a node that serves l. On error nothing runs on.
// When l is the last good state, why is what is wrong with the files. Then answering
// comes first: the node starts without the parts that it can answer without, and
// raises alarms.
func newNode(source string, l *loaded, log *slog.Logger, why error) (n *node, err error) {
	c, kept := l.config, why != nil
	n = &node{source: source, log: log, started: c, current: l, lastReloadOK: true, leave: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.stop())
		}
	}()
	n.reloading.Lock()
	defer n.reloading.Unlock()
	if err := os.MkdirAll(string(c.DataDir), 0o750); err != nil {
		return n, fmt.Errorf("data_dir: %w; set data_dir, or EDGED_DATA_DIR", err)
	}
	if n.lock, err = lockDataDir(string(c.DataDir)); err != nil {
		return n, err
	}
	var missing []string
	if err := checkPlanned(c); err != nil {
		if !kept && errors.Is(err, errPlanned) {
			return n, err
		}
		missing = append(missing, err.Error())
	}
	if err := n.startTap(); err != nil {
		if !kept {
			return n, err
		}
		missing = append(missing, err.Error())
	}
	if n.fleet, err = startFleet(l, log, n.answerSurvey, false); err != nil && kept {
		missing = append(missing, err.Error())
		n.fleet, err = startFleet(l, log, n.answerSurvey, true)
		n.apart = true
	}
	if err != nil {
		return n, err
	}
	faults := n.fleet.Faults()
	n.healthFaults(faults)
	n.startPricer(l)
	// The first answer goes by the verdicts that were known before.
	first, err := l.judged(n.fleet, n.pricer.Prices(), log)
	if err != nil {
		return n, err
	}
	n.nowServing(first)
	n.watch = l.watch()
	n.server, err = dnsserver.New(dnsserver.Config{
		Listen:          c.Listen.External,
		Threads:         c.Listen.Threads,
		MaxUDP:          c.EDNS.MaxUDP,
		RRL:             dnsserver.RRL(c.RRL),
		Cookies:         l.cookies,
		TCPIdle:         c.TCP.Idle,
		TCPMax:          c.TCP.MaxConnections,
		TCPMaxPerClient: c.TCP.MaxPerClient,
		Tap:             n.tap,
		Watch:           n.watch,
		Log:             log,
	}, first.view)
	if err != nil {
		return n, fmt.Errorf("listen.external: %w", err)
	}
	n.measured = newMeasurements(c.DataDir, func() *config.Config { return n.serving().config }, log)
	if err := n.startAdmin(l, c.Listen.Admin); err != nil {
		if !kept {
			return n, err
		}
		missing = append(missing, err.Error())
		if err := n.startAdmin(l, netip.AddrPort{}); err != nil { // the control socket alone
			missing = append(missing, err.Error())
		}
	}
	if len(missing) > 0 {
		n.raise(alarmPart, "started without a part", missing)
	}
	n.server.Start()
	for _, start := range []func(*loaded) error{n.startPage, n.startVIPs} {
		if err := start(l); err != nil {
			if !kept {
				return n, err
			}
			missing = append(missing, err.Error())
			n.raise(alarmPart, "started without a part", missing)
		}
	}
	n.following.Go(func() { n.follow(faults) })
	n.following.Go(func() { n.measured.keep(n.leave) })
	n.following.Go(n.survey)
	if !kept {
		n.keep()
		return n, nil
	}
	n.raise(alarmConfig, "started from the last good state: the configuration or what it names is bad", lines(why))
	for _, w := range l.warnings {
		log.Warn("last good state", "warning", w.String())
	}
	return n, nil
}

func (n *node) startTap() (err error) {
	c := n.started
	if d := c.Dnstap; d.Sample > 0 && d.Socket+d.File != "" {
		if n.tap, err = dnsserver.NewTap(string(d.Socket), string(d.File), c.Node.Name, uint64(d.Sample)); err != nil {
			return fmt.Errorf("dnstap: %w", err)
		}
	}
	return nil
}

func (n *node) startAdmin(l *loaded, listen netip.AddrPort) error {
	n.admin = admin.New(admin.Config{
		Listen:  listen,
		Hosts:   l.config.Admin.Hosts,
		Socket:  controlSocket(l.config.DataDir),
		TLS:     l.config.Admin.CertFile != "",
		Pprof:   l.config.Admin.Pprof,
		Metrics: n.registry(),
		Log:     n.log,
	}, n)
	n.admin.SetTokens(l.tokens)
	n.admin.SetCertificate(l.adminCertificate)
	return n.admin.Start()
}

func controlSocket(dataDir config.Path) string {
	return filepath.Join(string(dataDir), "control.sock")
}

// stop ends the parts that were started, the last one first.
func (n *node) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	errs := n.stopVIPs(ctx)
	if n.admin != nil {
		errs = append(errs, n.admin.Shutdown(ctx))
	}
	errs = append(errs, n.stopPage(ctx))
	if n.server != nil {
		errs = append(errs, n.server.Shutdown(ctx))
	}
	close(n.leave)
	n.following.Wait()
	if n.pricer != nil {
		n.pricer.Stop()
	}
	if n.fleet != nil {
		n.fleet.Stop(ctx)
	}
	if n.tap != nil {
		n.tap.Close()
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}

func (n *node) adminURL() string {
	if n.admin.Addr() == nil {
		return ""
	}
	if n.started.Admin.CertFile != "" {
		return "https://" + n.admin.Addr().String()
	}
	return "http://" + n.admin.Addr().String()
}

// Reload implements admin.Node.
func (n *node) Reload(ctx context.Context) (r admin.Reload) {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	inBackground(func() { r = n.reload(ctx) })
	return r
}

// reload builds what the files say now, aside, and swaps it in if all is well.
func (n *node) reload(ctx context.Context) admin.Reload {
	yielded := n.server.Yield() // answers can wait a little, and the new files less
	defer yielded()
	defer withHeapRoom()()
	l, _, err := loadAfter(n.serving(), n.source)
	if err == nil {
		err = ctx.Err() // nobody waits for it any more: perhaps the node has stopped
	}
	if err == nil {
		// A node that announces nothing goes on as it is beside a plan that nobody can read.
		if err = errors.Join(checkPlanned(l.config), checkMoved(l.config, n.started)); errors.Is(err, errPlanUnread) && n.vips.Load() == nil {
			err = nil
		}
	}
	if err == nil {
		err = n.fleet.Allows(l.plan)
	}
	if err == nil {
		err = n.fleet.Use(l.plan)
	}
	n.count(err == nil)
	if err != nil {
		n.raise(alarmReload, "reload refused; what was served is served still", lines(err))
		return admin.Reload{Errors: lines(err), Warnings: []string{}}
	}
	n.viewing.Lock()
	n.serve(l)
	n.viewing.Unlock()
	yielded()
	resets := n.useVIPs(l)
	n.usePage(l)
	n.pricer.Use(askOf(l))
	n.admin.SetTokens(l.tokens)
	if l.adminCertificate != nil {
		n.admin.SetCertificate(l.adminCertificate)
	}
	if len(l.cookies) > 0 { // without a file, the random secret of the start goes on
		n.server.SetCookies(l.cookies)
	}
	n.clear(alarmConfig, alarmReload)
	standBack()
	n.keep()

	r := admin.Reload{Applied: true, Errors: []string{}, Warnings: n.needsRestart(l)}
	if len(resets) > 0 {
		r.Warnings = append(r.Warnings, l.config.Problem("bgp.peers", "the sessions with %s are made anew or end, one after the other; edged vip list shows how far it is", strings.Join(resets, ", ")).String())
	}
	if n.apart {
		r.Warnings = append(r.Warnings, l.config.Problem("fleet", "this node has been apart from the fleet since its start; a restart joins it").String())
	}
	for _, w := range l.warnings {
		r.Warnings = append(r.Warnings, w.String())
	}
	if a := n.vips.Load(); a != nil {
		status := a.Status()
		if pending := toApply(&status); pending > 0 {
			r.Warnings = append(r.Warnings, l.config.Problem("vips", "%s pending; edged vip plan shows what", bgp.Counted(pending, "change")).String())
		}
	}
	n.log.Info("reloaded", "zones", len(l.zones), "maps", len(l.maps), "pools", len(l.config.Pools))
	for _, w := range r.Warnings {
		n.log.Warn("reload", "warning", w)
	}
	return r
}

// restartOnly lists the settings that sockets and limits were opened with.
func restartOnly(c *config.Config) map[string]any {
	return map[string]any{
		"data_dir":      c.DataDir,
		"listen":        c.Listen,
		"admin":         fmt.Sprint(c.Admin.Hosts, c.Admin.Pprof, c.Admin.CertFile != ""),
		"rrl":           c.RRL,
		"edns":          c.EDNS,
		"tcp":           c.TCP,
		"dnstap":        c.Dnstap,
		"log":           c.Log,
		"node":          c.Node,
		"bgp.asn":       c.BGP.ASN,
		"bgp.router_id": c.BGP.RouterID,
		"bgp.listen":    c.BGP.Listen,
		"beacon":        config.Beacon{Zone: c.Beacon.Zone, Listen: c.Beacon.Listen},
		"fleet": config.Fleet{
			Name: c.Fleet.Name, Bind: c.Fleet.Bind, Advertise: c.Fleet.Advertise,
			Join: c.Fleet.Join, NodeKeyFile: c.Fleet.NodeKeyFile, Link: c.Fleet.Link,
		},
	}
}

// needsRestart lists what l says that only a restart brings into force.
func (n *node) needsRestart(l *loaded) []string {
	out := []string{}
	was, is := restartOnly(n.started), restartOnly(l.config)
	for _, key := range sortedKeys(is) {
		switch {
		case fmt.Sprint(was[key]) == fmt.Sprint(is[key]): // an empty list and none are the same
		case strings.HasPrefix(key, "bgp."):
			what := "changed"
			if key == "bgp.listen" {
				what = fmt.Sprintf("%d was %d, or went by whether a peer is passive", is[key], was[key])
			}
			out = append(out, l.config.Problem(key, "%s; a restart brings it into force, and until then all peers stay as they are", what).String())
		default:
			out = append(out, l.config.Problem(key, "changed; a restart brings it into force").String())
		}
	}
	return out
}

// keep saves what is served, with the settings that are really in force, for a
// start with bad files. After that it gives back the memory that building and
// saving took: without it the heap, and old maps beside it, would stay as large
// as they were at the height of a reload.
func (n *node) keep() {
	if err := n.keepServed(); err != nil {
		n.raise(alarmLastGood, "what is served could not be kept for the next start", lines(err))
	}
}

// keepAgain does so, if that was not possible before.
func (n *node) keepAgain() {
	if n.alarmed(alarmLastGood) && n.reloading.TryLock() { // a reload keeps what it brings
		defer n.reloading.Unlock()
		_ = n.keepServed() // the alarm stands
	}
}

// keepServed keeps what is served, and clears the alarm when it has.
func (n *node) keepServed() error {
	defer debug.FreeOSMemory()
	l := n.serving()
	err := n.keepIn(n.started.DataDir, l)
	if next := l.config.DataDir; !sameFolder(next, n.started.DataDir) { // where the next start looks
		err = errors.Join(err, n.keepAhead(next, l))
	}
	if err == nil {
		n.clear(alarmLastGood)
	}
	return err
}

// keepAhead keeps it in another folder, if that is no other node's.
func (n *node) keepAhead(dataDir config.Path, l *loaded) error {
	if err := os.MkdirAll(string(dataDir), 0o750); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	lock, err := lockDataDir(string(dataDir))
	if err != nil {
		return err
	}
	return errors.Join(n.keepIn(dataDir, l), lock.Close())
}

func (n *node) keepIn(dataDir config.Path, l *loaded) error {
	g := lastGoodIn(dataDir)
	err := g.keep(n.source, l, asStarted(l.config, n.started))
	if errors.Is(err, errMixed) { // a fleet or BGP that the node is to begin with, say
		err = g.keep(n.source, l, withLimits(*l.config, n.started))
	}
	return err
}

func sameFolder(a, b config.Path) bool { return filepath.Clean(string(a)) == filepath.Clean(string(b)) }

// asStarted returns a configuration with all that only a restart changes as it was at the start: nobody
// has seen yet whether a node can start with what it says instead.
func asStarted(is, was *config.Config) *config.Config {
	c := withLimits(*is, was)
	c.DataDir, c.Node = was.DataDir, was.Node
	c.Admin.Hosts, c.Admin.Pprof = was.Admin.Hosts, was.Admin.Pprof
	c.BGP.ASN, c.BGP.RouterID, c.BGP.Listen = was.BGP.ASN, was.BGP.RouterID, was.BGP.Listen
	c.Beacon.Zone, c.Beacon.Listen = was.Beacon.Zone, was.Beacon.Listen
	c.Fleet.Name, c.Fleet.Bind, c.Fleet.Advertise = was.Fleet.Name, was.Fleet.Bind, was.Fleet.Advertise
	c.Fleet.Join, c.Fleet.NodeKeyFile, c.Fleet.Link = was.Fleet.Join, was.Fleet.NodeKeyFile, was.Fleet.Link
	return c
}

// withLimits does so for sockets, limits and logs alone, which go with whatever else it says.
func withLimits(c config.Config, was *config.Config) *config.Config {
	c.Listen, c.RRL, c.EDNS, c.TCP, c.Dnstap, c.Log = was.Listen, was.RRL, was.EDNS, was.TCP, was.Dnstap, was.Log
	return &c
}

func (n *node) count(ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reloads++
	if n.lastReloadOK = ok; !ok {
		n.failures++
	}
}

// raise sets the alarm for a reason, in place of an earlier one, and logs it.
func (n *node) raise(reason, what string, detail []string) {
	n.log.Error(what, "alarm", reason, "errors", len(detail))
	for _, line := range detail {
		n.log.Error(what, "alarm", reason, "error", line)
	}
	n.clear(reason)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.alarms = append(n.alarms, admin.Alarm{Reason: reason, Detail: detail, Since: time.Now().UTC()})
}

func (n *node) clear(reasons ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.alarms = slices.DeleteFunc(slices.Clone(n.alarms), func(a admin.Alarm) bool { return slices.Contains(reasons, a.Reason) })
}

// Health implements admin.Node.
func (n *node) Health() admin.Health {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := admin.Health{Status: "ok", Alarms: n.alarms, ViewAge: time.Since(n.current.view.Created()).Seconds(), Version: version()}
	if len(h.Alarms) > 0 {
		h.Status = "alarm"
	}
	return h
}

// Config implements admin.Node.
func (n *node) Config() ([]byte, error) { return n.serving().config.YAML() }

func (n *node) serving() *loaded {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current
}

func (n *node) nowServing(l *loaded) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.current = l
}

// Explain implements admin.Node.
func (n *node) Explain(q admin.Question) (any, error) { return explain(n.serving(), q) }

// explain answers a question from a view and tells how.
func explain(l *loaded, q admin.Question) (*dnsserver.Explanation, error) {
	qtype, ok := dns.StringToType[q.Type]
	if !ok {
		return nil, fmt.Errorf("unknown record type %q", q.Type)
	}
	if _, ok := dns.IsDomainName(q.Name); !ok {
		return nil, fmt.Errorf("%q is not a domain name", q.Name)
	}
	return l.view.Explain(q.Name, qtype, q.Resolver, q.Client)
}
