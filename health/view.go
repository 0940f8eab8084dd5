package health

import "time"

// Observer is one member's part of the matrix: what it said last of each
// target it checks, and whether that still counts.
type Observer struct {
	Name, PoP string

	// Fresh says that a record arrived lately, and Age how long ago, both by the
	// receiver's own monotonic clock.
	Fresh bool
	Age   time.Duration

	// Suspect is why the observer does not believe itself; empty: it does.
	Suspect string

	// Incarnation counts the observer's starts, Sequence its records since.
	Incarnation, Sequence uint64

	// Observations are read-only once handed over.
	Observations map[TargetID]Observation
}
