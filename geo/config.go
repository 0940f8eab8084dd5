package geo

import (
	"fmt"
	"net/netip"

	"edged/edge"
	"edged/maps"
)

// Policy says how a pool chooses among its candidates.
type Policy uint8

// The policies. Every policy chooses among the candidates with the best
// verdict only.
const (
	Closest  Policy = iota // the PoP that the map ranks first for the client
	Failover               // the first in the order given
	Weighted               // by weight, the same for one resolver during one TTL
	Sticky                 // by weight, the same for one client block for ever
)

var policyNames = [...]string{"closest", "failover", "weighted", "sticky"}

// String returns the word used in the configuration.
func (p Policy) String() string { return policyNames[p] }

// ParsePolicy is the inverse of String. It errs on any other word.
func ParsePolicy(s string) (Policy, error) {
	for i, name := range policyNames {
		if s == name {
			return Policy(i), nil
		}
	}
	return 0, fmt.Errorf("unknown policy %q: want one of %v", s, policyNames)
}

// Pool is the configuration of one pool.
type Pool struct {
	Name           string
	Policy         Policy
	Map            string // the map's name; needed by Closest only
	TTLMin, TTLMax uint32 // seconds, 0 < TTLMin <= TTLMax
	Answers        int    // addresses in one answer, 1..MaxAnswers
	Members        []Member
	FallbackCNAME  string // absolute name answered when every member is disabled; empty: none
}

// MaxAnswers bounds the addresses in one answer, so that A and AAAA answers
// always fit a reply of 1232 octets.
const MaxAnswers = 16

// Member is one entry of a pool. Exactly one of Address, CNAME and Pool is set.
type Member struct {
	PoP     string     // the PoP it stands in; may be empty but for addresses and CNAMEs under Closest
	Address netip.Addr // an endpoint
	CNAME   string     // absolute name
	Pool    string     // another pool, entered with its own policy
	Weight  uint32     // share among its equals; 0 means only when no other is left
}

// Verdicts tells the verdict on a member of a pool. A nil Verdicts means that
// all are OK.
type Verdicts func(pool string, m Member) edge.Verdict

// MapSource is a map as a view uses it.
type MapSource struct {
	Map *maps.Map
	// Degraded says why this is not the configured map (for example because
	// its file could not be read, and place data stands in). Empty: it is.
	Degraded string
}

// Config is all that a view is built from.
type Config struct {
	Node     string // this node's name
	PoP      string // this node's PoP
	PoPs     []edge.PoP
	Pools    []Pool
	Maps     map[string]MapSource
	Verdicts Verdicts
}
