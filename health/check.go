package health

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// Kind is how an endpoint is checked.
type Kind string

// The kinds of checks.
const (
	HTTP     Kind = "http"
	HTTPS    Kind = "https"
	TCP      Kind = "tcp"
	DNS      Kind = "dns"      // over UDP
	GRPC     Kind = "grpc"     // grpc.health.v1
	ICMP     Kind = "icmp"     // echo
	Exec     Kind = "exec"     // a command's exit code
	External Kind = "external" // a file or URL that somebody else writes
	VIP      Kind = "vip"      // whether a PoP announces a VIP: nobody probes it, the nodes there say so (see NewVIP)
	Load     Kind = "load"     // what load a PoP has: nobody probes it, the nodes there say so (see NewLoad)
)

// Check is one way to check an endpoint. Only the fields of its kind are set.
type Check struct {
	Kind     Kind          `json:"kind"`
	Port     uint16        `json:"port,omitempty"`
	Interval time.Duration `json:"interval"` // 100ms to 1h
	Timeout  time.Duration `json:"timeout"`  // 10ms to interval
	Fall     int           `json:"fall"`     // failures until it is down, 1 to 100
	Rise     int           `json:"rise"`     // successes in a row until it is up, or its failures are forgotten, 1 to 100

	// TLS, for https, tcp and grpc.
	TLS    bool   `json:"tls,omitempty"`    // tcp and grpc; https always has it
	SNI    string `json:"sni,omitempty"`    // server name; empty: Host
	Verify bool   `json:"verify,omitempty"` // the certificate must be valid for the server name

	// http and https; grpc uses Host as authority.
	Path    string            `json:"path,omitempty"`
	Host    string            `json:"host,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Status  []int             `json:"status,omitempty"` // accepted codes
	Body    string            `json:"body,omitempty"`   // must occur in the first 64 KiB

	// tcp: sent once connected, and what the first 4 KiB of the answer must hold.
	Send   string `json:"send,omitempty"`
	Expect string `json:"expect,omitempty"`

	// dns
	Name  string `json:"name,omitempty"`  // absolute
	Type  string `json:"type,omitempty"`  // mnemonic
	Rcode string `json:"rcode,omitempty"` // mnemonic; empty: any but SERVFAIL and REFUSED when Data is set, else NOERROR
	Data  string `json:"data,omitempty"`  // must be the data of a record in the answer, in presentation format

	Service string   `json:"service,omitempty"` // grpc; empty: the whole server
	Command []string `json:"command,omitempty"` // exec: absolute path and arguments; the address comes in EDGED_ADDRESS
	Source  string   `json:"source,omitempty"`  // external: absolute path, or http(s) URL

	VIP string `json:"vip,omitempty"` // vip: its name
	PoP string `json:"pop,omitempty"` // vip: where it is announced; load: whose it is

	// Target, when valid, is checked in place of the endpoint's address.
	Target netip.Addr `json:"target,omitzero"`
}

// TargetID stands for a target in records: the first 8 octets of a hash of the
// check and the address, so that all nodes with one configuration agree on it.
type TargetID uint64

// String returns 16 hex digits.
func (id TargetID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// MarshalText gives the digits, for JSON.
func (id TargetID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (id *TargetID) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil || len(b) != 16 {
		return fmt.Errorf("target id %q: want 16 hex digits", b)
	}
	*id = TargetID(n)
	return nil
}

// Target is one check of one address. Endpoints that share both share it.
type Target struct {
	ID      TargetID
	Check   Check
	Address netip.Addr // valid but for exec, external and vip
}

// NewVIP returns the target that stands for a VIP as one PoP announces it.
func NewVIP(vip, pop string) Target {
	return NewTarget(Check{Kind: VIP, VIP: vip, PoP: pop}, netip.Addr{})
}

// NewLoad returns the target that stands for the load of a PoP. It is in no plan
// and gets no verdict: what its nodes say is in the reason.
func NewLoad(pop string) Target {
	return NewTarget(Check{Kind: Load, PoP: pop}, netip.Addr{})
}

// NewTarget returns the target that an endpoint's address stands for.
func NewTarget(c Check, endpoint netip.Addr) Target {
	t := Target{Check: c, Address: endpoint.Unmap()}
	if c.Target.IsValid() {
		t.Address = c.Target.Unmap()
	}
	text, err := json.Marshal(struct {
		Check   Check
		Address netip.Addr
	}{c, t.Address})
	if err != nil {
		panic(err) // plain data: it has no cause to fail
	}
	sum := sha256.Sum256(text)
	t.ID = TargetID(binary.BigEndian.Uint64(sum[:8]))
	return t
}

// String returns what is checked, in the form of a URL where it has one.
func (t Target) String() string {
	c := t.Check
	at := netip.AddrPortFrom(t.Address, c.Port).String()
	switch c.Kind {
	case HTTP, HTTPS:
		s := fmt.Sprintf("%s://%s%s", c.Kind, at, c.Path)
		if c.Host != "" {
			s += " (" + c.Host + ")"
		}
		return s
	case DNS:
		return fmt.Sprintf("dns://%s/%s %s", at, c.Name, c.Type)
	case GRPC:
		return fmt.Sprintf("grpc://%s/%s", at, c.Service)
	case ICMP:
		return "icmp://" + t.Address.String()
	case Exec:
		return fmt.Sprintf("exec %s for %s", c.Command[0], t.Address)
	case External:
		return fmt.Sprintf("external %s for %s", c.Source, t.Address)
	case VIP:
		return fmt.Sprintf("vip %s at %s", c.VIP, c.PoP)
	case Load:
		return "load of " + c.PoP
	}
	return fmt.Sprintf("%s://%s", c.Kind, at)
}

// Outcome is what one probe found.
type Outcome uint8

// The outcomes.
const (
	Passed  Outcome = iota
	Wrong           // it answered, but not as it should
	Silent          // nothing answered: refused, unreachable, or not in time
	Skipped         // the probe could not be made, for a reason of this node's own; it says nothing about the target
)

// Result is the result of one probe.
type Result struct {
	Outcome Outcome
	Reason  string        // in words, at most MaxReason octets; when it passed, why it is degraded all the same, or ""
	Took    time.Duration // until the outcome was clear
}

// MaxReason bounds reasons, in octets, so that records stay small.
const MaxReason = 80
