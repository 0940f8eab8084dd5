package speaker

import (
	"context"
	"log/slog"
	"net/netip"

	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// tap is the handler of GoBGP's log. It keeps what the log alone tells, why a
// connection could not be made, and passes warnings on; GoBGP's other news is
// debugging for us.
//
// While GoBGP connects it has no event for a failure: the session's state stays
// Active. The messages and keys used here are those of the version in go.mod; a
// test with real peers fails when they change.
type tap struct {
	next     slog.Handler
	sessions *sessions
	peer     netip.Addr // whom the logger is about, if anyone
}

// Enabled says yes, for failed connections are logged as debugging.
func (t *tap) Enabled(context.Context, slog.Level) bool { return true }

func (t *tap) Handle(ctx context.Context, r slog.Record) error {
	switch r.Message {
	case "failed to connect":
		text := value(r, "Error").String()
		t.sessions.note(t.peer, func(p Peer) string { return unconnected(p, text) })
	case "outgoing connection established":
		t.sessions.connected(t.peer)
	case "outgoing connection IO error":
		t.sessions.refused(t.peer)
	case "Send operation notification":
		if address, err := netip.ParseAddr(value(r, "Key").String()); err == nil {
			t.sessions.setOrdered(address, true)
		}
	case "sent notification":
		code, subcode := value(r, "Code"), value(r, "Subcode")
		if code.Kind() == slog.KindInt64 && code.Int64() == gobgp.BGP_ERROR_CEASE && subcode.Int64() == gobgp.BGP_ERROR_SUB_ADMINISTRATIVE_RESET {
			t.sessions.setOrdered(t.peer, false)
		}
		if code.Kind() == slog.KindInt64 && subcode.Kind() == slog.KindInt64 {
			what := words(uint8(code.Int64()), uint8(subcode.Int64()))
			t.sessions.note(t.peer, func(p Peer) string { return sent(p, what) })
		}
	}
	if r.Level < slog.LevelWarn {
		r.Level = slog.LevelDebug
	}
	if !t.next.Enabled(ctx, r.Level) {
		return nil
	}
	return t.next.Handle(ctx, r)
}

func (t *tap) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *t
	with.next = t.next.WithAttrs(attrs)
	for _, a := range attrs {
		if address, err := netip.ParseAddr(a.Value.String()); a.Key == "Key" && err == nil {
			with.peer = address
		}
	}
	return &with
}

func (t *tap) WithGroup(name string) slog.Handler {
	with := *t
	with.next = t.next.WithGroup(name)
	return &with
}

// value returns a value of a record; the zero value when it has none.
func value(r slog.Record, key string) (v slog.Value) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			v = a.Value
		}
		return a.Key != key
	})
	return v
}
