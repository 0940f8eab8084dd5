package override

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Request is what an operator asks a node for.
type Request struct {
	Action Action `json:"action"`

	// Clear is what a clear ends: an ID, the text of a target, or a prefix. All
	// overrides that were typed with just that target end.
	Clear string `json:"clear,omitempty"`

	Target Target       `json:"target,omitzero"`
	Weight uint32       `json:"weight,omitempty"`
	Prefix netip.Prefix `json:"prefix,omitzero"`
	PoP    string       `json:"pop,omitempty"`

	Owner  string        `json:"owner"`
	Reason string        `json:"reason"`
	For    time.Duration `json:"for,omitempty"` // whole seconds up to MaxFor; 0: until cleared
	Local  bool          `json:"local,omitempty"`
	DryRun bool          `json:"dry_run,omitempty"`
}

// Flags are the flags of the override commands, as typed.
type Flags struct {
	Reason, For, Owner string
	Local, DryRun      bool
}

// ParseRequest reads a command: the action's word, its arguments and flags.
// What it accepts may still be refused when it meets the fleet and its rules.
func ParseRequest(action string, args []string, f Flags) (Request, error) {
	a, err := ParseAction(action)
	if err != nil {
		return Request{}, err
	}
	q := Request{Action: a, Owner: f.Owner, Reason: f.Reason, Local: f.Local, DryRun: f.DryRun}
	switch form := usage(a); {
	case len(args) != strings.Count(form, " "):
		return Request{}, fmt.Errorf("%s takes %d arguments, not %d: write %s", a, strings.Count(form, " "), len(args), form)
	case a == Clear:
		q.Clear, err = parseSubject(args[0])
	case a == PinPrefix:
		q.Prefix, q.PoP, err = parsePin(args[0], args[1])
	default:
		q.Target, err = ParseTarget(args[0])
	}
	if err != nil {
		return Request{}, err
	}
	if a == Weight {
		w, err := strconv.ParseUint(args[1], 10, 32)
		if err != nil || w > MaxWeight {
			return Request{}, fmt.Errorf("weight %q is not a number from 0 to %d", args[1], MaxWeight)
		}
		q.Weight = uint32(w)
	}
	if f.For != "" {
		if q.For, err = time.ParseDuration(f.For); err != nil || q.For == 0 {
			return Request{}, fmt.Errorf("--for %q is not a time: write one such as 2h or 30m, or leave it out to last until cleared", f.For)
		}
	}
	return q, q.Check()
}

// usage is how an action is typed; it has one space for each argument.
func usage(a Action) string {
	switch a {
	case Weight:
		return "weight TARGET WEIGHT"
	case PinPrefix:
		return "pin-prefix PREFIX pop/NAME"
	case Clear:
		return "clear TARGET|PREFIX|ID"
	}
	return string(a) + " TARGET"
}

// parseSubject brings what a clear ends into its usual form.
func parseSubject(s string) (string, error) {
	if !strings.Contains(s, "/") {
		id, err := ParseID(s)
		if err != nil {
			return "", fmt.Errorf("%w, nor a target such as pop/NAME: see edged overrides", err)
		}
		return id.String(), nil
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked().String(), nil
	}
	t, err := ParseTarget(s)
	return t.String(), err
}

func parsePin(prefix, pop string) (netip.Prefix, string, error) {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		return netip.Prefix{}, "", fmt.Errorf("prefix %q is not ADDRESS/LENGTH: write one such as 203.0.113.0/24", prefix)
	}
	t, err := ParseTarget(pop)
	if err != nil {
		return netip.Prefix{}, "", err
	}
	if t.Kind != PoPs {
		return netip.Prefix{}, "", fmt.Errorf("target %q is no pop: a prefix is pinned to pop/NAME", pop)
	}
	return p, t.Name, nil
}

// Check says what is wrong with a request, whoever made it.
func (q Request) Check() error {
	if q.Action != Clear {
		if q.Clear != "" {
			return fmt.Errorf("%s clears nothing, but %q is given to be cleared", q.Action, q.Clear)
		}
		if q.For != 0 && (q.For < time.Second || q.For > MaxFor || q.For%time.Second != 0) {
			return fmt.Errorf("%s lasts %s: want whole seconds from 1s to %s", q.Action, q.For, MaxFor)
		}
		return q.override().checkWish()
	}
	if subject, err := parseSubject(q.Clear); err != nil {
		return err
	} else if subject != q.Clear {
		return fmt.Errorf("%q is not in its usual form %q", q.Clear, subject)
	}
	if q.For != 0 {
		return fmt.Errorf("clear takes no --for: what was cleared stays cleared")
	}
	return checkWords(q.Owner, q.Reason)
}

// override returns the override that is asked for, without what the accepting
// node adds.
func (q Request) override() Override {
	return Override{
		Action: q.Action, Target: q.Target, Weight: q.Weight, Prefix: q.Prefix, PoP: q.PoP,
		Owner: q.Owner, Reason: q.Reason, Local: q.Local,
	}
}

// String returns the request as it was typed, without flags.
func (q Request) String() string {
	if q.Action == Clear {
		return "clear " + q.Clear
	}
	return q.override().What()
}
