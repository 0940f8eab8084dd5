package override

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// AckWait is how long a proposal waits for a majority of the members.
const AckWait = 3 * time.Second

// resendEvery is how often those who did not answer are asked again: messages
// may get lost.
const resendEvery = 500 * time.Millisecond

// proposed is the newest proposal of a node.
type proposed struct {
	id   ID
	hash [32]byte
}

// hash is what acks name a change by.
func (c change) hash() [32]byte { return sha256.Sum256(c.append(nil)) }

// pending is a proposal of this node that waits for acks.
type pending struct {
	hash    [32]byte
	answers chan ack // room for one of each member

	mu      sync.Mutex
	sending map[string]bool  // a Send to it has not returned
	failed  map[string]error // of the last Send to it
}

// propose asks the members and waits until a majority acknowledged the change.
// It returns who did, this node first, or an error that says who did not answer
// and who refused, and why.
func (e *Engine) propose(ctx context.Context, what string, c change) ([]string, error) {
	members := e.cfg.Members()
	var others []string
	self := len(members) == 0
	for _, m := range members {
		if m.Name == e.cfg.Self {
			self = true
		} else {
			others = append(others, m.Name)
		}
	}
	slices.Sort(others)
	if !self {
		return nil, fmt.Errorf("%s: this node, %q, is none of the fleet's members: ask one of them, or say --local", what, e.cfg.Self)
	}
	acked := []string{e.cfg.Self}
	if len(others) == 0 {
		return acked, nil
	}
	if e.cfg.Mesh == nil {
		return nil, fmt.Errorf("%s: this node has no way to reach the other %d members: say --local for this node only", what, len(others))
	}
	need := (len(others)+1)/2 + 1
	msg := seal(e.cfg.Fleet, e.cfg.Key, appendChange(kindProposal, e.cfg.Self, c))
	p := &pending{
		hash: c.hash(), answers: make(chan ack, len(others)),
		sending: map[string]bool{}, failed: map[string]error{},
	}
	e.mu.Lock()
	e.await = p
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.await = nil
		e.mu.Unlock()
	}()

	ctx, cancel := context.WithTimeout(ctx, AckWait)
	defer cancel()
	again := time.NewTicker(resendEvery)
	defer again.Stop()
	silent, refusals := slices.Clone(others), []string{}
	p.send(e.cfg.Mesh, silent, msg)
	for len(acked) < need && len(acked)+len(silent) >= need {
		select {
		case a := <-p.answers:
			i := slices.Index(silent, a.signer)
			switch {
			case i < 0:
				continue // it answered before
			case a.refused:
				refusals = append(refusals, fmt.Sprintf("refused by %s: %s", a.signer, a.reason))
			default:
				acked = append(acked, a.signer)
			}
			silent = slices.Delete(silent, i, i+1)
		case <-again.C:
			p.send(e.cfg.Mesh, silent, msg)
		case <-ctx.Done():
			return nil, p.refusal(what, len(acked), len(others)+1, need, silent, refusals, context.Cause(ctx))
		}
	}
	if len(acked) < need {
		return nil, p.refusal(what, len(acked), len(others)+1, need, silent, refusals, nil)
	}
	return acked, nil
}

// send passes the proposal to members, each in its own time.
func (p *pending) send(mesh Mesh, to []string, msg []byte) {
	for _, name := range to {
		p.mu.Lock()
		busy := p.sending[name]
		p.sending[name] = true
		p.mu.Unlock()
		if busy {
			continue
		}
		go func() {
			err := mesh.Send(name, msg)
			p.mu.Lock()
			defer p.mu.Unlock()
			p.sending[name], p.failed[name] = false, err
		}()
	}
}

// refusal says why there is no majority.
func (p *pending) refusal(what string, acked, members, need int, silent, refusals []string, cause error) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is not committed: %d of %d members acknowledged it", what, acked, members)
	switch cause {
	case nil:
	case context.DeadlineExceeded:
		fmt.Fprintf(&b, " within %s", AckWait)
	default:
		b.WriteString(" before the request was given up")
	}
	fmt.Fprintf(&b, ", want %d", need)
	if len(silent) > 0 && cause != nil {
		names := make([]string, len(silent))
		p.mu.Lock()
		for i, name := range silent {
			names[i] = name
			if err := p.failed[name]; err != nil {
				names[i] = fmt.Sprintf("%s (%s)", name, err)
			}
		}
		p.mu.Unlock()
		fmt.Fprintf(&b, "; no answer from %s", strings.Join(names, ", "))
	}
	slices.Sort(refusals)
	for _, r := range refusals {
		b.WriteString("; " + r)
	}
	if cause != nil {
		b.WriteString("; try again, or say --local for this node only")
	}
	return fmt.Errorf("%s", b.String())
}
