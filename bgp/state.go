package bgp

import "fmt"

// State says how far a VIP is on one node. The zero value is Absent.
type State uint8

// The states. A VIP goes up from Absent to Announced and down by Draining and
// Withdrawn; Degraded and LastResort are announced, but less preferred.
const (
	Absent     State = iota // no address, no socket, no route
	Bound                   // has its address and its socket; answers are being tried
	Canary                  // announced with the worst attributes until it is seen to work
	Announced               // announced as the plan says
	Degraded                // announced less preferred, for its checks fail or it flaps
	LastResort              // announced with the worst attributes, for too few others are
	Draining                // on its way out: no answers name it, then less preferred
	Withdrawn               // no route; the socket stays until it is quiet, then the address goes
)

var stateNames = [...]string{"absent", "bound", "canary", "announced", "degraded", "last-resort", "draining", "withdrawn"}

// String returns the lower-case word for the state.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// ParseState is the inverse of String. It errs on any other word.
func ParseState(word string) (State, error) {
	for i, name := range stateNames {
		if word == name {
			return State(i), nil
		}
	}
	return 0, fmt.Errorf("unknown VIP state %q: want one of %v", word, stateNames)
}

// Announces says whether there is a route in the state.
func (s State) Announces() bool { return s >= Canary && s <= Draining }

// MarshalText gives the word, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the word.
func (s *State) UnmarshalText(b []byte) (err error) {
	*s, err = ParseState(string(b))
	return err
}
