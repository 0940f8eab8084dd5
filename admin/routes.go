package admin

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"edged/health/override"
)

//go:embed openapi.yaml
var openapi []byte

// route is one call of the API.
type route struct {
	method, path string
	role         Role // needed over TCP; empty: everybody may
	handle       func(http.ResponseWriter, *http.Request, caller)
}

// routes lists the API, without the profiles.
func (s *Server) routes() []route {
	all := append(s.vipRoutes(), s.beaconRoutes()...)
	return append(all, []route{
		{"GET", "/healthz", "", s.health},
		{"GET", "/metrics", "", s.metrics()},
		{"GET", "/v1/status", "", s.status},
		{"GET", "/v1/explain", "", s.explain},
		{"GET", "/v1/health", "", func(w http.ResponseWriter, _ *http.Request, _ caller) { writeJSON(w, http.StatusOK, s.node.Verdicts()) }},
		{"GET", "/v1/health/history", "", func(w http.ResponseWriter, _ *http.Request, _ caller) { writeJSON(w, http.StatusOK, s.node.History()) }},
		{"GET", "/v1/overrides", "", func(w http.ResponseWriter, _ *http.Request, _ caller) {
			writeJSON(w, http.StatusOK, s.node.Overrides())
		}},
		{"POST", "/v1/overrides", Engineer, s.override},
		{"GET", "/v1/load", "", func(w http.ResponseWriter, _ *http.Request, _ caller) { writeJSON(w, http.StatusOK, s.node.Load()) }},
		{"POST", "/v1/load", Engineer, s.tellLoad},
		{"GET", "/v1/config", "", s.effectiveConfig},
		{"GET", "/v1/openapi.yaml", "", s.description},
		{"POST", "/v1/reload", Engineer, s.reload},
	}...)
}

// problem is a refusal as the client sees it.
type problem struct {
	status  int
	message string
}

func forbidden(format string, args ...any) *problem {
	return &problem{http.StatusForbidden, fmt.Sprintf(format, args...)}
}

func (p *problem) write(w http.ResponseWriter) {
	if p.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, p.status, map[string]string{"error": p.message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil { // a mistake of ours: the values are our own types
		status, data = http.StatusInternalServerError, []byte(`{"error": "the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(data, '\n'))
}

// handler serves all routes: who asks is known before any route runs.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{} // by path
	for _, r := range s.routes() {
		mux.HandleFunc(r.method+" "+r.path, func(w http.ResponseWriter, req *http.Request) { s.call(w, req, r) })
		methods[r.path] = append(methods[r.path], r.method)
	}
	for path, known := range methods {
		mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Allow", strings.Join(known, ", "))
			(&problem{http.StatusMethodNotAllowed, fmt.Sprintf("%s takes %s, not %s", path, strings.Join(known, " and "), req.Method)}).write(w)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		(&problem{http.StatusNotFound, fmt.Sprintf("no such path %q; /v1/openapi.yaml lists them", req.URL.Path)}).write(w)
	})
	if s.config.Pprof {
		mux.HandleFunc("GET /debug/pprof/", s.profiles(pprof.Index))
		mux.HandleFunc("GET /debug/pprof/profile", s.profiles(pprof.Profile))
		mux.HandleFunc("GET /debug/pprof/trace", s.profiles(pprof.Trace))
		mux.HandleFunc("GET /debug/pprof/symbol", s.profiles(pprof.Symbol))
	}
	guarded := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if _, p := s.identify(req); p != nil {
			s.logRefusal(req, p)
			p.write(w)
			return
		}
		mux.ServeHTTP(w, req)
	})
	return guarded
}

// logRefusal logs that a caller was not known, once a second at most: whoever
// guesses tokens shall be seen, and not fill the disk.
func (s *Server) logRefusal(req *http.Request, p *problem) {
	now, last := time.Now().Unix(), s.refused.Load()
	if now > last && s.refused.CompareAndSwap(last, now) {
		s.log.Warn("admin call refused", "method", req.Method, "path", req.URL.Path, "who", req.RemoteAddr, "why", p.message)
	}
}

// call runs a route for those who may.
func (s *Server) call(w http.ResponseWriter, req *http.Request, r route) {
	who, p := s.identify(req)
	switch {
	case p != nil:
	case r.role == "" || who.may(r.role):
		if req.Method+" "+r.path != streamed {
			req.Body = http.MaxBytesReader(w, req.Body, maxBody)
		}
		r.handle(w, req, who)
		return
	case who.role == "":
		p = &problem{http.StatusUnauthorized, fmt.Sprintf("%s needs a bearer token or a client certificate with role %s, or the control socket", r.path, r.role)}
	default:
		p = forbidden("%s needs the role %s; this caller has %s", r.path, r.role, who.role)
	}
	if r.role != "" {
		s.log.Warn("admin call refused", "method", req.Method, "path", r.path, "who", who.name, "why", p.message)
	}
	p.write(w)
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request, _ caller) {
	h := s.node.Health()
	if h.Alarms == nil {
		h.Alarms = []Alarm{}
	}
	writeJSON(w, http.StatusOK, h)
}

func (s *Server) metrics() func(http.ResponseWriter, *http.Request, caller) {
	h := promhttp.HandlerFor(s.config.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
	return func(w http.ResponseWriter, r *http.Request, _ caller) { h.ServeHTTP(w, r) }
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request, _ caller) {
	writeJSON(w, http.StatusOK, s.node.Status())
}

func (s *Server) effectiveConfig(w http.ResponseWriter, _ *http.Request, _ caller) {
	text, err := s.node.Config()
	if err != nil {
		(&problem{http.StatusInternalServerError, err.Error()}).write(w)
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	w.Write(text)
}

func (s *Server) description(w http.ResponseWriter, _ *http.Request, _ caller) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Write(openapi)
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request, _ caller) {
	q, err := ParseQuestion(r.FormValue("name"), r.FormValue("type"), r.FormValue("client"), r.FormValue("resolver"))
	if err == nil {
		var answer any
		if answer, err = s.node.Explain(q); err == nil {
			writeAnswer(w, answer, r.FormValue("format"))
			return
		}
	}
	(&problem{http.StatusBadRequest, err.Error()}).write(w)
}

// writeAnswer writes JSON or, if asked and the answer can, text for a person.
func writeAnswer(w http.ResponseWriter, answer any, format string) {
	if a, ok := answer.(interface{ WriteText(io.Writer) error }); ok && format == "text" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		a.WriteText(w)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request, who caller) {
	result := s.node.Reload(r.Context())
	s.log.Info("admin call", "method", r.Method, "path", "/v1/reload", "who", who.name, "applied", result.Applied)
	status := http.StatusOK
	if !result.Applied {
		status = http.StatusUnprocessableEntity
	}
	writeJSON(w, status, result)
}

func (s *Server) override(w http.ResponseWriter, r *http.Request, who caller) {
	var q override.Request
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		(&problem{http.StatusBadRequest, fmt.Sprintf("the body is no request for an override: %v", err)}).write(w)
		return
	}
	if !who.local || q.Owner == "" {
		q.Owner = who.name // a token's owner is no matter of opinion
	}
	result := s.node.Override(r.Context(), q)
	s.log.Info("admin call", "method", r.Method, "path", "/v1/overrides", "who", who.name, "owner", q.Owner, "reason", q.Reason,
		"request", q.String(), "dry_run", q.DryRun, "applied", result.Applied, "error", result.Error)
	status := http.StatusOK
	if !result.Applied {
		status = http.StatusUnprocessableEntity
	}
	writeJSON(w, status, result)
}

// tellLoad takes the load of the node's PoP. It comes every few seconds, so the log
// has what is refused only.
func (s *Server) tellLoad(w http.ResponseWriter, r *http.Request, who caller) {
	var told struct {
		Requests *float64 `json:"requests_per_second"`
	}
	err := readJSON(r, &told)
	if err == nil && told.Requests == nil {
		err = errors.New(`the body has no requests_per_second; want for example {"requests_per_second": 1120.5}`)
	}
	if err == nil {
		err = s.node.TellLoad(*told.Requests)
	}
	if err != nil {
		s.log.Warn("admin call refused", "method", r.Method, "path", "/v1/load", "who", who.name, "why", err)
		(&problem{http.StatusBadRequest, err.Error()}).write(w)
		return
	}
	writeJSON(w, http.StatusOK, s.node.Load())
}

// profiles serves a profile on the control socket only.
func (s *Server) profiles(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if who, _ := s.identify(r); !who.local {
			forbidden("profiles are served on the control socket only").write(w)
			return
		}
		h(w, r)
	}
}

// ParseQuestion reads the parts of a question as people write them: the client
// is a prefix or an address, which stands for its /24 or /56 as public
// resolvers send it (RFC 7871 section 11.1); all but the name may be empty.
func ParseQuestion(name, rrtype, client, resolver string) (Question, error) {
	q := Question{Name: name, Type: strings.ToUpper(rrtype)}
	if name == "" {
		return q, fmt.Errorf("name: required, but not given")
	}
	if q.Type == "" {
		q.Type = "A"
	}
	if client != "" {
		p, err := parseClient(client)
		if err != nil {
			return q, err
		}
		q.Client = p
	}
	if resolver != "" {
		a, err := netip.ParseAddr(resolver)
		if err != nil || a.Zone() != "" {
			return q, fmt.Errorf("resolver %q: want an IP address", resolver)
		}
		q.Resolver = a
	}
	return q, nil
}

func parseClient(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		bits := 24
		if a.Is6() {
			bits = 56
		}
		return a.Prefix(bits)
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("client %q: want an IP address or a prefix such as 203.0.113.0/24", text)
	}
	return p.Masked(), nil
}
