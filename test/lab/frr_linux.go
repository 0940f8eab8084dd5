package lab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// frrText is the same router in FRR's words.
const frrText = `frr defaults datacenter
hostname router
log file %[1]s/log
no zebra nexthop kernel enable
ip prefix-list vips seq 5 permit 198.51.100.0/24 ge 32
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
route-map edges6 permit 20
 match ipv6 address prefix-list vips
route-map none deny 10
router bgp 64500
 bgp router-id 192.0.2.1
 no bgp default ipv4-unicast
`

func (r *Router) frrConfig() string {
	var b strings.Builder
	fmt.Fprintf(&b, frrText, r.Dir)
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
	if err := os.WriteFile(r.file("frr.conf"), []byte(r.frrConfig()), 0o600); err != nil {
		return err
	}
	r.frr = make([]process, 2)
	for i, name := range []string{"zebra", "bgpd"} {
		args := []string{
			"-u", "root", "-g", "root", "--vty_socket", r.Dir, "-z", r.file("zserv.api"),
			"-i", r.file(name + ".pid"), "-f", r.file("frr.conf"), "-P", "0",
		}
		if err := r.frr[i].start(r.Host, r.file("out"), "/usr/lib/frr/"+name, args...); err != nil {
			return err
		}
		if err := until(10*time.Second, func() error {
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
			LocPrf    uint32
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
		all = append(all, Path{Edge: edgeAt(p.Peer.PeerID), Communities: list, ASPath: p.ASPath.Length, MED: p.Metric, LocalPref: p.LocPrf})
	}
	return all, nil
}
