package lab

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Zone is what the edges serve. Good is a name in it, with an address. Bad is one
// that is answered with SERVFAIL: its TXT record fits into a message, but not
// together with the DNAME that leads there.
const (
	Zone = "example.com."
	Good = "www." + Zone
	Bad  = "large.alias." + Zone
)

const zoneText = `@ 300 SOA ns1 hostmaster 1 7200 3600 1209600 60
@ 300 NS ns1
ns1 300 A 198.51.100.53
www 300 A 203.0.113.80
alias 300 DNAME target
`

// zone is the text of the zone's file.
func zone() []byte {
	const octets = 65480 // of the TXT record's data: a message holds 65,535
	b := []byte(zoneText + "large.target 300 TXT (")
	for left := octets; left > 0; left -= 255 {
		b = fmt.Appendf(b, " %q", strings.Repeat("x", min(left, 255)-1))
	}
	return append(b, " )\n"...)
}

// configure writes the edges' files: first without the members, for the keys
// that the edges then make.
func (l *Lab) configure() error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	gossip := base64.StdEncoding.EncodeToString(key) + "\n"
	var members []string
	for _, e := range l.Edges {
		err := errors.Join(
			os.WriteFile(filepath.Join(e.Dir, "gossip.key"), []byte(gossip), 0o600),
			os.WriteFile(filepath.Join(e.Dir, "zone"), zone(), 0o600),
			os.WriteFile(filepath.Join(e.Dir, "md5"), []byte(l.Config.Password+"\n"), 0o600),
			l.write(e, nil, nil))
		if err != nil {
			return err
		}
		key, err := exec.Command(l.Config.Program, "fleet", "key", "--config", e.config()).CombinedOutput()
		if err != nil {
			return fmt.Errorf("fleet key: %w: %s", err, key)
		}
		members = append(members, fmt.Sprintf("{name: %s, pop: %s, key: %q}", e.Name, e.PoP, strings.TrimSpace(string(key))))
	}
	l.members = members
	for _, e := range l.Edges {
		if err := l.Write(e, l.Config.VIPs); err != nil {
			return err
		}
	}
	return nil
}

// Write writes an edge's configuration anew, with these VIPs. A reload brings it
// into force.
func (l *Lab) Write(e *Edge, vips []VIP) error { return l.write(e, l.members, vips) }

func (l *Lab) write(e *Edge, members []string, vips []VIP) error {
	var b strings.Builder
	fmt.Fprintf(&b, "node: {name: %s, pop: %s}\ndata_dir: state\nlog: {format: json}\n", e.Name, e.PoP)
	var pops []string
	for i, p := range PoPs[:l.Config.PoPs] {
		pops = append(pops, fmt.Sprintf("{name: %s, lat: %d, lon: %d, continent: EU}", p, 50-i, 8+i))
	}
	fmt.Fprintf(&b, "pops: [%s]\n", strings.Join(pops, ", "))
	fmt.Fprintf(&b, "listen: {external: [\"127.0.0.1:53\", \"%s:53\"], threads: 1}\n", e.Address())
	fmt.Fprintf(&b, "zones: [{name: %s, file: zone}]\n", strings.TrimSuffix(Zone, "."))
	var join []string
	for _, other := range l.Edges {
		join = append(join, fmt.Sprintf("\"%s:7946\"", management(other.number).Addr()))
	}
	fmt.Fprintf(&b, "fleet:\n  name: lab\n  advertise: \"%s:7946\"\n  join: [%s]\n  key_file: gossip.key\n  node_key_file: node.ed25519\n",
		management(e.number).Addr(), strings.Join(join, ", "))
	if len(members) > 0 {
		fmt.Fprintf(&b, "  members: [%s]\n", strings.Join(members, ", "))
	}
	l.writeBGP(&b, e)
	if len(vips) > 0 {
		b.WriteString("vips:\n")
	}
	for _, v := range vips {
		fmt.Fprintf(&b, "  %s: {prefixes: [%s], %s}\n", v.Name, quoted(v.Prefixes), v.Keys)
	}
	b.WriteString(l.Config.Extra)
	return os.WriteFile(e.config(), []byte(b.String()), 0o600)
}

func (l *Lab) writeBGP(b *strings.Builder, e *Edge) {
	c := &l.Config
	more := fmt.Sprintf("hold: %s", c.Hold)
	if c.BFD > 0 {
		more += fmt.Sprintf(", bfd: {interval: %s, multiplier: 3}", c.BFD)
	}
	if c.Password != "" {
		more += ", password_file: md5"
	}
	if !c.Router.gtsm() {
		more += ", gtsm: false"
	}
	fmt.Fprintf(b, "bgp:\n  asn: %d\n  router_id: %s\n  peers:\n", EdgeASN, e.Address())
	fmt.Fprintf(b, "    - {name: router4, address: %s, asn: %d, %s}\n", router4.Addr(), RouterASN, more)
	fmt.Fprintf(b, "    - {name: router6, address: %q, asn: %d, %s}\n", router6.Addr(), RouterASN, more)
}

func quoted(prefixes []netip.Prefix) string {
	var all []string
	for _, p := range prefixes {
		all = append(all, fmt.Sprintf("%q", p))
	}
	return strings.Join(all, ", ")
}
