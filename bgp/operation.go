package bgp

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// OperationKind is what an operator asks of a node.
type OperationKind string

// The kinds of operations. Undrain ends the first two, Release the others.
const (
	Drain       OperationKind = "drain"       // stop announcing, without harm
	Maintenance OperationKind = "maintenance" // drain from its beginning on; its end is a date to be held
	Hold        OperationKind = "hold"        // change nothing by itself
	Announce    OperationKind = "announce"    // announce though no plan says so; of one VIP on one node, and local
)

// Operation is what an operator asked of a node, or of all nodes of a PoP. It is
// in force until an operator ends it: that its time has run out is an alarm and
// never a reason to announce again.
type Operation struct {
	ID     string        `json:"id"` // short hash of all else
	Kind   OperationKind `json:"kind"`
	VIP    string        `json:"vip,omitempty"` // empty: all
	Node   string        `json:"node,omitempty"`
	PoP    string        `json:"pop,omitempty"` // of Node and PoP one is given
	Reason string        `json:"reason"`        // 1 to 200 octets
	Actor  string        `json:"actor"`         // 1 to 64 octets
	Since  time.Time     `json:"since"`         // by the clock of the node asked; may lie ahead for Maintenance and Announce
	Until  time.Time     `json:"until,omitzero"`
	Local  bool          `json:"local,omitempty"` // asked on the node itself: above what the fleet asks
	Force  bool          `json:"force,omitempty"` // Drain, Maintenance: also without the promises of others
}

// NewOperation returns the operation with its ID. It errs when what is asked
// cannot be.
func NewOperation(o Operation) (Operation, error) {
	o.Since, o.Until, o.ID = o.Since.UTC().Round(0), o.Until.UTC().Round(0), ""
	o.ID = shortHash(o)
	return o, o.Check()
}

// Check says what is wrong with an operation that was read or received.
func (o Operation) Check() error {
	fault := func(format string, args ...any) error {
		return fmt.Errorf("%s: "+format, append([]any{o.What()}, args...)...)
	}
	bare := o
	bare.ID = ""
	kinds := []OperationKind{Drain, Maintenance, Hold, Announce}
	switch {
	case !slices.Contains(kinds, o.Kind):
		return fmt.Errorf("unknown operation %q: want one of %v", o.Kind, kinds)
	case (o.Node == "") == (o.PoP == ""):
		return fault("want a node or a PoP, got node %q and PoP %q", o.Node, o.PoP)
	case !validName(o.Node + o.PoP):
		return fault("%q cannot be the name of a node or PoP", o.Node+o.PoP)
	case o.VIP != "" && !validName(o.VIP):
		return fault("%q cannot be the name of a VIP", o.VIP)
	case CheckReason(o.Reason) != nil:
		return fault("%w", CheckReason(o.Reason))
	case !isLine(o.Actor, 64):
		return fault("actor %q: want one line of 1 to 64 octets", o.Actor)
	case o.Since.IsZero():
		return fault("it does not say since when")
	case !o.Until.IsZero() && !o.Until.After(o.Since):
		return fault("it ends at %s, which is not after %s", clock(o.Until), clock(o.Since))
	case o.Kind == Maintenance && o.Until.IsZero():
		return fault("it has no end: say how long it takes")
	case o.Kind == Announce && (o.VIP == "" || o.Node == "" || !o.Local):
		return fault("want one VIP, on one node, and --local")
	case o.Force && o.Kind != Drain && o.Kind != Maintenance:
		return fault("there is nothing to force")
	case o.ID != shortHash(bare):
		return fault("its ID is %q, want %q", o.ID, shortHash(bare))
	}
	return nil
}

// CheckReason errs when a reason is no line of 1 to 200 octets.
func CheckReason(reason string) error {
	if !isLine(reason, 200) {
		return fmt.Errorf("reason %q: want one line of 1 to 200 octets: say --reason", reason)
	}
	return nil
}

func isLine(s string, longest int) bool {
	return s != "" && len(s) <= longest && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// What returns the operation as it was typed, "drain ns1 on node/fra1".
func (o Operation) What() string {
	return fmt.Sprintf("%s %s on %s", o.Kind, cmp.Or(o.VIP, "all VIPs"), o.target())
}

func (o Operation) target() string {
	if o.PoP != "" {
		return "pop/" + o.PoP
	}
	return "node/" + o.Node
}

// EndedBy returns the command that ends the operation. What was asked on a node itself
// ends there.
func (o Operation) EndedBy() string {
	words := o.end() + " " + o.target()
	if o.Local {
		words = "on " + o.Node + ": " + o.end() + " --local"
	}
	if o.VIP != "" {
		words += " --vip " + o.VIP
	}
	return words + " --reason WHY"
}

// endedByID returns the command that ends the operation and no other one; with local, on
// the node where it is typed and nowhere else.
func (o Operation) endedByID(local bool) string {
	words := o.end() + " " + o.ID
	if local {
		words += " --local"
	}
	return words + " --reason WHY"
}

func (o Operation) end() string {
	if o.leaves() {
		return "edged vip undrain"
	}
	return "edged vip release"
}

// String returns a line for people: what, who, why and until when.
func (o Operation) String() string {
	until := ""
	if !o.Until.IsZero() {
		until = " until " + clock(o.Until)
	}
	how := ""
	if o.Local {
		how += ", local"
	}
	if o.Force {
		how += ", forced"
	}
	return fmt.Sprintf("%s by %s: %q, since %s%s%s (%s)", o.What(), o.Actor, o.Reason, clock(o.Since), until, how, o.ID)
}

// Matches says whether the operation is about a VIP on a node.
func (o Operation) Matches(m Member, vip string) bool {
	return (o.VIP == "" || o.VIP == vip) && (o.Node == m.Name || o.PoP != "" && o.PoP == m.PoP)
}

// Begun says whether the operation is in force. It stays so when its time has
// run out. A drain and a hold begin when they are asked for: a clock that is set back, or
// that of another node, does not end them.
func (o Operation) Begun(now time.Time) bool {
	return o.Kind == Drain || o.Kind == Hold || !now.Before(o.Since)
}

// Overdue returns an alarm in words when the time of an operation has run out
// and nobody ended it, else "".
func (o Operation) Overdue(now time.Time) string {
	if o.Until.IsZero() || now.Before(o.Until) {
		return ""
	}
	still, end := "still drained", "undrain"
	switch o.Kind {
	case Hold:
		still, end = "still held", "release"
	case Announce:
		still, end = "still announced", "release"
	}
	return fmt.Sprintf("%s: its time ran out at %s, and it is %s: %s it, or ask again with more time", o, clock(o.Until), still, end)
}

// leaves says whether the operation takes VIPs out of service.
func (o Operation) leaves() bool { return o.Kind == Drain || o.Kind == Maintenance }

// Undrains returns the operations that take a VIP out of service on a node, now or at a later time,
// and would not if it had the name of another one, the heir, which is not out by then.
func Undrains(all []Operation, m Member, vip, heir string, now time.Time) (found []Operation) {
	inForce := InForce(all, m, heir, now)
	out := inForce != nil && inForce.leaves()
	for _, o := range all {
		later := !o.Begun(now)
		covered := out || later && slices.ContainsFunc(all, func(p Operation) bool {
			return p.leaves() && p.Matches(m, heir) && !p.Since.After(o.Since)
		})
		if o.leaves() && o.Matches(m, vip) && !o.Matches(m, heir) && !covered {
			found = append(found, o)
		}
	}
	return found
}

// InForce returns the operation that a node goes by for a VIP, nil if there is
// none: what was asked on the node itself before what the fleet asks; then Hold
// before Drain and Maintenance (forced ones first), these before Announce; of
// equals the one that was asked first.
func InForce(all []Operation, m Member, vip string, now time.Time) *Operation {
	var first *Operation
	for i := range all {
		o := &all[i]
		if o.Matches(m, vip) && o.Begun(now) && (first == nil || o.before(first)) {
			first = o
		}
	}
	return first
}

func (o *Operation) before(other *Operation) bool {
	rank := func(o *Operation) int {
		switch {
		case o.Kind == Hold:
			return 0
		case o.leaves() && o.Force:
			return 1
		case o.leaves():
			return 2
		}
		return 3
	}
	return cmp.Or(one(other.Local)-one(o.Local), rank(o)-rank(other), o.Since.Compare(other.Since), cmp.Compare(o.ID, other.ID)) < 0
}

// Ending says which operations an operator wants ended: those of the kinds, on
// the VIP (empty: on any) and the node or PoP given; or the one with the ID. What a
// node was asked on itself ends there alone, and an Announce only by its VIP or ID.
type Ending struct {
	Kinds          []OperationKind
	ID             string
	VIP, Node, PoP string
	Local          bool // asked on the node itself: ends what was asked there; by its ID also, for this node, what the fleet asked
}

// names says whether the ending is about an operation, whichever VIPs that is about.
func (e Ending) names(o Operation) bool {
	switch {
	case !slices.Contains(e.Kinds, o.Kind), o.Local && !e.Local:
		return false
	case e.ID != "":
		return o.ID == e.ID
	case o.Kind == Announce && e.VIP == "":
		return false // it may be all that there is: nobody ends it by the way
	}
	return o.Local == e.Local && o.Node == e.Node && o.PoP == e.PoP
}

// Undrain and Release are the kinds that these commands end.
var (
	Undrain = []OperationKind{Drain, Maintenance}
	Release = []OperationKind{Hold, Announce}
)

// End parts operations into those that stay and those that the ending names. It
// errs when it names none, only a part of one, or an Announce and something else, and
// says what there is and how it is ended.
func End(all []Operation, e Ending) (stay, ended []Operation, err error) {
	var wider error
	for _, o := range all {
		switch {
		case !e.names(o), e.VIP != "" && o.VIP != "" && o.VIP != e.VIP:
			stay = append(stay, o)
		case e.VIP != "" && o.VIP == "":
			wider = fmt.Errorf("%s: it is about all VIPs, not only %q: end it whole: %s", o, e.VIP, o.EndedBy())
			stay = append(stay, o)
		default:
			ended = append(ended, o)
		}
	}
	announce := slices.ContainsFunc(ended, func(o Operation) bool { return o.Kind == Announce })
	switch {
	case announce && len(ended) > 1:
		words := listed(ended, func(o Operation) string { return o.endedByID(true) })
		return all, nil, fmt.Errorf("that is more than one, of which each ends by itself:%s", words)
	case wider != nil && !announce:
		return all, nil, wider
	case ended != nil:
		return stay, ended, nil
	case len(all) == 0:
		return all, nil, errors.New("nothing is in force to end")
	}
	words := listed(all, func(o Operation) string {
		if e.Local && !o.Local {
			return o.EndedBy() + ", or for this node alone " + o.endedByID(true)
		}
		return o.EndedBy()
	})
	return all, nil, fmt.Errorf("nothing of that is in force to end; there is, each with what ends it:%s", words)
}

// listed writes each operation in a line, with the command that ends it.
func listed(all []Operation, by func(Operation) string) (words string) {
	for _, o := range all {
		words += fmt.Sprintf("\n\t%s: %s", o, by(o))
	}
	return words
}

// Beside returns the operations that stay in force, of the kinds that an ending ended and
// about the same VIPs: the node goes by these from now on. So it does by what one that ended became
// for a VIP by another name.
func (e Ending) Beside(stay, ended []Operation) []Operation {
	return slices.DeleteFunc(slices.Clone(stay), func(o Operation) bool {
		about := func(p Operation) bool {
			return o.VIP == "" || p.VIP == "" || o.VIP == p.VIP || o.leaves() && o.Since.Equal(p.Since) && o.Actor == p.Actor && o.Reason == p.Reason
		}
		return !slices.Contains(e.Kinds, o.Kind) || !slices.ContainsFunc(ended, about)
	})
}
