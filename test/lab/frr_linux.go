package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// zebraText has FRR's half that talks to the kernel put next hops into routes, not
// beside them, so that each change is told of as a change of the route.
const zebraText = "log file %s/zebra.log\nno zebra nexthop kernel enable\n"

// bgpdText is the same router in FRR's words. BIRD in an edge's place (Rival) tells of its
// link-local address, too, which the FIB's watch does not know.
const bgpdText = `log file %[1]s/log
ip prefix-list vips seq 5 permit 198.51.100.0/24 ge 32
ip prefix-list vips seq 10 permit 198.18.0.0/15 ge 32
ipv6 prefix-list vips seq 5 permit 2001:db8::/64 ge 128
bgp community-list standard gshut permit graceful-shutdown
route-map edges4 permit 10
 match ip address prefix-list vips
 match community gshut
 set local-preference 0
route-map edges4 permit 20
 match ip address prefix-list vips
route-map edges6 permit 10
 match ipv6 address prefix-list vips
 match community gshut
 set local-preference 0
 set ipv6 next-hop prefer-global
route-map edges6 permit 20
 match ipv6 address prefix-list vips
 set ipv6 next-hop prefer-global
route-map none deny 10
router bgp 64500
 bgp router-id 192.0.2.1
 no bgp default ipv4-unicast
`

func (r *Router) bgpdConfig() string {
	var b strings.Builder
	fmt.Fprintf(&b, bgpdText, r.Dir)
	neighbours := map[string][]netip.Addr{}
	for n := range r.config.Edges {
		neighbours["4"] = append(neighbours["4"], fabric4(n+1).Addr())
		neighbours["6"] = append(neighbours["6"], fabric6(n+1).Addr())
	}
	for _, family := range []string{"4", "6"} {
		for _, a := range neighbours[family] {
			fmt.Fprintf(&b, " neighbor %s remote-as %d\n neighbor %s passive\n neighbor %s ttl-security hops 1\n neighbor %s timers %d %d\n",
				a, EdgeASN, a, a, a, int(r.config.Hold.Seconds())/3, int(r.config.Hold.Seconds()))
			if r.config.Password != "" {
				fmt.Fprintf(&b, " neighbor %s password %s\n", a, r.config.Password)
			}
		}
	}
	for _, family := range []string{"4", "6"} {
		fmt.Fprintf(&b, " address-family ipv%s unicast\n  maximum-paths 16\n", family)
		for _, a := range neighbours[family] {
			fmt.Fprintf(&b, "  neighbor %s activate\n  neighbor %s route-map edges%s in\n  neighbor %s route-map none out\n  neighbor %s maximum-prefix 5000\n", a, a, family, a, a)
		}
		b.WriteString(" exit-address-family\n")
	}
	return b.String()
}

func (r *Router) startFRR() error {
	err := errors.Join(
		os.WriteFile(r.file("zebra.conf"), fmt.Appendf(nil, zebraText, r.Dir), 0o600),
		os.WriteFile(r.file("bgpd.conf"), []byte(r.bgpdConfig()), 0o600))
	if err != nil {
		return err
	}
	r.frr = make([]process, 2)
	for i, name := range []string{"zebra", "bgpd"} {
		args := []string{
			"-u", "root", "-g", "frrvty", "--vty_socket", r.Dir, "-z", r.file("zserv.api"),
			"-i", r.file(name + ".pid"), "-f", r.file(name + ".conf"), "-P", "0",
		}
		if err := r.frr[i].start(r.Host, r.file("out"), "/usr/lib/frr/"+name, args...); err != nil {
			return err
		}
		if err := Until(10*time.Second, func() error {
			_, err := r.vtysh(name, "show version")
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

func (r *Router) stopFRR(limit time.Duration) error {
	for i := len(r.frr) - 1; i >= 0; i-- {
		if _, err := r.frr[i].Stop(limit); err != nil {
			return err
		}
	}
	return nil
}

func (r *Router) vtysh(daemon, command string) (string, error) {
	return r.Run("vtysh", "--vty_socket", r.Dir, "-d", daemon, "-c", command)
}

func (r *Router) pathsFRR(prefix netip.Prefix) ([]Path, error) {
	family := "ipv4"
	if prefix.Addr().Is6() {
		family = "ipv6"
	}
	out, err := r.vtysh("bgpd", fmt.Sprintf("show bgp %s unicast %s json", family, prefix))
	if err != nil {
		return nil, err
	}
	return parseFRR([]byte(out))
}

// parseFRR reads what show bgp unicast PREFIX json prints.
func parseFRR(out []byte) ([]Path, error) {
	var route struct {
		Paths []struct {
			ASPath    struct{ Length int }
			Metric    uint32
			LocPrf    *uint32 // absent when it is the default
			Community struct{ String string }
			Peer      struct{ PeerID netip.Addr }
		}
	}
	if err := json.Unmarshal(out, &route); err != nil {
		return nil, err
	}
	var all []Path
	for _, p := range route.Paths {
		words := strings.ReplaceAll(p.Community.String, "graceful-shutdown", GracefulShutdown)
		list := slices.Sorted(slices.Values(strings.Fields(words)))
		preference := uint32(100)
		if p.LocPrf != nil {
			preference = *p.LocPrf
		}
		all = append(all, Path{Edge: edgeAt(p.Peer.PeerID), Communities: list, ASPath: p.ASPath.Length, MED: p.Metric, LocalPref: preference})
	}
	return all, nil
}
