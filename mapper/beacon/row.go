package beacon

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// Row is one round-trip time that a beacon measured, or an attempt that failed.
type Row struct {
	Session  uint64     // SessionID of the session's name
	Time     int64      // Unix time in seconds
	Client   netip.Addr // never an IPv4-mapped one
	Resolver netip.Addr // that asked for the session's name; may be invalid: not known
	PoP      uint16     // index in the table of PoPs that comes with the row
	RTT      uint16     // in 0.1 ms; 0: no answer came (Failed)
	Method   Method
}

// Failed reports whether the row is an attempt that brought no answer.
func (r Row) Failed() bool { return r.RTT == 0 }

// compareRows orders the rows of a session; rows that compare equal are equal.
func compareRows(a, b Row) int {
	return cmp.Or(
		cmp.Compare(a.Session, b.Session),
		a.Client.Compare(b.Client),
		a.Resolver.Compare(b.Resolver),
		cmp.Compare(a.Time, b.Time),
		cmp.Compare(a.PoP, b.PoP),
		cmp.Compare(a.RTT, b.RTT),
		cmp.Compare(a.Method, b.Method),
	)
}

// SessionID makes the number of a session from its name, which may be any text:
// the first 8 octets of its SHA-256, big-endian.
func SessionID(name []byte) uint64 {
	sum := sha256.Sum256(name)
	return binary.BigEndian.Uint64(sum[:8])
}

// Method says how a round-trip time was measured.
type Method uint8

// The methods.
const (
	Resource Method = iota // a small request on a warm connection (W3C Resource Timing)
	Connect                // a TCP handshake: connectEnd - connectStart
	TCP                    // the server's own estimate of the connection's time
	Ping                   // ICMP echo
	methods
)

var methodNames = [methods]string{"resource", "connect", "tcp", "ping"}

func (m Method) String() string {
	if m < methods {
		return methodNames[m]
	}
	return fmt.Sprintf("method %d", uint8(m))
}

// ParseMethod reads what String writes.
func ParseMethod(text string) (Method, error) {
	if i := slices.Index(methodNames[:], text); i >= 0 {
		return Method(i), nil
	}
	return 0, fmt.Errorf("unknown method %q: want resource, connect, tcp or ping", text)
}

// Unit is a block of addresses that is steered as one: a /24 of IPv4 or a /48 of
// IPv6. Units are ordered as their prefixes are, IPv4 first.
type Unit uint64

const unit6 Unit = 1 << 63

// UnitOf returns the unit of an address, which must be valid.
func UnitOf(a netip.Addr) Unit {
	if a.Is4() {
		b := a.As4()
		return Unit(b[0])<<16 | Unit(b[1])<<8 | Unit(b[2])
	}
	b := a.As16()
	return unit6 | Unit(binary.BigEndian.Uint64(b[:8])>>16)
}

// Is4 reports whether the unit is one of IPv4.
func (u Unit) Is4() bool { return u&unit6 == 0 }

// Prefix returns the unit's prefix.
func (u Unit) Prefix() netip.Prefix {
	if u.Is4() {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(u >> 16), byte(u >> 8), byte(u)}), 24)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(u)<<16)
	return netip.PrefixFrom(netip.AddrFrom16(b), 48)
}

func (u Unit) String() string { return u.Prefix().String() }

// Session is what one beacon session measured. The rows are ordered; they and the
// table may be kept but not changed.
type Session struct {
	ID   uint64
	PoPs []string // the names that Row.PoP indexes; the same slice for all sessions of a reading
	Rows []Row    // one or more
}

// Time is when the session began: the time of its earliest row.
func (s Session) Time() int64 {
	first := s.Rows[0].Time
	for _, r := range s.Rows[1:] {
		first = min(first, r.Time)
	}
	return first
}
