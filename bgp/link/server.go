package link

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// newServer makes the HTTP/2 side behind the door.
func (l *Link) newServer(h Handler) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	s := &serving{link: l, handler: h, callers: map[string]*caller{}}
	return &http.Server{
		Handler: s, Protocols: &protocols, TLSConfig: l.serverTLS(),
		ReadHeaderTimeout: l.limits.request, ReadTimeout: l.limits.request,
		WriteTimeout: l.limits.request + l.limits.answer, IdleTimeout: l.limits.idle,
		MaxHeaderBytes: 16 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          2 * l.limits.concurrent, // those above are refused in words
			MaxReceiveBufferPerConnection: 2 * MaxBody, MaxReceiveBufferPerStream: 64 << 10,
			SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second,
		},
		ConnState: state,
		ErrorLog:  slog.NewLogLogger(l.cfg.Log.Handler(), slog.LevelDebug),
	}
}

// serving answers members' calls.
type serving struct {
	link    *Link
	handler Handler

	mu      sync.Mutex
	callers map[string]*caller // guarded by mu; members only, so their number is bounded
}

// caller is a member that has called.
type caller struct {
	active int // calls
	recent bucket
}

// fault is the body of an answer that is an error.
type fault struct {
	Error string `json:"error"`
}

func (s *serving) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, err := s.link.member(*r.TLS)
	if err != nil {
		w.Header().Set("Connection", "close")
		s.refuse(w, KeyChanged, http.StatusForbidden, "the caller's key is not valid any more")
		return
	}
	if !s.enter(name, time.Now()) {
		s.refuse(w, TooManyCalls, http.StatusTooManyRequests, fmt.Sprintf("too many calls of %q at once or a second", name))
		return
	}
	defer s.leave(name)
	if r.Method != http.MethodPost {
		s.refuse(w, BadRequest, http.StatusMethodNotAllowed, fmt.Sprintf("method %.16q, want POST", r.Method))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		s.refuse(w, TooLarge, http.StatusRequestEntityTooLarge, fmt.Sprintf("a body of more than %d octets", MaxBody))
		return
	case err != nil:
		s.refuse(w, BadRequest, http.StatusRequestTimeout, "the body has not arrived whole, or not in time")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.link.limits.answer)
	defer cancel()
	out, err := s.handler(ctx, name, r.URL.Path, body)
	s.link.counts.answered()
	if err != nil {
		respond(w, http.StatusUnprocessableEntity, fault{err.Error()})
		return
	}
	respond(w, http.StatusOK, out)
}

// enter counts a call, if its caller has not too many.
func (s *serving) enter(name string, now time.Time) bool {
	limits := &s.link.limits
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.callers[name]
	if c == nil {
		c = &caller{}
		s.callers[name] = c
	}
	if c.active >= limits.concurrent || !c.recent.take(limits.calls, now) {
		return false
	}
	c.active++
	return true
}

func (s *serving) leave(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.callers[name].active--
}

func (s *serving) refuse(w http.ResponseWriter, why Reason, status int, text string) {
	s.link.counts.refused(why)
	respond(w, status, fault{text})
}

// respond sends JSON. What cannot be sent is an error of this member's.
func respond(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err == nil && len(text) > MaxBody {
		err = fmt.Errorf("the answer has %d octets, more than %d", len(text), MaxBody)
	}
	if err != nil {
		status = http.StatusInternalServerError
		text, _ = json.Marshal(fault{err.Error()}) // a string alone: no error
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // the caller is gone, then
}
