package health

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"edged/edge"
)

// Member is a node of the fleet.
type Member struct {
	Name string            `json:"name"`
	PoP  string            `json:"pop"`
	Key  ed25519.PublicKey `json:"key"`
}

// Observation is what one observer says of one target.
type Observation struct {
	Target  TargetID
	Verdict edge.Verdict // OK, Degraded, Unknown, Failing or Dead
	Reason  string       // at most MaxReason octets
	// Next is the least time until the observer may say something else, in
	// whole seconds; 0 means less than a second.
	Next time.Duration
}

// Vote is an observation as the fleet counts it.
type Vote struct {
	Observer string
	PoP      string
	Observation
	Fresh   bool   // renewed lately: else it does not count
	Suspect string // why the observer is not believed; empty: it is
}

// Partition says what a side of a partitioned fleet does when it has not the
// quorum.
type Partition string

// The ways to live through a partition.
const (
	Freeze   Partition = "freeze"   // keep the last verdicts
	Majority Partition = "majority" // go by the majority of the votes there are
	Local    Partition = "local"    // go by this node's own checks
)

// ParsePartition reads the word. It errs on any other.
func ParsePartition(s string) (Partition, error) {
	switch p := Partition(s); p {
	case Freeze, Majority, Local:
		return p, nil
	}
	return "", fmt.Errorf("unknown partition policy %q: want freeze, majority or local", s)
}

// Quorum says how many observers must agree before a verdict changes.
type Quorum struct {
	MinObservers int // fresh and believed, at least; 0: a majority of those that are fresh
	MinPoPs      int // from so many PoPs, at least; 0 and 1 alike: any
	Partition    Partition

	// Stated says that observers tell of themselves, as nodes do of a VIP that
	// they announce together: it is up while one of them says so, and down when
	// all that are heard say so. The numbers above mean nothing then.
	Stated bool
}
