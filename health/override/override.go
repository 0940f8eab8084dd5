package override

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ID names one change for ever: the node that accepted it, that node's
// incarnation, and a count within the incarnation. Its text is
// "node-incarnation-counter".
type ID struct {
	Node                 string
	Incarnation, Counter uint64
}

// ParseID reads the text form of an ID.
func ParseID(s string) (ID, error) {
	rest, counter, ok := cutLast(s)
	node, incarnation, ok2 := cutLast(rest)
	inc, err := strconv.ParseUint(incarnation, 10, 64)
	count, err2 := strconv.ParseUint(counter, 10, 64)
	id := ID{Node: node, Incarnation: inc, Counter: count}
	if !ok || !ok2 || err != nil || err2 != nil || checkName(node) != nil || id.String() != s {
		return ID{}, fmt.Errorf("override id %q is not NODE-INCARNATION-COUNTER", s)
	}
	return id, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// String returns the text form.
func (id ID) String() string {
	return fmt.Sprintf("%s-%d-%d", id.Node, id.Incarnation, id.Counter)
}

// MarshalText gives the text form, for JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}

func (id ID) compare(other ID) int {
	return cmp.Or(cmp.Compare(id.Node, other.Node),
		cmp.Compare(id.Incarnation, other.Incarnation), cmp.Compare(id.Counter, other.Counter))
}

// Override is one wish of an operator. It never changes once it was accepted.
type Override struct {
	ID      ID     `json:"id"`      // ID.Node accepted it
	Version uint64 `json:"version"` // Lamport clock: above all that the node knew then; 1 to 1<<62
	Action  Action `json:"action"`

	// Target is what it is about; zero for pin-prefix, which has Prefix and PoP.
	Target Target       `json:"target,omitzero"`
	Weight uint32       `json:"weight,omitempty"` // of weight: 0 to 65535; 0 = only when no other is left
	Prefix netip.Prefix `json:"prefix,omitzero"`  // masked, at most /24 or /48 long
	PoP    string       `json:"pop,omitempty"`

	Owner   string    `json:"owner"`            // 1 to 64 octets
	Reason  string    `json:"reason"`           // 1 to 200 octets
	Created time.Time `json:"created"`          // whole seconds, UTC; shown, never compared between overrides
	Expires time.Time `json:"expires,omitzero"` // whole seconds, UTC, by the clock of ID.Node; zero: when cleared
	Local   bool      `json:"local,omitempty"`  // this node's only
}

// The bounds of what an override says.
const (
	MaxWeight = 65535
	MaxFor    = 366 * 24 * time.Hour
	maxOwner  = 64
	maxReason = 200

	maxVersion = 1 << 62
	endOfTime  = 253402300800 // the first second of the year 10000
)

// Subject is what clear calls it by, beside its ID: the text of its target, or
// of its prefix.
func (o Override) Subject() string {
	if o.Action == PinPrefix {
		return o.Prefix.String()
	}
	return o.Target.String()
}

// What returns the override as it was typed, "drain pop/fra".
func (o Override) What() string {
	switch o.Action {
	case PinPrefix:
		return fmt.Sprintf("%s %s pop/%s", o.Action, o.Prefix, o.PoP)
	case Weight:
		return fmt.Sprintf("%s %s %d", o.Action, o.Target, o.Weight)
	}
	return fmt.Sprintf("%s %s", o.Action, o.Target)
}

// String returns a line for people: what, who, why and until when.
func (o Override) String() string { return fmt.Sprintf("%s (%s)", o.line(), o.ID) }

// forcing says that the override is what makes an endpoint as it is.
func (o Override) forcing() string {
	word := string(o.Action)
	if o.Action == Drain {
		word = "drained"
	}
	return fmt.Sprintf("%s by %s: %s", word, o.ID, o.line())
}

func (o Override) line() string {
	until := "until cleared"
	if !o.Expires.IsZero() {
		until = "until " + o.Expires.UTC().Format(time.RFC3339)
	}
	where := ""
	if o.Local {
		where = ", this node only"
	}
	return fmt.Sprintf("%s by %s: %q, %s%s", o.What(), o.Owner, o.Reason, until, where)
}

// compare orders overrides the same on all nodes: by version, then node.
func (o Override) compare(other Override) int {
	return cmp.Or(cmp.Compare(o.Version, other.Version), o.ID.compare(other.ID))
}

// check says what is wrong with an override that was read or received.
func (o Override) check() error {
	if err := checkStamp(o.ID, o.Version, o.Created); err != nil {
		return err
	}
	if !o.Expires.IsZero() {
		if err := checkTime(o.Expires); err != nil {
			return err
		}
		if !o.Expires.After(o.Created) {
			return errors.New("it expires before it was created")
		}
	}
	return o.checkWish()
}

// checkWish checks what the operator said, without what the node added.
func (o Override) checkWish() error {
	if o.Action == PinPrefix {
		if o.Target != (Target{}) || o.Weight != 0 {
			return errors.New("pin-prefix has a prefix and a pop, no target or weight")
		}
		if err := checkPin(o.Prefix); err != nil {
			return err
		}
		if err := checkName(o.PoP); err != nil {
			return err
		}
		if isGlob(o.PoP) {
			return fmt.Errorf("pop %q stands for several: a prefix is pinned to one", o.PoP)
		}
		return checkWords(o.Owner, o.Reason)
	}
	if a, err := ParseAction(string(o.Action)); err != nil || a == Clear {
		return fmt.Errorf("unknown action %q: want one of %v", o.Action, actions)
	}
	if o.Prefix.IsValid() || o.PoP != "" {
		return fmt.Errorf("%s has a target, no prefix or pop", o.Action)
	}
	if t, err := ParseTarget(o.Target.String()); err != nil {
		return err
	} else if t != o.Target {
		return fmt.Errorf("target %q is not in its usual form %q", o.Target, t)
	}
	if o.Weight > MaxWeight || o.Action != Weight && o.Weight != 0 {
		return fmt.Errorf("%s has the weight %d: want 0 to %d, and only for weight", o.Action, o.Weight, MaxWeight)
	}
	return checkWords(o.Owner, o.Reason)
}

// checkPin says whether a prefix can be pinned.
func checkPin(p netip.Prefix) error {
	longest := 48
	if p.Addr().Is4() {
		longest = 24
	}
	switch {
	case !p.IsValid() || p.Addr().Is4In6():
		return errors.New("pin-prefix has no prefix: write one such as 203.0.113.0/24")
	case p.Bits() > longest:
		return fmt.Errorf("prefix %s is too long: want at most /%d", p, longest)
	case p != p.Masked():
		return fmt.Errorf("prefix %s has bits beyond its length: is %s meant", p, p.Masked())
	}
	return nil
}

// checkStamp checks what the accepting node adds to a change.
func checkStamp(id ID, version uint64, at time.Time) error {
	if checkName(id.Node) != nil || isGlob(id.Node) {
		return fmt.Errorf("%q cannot be the name of a node", id.Node)
	}
	if version == 0 || version > maxVersion {
		return fmt.Errorf("version %d is out of range: want 1 to %d", version, uint64(maxVersion))
	}
	return checkTime(at)
}

func checkTime(t time.Time) error {
	if s := t.Unix(); s <= 0 || s >= endOfTime || t.Nanosecond() != 0 {
		return fmt.Errorf("time %s is out of range: want whole seconds, from 1970 to 9999", t.UTC().Format(time.RFC3339Nano))
	}
	return nil
}

func checkWords(owner, reason string) error {
	if err := checkText("owner", owner, maxOwner); err != nil {
		return err
	}
	return checkText("reason", reason, maxReason)
}

// checkText keeps what is shown and logged to one short printable line.
func checkText(what, s string, longest int) error {
	switch {
	case s == "":
		return fmt.Errorf("no %s is given: say --%s", what, what)
	case len(s) > longest:
		return fmt.Errorf("%s has %d octets, want at most %d", what, len(s), longest)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Errorf("%s %q is not one line of printable text", what, s)
	}
	return nil
}
