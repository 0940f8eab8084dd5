package fleet

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"edged/edge"
	"edged/health"
	"edged/health/gossip"
)

// forgerArgument has the test's binary be a forger.
const forgerArgument = "forger"

// orders say what a forger does.
type orders struct {
	Name      string   // in the gossip
	As        []string // whom its records claim to be from
	Address   netip.Addr
	Join      netip.Addr
	GossipKey []byte
	Targets   []health.TargetID // that it calls dead
}

// forger speaks with the gossip key, but a signing key that nobody expects.
type forger struct {
	mu      sync.Mutex     // guards the rest
	records *health.Matrix // its own, for push/pull
	others  *health.Matrix // what it has heard
	heard   [][]byte       // of that the first, to be said again
}

// forgerMain is the forger's process.
func forgerMain() {
	if len(os.Args) != 3 || os.Args[1] != forgerArgument {
		return
	}
	var o orders
	err := json.Unmarshal([]byte(os.Args[2]), &o)
	if err == nil {
		err = forge(o)
	}
	fmt.Fprintln(os.Stderr, "forger:", err)
	os.Exit(1)
}

// forge says that all is dead, in several names, until the process is killed.
func forge(o orders) error {
	anybody := func(string, ed25519.PublicKey) bool { return true }
	f := &forger{records: health.NewMatrix("test", anybody), others: health.NewMatrix("test", anybody)}
	var journals []*health.Journal
	for _, name := range o.As {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			return err
		}
		journals = append(journals, health.NewJournal("test", health.Member{Name: name, PoP: "fra", Key: public}, private, 1000))
	}
	at := netip.AddrPortFrom(o.Address, 7946)
	mesh, err := gossip.Start(gossip.Config{
		Name: o.Name, PoP: "fra", Fleet: "test", Bind: at, Advertise: at,
		Join: []netip.AddrPort{netip.AddrPortFrom(o.Join, 7946)}, Keys: [][]byte{o.GossipKey}, Receiver: f,
	})
	if err != nil {
		return err
	}
	defer mesh.Stop(context.Background())
	for range time.Tick(500 * time.Millisecond) {
		var said []health.Observation
		for _, id := range o.Targets {
			said = append(said, health.Observation{Target: id, Verdict: edge.Dead, Reason: time.Now().String()})
		}
		for _, j := range journals {
			batches, err := j.Set(said, nil)
			if err != nil {
				return err
			}
			for _, msg := range append(batches, j.Digest("")) {
				f.say(mesh, msg)
			}
		}
		f.mu.Lock()
		again := f.heard
		f.mu.Unlock()
		for _, msg := range again {
			mesh.Broadcast("", msg)
			for _, p := range mesh.Alive() {
				_ = mesh.Send(p.Name, msg)
			}
		}
	}
	return nil
}

func (f *forger) say(mesh *gossip.Mesh, msg []byte) {
	mesh.Broadcast("", msg)
	f.mu.Lock()
	defer f.mu.Unlock()
	_, _ = f.records.Apply(msg, time.Now()) // it trusts everybody
}

// keep is how much the forger remembers of what it has heard.
const keep = 20

// Receive implements gossip.Receiver. Not all messages are records.
func (f *forger) Receive(msg []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a, err := f.others.Apply(msg, time.Now()); err == nil && a.News && len(f.heard) < keep {
		f.heard = append(f.heard, msg)
	}
}

// LocalState implements gossip.Receiver, as nodes lay their state out.
func (f *forger) LocalState() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	records := f.records.State(time.Now())
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(records))), records...)
}

// MergeState implements gossip.Receiver.
func (f *forger) MergeState([]byte) {}

// Changed implements gossip.Receiver.
func (f *forger) Changed() {}
