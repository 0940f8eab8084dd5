package override

import (
	"fmt"
	"net/netip"
	"strings"
)

// Kind is what a target names.
type Kind string

// The kinds of targets.
const (
	PoPs      Kind = "pop"
	Nodes     Kind = "node"
	Pools     Kind = "pool"
	Endpoints Kind = "endpoint"
)

// Target names what an override is about: "pop/fra", "node/fra1", "pool/www",
// "endpoint/www/198.51.100.1". A star in a part stands for any run of
// characters and a question mark for one: "pop/eu-*", "endpoint/*/198.51.100.*".
// The zero Target, which a pin has, matches nothing.
type Target struct {
	Kind    Kind
	Name    string // of the PoP, node or pool
	Address string // of the endpoint; empty for the other kinds
}

// maxName bounds the names of PoPs, nodes and pools in messages, in octets.
const maxName = 63

// ParseTarget reads the text form of a target. The address of an endpoint is
// brought into its usual form unless it holds a star or question mark.
func ParseTarget(s string) (Target, error) {
	kind, name, ok := strings.Cut(s, "/")
	t := Target{Kind: Kind(kind), Name: name}
	switch t.Kind {
	case PoPs, Nodes, Pools:
	case Endpoints:
		if t.Name, t.Address, ok = strings.Cut(name, "/"); !ok {
			return Target{}, fmt.Errorf("target %q has no address: write endpoint/POOL/ADDRESS", s)
		}
	default:
		ok = false
	}
	if !ok {
		return Target{}, fmt.Errorf("target %q is of no known kind: write pop/NAME, node/NAME, pool/NAME or endpoint/POOL/ADDRESS", s)
	}
	if err := checkName(t.Name); err != nil {
		return Target{}, fmt.Errorf("target %q: %w", s, err)
	}
	if t.Kind != Endpoints {
		return t, nil
	}
	if isGlob(t.Address) {
		if err := checkName(t.Address); err != nil {
			return Target{}, fmt.Errorf("target %q: %w", s, err)
		}
		t.Address = strings.ToLower(t.Address)
		return t, nil
	}
	a, err := netip.ParseAddr(t.Address)
	if err != nil || a.Zone() != "" {
		return Target{}, fmt.Errorf("target %q: %q is not an IP address", s, t.Address)
	}
	t.Address = a.Unmap().String()
	return t, nil
}

// checkName says whether s can be the name of a PoP, node or pool, or a glob
// of them.
func checkName(s string) error {
	if s == "" || len(s) > maxName {
		return fmt.Errorf("name %q has %d octets, want 1 to %d", s, len(s), maxName)
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '/' {
			return fmt.Errorf("name %q holds %q: want letters, digits and signs but the slash", s, c)
		}
	}
	return nil
}

func isGlob(s string) bool { return strings.ContainsAny(s, "*?") }

// String returns the text form; it is empty for the zero Target.
func (t Target) String() string {
	switch t.Kind {
	case "":
		return ""
	case Endpoints:
		return string(t.Kind) + "/" + t.Name + "/" + t.Address
	}
	return string(t.Kind) + "/" + t.Name
}

// MarshalText gives the text form, for JSON.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads the text form; an empty text is the zero Target.
func (t *Target) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*t = Target{}
		return nil
	}
	*t, err = ParseTarget(string(b))
	return err
}

// Matches says whether the override of this target is about the endpoint.
func (t Target) Matches(e Endpoint) bool {
	switch t.Kind {
	case PoPs:
		return glob(t.Name, e.PoP)
	case Nodes:
		return e.Node != "" && glob(t.Name, e.Node)
	case Pools:
		return glob(t.Name, e.Pool)
	case Endpoints:
		return glob(t.Name, e.Pool) && glob(t.Address, e.Address.Unmap().String())
	}
	return false
}

// MatchesPoP says whether the target names the PoP as a whole.
func (t Target) MatchesPoP(name string) bool { return t.Kind == PoPs && glob(t.Name, name) }

// MatchesNode says whether the target names the node itself.
func (t Target) MatchesNode(name string) bool { return t.Kind == Nodes && glob(t.Name, name) }

// glob matches s with a pattern of stars and question marks. It looks at each
// octet of s at most once for each of the pattern.
func glob(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0 // the last star, and where its run began
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
