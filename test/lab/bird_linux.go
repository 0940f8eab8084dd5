package lab

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// birdText is what a network engineer would write, but for the names of the
// edges' sessions. GRACEFUL_SHUTDOWN makes a path the last choice (RFC 8326), and
// the error wait lets a link that heals come back at once.
const birdText = `log "%[1]s/log" all;
router id 192.0.2.1;
protocol device { scan time 1; }
protocol kernel kernel4 { scan time 3600; merge paths yes; ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel kernel6 { scan time 3600; merge paths yes; ipv6 { import none; export where source = RTS_BGP; }; }
protocol bfd { interface "fabric" { interval %[2]d ms; multiplier 3; }; }
filter edges4 {
	if net !~ [ 198.51.100.0/24{32,32}, 198.18.0.0/15{32,32} ] then reject;
	if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
	else if (64512, 666) ~ bgp_community then bgp_local_pref = 50;
	accept;
}
filter edges6 {
	if net !~ [ 2001:db8::/64{128,128} ] then reject;
	if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
	else if (64512, 666) ~ bgp_community then bgp_local_pref = 50;
	accept;
}
template bgp edge4 {
	local 192.0.2.1 as 64500;
	passive; direct; ttl security; hold time %[3]d; keepalive time %[4]d; error wait time 1, 5;%[5]s
	ipv4 { import filter edges4; import limit 5000 action block; export none; };
}
template bgp edge6 {
	local 2001:db8:0:1::1 as 64500;
	passive; direct; ttl security; hold time %[3]d; keepalive time %[4]d; error wait time 1, 5;%[5]s
	ipv6 { import filter edges6; import limit 5000 action block; export none; };
}
`

func (r *Router) birdConfig() string {
	c := r.config
	more := ""
	interval := 300 * time.Millisecond
	if c.BFD > 0 {
		interval = c.BFD
		more += " bfd;"
	}
	if c.Password != "" {
		more += fmt.Sprintf(" password %q;", c.Password)
	}
	var b strings.Builder
	fmt.Fprintf(&b, birdText, r.Dir, interval.Milliseconds(), int(c.Hold.Seconds()), int(c.Hold.Seconds())/3, more)
	for n := range c.Edges {
		fmt.Fprintf(&b, "protocol bgp e%d_4 from edge4 { neighbor %s as %d; }\n", n+1, fabric4(n+1).Addr(), EdgeASN)
		fmt.Fprintf(&b, "protocol bgp e%d_6 from edge6 { neighbor %s as %d; }\n", n+1, fabric6(n+1).Addr(), EdgeASN)
	}
	return b.String()
}

func (r *Router) startBIRD() error {
	if err := os.WriteFile(r.file("bird.conf"), []byte(r.birdConfig()), 0o600); err != nil {
		return err
	}
	if err := r.bird.start(r.Host, r.file("out"), "bird", "-f", "-c", r.file("bird.conf"), "-s", r.file("bird.ctl"), "-P", r.file("bird.pid")); err != nil {
		return err
	}
	return Until(5*time.Second, func() error {
		_, err := r.BIRD("show status")
		return err
	})
}

// BIRD runs a command of birdc, for a router that is BIRD.
func (r *Router) BIRD(command string) (string, error) {
	return r.Run("birdc", append([]string{"-s", r.file("bird.ctl")}, strings.Fields(command)...)...)
}

// Sessions lists the sessions of a router that is BIRD.
func (r *Router) Sessions() ([]Session, error) {
	out, err := r.BIRD("show protocols")
	if err != nil {
		return nil, err
	}
	var all []Session
	for line := range strings.Lines(out) {
		w := strings.Fields(line)
		if len(w) < 5 || w[1] != "BGP" {
			continue
		}
		edge, family, _ := strings.Cut(w[0], "_")
		since, err := time.Parse("15:04:05", w[4])
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		all = append(all, Session{
			Edge: edge, IPv6: family == "6", Since: since,
			Up: len(w) > 5 && w[5] == "Established",
		})
	}
	return all, nil
}

func (r *Router) pathsBIRD(prefix netip.Prefix) ([]Path, error) {
	out, err := r.BIRD("show route all for " + prefix.String())
	if err != nil {
		return nil, err
	}
	return parseBIRD(out)
}

// parseBIRD reads what show route all prints.
func parseBIRD(out string) ([]Path, error) {
	var all []Path
	for line := range strings.Lines(out) {
		if _, after, ok := strings.Cut(line, " unicast ["); ok {
			name, _, _ := strings.Cut(after, " ")
			edge, _, _ := strings.Cut(name, "_")
			all = append(all, Path{Edge: edge})
			continue
		}
		if len(all) == 0 {
			continue
		}
		p := &all[len(all)-1]
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		var err error
		switch key {
		case "BGP.as_path":
			p.ASPath = len(strings.Fields(value))
		case "BGP.med":
			_, err = fmt.Sscan(value, &p.MED)
		case "BGP.local_pref":
			_, err = fmt.Sscan(value, &p.LocalPref)
		case "BGP.community":
			p.Communities = slices.Sorted(slices.Values(strings.Fields(strings.NewReplacer("(", "", ")", "", ",", ":").Replace(value))))
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	return all, nil
}
