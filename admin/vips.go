package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"edged/bgp"
	"edged/bgp/announcer"
)

// VIPs is what the API shows and changes of VIPs. It is [announcer.Announcer].
type VIPs interface {
	Status() announcer.Status
	Plan(ctx context.Context, sel bgp.Selection, limits bgp.Limits) (announcer.Proposal, error)
	Apply(ctx context.Context, q announcer.Application) (announcer.Proposal, error)
	ShowRollout(ctx context.Context, member string) (*announcer.Rollout, error) // nil: there was none
	Steer(ctx context.Context, q announcer.Steering) (*announcer.Rollout, error)
	Operate(ctx context.Context, q announcer.Request) ([]announcer.Outcome, error)
	WriteAudit(io.Writer) error
}

// vipRoutes lists the calls about VIPs.
func (s *Server) vipRoutes() []route {
	return []route{
		{"GET", "/v1/vips", "", s.vips(func(v VIPs, _ *http.Request, _ caller) (any, error) { return v.Status(), nil })},
		{"GET", "/v1/vips/plan", "", s.vips(planVIPs)},
		{"GET", "/v1/vips/rollout", "", s.vips(showRollout)},
		{"POST", "/v1/vips/apply", Engineer, s.vips(applyVIPs)},
		{"POST", "/v1/vips/rollout", Engineer, s.vips(steerVIPs)},
		{"POST", "/v1/vips/operations", Engineer, s.vips(operateVIPs)},
		{"GET", "/v1/audit", Engineer, s.audit},
	}
}

// refused is the answer to a call about VIPs that was not carried out: what there
// is to show, and why not.
type refused struct {
	Error  string `json:"error"`
	Result any    `json:"result,omitempty"`
}

// vips has a call carried out by the node's VIPs. Calls that change something
// are logged with who made them.
func (s *Server) vips(do func(VIPs, *http.Request, caller) (any, error)) func(http.ResponseWriter, *http.Request, caller) {
	return func(w http.ResponseWriter, r *http.Request, who caller) {
		v := s.node.VIPs()
		if v == nil {
			(&problem{http.StatusNotFound, "this node announces no VIPs: its configuration has no bgp.asn, or they could not be started, which is an alarm"}).write(w)
			return
		}
		result, err := do(v, r, who)
		if r.Method != http.MethodGet {
			s.log.Info("admin call", "method", r.Method, "path", r.URL.Path, "who", who.name, "error", err)
		}
		if err != nil {
			writeJSON(w, http.StatusUnprocessableEntity, refused{Error: err.Error(), Result: result})
			return
		}
		writeJSON(w, http.StatusOK, result)
	}
}

func planVIPs(v VIPs, r *http.Request, _ caller) (any, error) {
	var limits bgp.Limits
	if text := r.FormValue("wide"); text != "" {
		var err error
		if limits.AllowWide, err = strconv.ParseBool(text); err != nil {
			return nil, fmt.Errorf("wide %q: want true or false", text)
		}
	}
	sel := bgp.Selection{Nodes: r.FormValue("nodes")}
	if r.Form.Has("vips") { // an empty list of names is no wish for all
		sel.VIPs = strings.Split(r.FormValue("vips"), ",")
	}
	if r.Form.Has("give_up") {
		var err error
		if sel.GiveUp, err = bgp.ParsePrefixes(r.FormValue("give_up")); err != nil {
			return nil, fmt.Errorf("give_up: %w", err)
		}
	}
	return v.Plan(r.Context(), sel, limits)
}

func applyVIPs(v VIPs, r *http.Request, who caller) (any, error) {
	var q announcer.Application
	if err := readJSON(r, &q); err != nil {
		return nil, err
	}
	if q.VIPs != nil && len(q.VIPs) == 0 {
		return nil, errors.New("vips is empty: name some, or leave vips out")
	}
	q.Actor = who.actor(q.Actor)
	return v.Apply(r.Context(), q)
}

func showRollout(v VIPs, r *http.Request, _ caller) (any, error) {
	return v.ShowRollout(r.Context(), r.FormValue("coordinator"))
}

func steerVIPs(v VIPs, r *http.Request, who caller) (any, error) {
	var q announcer.Steering
	if err := readJSON(r, &q, "plan"); err != nil {
		return nil, err
	}
	q.Actor = who.actor(q.Actor)
	return v.Steer(r.Context(), q)
}

func operateVIPs(v VIPs, r *http.Request, who caller) (any, error) {
	var q announcer.Request
	if err := readJSON(r, &q, "vip", "id"); err != nil {
		return nil, err
	}
	q.Actor = who.actor(q.Actor)
	return v.Operate(r.Context(), q)
}

// actor is who asks for something: over the control socket whoever the caller
// says, else the token's name, which is no matter of opinion.
func (c caller) actor(claimed string) string {
	if c.local && claimed != "" {
		return claimed
	}
	return c.name
}

// readJSON reads exactly one value without unknown keys. Some keys mean more when they
// are not there than with a text: an empty text is refused for these.
func readJSON(r *http.Request, v any, filled ...string) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("the body cannot be read: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("the body is not what the call takes: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind the body")
	}
	var given map[string]json.RawMessage
	if len(filled) == 0 || json.Unmarshal(body, &given) != nil {
		return nil
	}
	for key, text := range given {
		is := func(name string) bool { return strings.EqualFold(name, key) } // as the decoder takes it
		if string(text) == `""` && slices.ContainsFunc(filled, is) {
			return fmt.Errorf("%s is empty: name one, or leave %s out", key, key)
		}
	}
	return nil
}

func (s *Server) audit(w http.ResponseWriter, _ *http.Request, _ caller) {
	v := s.node.VIPs()
	if v == nil {
		(&problem{http.StatusNotFound, "this node keeps no audit log: its configuration has no bgp.asn, or VIPs could not be started, which is an alarm"}).write(w)
		return
	}
	w.Header().Set("Content-Type", "application/jsonl")
	if err := v.WriteAudit(w); err != nil {
		s.log.Error("audit log cannot be read", "error", err)
		panic(http.ErrAbortHandler) // a part must not be taken for the whole
	}
}
