package announcer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"edged/bgp"
	"edged/bgp/link"
)

// Steering is what an operator wants of a rollout.
type Steering struct {
	Action string `json:"action"`         // pause, resume, abort or rollback
	Plan   string `json:"plan,omitempty"` // ID of the plan that is rolled out, or was; empty: see Steer
	Reason string `json:"reason"`
	Actor  string `json:"actor,omitempty"`

	// Force has a rollback withdraw what the rollout was the first to announce, though
	// nobody can promise to stay.
	Force bool `json:"force,omitempty"`
}

func (q Steering) check() error {
	switch {
	case !slices.Contains([]string{"pause", "resume", "abort", "rollback"}, q.Action):
		return fmt.Errorf("unknown action %q: want pause, resume, abort or rollback", q.Action)
	case q.Reason == "":
		return fmt.Errorf("to %s a rollout needs a reason, for those who read of it later", q.Action)
	case q.Force && q.Action != "rollback":
		return fmt.Errorf("to %s a rollout knows no force: it is for rollback alone", q.Action)
	}
	return nil
}

// Rollout is a rollout as the member has it that coordinates it.
type Rollout struct {
	Coordinator string   `json:"coordinator"`
	Silent      []string `json:"silent,omitempty"` // members that did not answer, when none is known to be under way
	*bgp.Rollout
}

// String returns a line for people, without times.
func (r *Rollout) String() string {
	words := fmt.Sprintf("%s's rollout of %s", r.Coordinator, r.Rollout)
	if len(r.Silent) > 0 {
		words += "; " + unheard(r.Silent)
	}
	return words
}

// unheard says what it means that members did not answer.
func unheard(members []string) string {
	return strings.Join(members, ", ") + " did not answer, and may roll something out"
}

// instead is what can be done without the node that coordinates a rollout.
const instead = "while it is down all nodes keep what they have; edged vip drain takes one out of service, edged vip plan shows what another plan would change"

// Brief is what members are told of the rollout that a node coordinates, or did
// last.
type Brief struct {
	Plan  string    `json:"plan"`  // its ID
	Begun time.Time `json:"begun"` // by the node's clock
	Ended bool      `json:"ended,omitempty"`
	Back  bool      `json:"back,omitempty"` // all of it is taken back
}

// place is where a rollout is.
type place struct {
	node string
	Brief
}

func (p place) String() string {
	return fmt.Sprintf("%s's rollout of plan %s (since %s)", p.node, p.Plan, p.Begun.UTC().Format(time.RFC3339))
}

// hint says what can be done about a rollout that has ended: which is "the last one", say.
func (p place) hint(which string) string {
	if p.Back {
		return fmt.Sprintf("%s, %s, is taken back already", which, p)
	}
	return fmt.Sprintf("edged vip rollback %s takes back %s, %s", p.Plan, which, p)
}

// brief tells of the rollout of this node; nil: there was none. The caller holds
// the lock.
func (a *Announcer) brief() *Brief {
	if a.rollout == nil {
		return nil
	}
	return &Brief{Plan: a.rollout.Plan.ID, Begun: a.rollout.Begun, Ended: a.rollout.Ended(), Back: a.rollout.Back()}
}

// Rollout returns the last rollout that this node coordinates, as it stands; nil:
// there was none.
func (a *Announcer) Rollout() *bgp.Rollout { return a.coordinator.view() }

// here is Rollout with this node's name.
func (a *Announcer) here() *Rollout {
	r := a.Rollout()
	if r == nil {
		return nil
	}
	return &Rollout{Coordinator: a.cfg.Self.Name, Rollout: r}
}

// outline is here for other members.
func (a *Announcer) outline() *Rollout {
	r := a.here()
	if r != nil {
		r.Rollout = r.Outline()
	}
	return r
}

// ShowRollout returns the last rollout that a member coordinates. If none is named,
// that is the one which is under way, or else the last of all. nil: there was none.
// It errs when the member does not answer, or when several are under way.
func (a *Announcer) ShowRollout(ctx context.Context, member string) (*Rollout, error) {
	if own := a.here(); member == a.cfg.Self.Name || member == "" && own != nil && !own.Ended() {
		return own, nil
	}
	var silent []string
	if member == "" {
		at, missing, err := a.find(ctx, "")
		switch {
		case err != nil:
			return nil, err
		case at == nil && len(missing) > 0:
			return nil, errors.New("no rollout is known: " + unheard(missing))
		case at == nil:
			return nil, nil
		case at.node == a.cfg.Self.Name:
			r := a.here()
			r.Silent = missing
			return r, nil
		}
		member, silent = at.node, missing
	}
	r, err := a.askCoordinator(ctx, member, pathRollout, struct{}{})
	if err != nil {
		return nil, fmt.Errorf("the rollout of %s: %w", member, err)
	}
	if r != nil {
		r.Silent = silent
	}
	return r, nil
}

// Steer does what an operator wants of the rollout of a plan, on whichever member
// coordinates it, and returns how it is then. If no plan is named, that is the
// rollout which is under way; without one, the last of all, but only if it was this
// node's: nobody shall roll back what he does not know of.
func (a *Announcer) Steer(ctx context.Context, q Steering) (*Rollout, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	if own := a.here(); own != nil && (q.Plan == own.Plan.ID || q.Plan == "" && !own.Ended()) {
		return a.steerHere(q)
	}
	at, missing, err := a.find(ctx, q.Plan)
	switch {
	case err != nil:
		return nil, err
	case at == nil && len(missing) > 0:
		return nil, fmt.Errorf("%s: no rollout is known: %s; %s", q.Action, unheard(missing), instead)
	case at == nil && q.Plan != "":
		return nil, fmt.Errorf("%s: no member rolls plan %q out, or did last: edged vip rollout shows what is under way", q.Action, q.Plan)
	case at == nil:
		return nil, fmt.Errorf("%s: no member has rolled anything out", q.Action)
	case at.Ended && q.Plan == "" && len(missing) > 0:
		return nil, fmt.Errorf("%s: no rollout is known to be under way: %s; %s; %s", q.Action, unheard(missing), instead, at.hint("the last one known"))
	case at.Ended && q.Plan == "" && at.node != a.cfg.Self.Name:
		return nil, fmt.Errorf("%s: no rollout is under way; %s", q.Action, at.hint("the last one"))
	}
	return a.steerAt(ctx, *at, q)
}

// steerAt has the member that coordinates a rollout do what an operator wants of it.
func (a *Announcer) steerAt(ctx context.Context, at place, q Steering) (*Rollout, error) {
	q.Plan = at.Plan // and of none that has begun since
	if at.node == a.cfg.Self.Name {
		return a.steerHere(q)
	}
	r, err := a.askCoordinator(ctx, at.node, pathSteer, q)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return r, nil
}

func (a *Announcer) steerHere(q Steering) (*Rollout, error) {
	err := a.coordinator.steer(q)
	return a.here(), err
}

// obeySteering carries out what an operator asked another member for, if that is
// about the rollout of this node.
func (a *Announcer) obeySteering(caller string, q Steering) (*Rollout, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	q.Actor = fmt.Sprintf("%s, by way of %s", q.Actor, caller)
	if err := a.coordinator.steer(q); err != nil {
		return nil, err
	}
	return a.outline(), nil
}

// askCoordinator calls the member that coordinates a rollout, and returns how that is then.
func (a *Announcer) askCoordinator(ctx context.Context, member, path string, in any) (*Rollout, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var r *Rollout
	err := a.cfg.Fleet.Call(ctx, member, path, in, &r)
	if said, ok := errors.AsType[*link.RemoteError](err); ok {
		return nil, fmt.Errorf("%s says: %s", member, said.Text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s did not answer: %w; %s", member, err, instead)
	}
	return r, nil
}

// find asks all members for the rollout that is under way or, when there is none,
// for the one that began last; of a plan, if one is named. It returns nil when there
// was none, and which members did not answer when none is known to be under way. It
// errs when several are.
func (a *Announcer) find(ctx context.Context, plan string) (at *place, missing []string, err error) {
	reports, silent := a.reports(ctx, false)
	var running, ended []place
	for _, name := range sortedKeys(reports) {
		b := reports[name].Rollout
		switch {
		case b == nil || plan != "" && plan != b.Plan:
		case b.Ended:
			ended = append(ended, place{name, *b})
		default:
			running = append(running, place{name, *b})
		}
	}
	switch len(running) {
	case 0:
		missing = sortedKeys(silent)
	case 1:
		return &running[0], nil, nil
	default:
		var words []string
		for _, p := range running {
			words = append(words, p.String())
		}
		return nil, nil, fmt.Errorf("several rollouts are under way: %s: name the plan that is meant, or say it on its node", strings.Join(words, ", "))
	}
	if len(ended) == 0 {
		return nil, missing, nil
	}
	last := slices.MaxFunc(ended, func(a, b place) int { return a.Begun.Compare(b.Begun) })
	return &last, missing, nil
}
