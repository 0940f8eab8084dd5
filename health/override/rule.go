package override

import (
	"fmt"
	"strconv"
	"strings"
)

// Rule is what overrides may not break. A new override is held to what operators
// have taken out of service and to what checks find down, as the accepting node
// sees it; what is down already may always be drained. Overrides that stand are
// held to each other alone, so a check that changes its mind never suspends one.
type Rule struct {
	// AtLeast is how many of Of must stay in service; 0: the rule is about the
	// share that may be out.
	AtLeast int
	// Share is how many percent of Of may be out, 0 to 100.
	Share int
	Of    string // "pops" or "endpoints" for AtLeast, "capacity" or "pops" for Share
	Per   string // "continent" or "fleet" for AtLeast; "fleet" for Share
}

// ParseRule reads a rule as configured: either atLeast is above 0 or
// drainedAtMost is a share such as "30%". An empty per is the fleet.
func ParseRule(atLeast int, drainedAtMost, of, per string) (Rule, error) {
	if per == "" {
		per = "fleet"
	}
	r := Rule{AtLeast: atLeast, Of: of, Per: per}
	if drainedAtMost == "" {
		switch {
		case atLeast <= 0:
			return Rule{}, fmt.Errorf("at_least is %d: want 1 or more, or drained_at_most in its place", atLeast)
		case of != "pops" && of != "endpoints":
			return Rule{}, fmt.Errorf("at_least is of %q: want pops or endpoints", of)
		case per != "continent" && per != "fleet":
			return Rule{}, fmt.Errorf("at_least is per %q: want continent or fleet", per)
		}
		return r, nil
	}
	number, percent := strings.CutSuffix(drainedAtMost, "%")
	share, err := strconv.Atoi(number)
	switch {
	case atLeast != 0:
		return Rule{}, fmt.Errorf("a rule has both at_least and drained_at_most: make two of it")
	case err != nil || !percent || share < 0 || share > 100:
		return Rule{}, fmt.Errorf("drained_at_most %q is not a share: write one from 0%% to 100%%", drainedAtMost)
	case of != "capacity" && of != "pops":
		return Rule{}, fmt.Errorf("drained_at_most is of %q: want capacity or pops", of)
	case per != "fleet":
		return Rule{}, fmt.Errorf("drained_at_most is per %q: want fleet", per)
	}
	r.Share = share
	return r, nil
}

// String returns the rule in words, "at least 2 pops per continent".
func (r Rule) String() string {
	if r.AtLeast > 0 {
		return fmt.Sprintf("at least %d %s per %s", r.AtLeast, r.Of, r.Per)
	}
	return fmt.Sprintf("drained at most %d%% of %s", r.Share, r.Of)
}

// Finding is what a plan does to one rule, for one continent or the fleet.
type Finding struct {
	Rule   string `json:"rule"`
	Where  string `json:"where"`          // the continent, or "the fleet"
	All    int64  `json:"all"`            // what there is: pops, endpoints or units of capacity
	Before int64  `json:"before"`         // of which in service, without the override
	After  int64  `json:"after"`          // and with it
	Down   int64  `json:"down,omitempty"` // what overrides alone would leave in service besides, but checks find down
	Out    string `json:"out"`            // the PoPs, or number of endpoints, out of service with it
	Broken bool   `json:"broken"`         // the rule does not hold after, and held or was nearer to it before

	rule Rule
}

// String returns the numbers in words.
func (f Finding) String() string {
	checks := ""
	if f.rule.AtLeast > 0 {
		if f.Down > 0 {
			checks = fmt.Sprintf("; overrides would leave %d, of which checks find %d down", f.After+f.Down, f.Down)
		}
		return fmt.Sprintf("rule %q: %d of %d %s in %s would stay in service, want %d (out: %s%s)",
			f.Rule, f.After, f.All, f.rule.Of, f.Where, f.rule.AtLeast, f.Out, checks)
	}
	out := f.All - f.After
	if f.Down > 0 {
		checks = fmt.Sprintf("; overrides would take out %d, and checks find %d more down", out-f.Down, f.Down)
	}
	permille := perMille(out, f.All)
	return fmt.Sprintf("rule %q: %d.%d%% would be out of service (%d of %d), want at most %d%% (out: %s%s)",
		f.Rule, permille/10, permille%10, out, f.All, f.rule.Share, f.Out, checks)
}

// RuleError says which rules an override would break, with the numbers.
type RuleError struct {
	What     string // the override, as typed
	Findings []Finding
}

// Error names the override, each rule that it breaks, and the numbers.
func (e *RuleError) Error() string {
	text := make([]string, len(e.Findings))
	for i, f := range e.Findings {
		text[i] = f.String()
	}
	return e.What + " breaks " + strings.Join(text, "; ")
}
