package main

import (
	"fmt"
	"io"
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"edged/edge"
	"edged/geo"
	"edged/geo/pricer"
	"edged/geo/shed"
	"edged/health"
	"edged/health/fleet"
	"edged/maps"
)

// loadGossip has loads travel as registers of health.
type loadGossip struct {
	fleet *fleet.Fleet
	pop   string
}

func loadOf(pop string) health.TargetID { return health.NewLoad(pop).ID }

// Say implements pricer.Gossip.
func (g loadGossip) Say(text string) {
	if text == "" {
		g.fleet.Unstate(loadOf(g.pop))
		return
	}
	g.fleet.State(loadOf(g.pop), edge.Unknown, text)
}

// Said implements pricer.Gossip.
func (g loadGossip) Said() (all []pricer.Saying) {
	for _, s := range g.fleet.Statements(loadOf) {
		all = append(all, pricer.Saying{PoP: s.PoP, Node: s.Member, Text: s.Reason})
	}
	return all
}

// startPricer starts to work out prices.
func (n *node) startPricer(l *loaded) {
	c := l.config
	n.pricer = pricer.Start(pricer.Config{
		Node: c.Node.Name, PoP: c.Node.PoP, Gossip: loadGossip{n.fleet, c.Node.PoP}, Ask: askOf(l),
		Sites: func() []shed.Site { return sites(n.serving()) },
		File:  filepath.Join(string(c.DataDir), "load"), Log: n.log,
	})
}

// askOf returns the question that the configuration asks; nil: none.
func askOf(l *loaded) pricer.Ask {
	u, err := url.Parse(l.config.Load.URL)
	if l.config.Load.URL == "" || err != nil { // the configuration has checked it
		return nil
	}
	return pricer.URL(u)
}

// sites are the configured PoPs as the maps in use have them.
func sites(l *loaded) []shed.Site {
	var names []string
	for _, p := range l.config.PoPs {
		names = append(names, p.Name)
	}
	var all []*maps.Map
	for _, name := range sortedKeys(l.maps) {
		all = append(all, l.maps[name])
	}
	return shed.Sites(names, all)
}

// prices are those of the moment as views take them.
func (l *loaded) prices(p *pricer.Prices) geo.Prices {
	out := geo.Prices{Epoch: p.Epoch, Live: make([]shed.Price, len(l.config.PoPs)), Why: make([]string, len(l.config.PoPs))}
	for i, pop := range l.config.PoPs {
		if at := slices.IndexFunc(p.Standings, func(s shed.Standing) bool { return s.PoP == pop.Name }); at >= 0 {
			out.Live[i], out.Why[i] = p.Standings[at].Price, whyPriced(&p.Standings[at])
		}
	}
	return out
}

// whyPriced tells what a price follows from.
func whyPriced(s *shed.Standing) string {
	switch {
	case !s.Known:
		return "load not known"
	case s.Soft == 0:
		return "no soft limit"
	}
	text := fmt.Sprintf("load %.0f %% of soft limit", math.Round(100*s.Share()))
	if !s.Fresh {
		text += ", not told since"
	}
	return text
}

// followLoad brings prices into force when an epoch begins with others, and
// raises the alarm while this node's PoP is at its hard limit.
func (n *node) followLoad(was *pricer.Prices) *pricer.Prices {
	now := n.pricer.Prices()
	if !now.Alike(was) {
		n.viewing.Lock()
		n.serve(n.serving())
		n.viewing.Unlock()
	}
	full := ""
	for _, s := range now.Standings {
		if s.PoP == n.started.Node.PoP && s.Known && s.Hard > 0 && s.Load >= s.Hard {
			full = fmt.Sprintf("%s has a load of %.0f requests/s, its hard limit is %.0f", s.PoP, s.Load, s.Hard)
		}
	}
	if full == "" || !n.alarmed(alarmLoad) {
		n.alarm(alarmLoad, "this PoP is at its hard limit", full)
	}
	return now
}

// alarmed says whether the alarm is raised.
func (n *node) alarmed(reason string) bool {
	for _, a := range n.Health().Alarms {
		if a.Reason == reason {
			return true
		}
	}
	return false
}

// loadReport is the JSON of /v1/load.
type loadReport struct {
	Epoch uint64    `json:"epoch"`
	Begun time.Time `json:"begun"`           // when the epoch did
	Fault string    `json:"fault,omitempty"` // why this node does not know its PoP's load
	PoPs  []popLoad `json:"pops"`
}

type popLoad struct {
	PoP   string   `json:"pop"`
	Load  *float64 `json:"requests_per_second"` // null: not known
	Told  uint64   `json:"told_epoch"`          // of which it is; 0: nothing was ever told
	Fresh bool     `json:"fresh"`               // it is of the epoch before the last
	Soft  float64  `json:"soft_limit"`          // 0: none
	Hard  float64  `json:"hard_limit"`
	Price float64  `json:"price_ms"` // above the map's
	Map   float64  `json:"map_price_ms"`
}

// Load implements admin.Node.
func (n *node) Load() any {
	p, l := n.pricer.Prices(), n.serving()
	r := loadReport{Epoch: p.Epoch, Begun: time.Unix(0, 0).Add(time.Duration(p.Epoch) * shed.Epoch).UTC(), Fault: n.pricer.Fault(), PoPs: []popLoad{}}
	for _, s := range p.Standings {
		row := popLoad{PoP: s.PoP, Told: s.Epoch, Fresh: s.Fresh, Soft: s.Soft, Hard: s.Hard, Price: float64(s.Price) / 1000, Map: l.mapPrice(s.PoP)}
		if s.Known {
			row.Load = &s.Load
		}
		r.PoPs = append(r.PoPs, row)
	}
	return r
}

// mapPrice is the highest price in milliseconds that a map was made with for a
// PoP.
func (l *loaded) mapPrice(pop string) (ms float64) {
	for _, m := range l.maps {
		for i, p := range m.Prices() {
			if m.PoPs()[i].Name == pop {
				ms = max(ms, float64(p.Price)/1000)
			}
		}
	}
	return ms
}

// TellLoad implements admin.Node.
func (n *node) TellLoad(requests float64) error { return n.pricer.Tell(requests) }

func loadCommand() *cobra.Command {
	var f nodeFlags
	var asJSON bool
	var told float64
	cmd := &cobra.Command{
		Use:   "load",
		Short: "show the load and the price of each PoP",
		Long: `Show which load each PoP has, as its own nodes say, what its limits are by the
map, and what it costs beside its round-trip time: by the map, and above that by
the load of the moment. Prices are worked out anew every ten seconds.

With --tell the node is told which load its PoP has, all machines together; that
counts for 30 seconds.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("tell") {
				if !(told >= 0 && told <= maps.MaxRequests) {
					return fmt.Errorf("load of %v in --tell: want requests a second, all machines of the PoP together, 0 to %g", told, float64(maps.MaxRequests))
				}
				c, err := f.client()
				if err != nil {
					return err
				}
				defer c.Close()
				return c.TellLoad(cmd.Context(), told)
			}
			var r loadReport
			return f.show(cmd, "/v1/load", asJSON, &r, r.writeText)
		},
	}
	f.add(cmd)
	configFlag(cmd, &f.config)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the loads as JSON")
	cmd.Flags().Float64Var(&told, "tell", 0, "tell the load of the node's PoP, in `REQUESTS` a second")
	cmd.MarkFlagsMutuallyExclusive("tell", "json")
	return cmd
}

// writeText writes a report for a person.
func (r *loadReport) writeText(w io.Writer) {
	fmt.Fprintf(w, "epoch %d, begun %s\n", r.Epoch, r.Begun.Format(time.RFC3339))
	if r.Fault != "" {
		fmt.Fprintf(w, "this node does not know its PoP's load: %s\n", r.Fault)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "pop\tload/s\tsoft\thard\tof soft\tprice\tof the map")
	for _, p := range r.PoPs {
		load, share := "?", "-"
		if p.Load != nil {
			load = fmt.Sprintf("%.1f", *p.Load)
			if p.Soft > 0 {
				share = fmt.Sprintf("%.0f %%", 100**p.Load/p.Soft)
			}
			if !p.Fresh {
				load += " (old)"
			}
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t+%.1f ms\t%.1f ms\n", p.PoP, load, limitText(p.Soft), limitText(p.Hard), share, p.Price, p.Map)
	}
	tw.Flush()
}

// limitText writes a limit in requests/s, of which 0 is none.
func limitText(requests float64) string {
	if requests == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", requests)
}

var (
	descPoPLoad  = desc("pop_load", "Load of the PoP in requests per second, as its nodes said last.", "pop")
	descPoPLimit = desc("pop_load_limit", "Limit on the load of the PoP in requests per second, by the map.", "pop", "limit")
	descPoPPrice = desc("pop_price_seconds", "What the PoP costs above the map's price, as if round trips took longer.", "pop")
	descPoPFresh = desc("pop_load_fresh", "Whether the load of the PoP was told in time.", "pop")
)

func describeLoad(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descPoPLoad, descPoPLimit, descPoPPrice, descPoPFresh} {
		ch <- d
	}
}

func (n *node) collectLoad(gauge func(*prometheus.Desc, float64, ...string)) {
	for _, s := range n.pricer.Prices().Standings {
		if s.Known {
			gauge(descPoPLoad, s.Load, s.PoP)
		}
		if s.Soft > 0 {
			gauge(descPoPLimit, s.Soft, s.PoP, "soft")
		}
		if s.Hard > 0 {
			gauge(descPoPLimit, s.Hard, s.PoP, "hard")
		}
		gauge(descPoPPrice, float64(s.Price)/1e6, s.PoP)
		gauge(descPoPFresh, truth(s.Fresh), s.PoP)
	}
}
