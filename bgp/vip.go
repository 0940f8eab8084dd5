package bgp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// VIP is an anycast address (or a v4 and a v6 one) that nodes announce
// together, for example ns1 with 198.51.100.53/32.
type VIP struct {
	Name          string         `json:"name"`           // lower case
	Prefixes      []netip.Prefix `json:"prefixes"`       // host routes (/32, /128), sorted, at least one
	Port          uint16         `json:"port"`           // where DNS is answered on it
	MinAnnouncers int            `json:"min_announcers"` // that must remain when one withdraws by choice; at least 1
	MinPoPs       int            `json:"min_pops"`       // in which they must stand; at least 1
	Communities   []Community    `json:"communities,omitempty"`
	Groups        []string       `json:"groups,omitempty"` // of peers that hear of it; none: all peers
	Hold          time.Duration  `json:"hold"`             // from de-preferring it to withdrawing it, when draining
	Linger        time.Duration  `json:"linger"`           // from withdrawing it to unbinding it, at most
	Ladder        []Rung         `json:"ladder"`           // how it becomes less preferred, step by step
}

// Community is a BGP community (RFC 1997): the AS in the high 16 bits.
type Community uint32

// GracefulShutdown asks a router to prefer any other path (RFC 8326).
const GracefulShutdown Community = 0xFFFF0000

// ParseCommunity reads "64512:100", or "graceful-shutdown". It errs on all else.
func ParseCommunity(s string) (Community, error) {
	if s == "graceful-shutdown" {
		return GracefulShutdown, nil
	}
	high, low, ok := strings.Cut(s, ":")
	h, errHigh := strconv.ParseUint(high, 10, 16)
	l, errLow := strconv.ParseUint(low, 10, 16)
	if !ok || errHigh != nil || errLow != nil {
		return 0, fmt.Errorf("community %q: want two numbers up to 65535, as in 64512:100", s)
	}
	return Community(h<<16 | l), nil
}

// String returns the form that ParseCommunity reads.
func (c Community) String() string {
	if c == GracefulShutdown {
		return "graceful-shutdown"
	}
	return fmt.Sprintf("%d:%d", c>>16, c&0xFFFF)
}

// MarshalText gives the text form, for JSON.
func (c Community) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the text form.
func (c *Community) UnmarshalText(b []byte) (err error) {
	*c, err = ParseCommunity(string(b))
	return err
}

// Rung is one step of a ladder. The zero value is Withdraw.
type Rung struct {
	Kind  RungKind `json:"kind"`
	Value uint32   `json:"value,omitempty"` // the count of Prepend (1 to 10), the MED, or the Community
}

// RungKind says how a rung makes a route less preferred.
type RungKind string

// The kinds of rungs. All but Withdraw keep the route, and add to what the rungs
// before them did.
const (
	Withdraw     RungKind = ""          // no route at all: only with the promises of others
	Gshut        RungKind = "gshut"     // the graceful-shutdown community
	Prepend      RungKind = "prepend"   // the own AS that many times more
	SetMED       RungKind = "med"       // a worse MED; for sessions to one neighbour AS
	AddCommunity RungKind = "community" // a further community, such as one that a provider gives for backup
)

// Attributes are those of a route that say how much it is preferred.
// The zero value is a plain route.
type Attributes struct {
	Communities []Community `json:"communities,omitempty"` // sorted, each once
	Prepend     int         `json:"prepend,omitempty"`     // times that the own AS is added
	MED         uint32      `json:"med,omitempty"`         // 0: not sent
}

// Baseline returns the attributes of a VIP that nothing speaks against.
func (v *VIP) Baseline() Attributes { return Attributes{}.with(v.Communities...) }

// Below returns the attributes after the first n rungs of the ladder, and false
// when one of them withdraws the route. n may be larger than the ladder. No rung makes
// the route better than the one before it did.
func (v *VIP) Below(n int) (Attributes, bool) {
	a := v.Baseline()
	for _, r := range v.Ladder[:min(n, len(v.Ladder))] {
		switch r.Kind {
		case Gshut:
			a = a.with(GracefulShutdown)
		case Prepend:
			a.Prepend = max(a.Prepend, int(r.Value))
		case SetMED:
			a.MED = max(a.MED, r.Value)
		case AddCommunity:
			a = a.with(Community(r.Value))
		default:
			return a, false
		}
	}
	return a, true
}

// Lowest returns the attributes of the last resort: all rungs that keep the
// route, and graceful shutdown whatever the ladder says.
func (v *VIP) Lowest() Attributes {
	n := slices.IndexFunc(v.Ladder, func(r Rung) bool { return r.Kind == Withdraw })
	if n < 0 {
		n = len(v.Ladder)
	}
	a, _ := v.Below(n)
	return a.with(GracefulShutdown)
}

func (a Attributes) with(more ...Community) Attributes {
	all := append(slices.Clone(a.Communities), more...)
	slices.Sort(all)
	a.Communities = slices.Compact(all)
	return a
}

// Equal says whether two sets of attributes are the same.
func (a Attributes) Equal(b Attributes) bool {
	return a.Prepend == b.Prepend && a.MED == b.MED && slices.Equal(a.Communities, b.Communities)
}

// String returns the attributes for people, such as
// "64512:100 graceful-shutdown prepend 3"; "plain" when there are none.
func (a Attributes) String() string {
	var parts []string
	for _, c := range a.Communities {
		parts = append(parts, c.String())
	}
	if a.Prepend > 0 {
		parts = append(parts, fmt.Sprintf("prepend %d", a.Prepend))
	}
	if a.MED > 0 {
		parts = append(parts, fmt.Sprintf("med %d", a.MED))
	}
	if len(parts) == 0 {
		return "plain"
	}
	return strings.Join(parts, " ")
}

// Route is a VIP's prefix as peers shall hear of it.
type Route struct {
	Prefix     netip.Prefix
	Attributes Attributes
	Groups     []string // of peers; none: all
}

// SortRoutes puts routes in the order of their prefixes.
func SortRoutes(routes []Route) {
	slices.SortFunc(routes, func(a, b Route) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
}
