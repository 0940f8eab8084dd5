package probe

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edged/health"
)

// healthService answers as grpc-go's health server does.
func healthService(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("Content-Type", "application/grpc")
	if r.Method != http.MethodPost || r.URL.Path != "/grpc.health.v1.Health/Check" || r.Header.Get("Te") != "trailers" ||
		r.Header.Get("Content-Type") != "application/grpc" {
		w.Header().Set("Grpc-Status", "12")
		return
	}
	serve := func(message string) {
		w.Write(frame([]byte(message)))
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	}
	switch string(body) {
	case "\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x05\x0a\x03www":
		serve("\x08\x01")
	case "\x00\x00\x00\x00\x06\x0a\x04down":
		serve("\x08\x02")
	case "\x00\x00\x00\x00\x06\x0a\x04more": // fields that we do not know
		serve("\x12\x03abc\x08\x01\x1d\x00\x00\x00\x00")
	case "\x00\x00\x00\x00\x07\x0a\x05empty":
		serve("")
	case "\x00\x00\x00\x00\x06\x0a\x04late": // the status in the trailers after a message
		w.Write(frame([]byte("\x08\x01")))
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "14")
	default:
		w.Header().Set("Grpc-Status", "5")
	}
}

// grpcServer runs a handler over HTTP/2, with TLS or by prior knowledge.
func grpcServer(t *testing.T, h http.HandlerFunc, secure *tls.Config, connections *atomic.Int32) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = quiet
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	if secure != nil {
		s.TLS, s.EnableHTTP2 = secure, true
		s.StartTLS()
	} else {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func TestGRPC(t *testing.T) {
	leakless(t)
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.valid(t, "grpc.example.com")}}
	for _, row := range []struct {
		service string
		outcome health.Outcome
		reason  string
	}{
		{"", health.Passed, ""},
		{"www", health.Passed, ""},
		{"more", health.Passed, ""},
		{"down", health.Wrong, "NOT_SERVING, want SERVING"},
		{"empty", health.Wrong, "UNKNOWN, want SERVING"},
		{"late", health.Wrong, "grpc status 14: unavailable"},
		{"nobody", health.Wrong, "grpc status 5: no such service"},
	} {
		for _, secure := range []*tls.Config{nil, config} {
			name := row.service
			if secure != nil {
				name += "/tls"
			}
			t.Run(name, func(t *testing.T) {
				var connections atomic.Int32
				s := grpcServer(t, healthService, secure, &connections)
				c := health.Check{Kind: health.GRPC, Service: row.service, TLS: secure != nil, Verify: true, Host: "grpc.example.com"}
				p := open(t, c, addrPort(t, s), Options{Roots: ca.roots})
				for range 5 {
					expect(t, p, row.outcome, row.reason)
				}
				if got := connections.Load(); got != 1 {
					t.Errorf("%d connections for 5 probes, want 1", got)
				}
			})
		}
	}
}

// TestGRPCHostile has servers that are no health service.
func TestGRPCHostile(t *testing.T) {
	leakless(t)
	answer := func(message string, trailer ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc+proto")
			io.WriteString(w, message)
			for i := 0; i < len(trailer); i += 2 {
				w.Header().Set(http.TrailerPrefix+trailer[i], trailer[i+1])
			}
		}
	}
	for _, row := range []struct {
		name    string
		handler http.HandlerFunc
		timeout time.Duration
		outcome health.Outcome
		reason  string
	}{
		{"a web page", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<p>hello") }, 0, health.Wrong, `content type "text/html; charset=utf-8", want application/grpc`},
		{"not found", http.NotFound, 0, health.Wrong, "http status 404, want 200 of gRPC"},
		{"no status", answer("\x00\x00\x00\x00\x02\x08\x01"), 0, health.Wrong, "grpc answer without a status"},
		{"no message", answer("", "Grpc-Status", "0"), 0, health.Wrong, "no message in the answer"},
		{"no method", answer("", "Grpc-Status", "12"), 0, health.Wrong, "grpc status 12: no health service"},
		{"odd status", answer("", "Grpc-Status", "x\ty"), 0, health.Wrong, `grpc status "x\ty"`},
		{"compressed", answer("\x01\x00\x00\x00\x02\x08\x01", "Grpc-Status", "0"), 0, health.Wrong, "message is compressed"},
		{"vast length", answer("\x00\xff\xff\xff\xff\x08\x01", "Grpc-Status", "0"), 0, health.Wrong, "message is not of its length"},
		{"cut varint", answer("\x00\x00\x00\x00\x02\x08\xff", "Grpc-Status", "0"), 0, health.Wrong, "malformed answer"},
		{"another status", answer("\x00\x00\x00\x00\x02\x08\x09", "Grpc-Status", "0"), 0, health.Wrong, "serving status 9, want SERVING"},
		{"long message", answer(strings.Repeat("a", 32<<10), "Grpc-Status", "0"), 0, health.Wrong, "answer over 1024 octets"},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			var err error
			for err == nil {
				_, err = w.Write(make([]byte, 4<<10))
			}
		}, 0, health.Wrong, "answer over 1024 octets"},
		{"stalls", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, brief, health.Silent, "no whole answer within 100ms"},
		{"silent", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, brief, health.Silent, "no answer within 100ms"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var connections atomic.Int32
			s := grpcServer(t, row.handler, nil, &connections)
			p := open(t, health.Check{Kind: health.GRPC, Timeout: row.timeout}, addrPort(t, s), Options{})
			for range 2 {
				expect(t, p, row.outcome, row.reason)
			}
		})
	}
}

// TestGRPCNeedsHTTP2 has servers that speak HTTP/1.1 only.
func TestGRPCNeedsHTTP2(t *testing.T) {
	leakless(t)
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.valid(t, "grpc.example.com")}}
	mute := func(c net.Conn) { io.Copy(io.Discard, c) }
	plain := func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
		mute(c)
	}
	expect(t, open(t, health.Check{Kind: health.GRPC, TLS: true}, serve(t, overTLS(config, mute)), Options{}), health.Wrong, "tls: the peer offers no HTTP/2")
	expect(t, open(t, health.Check{Kind: health.GRPC}, serve(t, plain), Options{}), health.Wrong, "the peer speaks no HTTP/2")
}

// FuzzGRPC reads messages of any octets.
func FuzzGRPC(f *testing.F) {
	for _, message := range []string{"", "\x08\x01", "\x08\x02", "\x12\x03abc\x08\x01", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x0b\x0b\x0c\x0c", "\x0a\xff\xff\xff\xff\x0f"} {
		f.Add(frame([]byte(message)))
	}
	f.Add([]byte("\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := parseServing(body)
		if err == nil && !bytes.Equal(frame(body[5:]), body) {
			t.Errorf("took %x for a frame", body)
		}
		if err != nil && got != 0 {
			t.Errorf("status %d beside error %v", got, err)
		}
		for serving := range uint64(5) {
			message := []byte{8, byte(serving)}
			if bytes.HasPrefix(body, frame(message)) && len(body) == 7 && (err != nil || got != serving) {
				t.Errorf("status %d (%v), want %d", got, err, serving)
			}
		}
	})
}
