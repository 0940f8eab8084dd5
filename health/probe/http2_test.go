package probe

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"edged/health"
)

// framed has talk speak HTTP/2 frames to the first request on a connection.
func framed(talk func(f *xhttp2.Framer, stream uint32) error) func(net.Conn) {
	return func(c net.Conn) {
		preface := make([]byte, len(xhttp2.ClientPreface))
		if _, err := io.ReadFull(c, preface); err != nil {
			return
		}
		f := xhttp2.NewFramer(c, c)
		f.WriteSettings()
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := frame.(*xhttp2.HeadersFrame); ok {
				if talk(f, h.StreamID) != nil {
					return
				}
			}
		}
	}
}

// headers returns a block of header fields.
func headers(pairs ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return b.Bytes()
}

// TestHTTP2Hostile is TestHTTPHostile for HTTP/2.
func TestHTTP2Hostile(t *testing.T) {
	leakless(t)
	ca := newAuthority(t)
	config := &tls.Config{Certificates: []tls.Certificate{ca.valid(t, "www.example.com")}, NextProtos: []string{"h2"}}
	begin := func(f *xhttp2.Framer, stream uint32) error {
		return f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: stream, BlockFragment: headers(":status", "200"), EndHeaders: true})
	}
	idle := func(c net.Conn) { io.Copy(io.Discard, c) }
	for _, row := range []struct {
		name    string
		talk    func(net.Conn)
		timeout time.Duration
		outcome health.Outcome
		reason  string
	}{
		{"closes", func(c net.Conn) {
			c.(*tls.Conn).CloseWrite()
			idle(c)
		}, 0, health.Wrong, "closed before the answer was whole"},
		{"silent", idle, brief, health.Silent, "no answer within 100ms"},
		{"garbage", func(c net.Conn) {
			io.WriteString(c, strings.Repeat("\xff", 1<<10))
			idle(c)
		}, 0, health.Wrong, "the peer speaks no HTTP/2"},
		{"vast frame", framed(func(f *xhttp2.Framer, stream uint32) error {
			return f.WriteRawFrame(xhttp2.FrameData, 0, stream, make([]byte, 17<<10))
		}), 0, health.Wrong, "http2: frame too large"},
		{"http/1.1", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			idle(c)
		}, 0, health.Wrong, "the peer speaks no HTTP/2"},
		{"endless body", framed(func(f *xhttp2.Framer, stream uint32) error {
			if err := begin(f, stream); err != nil {
				return err
			}
			// The client's windows let no more through; whoever sends more is cut off.
			for range 4 {
				if err := f.WriteData(stream, false, make([]byte, 16<<10)); err != nil {
					return err
				}
			}
			return nil
		}), 0, health.Passed, ""},
		{"body beyond the window", framed(func(f *xhttp2.Framer, stream uint32) error {
			err := begin(f, stream)
			for err == nil {
				err = f.WriteData(stream, false, make([]byte, 16<<10))
			}
			return err
		}), 0, health.Passed, ""},
		{"stalls in body", framed(func(f *xhttp2.Framer, stream uint32) error {
			begin(f, stream)
			return f.WriteData(stream, false, []byte("half"))
		}), brief, health.Silent, "no whole answer within 100ms"},
		{"big headers", framed(func(f *xhttp2.Framer, stream uint32) error {
			return f.WriteHeaders(xhttp2.HeadersFrameParam{
				StreamID: stream, EndHeaders: true, EndStream: true,
				BlockFragment: headers(":status", "200", "x-big", strings.Repeat("a", 12<<10)),
			})
		}), 0, health.Wrong, "connection error: COMPRESSION_ERROR"},
		{"endless headers", framed(func(f *xhttp2.Framer, stream uint32) error {
			err := f.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: stream, BlockFragment: headers(":status", "200")})
			for err == nil {
				err = f.WriteContinuation(stream, false, headers("x", strings.Repeat("a", 1<<10)))
			}
			return err
		}), 0, health.Wrong, "connection error: PROTOCOL_ERROR"},
		{"pings without end", framed(func(f *xhttp2.Framer, stream uint32) error {
			for {
				if err := f.WritePing(false, [8]byte{}); err != nil {
					return err
				}
			}
		}), brief, health.Silent, "no answer within 100ms"},
		{"reset stream", framed(func(f *xhttp2.Framer, stream uint32) error {
			return f.WriteRSTStream(stream, xhttp2.ErrCodeInternal)
		}), 0, health.Wrong, "stream error: stream ID 1; INTERNAL_ERROR; received from peer"},
		{"goes away", framed(func(f *xhttp2.Framer, stream uint32) error {
			return f.WriteGoAway(0, xhttp2.ErrCodeEnhanceYourCalm, nil)
		}), 0, health.Wrong, "http2: Transport received GOAWAY from server ErrCode:ENHANCE_YOUR_CALM"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var y tally
			c := health.Check{Kind: health.HTTPS, Path: "/", Timeout: row.timeout}
			p := open(t, c, serve(t, overTLS(config, row.talk)), y.options())
			for range 2 {
				y.octets.Store(0)
				expect(t, p, row.outcome, row.reason)
				if got := y.octets.Load(); row.name != "pings without end" && got > 512<<10 {
					t.Errorf("read %d octets, want at most 512 KiB", got)
				}
			}
			if got := y.dials.Load(); got != 2 {
				t.Errorf("%d connections for 2 probes of a broken peer, want 2", got)
			}
		})
	}
}

// TestTLSHostile has peers whose TLS is none.
func TestTLSHostile(t *testing.T) {
	leakless(t)
	hello := func(answer string) func(net.Conn) {
		return func(c net.Conn) {
			c.Read(make([]byte, 4<<10))
			io.WriteString(c, answer)
			io.Copy(io.Discard, c)
		}
	}
	for _, row := range []struct {
		name    string
		talk    func(net.Conn)
		timeout time.Duration
		outcome health.Outcome
		reason  string
	}{
		{"plain", hello("HTTP/1.1 400 Bad Request\r\n\r\n"), 0, health.Wrong, "tls: the peer does not speak it"},
		{"garbage", hello(strings.Repeat("\xff", 1<<10)), 0, health.Wrong, "tls: the peer does not speak it"},
		{"vast record", hello("\x16\x03\x03\xff\xff" + strings.Repeat("a", 1<<16)), 0, health.Wrong, "tls: the peer does not speak it"},
		{"vast message", hello("\x16\x03\x03\x00\x08\x02\xff\xff\xff\x03\x03\x00\x00"), 0, health.Wrong, "tls: handshake message of length 16777215 bytes exceeds maximum of 65536 bytes"},
		{"bad message", hello("\x16\x03\x03\x00\x08\x02\x00\x00\x04\xff\xff\xff\xff"), 0, health.Wrong, "tls: error decoding message"},
		{"not a hello", hello("\x16\x03\x03\x00\x04\x0e\x00\x00\x00"), 0, health.Wrong, "tls: received unexpected handshake message of type *tls.serverHelloDoneMsg wh…"},
		{"empty records", func(c net.Conn) {
			c.Read(make([]byte, 4<<10))
			for {
				if _, err := io.WriteString(c, "\x16\x03\x03\x00\x00"); err != nil {
					return
				}
			}
		}, 0, health.Wrong, "tls: unexpected message"},
		{"alert", hello("\x15\x03\x03\x00\x02\x02\x28"), 0, health.Wrong, "tls: the peer says: handshake failure"},
		{"closes", func(c net.Conn) { c.Read(make([]byte, 4<<10)) }, 0, health.Wrong, "closed before the answer was whole"},
		{"silent", hello(""), brief, health.Silent, "no answer within 100ms"},
		{"half a record", hello("\x16\x03\x03\x00\x50\x02"), brief, health.Silent, "no answer within 100ms"},
	} {
		for _, c := range []health.Check{
			{Kind: health.HTTPS, Path: "/", Timeout: row.timeout},
			{Kind: health.TCP, TLS: true, Timeout: row.timeout},
			{Kind: health.GRPC, TLS: true, Timeout: row.timeout},
		} {
			t.Run(row.name+"/"+string(c.Kind), func(t *testing.T) {
				var y tally
				expect(t, open(t, c, serve(t, row.talk), y.options()), row.outcome, row.reason)
				if got := y.octets.Load(); got > 128<<10 {
					t.Errorf("read %d octets, want at most 128 KiB", got)
				}
			})
		}
	}
}
