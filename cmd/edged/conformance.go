package main

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"edged/dnsserver/conformance"
)

// conformanceCommand returns "edged conformance": protocol checks against any
// authoritative server.
func conformanceCommand() *cobra.Command {
	var o conformance.Options
	var asJSON bool
	var subnets []string
	cmd := &cobra.Command{
		Use:   "conformance SERVER[:PORT]",
		Short: "check any authoritative server against RFC 7871, 8906, 7873, 8914 and kin",
		Long: `Ask an authoritative DNS server, edged or another, a fixed list of well-formed
and malformed questions over UDP and TCP, and judge the replies. The exit code
is 1 when a check fails; warnings do not count.

The client subnet checks say most about a name whose answer depends on the
client. They look at a spread of subnets and their neighbours; give --subnet
where your map has a prefix inside another, and they look there too.`,
		Example: `  edged conformance 127.0.0.1:5354 --name www.example.com
  edged conformance ns1.example.net --name www.example.com --subnet 192.88.99.0/24 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := serverAddress(args[0])
			if err != nil {
				return err
			}
			o.Server = server
			for _, text := range subnets {
				p, err := netip.ParsePrefix(text)
				if err != nil || p != p.Masked() {
					return fmt.Errorf("--subnet %q: not a prefix without host bits; want for example 192.88.99.0/24", text)
				}
				o.Subnets = append(o.Subnets, p)
			}
			report, err := conformance.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			write := report.WriteText
			if asJSON {
				write = report.WriteJSON
			}
			if err := write(cmd.OutOrStdout()); err != nil {
				return err
			}
			if report.Failed() {
				return fmt.Errorf("%s: %d of %d checks failed", server, report.Counts[conformance.Fail], len(report.Results))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Name, "name", "www.example.com", "a name with an A record, best one whose answer depends on the client")
	f.StringVar(&o.Zone, "zone", "", "the zone that holds the name (default: found by asking)")
	f.StringVar(&o.Delegated, "delegated", "", "a name below a zone cut, for the referral check")
	f.StringVar(&o.Large, "large", "", "a name whose TXT records exceed 512 octets, for the truncation check")
	f.StringArrayVar(&subnets, "subnet", nil, "a client subnet to look at as well (may be given again)")
	f.DurationVar(&o.Timeout, "timeout", time.Second, "wait so long for a reply; a UDP question is tried twice")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON")
	return cmd
}

// serverAddress reads an address or a host name, with or without a port.
func serverAddress(text string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(a, 53), nil
	}
	if _, _, err := net.SplitHostPort(text); err != nil {
		text = net.JoinHostPort(text, "53")
	}
	a, err := net.ResolveUDPAddr("udp", text)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("server %q: %w; want an address or a name, with :port unless it is 53", text, err)
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}
