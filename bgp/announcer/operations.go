package announcer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"edged/bgp"
)

// Request is what an operator asks for: an operation on nodes or, with End, the
// end of one.
type Request struct {
	Kind   bgp.OperationKind `json:"kind,omitempty"`
	End    string            `json:"end,omitempty"` // "undrain" or "release" in place of a kind
	ID     string            `json:"id,omitempty"`  // of the operation to end
	VIP    string            `json:"vip,omitempty"`
	Node   string            `json:"node,omitempty"`
	PoP    string            `json:"pop,omitempty"`
	Reason string            `json:"reason"`
	Since  time.Time         `json:"since,omitzero"`
	For    time.Duration     `json:"for,omitempty"`
	Local  bool              `json:"local,omitempty"` // this node alone, whatever the fleet asks
	Force  bool              `json:"force,omitempty"`
	MaxOut int               `json:"max_out,omitempty"` // nodes that may be out of a VIP for maintenance; 0: 1
	Actor  string            `json:"actor,omitempty"`
}

// ending is the end of operations, as one node tells it another.
type ending struct {
	bgp.Ending
	Actor  string
	Reason string
}

// Outcome is what became of a request on one node.
type Outcome struct {
	Node  string `json:"node"`
	What  string `json:"what,omitempty"`  // the operation, or those that ended
	Error string `json:"error,omitempty"` // why not
}

// Operate carries out what an operator asks for, here and on the other nodes
// that it is about. It errs, and nothing is done, when it may not be; what each
// node did is returned, and an error too if one of them did not.
func (a *Announcer) Operate(ctx context.Context, q Request) ([]Outcome, error) {
	if q.Local && q.Node == "" && q.PoP == "" {
		q.Node = a.cfg.Self.Name
	}
	if q.Local && q.Node != a.cfg.Self.Name {
		return nil, fmt.Errorf("--local is about this node, %s, alone", a.cfg.Self.Name)
	}
	if q.End != "" {
		return a.endAll(ctx, q)
	}
	now := time.Now()
	since := q.Since
	switch {
	case q.For < 0 || q.MaxOut < 0:
		return nil, fmt.Errorf("for %s, with at most %d nodes out: neither can be less than nothing", q.For, q.MaxOut)
	case since.IsZero():
		since = now
	case since.After(now.Add(time.Minute)) && (q.Kind == bgp.Drain || q.Kind == bgp.Hold):
		return nil, fmt.Errorf("a %s begins now: only a maintenance, or an announcement, can begin later", q.Kind)
	case since.Before(now.Add(-time.Minute)):
		return nil, fmt.Errorf("it cannot begin at %s, which is past", since.UTC().Format(time.RFC3339))
	}
	o := bgp.Operation{
		Kind: q.Kind, VIP: q.VIP, Node: q.Node, PoP: q.PoP, Reason: q.Reason, Actor: q.Actor,
		Since: since, Local: q.Local, Force: q.Force,
	}
	if q.For > 0 {
		o.Until = since.Add(q.For)
	}
	o, err := bgp.NewOperation(o)
	if err != nil {
		return nil, err
	}
	release, err := a.admit(ctx, o, q.MaxOut)
	if err != nil {
		return nil, err
	}
	defer release()
	return a.everywhere(ctx, o.Node, o.PoP, func(ctx context.Context, node string) (string, error) {
		if node == a.cfg.Self.Name {
			return a.accept(o)
		}
		return o.String(), a.cfg.Fleet.Call(ctx, node, pathOperate, o, nil)
	})
}

// admit errs when an operation may not begin. Else no other node admits what goes
// against it before it is released.
func (a *Announcer) admit(ctx context.Context, o bgp.Operation, maxOut int) (release func(), err error) {
	if o.Local {
		fleet, all, _, _ := a.fleet(ctx, true)
		return func() {}, bgp.Admit(o, all, fleet, maxOut, time.Now())
	}
	a.asking.Lock()
	for try := range 4 {
		withdraw := a.claimOperation(o)
		fleet, all, claimed, missing := a.fleet(ctx, false)
		if err = bgp.Admit(o, all, fleet, maxOut, time.Now()); err == nil {
			err = a.silent(o, missing)
		}
		if err == nil {
			return func() { withdraw(); a.asking.Unlock() }, nil
		}
		withdraw()
		rival := slices.ContainsFunc(claimed, func(id string) bool { return strings.Contains(err.Error(), id) })
		if !rival {
			break
		}
		err = fmt.Errorf("%w: that is only being asked for, at this moment: try again", err)
		time.Sleep(time.Duration(try+1) * rand.N(300*time.Millisecond)) // so does who asks it
	}
	a.asking.Unlock()
	return nil, err
}

// silent says which of the nodes that an operation is about did not answer, and
// of those that others stand in for: without them nobody knows what it would do.
func (a *Announcer) silent(o bgp.Operation, missing map[string]error) error {
	for _, m := range a.cfg.Fleet.Members() {
		if err := missing[m.Name]; err != nil && (m.Name == o.Node || m.PoP == o.PoP) {
			return fmt.Errorf("%s: %s did not answer, and nothing was done: %w", o.What(), m.Name, err)
		}
	}
	return nil
}

// fleet gathers how all nodes stand, and their operations; only this node's own
// when local. Those that are claimed only are named by their IDs. Nodes that did not
// answer are in missing.
func (a *Announcer) fleet(ctx context.Context, local bool) (f bgp.Fleet, all []bgp.Operation, claimed []string, missing map[string]error) {
	reports, missing := a.reports(ctx, local)
	for _, m := range a.cfg.Fleet.Members() {
		r, ok := reports[m.Name]
		if !ok {
			f.Nodes = append(f.Nodes, bgp.FleetNode{Member: m})
			continue
		}
		f.Nodes = append(f.Nodes, bgp.FleetNode{Member: m, Stored: r.Wish.Stored, States: r.States, Out: r.Status.Out})
		f.InFlight = append(f.InFlight, r.InFlight...)
		claimed = append(claimed, r.Claimed...)
		for _, o := range r.Operations {
			if !slices.ContainsFunc(all, func(p bgp.Operation) bool { return p.ID == o.ID }) {
				all = append(all, o)
			}
		}
	}
	return f, all, claimed, missing
}

// reports asks all members how they stand; this node alone when local.
func (a *Announcer) reports(ctx context.Context, local bool) (reports map[string]Report, missing map[string]error) {
	reports, missing = map[string]Report{a.cfg.Self.Name: a.report()}, map[string]error{}
	if local {
		return reports, missing
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var mu sync.Mutex
	var calls sync.WaitGroup
	for _, m := range a.cfg.Fleet.Members() {
		if m.Name == a.cfg.Self.Name {
			continue
		}
		calls.Go(func() {
			var r Report
			err := a.cfg.Fleet.Call(ctx, m.Name, pathReport, struct{}{}, &r)
			if err == nil && (r.Wish.Stored.Node != m.Name || r.Wish.Stored.PoP != m.PoP) {
				err = fmt.Errorf("it says that it is %q in %q, want %q in %q", r.Wish.Stored.Node, r.Wish.Stored.PoP, m.Name, m.PoP)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				missing[m.Name] = err
				return
			}
			reports[m.Name] = r
		})
	}
	calls.Wait()
	return reports, missing
}

// everywhere does something on each node that is meant, one after another, this
// node first.
func (a *Announcer) everywhere(ctx context.Context, node, pop string, do func(ctx context.Context, node string) (string, error)) ([]Outcome, error) {
	var all []Outcome
	var faults []error
	for _, m := range a.cfg.Fleet.Members() {
		if m.Name != node && (pop == "" || m.PoP != pop) {
			continue
		}
		out := Outcome{Node: m.Name}
		var err error
		if out.What, err = do(ctx, m.Name); err != nil {
			out.What, out.Error = "", err.Error()
			faults = append(faults, fmt.Errorf("%s: %w", m.Name, err))
		}
		all = append(all, out)
	}
	return all, errors.Join(faults...)
}

// accept takes an operation on this node, and says in words what is in force then.
func (a *Announcer) accept(o bgp.Operation) (what string, err error) {
	if err := o.Check(); err != nil {
		return "", err
	}
	if o.Node != a.cfg.Self.Name && o.PoP != a.cfg.Self.PoP {
		return "", fmt.Errorf("%s: this is %s in %s", o.What(), a.cfg.Self.Name, a.cfg.Self.PoP)
	}
	a.deciding.Lock()
	defer a.deciding.Unlock()
	a.mu.Lock()
	before := a.operations
	if slices.ContainsFunc(before, func(p bgp.Operation) bool { return p.ID == o.ID }) {
		a.mu.Unlock()
		return o.String(), nil
	}
	stay := slices.DeleteFunc(slices.Clone(before), o.Replaces)
	if len(stay) >= maxOperations {
		a.mu.Unlock()
		return "", fmt.Errorf("%s: there are %d operations already: end some", o.What(), len(stay))
	}
	if err := a.announceable(o, stay); err != nil {
		a.mu.Unlock()
		return "", err
	}
	after := append(stay, o)
	a.operations = after
	a.usePlan() // "announce" may name what no plan does
	a.dirty = true
	a.mu.Unlock()
	warning, err := a.stored(before, after, o.Local)
	if err != nil {
		return "", err
	}
	a.recordOperation(o.Actor, o.String(), o.Reason)
	if err := a.allow(); err != nil {
		return "", err
	}
	a.poke()
	return o.String() + warning, nil
}

// announceable errs when an operation is to announce a VIP that the node does not
// know, or would do nothing: another one goes before it, or the VIP is of its plan and
// the fleet does not drain it. That would only hide one day that a plan takes the VIP
// out. The caller holds the lock.
func (a *Announcer) announceable(o bgp.Operation, beside []bgp.Operation) error {
	if o.Kind != bgp.Announce {
		return nil
	}
	_, planned := a.plan.VIP(o.VIP)
	_, known := inFile(a.file, o.VIP)
	switch over := bgp.InForce(beside, a.cfg.Self, o.VIP, time.Now()); {
	case !planned && !known && a.vips[o.VIP] == nil:
		return fmt.Errorf("%s: there is no VIP %q in this node's file", o.What(), o.VIP)
	case over != nil && over.Local:
		return fmt.Errorf("%s: this would change nothing, for %s goes before it; to end that: %s", o.What(), over, over.EndedBy())
	case !planned, over != nil && (over.Kind == bgp.Drain || over.Kind == bgp.Maintenance):
		return nil
	case over != nil:
		return fmt.Errorf("%s: it is in the plan, and there is %s; to end that: %s", o.What(), over, over.EndedBy())
	}
	return fmt.Errorf("%s: it is in the plan and not drained, so this would change nothing; "+
		"edged vip show %s says why it is not announced, edged vip hold --local keeps it as it is", o.What(), o.VIP)
}

// stored puts the operations on disk, or takes those of before again. What was asked
// on this node alone is break glass: it holds with nothing else alive, the disk
// included. Then there is a warning to go with what was done.
func (a *Announcer) stored(before, after []bgp.Operation, local bool) (warning string, err error) {
	err = a.keep()
	if err == nil {
		return "", nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !local {
		a.operations = before
		return "", fmt.Errorf("it cannot be stored: %w; on %s itself it can be done with --local, an end with that and its ID", err, a.cfg.Self.Name)
	}
	a.operations, a.dirty = after, true
	a.cfg.Log.Error("operations have changed, and a restart forgets that", "error", err)
	return fmt.Sprintf("; this is in force, but could not be written, and a restart of %s forgets it: %v", a.cfg.Self.Name, err), nil
}

const maxOperations = 256

// endAll ends operations on all nodes that are meant.
func (a *Announcer) endAll(ctx context.Context, q Request) ([]Outcome, error) {
	e := ending{bgp.Ending{ID: q.ID, VIP: q.VIP, Node: q.Node, PoP: q.PoP, Local: q.Local}, q.Actor, q.Reason}
	if err := bgp.CheckReason(q.Reason); err != nil {
		return nil, fmt.Errorf("%s: %w", q.End, err)
	}
	switch q.End {
	case "undrain":
		e.Kinds = bgp.Undrain
	case "release":
		e.Kinds = bgp.Release
	default:
		return nil, fmt.Errorf("unknown end %q: want undrain or release", q.End)
	}
	if q.ID == "" && q.Node == "" && q.PoP == "" {
		return nil, errors.New("nothing is selected: name node/NAME, pop/NAME or an operation's ID")
	}
	_, all, _, missing := a.fleet(ctx, q.Local)
	if q.ID != "" && !q.Local {
		i := slices.IndexFunc(all, func(o bgp.Operation) bool { return o.ID == q.ID })
		if i < 0 {
			return nil, fmt.Errorf("no operation has the ID %q%s", q.ID, notHeard(missing))
		}
		q.Node, q.PoP = all[i].Node, all[i].PoP
	}
	if err := a.nothing(e, q, all, missing); err != nil {
		return nil, err
	}
	return a.everywhere(ctx, q.Node, q.PoP, func(ctx context.Context, node string) (string, error) {
		if node == a.cfg.Self.Name {
			return a.end(e)
		}
		var what string
		err := a.cfg.Fleet.Call(ctx, node, pathEnd, e, &what)
		return what, err
	})
}

// nothing errs when no node that is meant has anything to end, and says what operations
// there are for these nodes.
func (a *Announcer) nothing(e ending, q Request, all []bgp.Operation, missing map[string]error) error {
	selector := "node/" + q.Node
	if q.PoP != "" {
		selector = "pop/" + q.PoP
	}
	members := a.cfg.Fleet.Members()
	names, err := bgp.Select(selector, members)
	if err != nil {
		return fmt.Errorf("%s: %w", q.End, err)
	}
	var there []bgp.Operation
	silent := map[string]error{}
	for _, m := range members {
		if !slices.Contains(names, m.Name) {
			continue
		}
		if missing[m.Name] != nil {
			silent[m.Name] = missing[m.Name]
		}
		for _, o := range all {
			if o.Matches(m, o.VIP) && !slices.Contains(there, o) {
				there = append(there, o)
			}
		}
	}
	if _, _, err := bgp.End(there, e.Ending); err != nil {
		return fmt.Errorf("%s on %s: %w%s", q.End, selector, err, notHeard(silent))
	}
	return nil
}

// notHeard names the members that did not answer, for the end of an error.
func notHeard(missing map[string]error) string {
	if len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf("; not asked, for they did not answer: %s", strings.Join(sortedKeys(missing), ", "))
}

// end ends operations on this node.
func (a *Announcer) end(e ending) (string, error) {
	a.deciding.Lock()
	defer a.deciding.Unlock()
	a.mu.Lock()
	before := a.operations
	stay, ended, err := bgp.End(before, e.Ending)
	if err == nil {
		a.operations, a.dirty = stay, true
	}
	a.mu.Unlock()
	if err != nil {
		return "", err
	}
	warning, err := a.stored(before, stay, e.Local)
	if err != nil {
		return "", err
	}
	var words []string
	for _, o := range ended {
		words = append(words, o.What())
		a.recordOperation(e.Actor, "ended: "+o.String(), e.Reason)
	}
	a.poke()
	what := "ended " + strings.Join(words, ", ")
	for _, o := range e.Beside(stay, ended) {
		what += fmt.Sprintf("; %s stays; to end that: %s", o, o.EndedBy())
	}
	return what + warning, nil
}
