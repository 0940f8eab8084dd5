package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"edged/edge"
)

// Beacon configures what measures how close clients are: pages that edged gives
// a small script, and names below Zone. Without a zone this node serves no beacon.
type Beacon struct {
	Zone         string           `yaml:"zone"`           // one of zones; "*" in it is one of names; empty: none
	Listen       []netip.AddrPort `yaml:"listen"`         // HTTPS
	CertFile     Path             `yaml:"cert_file"`      // PEM chain for the names of the zone
	KeyFile      Path             `yaml:"key_file"`       // PEM
	TokenKeyFile Path             `yaml:"token_key_file"` // one key of 64 hex digits per line: the first signs, all verify
	Origins      []string         `yaml:"origins"`        // of the pages that may measure, such as https://www.example.com
	Sources      []string         `yaml:"sources"`        // URLs of nodes whose measurements are pulled
	AllowPrivate bool             `yaml:"allow_private"`  // take addresses that are not public, as in a laboratory
	Keep         Keep             `yaml:"keep"`
	Quota        Quota            `yaml:"quota"`
}

// Wildcard returns the name that stands for all unique names.
func (b Beacon) Wildcard() string { return "*." + b.Zone }

func (ck *checker) beacon() {
	b := &ck.Beacon
	ck.beaconKeep()
	ck.beaconSources()
	if b.Zone == "" {
		if len(b.Listen)+len(b.Origins) > 0 || b.CertFile+b.KeyFile+b.TokenKeyFile != "" {
			ck.errorf("beacon.zone", "required when this node serves a beacon, but not given")
		}
		return
	}
	ck.beaconZone(b)
	if len(b.Listen) == 0 {
		ck.given("beacon.listen", "")
	}
	for i, a := range b.Listen {
		key := index("beacon.listen", i)
		switch {
		case ck.reported[key]:
		case !a.IsValid():
			ck.errorf(key, "is empty; want an address such as [::]:443")
		case a.Port() != 0 && slices.Contains(b.Listen[:i], a):
			ck.errorf(key, "%s is listed already", a)
		}
	}
	ck.given("beacon.cert_file", string(b.CertFile))
	ck.given("beacon.key_file", string(b.KeyFile))
	ck.given("beacon.token_key_file", string(b.TokenKeyFile))
	if len(b.Origins) == 0 {
		ck.given("beacon.origins", "")
	}
	for i, o := range b.Origins {
		key := index("beacon.origins", i)
		if ck.reported[key] {
			continue
		}
		want, ok := origin(o)
		switch {
		case !ok:
			ck.errorf(key, "want the origin of pages such as https://www.example.com, got %q", o)
		case o != want:
			ck.errorf(key, "browsers write this origin as %q, got %q", want, o)
		case slices.Contains(b.Origins[:i], o):
			ck.errorf(key, "%q is listed already", o)
		}
	}
}

func (ck *checker) beaconSources() {
	b := &ck.Beacon
	for i, s := range b.Sources {
		key := index("beacon.sources", i)
		if ck.reported[key] {
			continue
		}
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			ck.errorf(key, "want the URL of a node such as https://fra1.example.net:8053, got %q", withoutPassword(s))
		case slices.Contains(b.Sources[:i], s):
			ck.errorf(key, "%q is listed already", s)
		}
	}
}

// beaconZone holds that the zone is served, and that unique names have a pool.
func (ck *checker) beaconZone(b *Beacon) {
	const key = "beacon.zone"
	if ck.reported[key] {
		return
	}
	name, err := domain(b.Zone)
	if err != nil {
		ck.errorf(key, "%v", err)
		return
	}
	b.Zone = name
	if !ck.origins[name] {
		ck.errorf(key, "%q is none of the zones; %s", name, edge.Suggest(name, sortedKeys(ck.origins)))
		return
	}
	if _, bound := ck.Names[b.Wildcard()]; !bound && !ck.source.has(NameKey(b.Wildcard())) {
		ck.errorf(key, "names has no %q; bind it to the pool whose addresses listen here, with policy closest", b.Wildcard())
	}
}

// origin returns an origin as browsers write it (RFC 6454 section 6.2): scheme,
// host in lower case, and the port unless it is the scheme's own.
func origin(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(u.Host, ":") {
		return "", false
	}
	host := strings.ToLower(u.Host)
	if own := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]; strings.HasSuffix(host, own) {
		host = strings.TrimSuffix(host, own)
	}
	return u.Scheme + "://" + host, true
}

// withoutPassword hides a password that does not belong into a URL of ours.
func withoutPassword(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "what is no URL"
	}
	return u.Redacted()
}
