package gossip

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// keyForms returns the texts that a key could show up as.
func keyForms(key []byte) map[string]string {
	return map[string]string{
		"base64":  base64.StdEncoding.EncodeToString(key),
		"hex":     hex.EncodeToString(key),
		"octets":  string(key),
		"numbers": strings.Trim(fmt.Sprint(key), "[]"),
	}
}

// write writes a file with a mode.
func write(t *testing.T, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadKeys(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	path := write(t, "# new\n"+b64(key("new"))+"\n\n  # old\n"+b64(key("old"))+"  \r\n", 0o600)
	keys, err := ReadKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 2 || !bytes.Equal(keys[0], key("new")) || !bytes.Equal(keys[1], key("old")) {
		t.Errorf("got %x", keys)
	}
}

func TestReadKeysErrs(t *testing.T) {
	const hint = "; make one with: head -c 32 /dev/urandom | base64"
	b64 := base64.StdEncoding.EncodeToString
	tests := []struct {
		text string
		mode fs.FileMode
		want string // PATH stands for the file's
	}{
		{"", 0o600, "PATH: 0 gossip keys: want 1 to 8"},
		{"# nothing\n", 0o600, "PATH: 0 gossip keys: want 1 to 8"},
		{"\nsecret!\n", 0o600, "PATH: line 2: not base64 of 32 octets" + hint},
		{b64(key("k")[:16]), 0o600, "PATH: line 1: base64 of 16 octets, want 32" + hint},
		{b64(key("k")) + "\n" + b64(key("k")), 0o600, "PATH: gossip key 2 occurs twice"},
		{b64(key("k")), 0o640, "PATH has mode -rw-r-----: a key is a file that its owner alone may use; try: chmod 600 PATH"},
		{b64(key("k")), 0o604, "PATH has mode -rw----r--: a key is a file that its owner alone may use; try: chmod 600 PATH"},
		{strings.Repeat("#\n", maxKeyFile), 0o600, "PATH: more than 65536 octets"},
	}
	for _, test := range tests {
		path := write(t, test.text, test.mode)
		_, err := ReadKeys(path)
		if want := strings.ReplaceAll(test.want, "PATH", path); err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
	if _, err := ReadKeys(t.TempDir()); err == nil {
		t.Error("a directory was read as keys")
	}
}

func TestNodeKeyIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node.ed25519")
	if _, err := ReadNodeKey(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read of nothing: %v", err)
	}
	made, err := MakeNodeKey(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("file has mode %v (error %v), want 0600", info.Mode(), err)
	}
	read, err := ReadNodeKey(path)
	if err != nil || !read.Equal(made) {
		t.Errorf("read %v, error %v", read.Equal(made), err)
	}
	if _, err := MakeNodeKey(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made again: %v", err)
	}
	if again, err := ReadNodeKey(path); err != nil || !again.Equal(made) {
		t.Error("the second attempt changed the key")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files are left (error %v), want 1", len(entries), err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), FormatNodeKey(made.Public().(ed25519.PublicKey))) {
		t.Errorf("the file does not say its public key (error %v)", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadNodeKey(path); err == nil {
		t.Error("a key that all can read was taken")
	}
}

func TestReadNodeKeyErrs(t *testing.T) {
	seed := base64.StdEncoding.EncodeToString(key("seed"))
	for text, want := range map[string]string{
		"# only words\n":       "no key in it",
		seed + "\n" + seed:     "line 2: want one key alone",
		"AAAA\n":               "line 1: base64 of 3 octets, want 32",
		"#\nnot base64 at all": "line 2: not base64 of 32 octets",
	} {
		path := write(t, text, 0o600)
		_, err := ReadNodeKey(path)
		if want := path + ": " + want + "; a node whose key is lost needs a new one, and its members entry too"; err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func TestParseNodeKeyErrs(t *testing.T) {
	for text, want := range map[string]string{
		"":                   `node key "" does not begin with "ed25519:"`,
		"rsa:AAAA":           `node key "rsa:AAAA" does not begin with "ed25519:"`,
		"ed25519:AAAA":       `node key "ed25519:AAAA": base64 of 3 octets, want 32`,
		"ed25519:not base64": `node key "ed25519:not base64": not base64 of 32 octets`,
	} {
		if _, err := ParseNodeKey(text); err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func FuzzParseNodeKey(f *testing.F) {
	f.Add(FormatNodeKey(ed25519.NewKeyFromSeed(key("seed")).Public().(ed25519.PublicKey)))
	f.Add("ed25519:")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseNodeKey(text)
		if err != nil {
			return
		}
		again, err := ParseNodeKey(FormatNodeKey(k))
		if err != nil || !again.Equal(k) {
			t.Errorf("%q is %x, formatted and parsed again %x, error %v", text, k, again, err)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(base64.StdEncoding.EncodeToString(key("a")) + "\n# b\n" + base64.StdEncoding.EncodeToString(key("b"))))
	f.Add([]byte("#\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeys(text)
		if err == nil && (len(keys) == 0 || len(keys) > maxKeys) {
			t.Errorf("%d keys", len(keys))
		}
		for _, k := range keys {
			if len(k) != keySize {
				t.Errorf("a key of %d octets", len(k))
			}
		}
		if _, err := parsePrivate(text); err == nil && len(keys) > 1 {
			t.Error("a private key of several lines")
		}
	})
}

func FuzzParseMeta(f *testing.F) {
	f.Add(meta{pop: "fra", keys: idsOf("ab")}.appendTo(nil))
	f.Add(meta{keys: idsOf("a")}.appendTo(nil))
	f.Add(meta{pop: "fra", keys: idsOf("a"), link: 7947}.appendTo(nil))
	f.Add([]byte{1})
	f.Add([]byte{1, 255, 0})
	f.Add([]byte{1, 0, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMeta(b)
		if err != nil {
			return
		}
		again := m.appendTo(nil)
		if len(again) > 512 || !bytes.Equal(again[1:], b[1:min(len(again), len(b))]) {
			t.Errorf("%x is parsed and appended as %x", b, again)
		}
	})
}
