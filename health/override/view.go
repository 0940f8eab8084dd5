package override

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"edged/edge"
)

// View is which overrides apply at one time. It is immutable.
type View struct {
	Active    []Override  `json:"active"`
	Suspended []Suspended `json:"suspended"`

	// Next is when the first of them ends by itself, by this node's clock; zero:
	// none does.
	Next time.Time `json:"next,omitzero"`

	// Clocks are the nodes whose clocks differ from this node's.
	Clocks []Clock `json:"clocks,omitempty"`

	service *service
}

// Suspended is an override that does nothing for now.
type Suspended struct {
	Override
	Why string `json:"why"` // the rule that it breaks together with earlier ones
}

// View returns which overrides apply. They are taken in order of (version,
// node), the fleet's before this node's own, and one that breaks a rule on top
// of those before it is suspended: it is the later of those that break it
// together. So equal sets give equal views.
func (s *Set) View(rules []Rule, f Fleet, now time.Time) *View {
	overrides := s.overrides(now)
	v := viewOf(overrides, rules, f)
	v.Clocks = s.clocks()
	for _, o := range overrides {
		if end := s.here(o.ID.Node, o.Expires); !end.IsZero() && (v.Next.IsZero() || end.Before(v.Next)) {
			v.Next = end
		}
	}
	return v
}

func viewOf(overrides []Override, rules []Rule, f Fleet) *View {
	v := &View{Active: []Override{}, Suspended: []Suspended{}, service: newService(&f)}
	for _, o := range overrides {
		after := v.service.with(o)
		if after != v.service {
			if _, broken := judge(rules, v.service, after); len(broken) > 0 {
				v.Suspended = append(v.Suspended, Suspended{o, (&RuleError{o.What(), broken}).Error()})
				continue
			}
		}
		v.service = after
		v.Active = append(v.Active, o)
	}
	return v
}

// Effective is what the active overrides make of an endpoint.
type Effective struct {
	Verdict  edge.Verdict `json:"verdict"` // OK, Drained or Disabled; only when Forced
	Forced   bool         `json:"forced"`  // the verdict holds whatever checks say
	Weight   uint32       `json:"weight"`  // only when Weighted
	Weighted bool         `json:"weighted"`
	IDs      []ID         `json:"ids,omitempty"`  // all overrides of the endpoint, in order
	Text     string       `json:"text,omitempty"` // those in words, first the one that forces the verdict
}

// Effective returns what applies to an endpoint: of several verdicts the
// strongest (force-down, then drain, then force-up), of several weights the
// newest, by (version, node).
func (v *View) Effective(e Endpoint) Effective {
	var eff Effective
	var by Override // forces the verdict: the first of the strongest
	var all []Override
	for _, o := range v.Active {
		if !o.Target.Matches(e) {
			continue
		}
		if verdict, forces := o.Action.forces(); forces && (!eff.Forced || verdict > eff.Verdict) {
			eff.Forced, eff.Verdict, by = true, verdict, o
		}
		if o.Action == Weight {
			eff.Weighted, eff.Weight = true, o.Weight
		}
		eff.IDs = append(eff.IDs, o.ID)
		all = append(all, o)
	}
	var words []string
	if eff.Forced {
		words = append(words, by.forcing())
	}
	for _, o := range all {
		if !eff.Forced || o.ID != by.ID {
			words = append(words, o.String())
		}
	}
	eff.Text = strings.Join(words, "; ")
	return eff
}

// forces returns the verdict that an action gives whatever checks say; false: it
// gives none.
func (a Action) forces() (edge.Verdict, bool) {
	switch a {
	case ForceUp:
		return edge.OK, true
	case Drain:
		return edge.Drained, true
	case ForceDown:
		return edge.Disabled, true
	}
	return 0, false
}

// Pin is a prefix that is answered from one PoP.
type Pin struct {
	Prefix netip.Prefix `json:"prefix"`
	PoP    string       `json:"pop"`
	ID     ID           `json:"id"`
}

// Pins returns the pins, sorted by prefix, one for each: of several the newest,
// by (version, node).
func (v *View) Pins() []Pin {
	newest := map[netip.Prefix]Pin{}
	for _, o := range v.Active {
		if o.Action == PinPrefix {
			newest[o.Prefix] = Pin{o.Prefix, o.PoP, o.ID}
		}
	}
	pins := make([]Pin, 0, len(newest))
	for _, p := range newest {
		pins = append(pins, p)
	}
	slices.SortFunc(pins, func(a, b Pin) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
	return pins
}
