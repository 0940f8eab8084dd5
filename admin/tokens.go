package admin

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"edged/edge"
)

// Role says what the bearer of a token may change.
type Role string

// The roles.
const (
	Engineer   Role = "engineer"    // the node and its traffic
	MapBuilder Role = "map-builder" // maps and measurements
)

const (
	minToken      = 20      // characters; 20 of base64 are 120 bits
	maxTokensFile = 1 << 20 // octets
)

// keyPrefix begins what stands for a token in the line of a client's certificate:
// the SHA-256 of its public key follows in hex (of the SubjectPublicKeyInfo, RFC
// 7469 section 2.4).
const keyPrefix = "key-sha256:"

// Tokens are the bearer tokens and the keys of clients' certificates that the API
// accepts. Only their hashes are held. The zero value accepts none.
type Tokens struct {
	list []token
}

type token struct {
	name string
	role Role
	key  bool // of a certificate
	hash [sha256.Size]byte
}

// ReadTokens reads a file with one "name role token" a line, or "name role
// key-sha256:HEX" for a client's certificate; "#" starts a comment line. It refuses a file that others than its owner may read. Errors
// name file and line, never a token.
func ReadTokens(path string) (*Tokens, error) {
	f, err := edge.OpenRegular(path)
	if err != nil {
		return nil, fmt.Errorf("tokens file %q: %w", path, unwrapPath(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("tokens file %q: %w", path, unwrapPath(err))
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("tokens file %q: mode %04o lets others use it; chmod 600", path, mode)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxTokensFile+1))
	if err != nil {
		return nil, fmt.Errorf("tokens file %q: %w", path, unwrapPath(err))
	}
	if len(data) > maxTokensFile {
		return nil, fmt.Errorf("tokens file %q: larger than %d KiB", path, maxTokensFile>>10)
	}
	return parseTokens(data, path)
}

// unwrapPath drops the path that an os error repeats.
func unwrapPath(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// parseTokens reads the text of a tokens file. All errors are reported at once.
func parseTokens(data []byte, file string) (*Tokens, error) {
	t := new(Tokens)
	var errs []error
	bad := func(line int, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s:%d: %s", file, line, fmt.Sprintf(format, args...)))
	}
	names, hashes := map[string]int{}, map[[sha256.Size]byte]int{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxTokensFile+1)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		if len(fields) != 3 {
			bad(n, "want name, role and token, got %d fields", len(fields))
			continue
		}
		entry := token{name: fields[0], role: Role(fields[1]), hash: sha256.Sum256([]byte(fields[2]))}
		if text, ok := strings.CutPrefix(fields[2], keyPrefix); ok {
			entry.key = true
			if hash, err := hex.DecodeString(text); err != nil || len(hash) != sha256.Size {
				bad(n, "the key of %q is no hash: want %s and %d hex digits", entry.name, keyPrefix, 2*sha256.Size)
				continue
			} else {
				entry.hash = [sha256.Size]byte(hash)
			}
		}
		switch {
		case entry.role != Engineer && entry.role != MapBuilder:
			bad(n, "unknown role; want %s or %s", Engineer, MapBuilder)
		case len(fields[2]) < minToken:
			bad(n, "the token of %q has %d characters; want at least %d", entry.name, len(fields[2]), minToken)
		case names[entry.name] > 0:
			bad(n, "name %q stands on line %d already", entry.name, names[entry.name])
		case hashes[entry.hash] > 0:
			bad(n, "the token of %q stands on line %d already", entry.name, hashes[entry.hash])
		default:
			names[entry.name], hashes[entry.hash] = n, n
			t.list = append(t.list, entry)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// find returns the entry of a token. The time it takes depends on the number of
// tokens only.
func (t *Tokens) find(text string) (found token, ok bool) {
	if t == nil {
		return token{}, false
	}
	hash := sha256.Sum256([]byte(text))
	for _, entry := range t.list {
		if subtle.ConstantTimeCompare(hash[:], entry.hash[:]) == 1 && !entry.key {
			found, ok = entry, true
		}
	}
	return found, ok
}

// findKey returns the entry of a client's certificate, of which the handshake has
// shown that the client has the key. Who signed it does not matter.
func (t *Tokens) findKey(c *x509.Certificate, now time.Time) (token, error) {
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return token{}, fmt.Errorf("the client certificate holds from %s to %s only", c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
	}
	hash := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	if t != nil {
		for _, entry := range t.list {
			if entry.key && entry.hash == hash {
				return entry, nil
			}
		}
	}
	return token{}, fmt.Errorf("unknown client certificate: the tokens file has no line with %s%x", keyPrefix, hash)
}
