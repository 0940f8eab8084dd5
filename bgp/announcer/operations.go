package announcer

import (
	"context"
	"errors"
	"fmt"
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
	Local  bool // asked on this node for this node alone
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
	fleet, all, missing := a.fleet(ctx, o.Local)
	if err := bgp.Admit(o, all, fleet, q.MaxOut, now); err != nil {
		return nil, err
	}
	if why := a.silent(o, missing); why != nil {
		return nil, why
	}
	return a.everywhere(ctx, o.Node, o.PoP, func(ctx context.Context, node string) (string, error) {
		if node == a.cfg.Self.Name {
			return o.String(), a.accept(o)
		}
		return o.String(), a.cfg.Fleet.Call(ctx, node, pathOperate, o, nil)
	})
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
// when local. Nodes that did not answer are in missing.
func (a *Announcer) fleet(ctx context.Context, local bool) (f bgp.Fleet, all []bgp.Operation, missing map[string]error) {
	reports, missing := a.reports(ctx, local)
	for _, m := range a.cfg.Fleet.Members() {
		r, ok := reports[m.Name]
		if !ok {
			f.Nodes = append(f.Nodes, bgp.FleetNode{Member: m})
			continue
		}
		f.Nodes = append(f.Nodes, bgp.FleetNode{Member: m, Stored: r.Wish.Stored, States: r.States})
		f.InFlight = append(f.InFlight, r.InFlight...)
		for _, o := range r.Operations {
			if !slices.ContainsFunc(all, func(p bgp.Operation) bool { return p.ID == o.ID }) {
				all = append(all, o)
			}
		}
	}
	return f, all, missing
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

// accept takes an operation on this node.
func (a *Announcer) accept(o bgp.Operation) error {
	if err := o.Check(); err != nil {
		return err
	}
	if o.Node != a.cfg.Self.Name && o.PoP != a.cfg.Self.PoP {
		return fmt.Errorf("%s: this is %s in %s", o.What(), a.cfg.Self.Name, a.cfg.Self.PoP)
	}
	a.mu.Lock()
	before := a.operations
	if slices.ContainsFunc(before, func(p bgp.Operation) bool { return p.ID == o.ID }) {
		a.mu.Unlock()
		return nil
	}
	stay := slices.DeleteFunc(slices.Clone(before), o.Replaces)
	if len(stay) >= maxOperations {
		a.mu.Unlock()
		return fmt.Errorf("%s: there are %d operations already: end some", o.What(), len(stay))
	}
	if _, ok := inFile(a.file, o.VIP); o.Kind == bgp.Announce && !ok && a.vips[o.VIP] == nil {
		a.mu.Unlock()
		return fmt.Errorf("%s: there is no VIP %q in this node's file", o.What(), o.VIP)
	}
	a.operations = append(stay, o)
	a.usePlan() // "announce" may name what no plan does
	a.dirty = true
	a.mu.Unlock()
	if err := a.stored(before, append(stay, o), o.Local); err != nil {
		return err
	}
	a.recordOperation(o.Actor, o.String(), o.Reason)
	if err := a.allow(); err != nil {
		return err
	}
	a.poke()
	return nil
}

// stored puts the operations on disk, or takes those of before again. What was asked
// on this node alone is break glass: it holds with nothing else alive, the disk
// included.
func (a *Announcer) stored(before, after []bgp.Operation, local bool) error {
	err := a.keep()
	if err == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !local {
		a.operations = before
		return fmt.Errorf("it cannot be stored: %w", err)
	}
	a.operations, a.dirty = after, true
	a.cfg.Log.Error("operations have changed, and a restart forgets that", "error", err)
	return nil
}

const maxOperations = 256

// endAll ends operations on all nodes that are meant.
func (a *Announcer) endAll(ctx context.Context, q Request) ([]Outcome, error) {
	e := ending{bgp.Ending{ID: q.ID, VIP: q.VIP, Node: q.Node, PoP: q.PoP}, q.Actor, q.Reason, q.Local}
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
	if q.ID != "" {
		var err error
		if q.Node, q.PoP, err = a.whose(ctx, q.ID, q.Local); err != nil {
			return nil, err
		}
	}
	if q.Node == "" && q.PoP == "" {
		return nil, errors.New("nothing is selected: name node/NAME, pop/NAME or an operation's ID")
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

// whose finds the node or PoP of an operation.
func (a *Announcer) whose(ctx context.Context, id string, local bool) (node, pop string, err error) {
	_, all, _ := a.fleet(ctx, local)
	i := slices.IndexFunc(all, func(o bgp.Operation) bool { return o.ID == id })
	if i < 0 {
		return "", "", fmt.Errorf("no operation has the ID %q", id)
	}
	return all[i].Node, all[i].PoP, nil
}

// end ends operations on this node.
func (a *Announcer) end(e ending) (string, error) {
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
	if err := a.stored(before, stay, e.Local); err != nil {
		return "", err
	}
	var words []string
	for _, o := range ended {
		words = append(words, o.What())
		a.recordOperation(e.Actor, "ended: "+o.String(), e.Reason)
	}
	a.poke()
	return "ended " + strings.Join(words, ", "), nil
}
