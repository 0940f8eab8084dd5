package announcer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"edged/bgp"
)

// The calls that members make of each other.
const (
	pathStanding  = "/vips/standing"
	pathPromise   = "/vips/promises"
	pathReport    = "/vips/report"
	pathPreflight = "/vips/preflight"
	pathApply     = "/vips/apply"
	pathRestore   = "/vips/restore"
	pathOperate   = "/vips/operate"
	pathEnd       = "/vips/end"
	pathProbe     = "/vips/probe"
	pathRollout   = "/vips/rollout"
	pathSteer     = "/vips/steer"
)

// Prefix begins the paths of all calls that Handle takes.
const Prefix = "/vips/"

// order is a plan that another node brings.
type order struct {
	Plan  bgp.NodePlan `json:"plan"`
	Actor string       `json:"actor"`
	Cause string       `json:"cause"`
}

// Handle carries out a call of another member, whose name is known for certain.
func (a *Announcer) Handle(ctx context.Context, caller, path string, body []byte) (any, error) {
	switch path {
	case pathStanding:
		return a.standing(), nil
	case pathReport:
		return a.reportToOthers(), nil
	case pathPromise:
		var q questions
		if err := decode(body, &q); err != nil {
			return nil, err
		}
		return a.promises(caller, q)
	case pathPreflight, pathApply, pathRestore:
		var o order
		if err := decode(body, &o); err != nil {
			return nil, err
		}
		o.Actor = fmt.Sprintf("%s, by way of %s", o.Actor, caller)
		return nothing, a.obey(path, o)
	case pathRollout:
		return a.outline(), nil
	case pathSteer:
		var q Steering
		if err := decode(body, &q); err != nil {
			return nil, err
		}
		return a.obeySteering(caller, q)
	case pathOperate:
		var o bgp.Operation
		if err := decode(body, &o); err != nil {
			return nil, err
		}
		_, err := a.accept(o)
		return nothing, err
	case pathProbe:
		var q inquiry
		if err := decode(body, &q); err != nil {
			return nil, err
		}
		return a.probe(ctx, q)
	case pathEnd:
		var e ending
		if err := decode(body, &e); err != nil {
			return nil, err
		}
		e.Local = false // another node's word is not this node's own
		return a.end(e)
	}
	return nil, fmt.Errorf("no such call %q", path)
}

// nothing is the answer to a call that has none.
var nothing = struct{}{}

// obey carries out what a rollout asks of this node.
func (a *Announcer) obey(path string, o order) error {
	if path == pathPreflight {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.preflight(o.Plan, false)
	}
	return a.take(o.Plan, path == pathRestore, o.Actor, o.Cause)
}

// decode reads exactly one JSON value without unknown keys.
func decode(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("the body is not what the call takes: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("there is more behind the body")
	}
	return nil
}
