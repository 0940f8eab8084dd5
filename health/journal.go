package health

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"time"

	"edged/edge"
)

// RenewEvery is how often an observer sends a digest.
const RenewEvery = 5 * time.Second

// maxNext is the longest time until a next change that a record can say; a
// longer one is said as this, which only makes answers live less long.
const maxNext = (1<<16 - 1) * time.Second

// Journal is this node's part of the matrix: one register for each target that
// it checks. Only this node writes it, and all it returns is signed. The
// incarnation is 1 or more, and higher than at any start before with the same
// name: else the others take what it says as replayed.
//
// A Journal is for one goroutine. What it returns must not be changed.
type Journal struct {
	fleet                       string
	self                        Member
	key                         ed25519.PrivateKey
	incarnation, sequence, beat uint64
	registers                   registers
	content, snapshot           []byte // of the registers; nil: not made since they changed
}

// NewJournal returns a journal without registers. The key of self is not used:
// it is the public half of key. Names longer than MaxName are cut.
func NewJournal(fleet string, self Member, key ed25519.PrivateKey, incarnation uint64) *Journal {
	self.Key = key.Public().(ed25519.PublicKey)
	self.Name, self.PoP = plain(self.Name, MaxName), plain(self.PoP, MaxName)
	return &Journal{fleet: fleet, self: self, key: key, incarnation: incarnation, registers: registers{}}
}

// Set writes registers, and takes away those of the targets that are gone. It
// returns the batches that say so, in order, each at most MaxMessage octets
// long; none if nothing is new. Of several observations of one target the last
// one holds, and a target that is gone too is gone. Reasons are cut to
// MaxReason, and Next to whole seconds.
//
// It errs, and changes nothing, when there would be more than MaxTargets
// registers or a verdict is none that checks give.
func (j *Journal) Set(changed []Observation, gone []TargetID) ([][]byte, error) {
	changes := map[TargetID]change{}
	size := len(j.registers)
	for _, o := range changed {
		if o.Verdict > edge.Dead {
			return nil, fmt.Errorf("target %s has verdict %q, want ok to dead", o.Target, o.Verdict)
		}
		o.Reason = plain(o.Reason, MaxReason)
		o.Next = min(max(o.Next, 0), maxNext).Truncate(time.Second)
		changes[o.Target] = change{Observation: o}
	}
	for _, t := range gone {
		changes[t] = change{Observation: Observation{Target: t}, gone: true}
	}
	maps.DeleteFunc(changes, func(t TargetID, ch change) bool {
		old, ok := j.registers[t]
		switch {
		case ok && ch.gone:
			size--
		case !ok && !ch.gone:
			size++
		}
		return ok && !ch.gone && old == ch.Observation || !ok && ch.gone
	})
	if size > MaxTargets {
		return nil, fmt.Errorf("%d targets for one observer, want at most %d: let fewer observers check each", size, MaxTargets)
	}
	if len(changes) == 0 {
		return nil, nil
	}
	j.content, j.snapshot = nil, nil

	var batches [][]byte
	var msg []byte // the batch that is being filled
	var entry []byte
	for _, t := range slices.Sorted(maps.Keys(changes)) {
		ch := changes[t]
		if ch.gone {
			delete(j.registers, t)
		} else {
			j.registers[t] = ch.Observation
		}
		entry = appendChange(entry[:0], ch)
		if msg != nil && len(msg)+len(entry)+ed25519.SignatureSize > MaxMessage {
			batches = append(batches, sign(j.fleet, j.key, msg))
			msg = nil
		}
		if msg == nil {
			j.sequence++
			msg = j.header(batch)
		}
		msg = append(msg, entry...)
	}
	return append(batches, sign(j.fleet, j.key, msg)), nil
}

// Digest says that all registers still hold, and why this node does not
// believe itself; empty: it does. Each one has a number of its own, so that it
// renews once.
func (j *Journal) Digest(suspect string) []byte {
	j.beat++
	r := renewal{beat: j.beat, sum: sumOf(j.body()), suspect: plain(suspect, MaxReason)}
	return sign(j.fleet, j.key, appendRenewal(j.header(digest), r))
}

// Snapshot returns all registers in one message, which may be longer than
// MaxMessage. It is made when needed: the next one is the same until Set.
func (j *Journal) Snapshot() []byte {
	if j.snapshot == nil {
		j.snapshot = sign(j.fleet, j.key, append(j.header(snapshot), j.body()...))
	}
	return j.snapshot
}

func (j *Journal) header(k kind) []byte {
	return appendHeader(nil, header{k, j.incarnation, j.sequence, j.self.Key, j.self.Name, j.self.PoP})
}

func (j *Journal) body() []byte {
	if j.content == nil {
		j.content = j.registers.content()
	}
	return j.content
}
