package geo

import (
	"fmt"
	"net/netip"
	"time"

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
	FallbackCNAME  string // absolute name answered when no member may be; empty: none
	FailOpen       FailOpen
	// UpFraction is the share of a PoP's endpoints of one family, 0..1, that
	// must be ok: in a PoP with fewer they rank as degraded. 0: any one will do.
	UpFraction float64
}

// FailOpen says what a pool answers while nothing in it is better than failing.
// It never is NXDOMAIN, and always the same for all clients.
type FailOpen struct {
	Order   FailOpenOrder
	Drained bool // drained members are answered when all others are disabled; else they never are
}

// FailOpenOrder says which of the failing members come first.
type FailOpenOrder uint8

// The orders.
const (
	Ranked     FailOpenOrder = iota // as the policy has it
	LastKnown                       // those that were ok last, then the others
	ToFallback                      // the fallback CNAME before all of them, if there is one
)

var failOpenNames = [...]string{"ranked", "last-known", "fallback"}

// String returns the word used in the configuration.
func (o FailOpenOrder) String() string { return failOpenNames[o] }

// ParseFailOpenOrder is the inverse of String. It errs on any other word.
func ParseFailOpenOrder(s string) (FailOpenOrder, error) {
	for i, name := range failOpenNames {
		if s == name {
			return FailOpenOrder(i), nil
		}
	}
	return 0, fmt.Errorf("unknown fail-open order %q: want one of %v", s, failOpenNames)
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

// State is what is known of a member at the moment. The zero value is that of a
// member which nobody checks: ok, for as long as anybody likes.
type State struct {
	Verdict edge.Verdict
	TTL     uint32    // whole seconds until this may change, at the earliest; 0: no limit
	LastOK  time.Time // when it was last ok or degraded, for LastKnown; zero: not known
	Weight  *uint32   // in the place of the member's own; nil: none
	Why     string    // who says so, in words, for explanations
}

// Verdicts tells the state of a member of a pool. Of a member that is a pool
// itself it is asked too: there the weight counts, and a verdict that an operator
// gave (drained, disabled); what checks say counts by endpoint. A nil Verdicts
// means that all are OK. It must be a pure function while a view is built.
type Verdicts func(pool string, m Member) State

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
	Pins     []Pin
	Prices   Prices
}
