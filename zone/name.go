package zone

import (
	"strings"

	"github.com/miekg/dns"
)

// canonical returns a name in the one spelling that the zone uses as a key:
// absolute, ASCII letters in lower case, escapes only where they are needed and
// as \DDD. It reports false for what is not a domain name (RFC 1035 §3.1
// limits: labels of 1 to 63 octets, 255 octets in all).
func canonical(name string) (string, bool) {
	if !isName(name) {
		return "", false
	}
	name = dns.Fqdn(name)
	if !plain(name) {
		// Through the wire and back, so that \065, \a and a are one name.
		var wire [256]byte
		n, err := dns.PackDomainName(name, wire[:], 0, nil, false)
		if err != nil {
			return "", false
		}
		if name, _, err = dns.UnpackDomainName(wire[:n], 0); err != nil {
			return "", false
		}
	}
	return lower(name), true
}

// maxName is the longest name in octets on the wire, its root label included.
const maxName = 255

// isName reports whether text is a domain name in presentation form. It is
// stricter than dns.IsDomainName, which lets names of 256 octets and the empty
// text through.
func isName(text string) bool {
	if _, ok := dns.IsDomainName(text); !ok || text == "" {
		return false
	}
	text = dns.Fqdn(text)
	if strings.IndexByte(text, '\\') < 0 {
		return text == "." || len(text) < maxName // each label costs its dot, the root one more
	}
	var wire [2 * maxName]byte
	n, err := dns.PackDomainName(text, wire[:], 0, nil, false)
	return err == nil && n <= maxName
}

// plain reports whether a name holds only octets whose spelling is unique.
func plain(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '_', c == '.', c == '*':
		default:
			return false
		}
	}
	return true
}

// lower maps A-Z to a-z and leaves every other octet alone (RFC 4343).
func lower(name string) string {
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			b := []byte(name)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return name
}

// parent returns the name without its first label; the root is its own parent.
func parent(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}

// below reports whether a canonical name lies strictly below another.
func below(name, top string) bool {
	return len(name) > len(top) && dns.IsSubDomain(top, name)
}

// isWildcard reports whether the name's first label is exactly "*".
func isWildcard(name string) bool { return strings.HasPrefix(name, "*.") }

// sortKey returns a string whose byte order is the canonical order of names
// (RFC 4034 §6.1): labels from the root down, each ended by 0, with the octets
// 0 and 1 spelt as two so that they cannot be taken for the end.
func sortKey(name string) string {
	var wire [256]byte
	n, err := dns.PackDomainName(name, wire[:], 0, nil, false)
	if err != nil {
		return name
	}
	var starts []int
	for i := 0; i < n && wire[i] != 0; i += int(wire[i]) + 1 {
		starts = append(starts, i)
	}
	key := make([]byte, 0, n)
	for i := len(starts) - 1; i >= 0; i-- {
		at := starts[i]
		for _, c := range wire[at+1 : at+1+int(wire[at])] {
			if c <= 1 {
				key = append(key, 1, c+1)
			} else {
				key = append(key, c)
			}
		}
		key = append(key, 0)
	}
	return string(key)
}
