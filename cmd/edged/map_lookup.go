package main

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"edged/geo/place"
	"edged/maps"
)

// mapAnswer is what a map says about one range of addresses.
type mapAnswer struct {
	Query   string       `json:"query"`
	Table   string       `json:"table"`
	From    netip.Addr   `json:"from"`
	To      netip.Addr   `json:"to"`
	Block   netip.Prefix `json:"block"`             // the largest one of this row around the first address asked for
	Source  string       `json:"source"`            // measured, place or unknown
	MadeUp  bool         `json:"made_up,omitempty"` // round trips are not real
	Ranking []mapHop     `json:"ranking"`
	Then    []string     `json:"then"` // the other PoPs, by distance
}

type mapHop struct {
	PoP string  `json:"pop"`
	RTT float64 `json:"rtt_ms,omitempty"`
}

// maxRanges is the number of ranges that are listed for a prefix.
const maxRanges = 100

func mapLookupCommand() *cobra.Command {
	var resolver, asJSON bool
	cmd := &cobra.Command{
		Use:   "lookup FILE ADDR|PREFIX...",
		Short: "say what a map holds for addresses",
		Long: `Say what a map holds for addresses: the range around each, the block that an
answer could be for, and the ranking. A prefix may have several ranges; the
first ` + strconv.Itoa(maxRanges) + ` are listed. Addresses that carry an IPv4 address (mapped, 6to4,
Teredo, NAT64) are looked up as that one, as the server does.`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := maps.Open(args[0])
			if err != nil {
				return err
			}
			var answers []mapAnswer
			for _, query := range args[1:] {
				prefix, err := parseQuery(query)
				if err != nil {
					return err
				}
				answers = append(answers, lookupPrefix(m, resolver, query, prefix)...)
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), answers)
			}
			for i, a := range answers {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if err := a.writeText(cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&resolver, "resolver", false, "look into the table of resolvers, not of client subnets")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// parseQuery reads an address, as a prefix of its full length, or a prefix.
func parseQuery(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = place.Unwrap(addr)
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, fmt.Errorf("bad address %q: want one like 203.0.113.7 or 203.0.113.0/24", text)
	}
	return place.UnwrapPrefix(prefix).Masked(), nil
}

// lookupPrefix returns what a map holds for each range that a prefix touches.
func lookupPrefix(m *maps.Map, resolver bool, query string, prefix netip.Prefix) (answers []mapAnswer) {
	table, name := m.ECS(), "ecs"
	if resolver {
		table, name = m.Resolver(), "resolver"
	}
	for addr := prefix.Addr(); len(answers) < maxRanges; {
		row, from, to := table.Lookup(addr)
		a := mapAnswer{Query: query, Table: name, From: from, To: to, Block: table.Block(addr), MadeUp: m.IsMadeUp()}
		a.rank(m, row)
		answers = append(answers, a)
		if addr = to.Next(); !addr.IsValid() || !prefix.Contains(addr) {
			break
		}
	}
	return answers
}

// rank fills in what a row says.
func (a *mapAnswer) rank(m *maps.Map, row maps.Row) {
	a.Source, a.Ranking, a.Then = "place", []mapHop{}, []string{}
	ranking, pops := m.Ranking(row.Ranking()), m.PoPs()
	measured := make([]bool, len(pops))
	for _, hop := range ranking.Hops {
		measured[hop.PoP] = true
		a.Ranking = append(a.Ranking, mapHop{pops[hop.PoP].Name, float64(hop.RTT) / 2})
	}
	if row.Measured() {
		a.Source = "measured"
	}
	if ranking.Order == maps.NoOrder {
		if !row.Measured() {
			a.Source = "unknown"
		}
		return
	}
	for _, pop := range m.Order(ranking.Order) {
		if !measured[pop] {
			a.Then = append(a.Then, pops[pop].Name)
		}
	}
}

func (a *mapAnswer) writeText(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "%s\tin the %s table\n", a.Query, a.Table)
	fmt.Fprintf(tw, "range\t%s - %s\n", a.From, a.To)
	fmt.Fprintf(tw, "block\t%s\n", a.Block)
	if a.MadeUp {
		fmt.Fprintf(tw, "%s\n", madeUpNote)
	}
	fmt.Fprintf(tw, "source\t%s\n", a.Source)
	var hops []string
	for _, hop := range a.Ranking {
		text := hop.PoP
		if hop.RTT > 0 {
			text += fmt.Sprintf(" (%.1f ms)", hop.RTT)
		}
		hops = append(hops, text)
	}
	if len(hops) > 0 {
		fmt.Fprintf(tw, "ranking\t%s\n", strings.Join(hops, ", "))
	}
	if len(a.Then) > 0 {
		fmt.Fprintf(tw, "by distance\t%s\n", strings.Join(a.Then, ", "))
	}
	return tw.Flush()
}
