package admin

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// caller is who makes a request.
type caller struct {
	name  string // for the log
	id    string // of the token or certificate; empty for others
	role  Role   // empty: may only read
	local bool   // over the control socket: may do everything
}

func (c caller) may(role Role) bool { return c.local || c.role == role }

// connKey holds the caller of a connection to the control socket.
type connKey struct{}

// localConn marks the connections of the control socket.
func localConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, caller{name: "control socket, " + conn.RemoteAddr().String(), local: true})
}

// identify says who makes a request, or why it is refused.
func (s *Server) identify(r *http.Request) (caller, *problem) {
	if c, ok := r.Context().Value(connKey{}).(caller); ok {
		return c, nil
	}
	if !s.knownHost(r.Host) {
		return caller{}, forbidden("host %q is not this node: ask by IP address, by localhost, or list the name in admin.hosts", r.Host)
	}
	if origin := r.Header.Get("Origin"); origin != "" && !sameOrigin(origin, r.Host) {
		return caller{}, forbidden("origin %q is another site", origin)
	}
	c := caller{name: r.RemoteAddr}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		entry, err := s.tokens.Load().findKey(r.TLS.PeerCertificates[0], time.Now())
		if err != nil {
			return caller{}, &problem{http.StatusUnauthorized, err.Error()}
		}
		c = caller{name: entry.name + " from " + r.RemoteAddr, id: entry.name, role: entry.role}
	}
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, text, _ := strings.Cut(header, " ")
		entry, ok := s.tokens.Load().find(strings.TrimSpace(text))
		if !strings.EqualFold(scheme, "Bearer") || !ok {
			return caller{}, &problem{http.StatusUnauthorized, "unknown bearer token"}
		}
		c = caller{name: entry.name + " from " + r.RemoteAddr, id: entry.name, role: entry.role}
	}
	return c, nil
}

// knownHost says whether a Host header names this node in a way that no other
// site's DNS can make up.
func (s *Server) knownHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return host == "localhost" || slices.Contains(s.config.Hosts, host)
}

// sameOrigin compares a request's Origin header with its Host header. An
// opaque origin ("null") is another site.
func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && strings.EqualFold(u.Host, host)
}
