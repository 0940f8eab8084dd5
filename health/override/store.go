package override

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"edged/edge"
)

// storeFormat is the version of the store file.
const storeFormat = 1

// maxAhead bounds how far apart two clocks are kept as being, in seconds: some
// 270 years.
const maxAhead = 1 << 33

// stored is the store file.
type stored struct {
	Format    int              `json:"format"`
	Overrides []storedOverride `json:"overrides"`
	Clears    []storedClear    `json:"clears"`

	// By how many seconds this node's clock was ahead of other nodes'.
	Clocks map[string]int64 `json:"clocks,omitempty"`
}

type storedOverride struct {
	Override
	voucher
}

type storedClear struct {
	Clearing
	voucher
}

// voucher is the member whose signature lets others take a change from us.
type voucher struct {
	Signer    string `json:"signer,omitempty"`
	Signature []byte `json:"signature,omitempty"`
}

// Load reads a set from its file; a set that was never written is empty. An
// error that wraps ErrMalformed says what is wrong with the first bad part: then
// nothing of the file is used. The caller may go on with an empty set, which a
// peer's state fills; the file is replaced at the first change.
func Load(path string) (*Set, error) {
	b, err := edge.ReadRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return NewSet(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the overrides: %w", err)
	}
	s, err := parseStore(b)
	if err != nil {
		return nil, fmt.Errorf("overrides in %s are %w: %w; none of them is used", path, ErrMalformed, err)
	}
	return s, nil
}

func parseStore(b []byte) (*Set, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var f stored
	if err := d.Decode(&f); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something is after the end")
	}
	if f.Format != storeFormat {
		return nil, fmt.Errorf("format %d, want %d: was it written by a newer edged?", f.Format, storeFormat)
	}
	if len(f.Overrides) > maxHeld || len(f.Clears) > maxHeld {
		return nil, fmt.Errorf("%d overrides and %d clears, want at most %d of each", len(f.Overrides), len(f.Clears), maxHeld)
	}
	s := NewSet()
	for node, seconds := range f.Clocks {
		if checkName(node) != nil || isGlob(node) || seconds < -maxAhead || seconds > maxAhead {
			return nil, fmt.Errorf("the clock of %q is %d s off: want a node, and at most %d s", node, seconds, maxAhead)
		}
		s.ahead[node] = time.Duration(seconds) * time.Second
	}
	seen := map[ID]bool{}
	keep := func(r record, v voucher, local bool) error {
		if err := r.check(); err != nil {
			return fmt.Errorf("%s: %w", r.id(), err)
		}
		if seen[r.id()] {
			return fmt.Errorf("%s is there twice", r.id())
		}
		seen[r.id()] = true
		if local != (v.Signer == "") || local != (len(v.Signature) == 0) || !local && len(v.Signature) != ed25519.SignatureSize {
			return fmt.Errorf("%s: signer %q and a signature of %d octets: want both, or neither when it is local", r.id(), v.Signer, len(v.Signature))
		}
		if !local && checkName(v.Signer) != nil {
			return fmt.Errorf("%s: %q cannot be the name of a node", r.id(), v.Signer)
		}
		return nil
	}
	for i := range f.Overrides {
		o, v := f.Overrides[i].Override, f.Overrides[i].voucher
		o.Created, o.Expires = o.Created.UTC(), o.Expires.UTC()
		r := record{change: change{put: &o}, signer: v.Signer, sig: v.Signature}
		if err := keep(r, v, o.Local); err != nil {
			return nil, fmt.Errorf("override %w", err)
		}
		s.live[o.ID] = r
	}
	for i := range f.Clears {
		l, v := f.Clears[i].Clearing, f.Clears[i].voucher
		l.At, l.Keep = l.At.UTC(), l.Keep.UTC()
		r := record{change: change{clear: &l}, signer: v.Signer, sig: v.Signature}
		if err := keep(r, v, false); err != nil {
			return nil, fmt.Errorf("clear %w", err)
		}
		s.clears[l.ID] = r
		for _, id := range l.Cleared {
			if _, ok := s.live[id]; ok {
				return nil, fmt.Errorf("clear %s: override %s is there all the same", l.ID, id)
			}
			s.gone[id] = true
		}
	}
	return s, nil
}

// encode returns the text of the store file.
func (s *Set) encode() []byte {
	f := stored{Format: storeFormat, Overrides: []storedOverride{}, Clears: []storedClear{}}
	for _, r := range s.records() {
		v := voucher{r.signer, r.sig}
		if r.put != nil {
			f.Overrides = append(f.Overrides, storedOverride{*r.put, v})
		} else {
			f.Clears = append(f.Clears, storedClear{*r.clear, v})
		}
	}
	for node, ahead := range s.ahead {
		if f.Clocks == nil {
			f.Clocks = map[string]int64{}
		}
		f.Clocks[node] = int64(ahead / time.Second)
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		panic(err) // plain data: it has no cause to fail
	}
	return append(b, '\n')
}

// Save writes the set beside the file, makes it durable and renames it into
// place.
func (s *Set) Save(path string) error {
	if err := edge.ReplaceFile(path, s.encode(), 0o600); err != nil {
		return fmt.Errorf("keep the overrides: %w", err)
	}
	return nil
}
