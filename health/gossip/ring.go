package gossip

import (
	"fmt"
	"slices"

	"github.com/hashicorp/memberlist"
)

const (
	maxKeys = 8             // keys that can be asked for
	maxRing = maxKeys * 2   // keys that are accepted during a rotation
	keySize = len(secret{}) // octets: AES-256
)

// secrets checks and copies keys. It errs on none, on too many, on one of a
// wrong length and on one that occurs twice; it never names a key.
func secrets(keys [][]byte) ([]secret, error) {
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("%d gossip keys: want 1 to %d", len(keys), maxKeys)
	}
	var all []secret
	for i, k := range keys {
		if len(k) != keySize {
			return nil, fmt.Errorf("gossip key %d has %d octets, want %d", i+1, len(k), keySize)
		}
		if slices.Contains(all, secret(k)) {
			return nil, fmt.Errorf("gossip key %d occurs twice", i+1)
		}
		all = append(all, secret(k))
	}
	return all, nil
}

// step returns the keys to accept next, the one to encrypt with first, given
// those accepted now, those that are wanted, and those that each live peer
// accepts. Repeated by all nodes as they see each other's steps, it leads from
// the old keys to the wanted ones, and at no time does a peer that keeps up
// fail to read another:
//   - a wanted key is accepted at once;
//   - the first wanted key that all peers accept is encrypted with; while there
//     is none, the key in use stays in use;
//   - an old key is accepted as long as anybody encrypts with it.
//
// A node that is cut off, having peers but reaching none, lets no key go.
func step(have, want []secret, peers [][]KeyID, cutOff bool) []secret {
	if cutOff {
		return union(have, want)
	}
	use := have[0]
	for _, k := range union(want, have) {
		id := k.id()
		if !slices.ContainsFunc(peers, func(ids []KeyID) bool { return !slices.Contains(ids, id) }) {
			use = k
			break
		}
	}
	next := union([]secret{use}, want)
	for _, k := range have {
		id := k.id()
		if slices.ContainsFunc(peers, func(ids []KeyID) bool { return ids[0] == id }) {
			next = union(next, []secret{k})
		}
	}
	return next
}

// union returns the keys of a, then those of b that are not in a; no more than
// maxRing.
func union(a, b []secret) []secret {
	all := slices.Clone(a)
	for _, k := range b {
		if !slices.Contains(all, k) {
			all = append(all, k)
		}
	}
	return all[:min(len(all), maxRing)]
}

// install makes a keyring hold the keys, encrypting with the first. Keys are
// taken off at the ring's end alone, because taking one from the middle writes
// into memory that receivers read without a lock (memberlist v0.7.0, keyring.go);
// a wanted key behind an unwanted one is taken off and put on again.
func install(ring *memberlist.Keyring, keys []secret) error {
	add := func() error {
		for _, k := range keys {
			if err := ring.AddKey(slices.Clone(k[:])); err != nil {
				return err
			}
		}
		return nil
	}
	if err := add(); err != nil {
		return err
	}
	if err := ring.UseKey(keys[0][:]); err != nil {
		return err
	}
	unwanted := func(k []byte) bool { return !slices.Contains(keys, secret(k)) }
	for on := ring.GetKeys(); slices.ContainsFunc(on, unwanted); on = ring.GetKeys() {
		if err := ring.RemoveKey(on[len(on)-1]); err != nil {
			return err
		}
	}
	return add()
}
