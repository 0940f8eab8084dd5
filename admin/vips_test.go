package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"edged/bgp"
	"edged/bgp/announcer"
)

func (n *fakeNode) VIPs() VIPs { return n.vips }

// fakeVIPs remembers what it was asked for, and refuses what has no reason.
type fakeVIPs struct{ asked string }

func (v *fakeVIPs) Status() announcer.Status { return announcer.Status{Node: "fra1"} }

func (v *fakeVIPs) Plan(_ context.Context, sel bgp.Selection, l bgp.Limits) (announcer.Proposal, error) {
	v.asked = fmt.Sprintf("plan %q %q %v %v", sel.Nodes, sel.VIPs, l.AllowWide, sel.GiveUp)
	if sel.Nodes == "" {
		return announcer.Proposal{}, errors.New("no node is selected")
	}
	return announcer.Proposal{Plan: bgp.FleetPlan{ID: "0123456789ab"}}, nil
}

func (v *fakeVIPs) Apply(_ context.Context, q announcer.Application) (announcer.Proposal, error) {
	v.asked = fmt.Sprintf("apply %s %s by %s", q.Plan, q.Nodes, q.Actor)
	if q.Reason == "" {
		return announcer.Proposal{Plan: bgp.FleetPlan{ID: q.Plan}}, errors.New("no reason")
	}
	return announcer.Proposal{}, nil
}

func (v *fakeVIPs) ShowRollout(_ context.Context, member string) (*announcer.Rollout, error) {
	v.asked = fmt.Sprintf("rollout of %q", member)
	switch member {
	case "":
		return nil, nil
	case "ams1":
		return &announcer.Rollout{Coordinator: member, Rollout: &bgp.Rollout{Phase: bgp.PhaseBaking}}, nil
	}
	return nil, errors.New("lhr1 did not answer")
}

func (v *fakeVIPs) Steer(_ context.Context, q announcer.Steering) (*announcer.Rollout, error) {
	v.asked = fmt.Sprintf("%s %q by %s", q.Action, q.Plan, q.Actor)
	return nil, nil
}

func (v *fakeVIPs) Operate(_ context.Context, q announcer.Request) ([]announcer.Outcome, error) {
	v.asked = fmt.Sprintf("%s %s by %s", q.Kind, q.Node, q.Actor)
	return []announcer.Outcome{{Node: q.Node}}, nil
}

func (v *fakeVIPs) WriteAudit(w io.Writer) error {
	_, err := io.WriteString(w, "{\"seq\":1}\n")
	return err
}

// TestVIPs calls everything about VIPs as TCP clients do.
func TestVIPs(t *testing.T) {
	for _, tc := range []struct {
		name, method, path, token, body string
		status                          int
		want, asked                     string
	}{
		{"status", "GET", "/v1/vips", "", "", 200, `"node": "fra1"`, ""},
		{"plan", "GET", "/v1/vips/plan?nodes=pop/fra&vips=a,b&wide=true", "", "", 200, `"id": "0123456789ab"`, `plan "pop/fra" ["a" "b"] true`},
		{"plan of all VIPs", "GET", "/v1/vips/plan?nodes=all", "", "", 200, "", `plan "all" [] false`},
		{"an empty name is none for all", "GET", "/v1/vips/plan?nodes=all&vips=", "", "", 200, "", `plan "all" [""] false`},
		{"nor one among others", "GET", "/v1/vips/plan?nodes=all&vips=a,", "", "", 200, "", `plan "all" ["a" ""] false`},
		{"plan of nobody", "GET", "/v1/vips/plan", "", "", 422, `"error": "no node is selected"`, `plan "" [] false`},
		{"plan with a wrong word", "GET", "/v1/vips/plan?nodes=all&wide=perhaps", "", "", 422, `wide \"perhaps\": want true or false`, ""},
		{
			"a plan that gives up", "GET", "/v1/vips/plan?nodes=all&give_up=198.51.100.53/32,2001:db8::53/128", "", "", 200, "",
			`plan "all" [] false [198.51.100.53/32 2001:db8::53/128]`,
		},
		{"giving up what is no prefix", "GET", "/v1/vips/plan?nodes=all&give_up=ns1", "", "", 422, `give_up: \"ns1\" is no prefix`, ""},
		{"giving up nothing", "GET", "/v1/vips/plan?nodes=all&give_up=", "", "", 422, `give_up: \"\" is no prefix`, ""},
		{"no rollout", "GET", "/v1/vips/rollout", "", "", 200, "null", `rollout of ""`},
		{"rollout elsewhere", "GET", "/v1/vips/rollout?coordinator=ams1", "", "", 200, `"phase": "baking"`, `rollout of "ams1"`},
		{"rollout of a node that is away", "GET", "/v1/vips/rollout?coordinator=lhr1", "", "", 422, `"error": "lhr1 did not answer"`, `rollout of "lhr1"`},
		{"audit", "GET", "/v1/audit", engineerToken, "", 200, "{\"seq\":1}\n", ""},
		{"audit without a token", "GET", "/v1/audit", "", "", 401, "needs a bearer token", ""},
		{"audit as map builder", "GET", "/v1/audit", builderToken, "", 403, "needs the role engineer", ""},

		{"apply without a token", "POST", "/v1/vips/apply", "", `{}`, 401, "needs a bearer token", ""},
		{"apply as map builder", "POST", "/v1/vips/apply", builderToken, `{}`, 403, "needs the role engineer", ""},
		{"a token's owner is no matter of opinion", "POST", "/v1/vips/apply", engineerToken, `{"plan": "x", "nodes": "all", "reason": "y", "actor": "eve"}`, 200, "", "apply x all by ann"},
		{"what was refused is shown too", "POST", "/v1/vips/apply", engineerToken, `{"plan": "0123456789ab", "nodes": "all"}`, 422, `"id": "0123456789ab"`, "apply 0123456789ab all by ann"},
		{"apply to an empty list of VIPs", "POST", "/v1/vips/apply", engineerToken, `{"plan": "x", "nodes": "all", "vips": [], "reason": "y"}`, 422, `"vips is empty: name some, or leave vips out"`, ""},
		{"unknown key", "POST", "/v1/vips/apply", engineerToken, `{"node": "x"}`, 422, `unknown field \"node\"`, ""},
		{"more than one value", "POST", "/v1/vips/rollout", engineerToken, `{"action": "abort"} {}`, 422, "there is more behind the body", ""},
		{"steer", "POST", "/v1/vips/rollout", engineerToken, `{"action": "abort", "plan": "0123456789ab", "reason": "x"}`, 200, "null", `abort "0123456789ab" by ann`},
		{"operate", "POST", "/v1/vips/operations", engineerToken, `{"kind": "drain", "node": "fra1", "reason": "x"}`, 200, `"node": "fra1"`, "drain fra1 by ann"},
		{"drain an empty VIP", "POST", "/v1/vips/operations", engineerToken, `{"kind": "drain", "node": "fra1", "vip": "", "reason": "x"}`, 422, `"vip is empty: name one, or leave vip out"`, ""},
		{"the same in capitals", "POST", "/v1/vips/operations", engineerToken, `{"kind": "drain", "node": "fra1", "VIP": "", "reason": "x"}`, 422, `"VIP is empty`, ""},
		{"end an empty ID", "POST", "/v1/vips/operations", engineerToken, `{"end": "undrain", "id": "", "local": true, "reason": "x"}`, 422, `"id is empty`, ""},
		{"abort an empty plan", "POST", "/v1/vips/rollout", engineerToken, `{"action": "abort", "plan": "", "reason": "x"}`, 422, `"plan is empty`, ""},
	} {
		s, node, _ := newServer(t, Config{})
		vips := &fakeVIPs{}
		node.vips = vips
		got := callVIPs(s, tc.method, tc.path, tc.token, tc.body)
		if got.Code != tc.status || !strings.Contains(got.Body.String(), tc.want) || !strings.HasPrefix(vips.asked, tc.asked) || tc.status == 422 && tc.asked == "" && vips.asked != "" {
			t.Errorf("%s: got %d, %s, and the node was asked %q; want %d, %q, %q", tc.name, got.Code, got.Body, vips.asked, tc.status, tc.want, tc.asked)
		}
		node.vips = nil
		if got := callVIPs(s, tc.method, tc.path, engineerToken, tc.body); got.Code != http.StatusNotFound || !strings.Contains(got.Body.String(), "bgp.asn") {
			t.Errorf("%s without VIPs: got %d, %s", tc.name, got.Code, got.Body)
		}
	}
}

func callVIPs(s *Server, method, path, token, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "127.0.0.1:8053"
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, r)
	return w
}
