package beacon

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"edged/edge"
)

// Columns are the names of what a row in a file has, in the order in which we
// write them.
var Columns = [...]string{"time", "session", "client", "resolver", "pop", "rtt_ms", "method"}

// Indexes of Columns.
const (
	colTime = iota
	colSession
	colClient
	colResolver
	colPoP
	colRTT
	colMethod
	columns
)

// record is a row of a file as text.
type record [columns][]byte

// Reason is why a row is rejected.
type Reason string

// The reasons.
const (
	BadShape    Reason = "not a row"           // other columns, no JSON object, a line that is too long
	BadTime     Reason = "bad time"            // neither RFC 3339 nor Unix seconds
	Early       Reason = "too long ago"        // before Options.Oldest
	Late        Reason = "in the future"       // more than 10 minutes after Options.Now
	BadSession  Reason = "bad session"         // empty or longer than 255 octets
	BadClient   Reason = "bad client"          // no address
	Private     Reason = "client not public"   // private, reserved, multicast, documentation
	BadResolver Reason = "bad resolver"        // neither empty nor an address
	Inside      Reason = "resolver not public" // as a client
	UnknownPoP  Reason = "unknown pop"         // not in Options.PoPs
	BadRTT      Reason = "bad rtt_ms"          // no number
	Implausible Reason = "implausible rtt_ms"  // below 0.3 or above 3000
	BadMethod   Reason = "unknown method"
	Ambiguous   Reason = "failed, with a time" // a method that failed, and rtt_ms
)

// The bounds of what is believed (round-trip times in ms).
const (
	minRTT     = 0.3 // less than that needs a client in the PoP itself
	maxRTT     = 3000
	clockSkew  = 10 * time.Minute
	maxSession = 255 // octets
)

// fault is a rejected row: why, and what about it.
type fault struct {
	Reason
	what string
}

func (f *fault) Error() string { return string(f.Reason) + ": " + f.what }

func reject(why Reason, format string, args ...any) *fault {
	return &fault{why, fmt.Sprintf(format, args...)}
}

// rowParser makes rows of records.
type rowParser struct {
	pops     []string
	index    map[string]uint16
	anyPoP   bool // a name that is not in index is entered
	private  bool
	now      int64 // Unix time
	earliest int64
}

func newRowParser(o Options) *rowParser {
	p := &rowParser{
		index: map[string]uint16{}, anyPoP: len(o.PoPs) == 0, private: o.AllowPrivate,
		now: o.Now.Unix(), earliest: max(0, o.Oldest.Unix()),
	}
	for _, name := range o.PoPs {
		p.enter(name)
	}
	return p
}

func (p *rowParser) enter(name string) uint16 {
	i := uint16(len(p.pops))
	p.pops = append(p.pops, name)
	p.index[name] = i
	return i
}

// row parses and judges a record. The first thing wrong is the reason.
func (p *rowParser) row(c *record) (r Row, f *fault) {
	var ok bool
	if r.Time, ok = parseTime(c[colTime]); !ok {
		return r, reject(BadTime, "%q: want RFC 3339 or Unix seconds", c[colTime])
	}
	if r.Time < p.earliest {
		return r, reject(Early, "%q", c[colTime])
	}
	if r.Time > p.now+int64(clockSkew/time.Second) {
		return r, reject(Late, "%q: more than %v ahead", c[colTime], clockSkew)
	}
	if n := len(c[colSession]); n == 0 || n > maxSession {
		return r, reject(BadSession, "%d octets: want 1 to %d", n, maxSession)
	}
	r.Session = SessionID(c[colSession])
	if r.Client, ok = parseAddr(c[colClient]); !ok {
		return r, reject(BadClient, "%q is no address", c[colClient])
	}
	if len(c[colResolver]) > 0 {
		if r.Resolver, ok = parseAddr(c[colResolver]); !ok {
			return r, reject(BadResolver, "%q is no address", c[colResolver])
		}
	}
	if !p.private && !public(r.Client) {
		return r, reject(Private, "%s", r.Client)
	}
	if !p.private && r.Resolver.IsValid() && !public(r.Resolver) {
		return r, reject(Inside, "%s", r.Resolver)
	}
	if r.PoP, f = p.pop(c[colPoP]); f != nil {
		return r, f
	}
	method, failed := strings.CutSuffix(string(c[colMethod]), failedSuffix)
	if r.Method, f = parseMethod(method, c[colMethod]); failed || f != nil && len(c[colRTT]) == 0 {
		if f == nil && len(c[colRTT]) > 0 {
			f = reject(Ambiguous, "%q with rtt_ms %q: want it empty", c[colMethod], c[colRTT])
		}
		return r, f
	}
	ms, err := strconv.ParseFloat(string(c[colRTT]), 64)
	if err != nil || math.IsNaN(ms) {
		return r, reject(BadRTT, "%q: want milliseconds", c[colRTT])
	}
	if r.RTT, ok = Plausible(ms); !ok {
		return r, reject(Implausible, "%s ms: want %v to %v", c[colRTT], minRTT, maxRTT)
	}
	return r, f
}

// failedSuffix ends the method of a row whose attempt brought no answer; its rtt_ms
// is empty.
const failedSuffix = "-failed"

func parseMethod(name string, whole []byte) (Method, *fault) {
	m, err := ParseMethod(name)
	if err != nil {
		return 0, reject(BadMethod, "%q", whole)
	}
	return m, nil
}

// Plausible returns a round-trip time as rows have it, and whether it can be true.
func Plausible(ms float64) (rtt uint16, ok bool) {
	if !(ms >= minRTT && ms <= maxRTT) {
		return 0, false
	}
	return uint16(math.Round(ms * 10)), true
}

func (p *rowParser) pop(name []byte) (uint16, *fault) {
	if i, ok := p.index[string(name)]; ok {
		return i, nil
	}
	if !p.anyPoP || len(name) == 0 || len(name) > maxName || len(p.pops) >= maxPoPs {
		return 0, reject(UnknownPoP, "%q", name)
	}
	return p.enter(string(name)), nil
}

// parseTime reads RFC 3339 or Unix seconds, and drops fractions.
func parseTime(text []byte) (int64, bool) {
	seconds := int64(0)
	for i, c := range text {
		switch {
		case c >= '0' && c <= '9' && seconds <= maxHour*hourLength:
			seconds = seconds*10 + int64(c-'0')
		case c == '.' && i > 0 && len(text) > i+1 && digitsOnly(text[i+1:]):
			return seconds, seconds < maxHour*hourLength
		default:
			at, err := time.Parse(time.RFC3339, string(text))
			return at.Unix(), err == nil && at.Unix() >= 0 && at.Unix() < maxHour*hourLength
		}
	}
	return seconds, len(text) > 0 && seconds < maxHour*hourLength
}

func digitsOnly(text []byte) bool {
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// parseAddr reads an address; an IPv4-mapped one becomes IPv4.
func parseAddr(text []byte) (netip.Addr, bool) {
	a, err := netip.ParseAddr(string(text))
	return a.Unmap(), err == nil && a.Zone() == ""
}

// public says whether an address can be one of the Internet's.
func public(a netip.Addr) bool { return edge.Routable(netip.PrefixFrom(a, a.BitLen())) }
