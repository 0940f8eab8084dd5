package page

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"edged/mapper/beacon"
	"edged/mapper/beacon/token"
)

// perSession is how many PoPs a session measures.
const perSession = 4

// scriptAge is for how long browsers may keep the script, in seconds.
const scriptAge = 300

// serve answers all requests. Which host is asked for does not matter.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	client, site := addrOf(r.RemoteAddr), s.site.Load()
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if !s.limiter.allow(client, time.Now()) {
		s.count(limited)
		h.Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Origin")
	origin := r.Header.Get("Origin")
	welcome := slices.Contains(site.Origins, origin)
	if welcome {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Timing-Allow-Origin", origin)
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /beacon.js":
		s.count(forScript)
		h.Set("Cache-Control", "public, max-age="+strconv.Itoa(scriptAge))
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		io.WriteString(w, script)
	case "GET /o":
		s.count(forObject)
		h.Set("Content-Type", "text/plain")
		io.WriteString(w, ".")
	case "GET /session":
		if origin != "" && !welcome {
			s.count(otherOrigin)
			http.Error(w, "this page may not measure: its origin is not one of beacon.origins", http.StatusForbidden)
			return
		}
		s.count(forSession)
		s.session(w, site, client)
	case "POST /r":
		// Browsers hide the origin of a beacon's page where its referrer policy says
		// so, and others have none. The session knew it.
		if origin != "" && origin != "null" && !welcome {
			s.count(otherOrigin)
			http.Error(w, "this page may not report: its origin is not one of beacon.origins", http.StatusForbidden)
			return
		}
		s.count(forReport)
		s.report(w, r, site, client)
	default:
		s.count(forNothing)
		http.Error(w, "there is nothing here", http.StatusNotFound)
	}
}

// session is what /session answers.
type session struct {
	Token string   `json:"token"`
	PoPs  []string `json:"pops"`
}

func (s *Server) session(w http.ResponseWriter, site *Site, client netip.Addr) {
	if !client.IsValid() {
		http.Error(w, "there is no address to answer to", http.StatusBadRequest)
		return
	}
	var random [16]byte
	rand.Read(random[:]) // never fails
	list, inForce := site.Candidates(client)
	pops := Choose(list, inForce, perSession, binary.LittleEndian.Uint64(random[:8]))
	if len(pops) == 0 {
		http.Error(w, "there is no pop to measure", http.StatusServiceUnavailable)
		return
	}
	answer := session{
		Token: token.Make(site.Keys[0], binary.LittleEndian.Uint64(random[8:]), time.Now().Add(token.Life), client, pops),
		PoPs:  pops,
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer) // an error is the client's: it has gone
}

// report takes a report, and answers it when the round is over that it would be
// kept in.
func (s *Server) report(w http.ResponseWriter, r *http.Request, site *Site, client netip.Addr) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxReport))
	if err != nil {
		body = nil // too large, or the client has gone
	}
	rows, pops, what := s.judge(site, client, string(body), time.Now())
	round, ok := s.keeper.join(rows, pops, what != full)
	if !ok && what == kept {
		what = full
	}
	s.counters.reports[what].Add(1)
	select {
	case <-round.over:
	case <-r.Context().Done():
		return
	}
	if round.err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// judge makes rows of a report. The token is spent only if there are any.
func (s *Server) judge(site *Site, client netip.Addr, text string, now time.Time) ([]beacon.Row, []string, outcome) {
	report, err := ParseReport(text)
	if err != nil {
		return nil, nil, bad
	}
	t, err := token.Parse(report.Token, site.Keys)
	if err == nil {
		err = t.Check(now, client, report.PoPs)
	}
	if err != nil {
		return nil, nil, outcomeOf(err)
	}
	if !site.AllowPrivate && !public(client) || !client.IsValid() {
		return nil, nil, private
	}
	var rows []beacon.Row
	measured := false
	for i, ms := range report.MS {
		rtt, ok := beacon.Plausible(ms)
		measured = measured || ok
		if ok || ms == Failed {
			rows = append(rows, beacon.Row{Session: t.Session, Time: now.Unix(), Client: client, PoP: uint16(i), RTT: rtt, Method: beacon.Resource})
		}
	}
	if !measured { // a client that reaches no PoP tells of itself, not of them
		return nil, nil, empty
	}
	switch first, noRoom := s.used.Take(t.Session, now); {
	case noRoom:
		return nil, nil, full
	case !first:
		return nil, nil, used
	}
	return rows, report.PoPs, kept
}
