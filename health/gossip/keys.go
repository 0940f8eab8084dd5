package gossip

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"edged/edge"
)

// maxKeyFile bounds a file of keys, in octets.
const maxKeyFile = 64 << 10

// ReadKeys reads the file of gossip keys: 32 random octets in base64 on each
// line, the first of which encrypts; empty lines and those that begin with "#"
// are skipped. It errs when others than the owner may use the file, and on lines
// that are no keys; errors name the line, never its text.
func ReadKeys(path string) ([][]byte, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// parseKeys reads the text of a file of gossip keys.
func parseKeys(text []byte) ([][]byte, error) {
	var keys [][]byte
	for number, line := range bytes.Split(text, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, err := decode64(line, keySize)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w; make one with: head -c 32 /dev/urandom | base64", number+1, err)
		}
		keys = append(keys, key)
	}
	if _, err := secrets(keys); err != nil {
		return nil, err
	}
	return keys, nil
}

// nodeKeyPrefix begins the text of a node's public key.
const nodeKeyPrefix = "ed25519:"

// FormatNodeKey returns the text of a node's public key, "ed25519:" and 44
// characters of base64.
func FormatNodeKey(key ed25519.PublicKey) string {
	return nodeKeyPrefix + base64.StdEncoding.EncodeToString(key)
}

// ParseNodeKey reads the text of a node's public key.
func ParseNodeKey(text string) (ed25519.PublicKey, error) {
	encoded, ok := strings.CutPrefix(text, nodeKeyPrefix)
	if !ok {
		return nil, fmt.Errorf("node key %q does not begin with %q", text, nodeKeyPrefix)
	}
	key, err := decode64([]byte(encoded), ed25519.PublicKeySize)
	if err != nil {
		return nil, fmt.Errorf("node key %q: %w", text, err)
	}
	return key, nil
}

// ReadNodeKey reads the private key that MakeNodeKey wrote. It errs with
// fs.ErrNotExist when there is no file, and when others than the owner may use
// it.
func ReadNodeKey(path string) (ed25519.PrivateKey, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	key, err := parsePrivate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; a node whose key is lost needs a new one, and its members entry too", path, err)
	}
	return key, nil
}

// parsePrivate reads a private key's text: comments, and the seed in base64 on
// one line.
func parsePrivate(text []byte) (ed25519.PrivateKey, error) {
	var seed []byte
	for number, line := range bytes.Split(text, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if seed != nil {
			return nil, fmt.Errorf("line %d: want one key alone", number+1)
		}
		var err error
		if seed, err = decode64(line, ed25519.SeedSize); err != nil {
			return nil, fmt.Errorf("line %d: %w", number+1, err)
		}
	}
	if seed == nil {
		return nil, errors.New("no key in it")
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// MakeNodeKey makes a private key and writes it to a file that only the owner
// may use, whole or not at all. It errs with fs.ErrExist when there is a file
// already: a node's key is never replaced, since the fleet knows the node by it.
func MakeNodeKey(path string) (ed25519.PrivateKey, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("node key %s: %w", path, fs.ErrExist)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("# private key of this edged node; its public key is\n# %s\n%s\n",
		FormatNodeKey(public), base64.StdEncoding.EncodeToString(private.Seed()))
	if err := edge.ReplaceFile(path, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("node key %s: %w", path, err)
	}
	return private, nil
}

// decode64 reads base64 of a known number of octets. Its errors do not hold
// the text, which may be secret.
func decode64(text []byte, size int) ([]byte, error) {
	key, err := base64.StdEncoding.Strict().DecodeString(string(text))
	if err != nil {
		return nil, fmt.Errorf("not base64 of %d octets", size)
	}
	if len(key) != size {
		return nil, fmt.Errorf("base64 of %d octets, want %d", len(key), size)
	}
	return key, nil
}

// readPrivate reads a file that only its owner may use.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode(); !mode.IsRegular() || mode.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %v: a key is a file that its owner alone may use; try: chmod 600 %s", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(text) > maxKeyFile {
		err = fmt.Errorf("%s: more than %d octets", path, maxKeyFile)
	}
	return text, err
}
