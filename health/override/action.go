package override

import "fmt"

// Action is what an override does.
type Action string

// The actions. Clear is only asked for; no override has it.
const (
	Drain     Action = "drain"      // empty it: edge.Drained
	ForceUp   Action = "force-up"   // it is well, whatever checks say: edge.OK
	ForceDown Action = "force-down" // never answer it: edge.Disabled
	Weight    Action = "weight"     // give it another weight
	PinPrefix Action = "pin-prefix" // answer a prefix from one PoP
	Clear     Action = "clear"      // end overrides
)

// actions has the actions of overrides; the place of each is its wire code.
var actions = [...]Action{Drain, ForceUp, ForceDown, Weight, PinPrefix}

// code returns the wire code. The action must be an override's.
func (a Action) code() byte {
	for i, b := range actions {
		if a == b {
			return byte(i)
		}
	}
	panic("no override has the action " + string(a))
}

// ParseAction reads the word of an action. It errs on any other.
func ParseAction(s string) (Action, error) {
	if s == string(Clear) {
		return Clear, nil
	}
	for _, a := range actions {
		if s == string(a) {
			return a, nil
		}
	}
	return "", fmt.Errorf("unknown action %q: want one of %v or clear", s, actions)
}
