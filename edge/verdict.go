package edge

import "fmt"

// Verdict says how usable an endpoint is, best first, so that a smaller value
// is always preferred. The zero value is OK: an endpoint that nobody checks is
// taken as usable.
type Verdict uint8

// The verdicts in order of preference. Failing and Dead are what checks found,
// Drained and Disabled what an operator asked for.
const (
	OK       Verdict = iota
	Degraded         // answers, but worse than it should
	Unknown          // not yet checked, and no earlier state is known
	Failing          // checks fail, not yet for long enough to be dead
	Dead             // checks say it is gone
	Drained          // an operator is emptying it
	Disabled         // an operator forced it down: never answered
)

var verdictNames = [...]string{"ok", "degraded", "unknown", "failing", "dead", "drained", "disabled"}

// String returns the lower-case word for the verdict.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// ParseVerdict is the inverse of String. It errs on any other word.
func ParseVerdict(s string) (Verdict, error) {
	for i, name := range verdictNames {
		if s == name {
			return Verdict(i), nil
		}
	}
	return 0, fmt.Errorf("unknown verdict %q: want one of %v", s, verdictNames)
}

// MarshalText gives the word, for JSON.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads the word.
func (v *Verdict) UnmarshalText(b []byte) error {
	parsed, err := ParseVerdict(string(b))
	if err != nil {
		return err
	}
	*v = parsed
	return nil
}
