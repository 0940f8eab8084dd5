package fleet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"edged/edge"
	"edged/health"
	"edged/health/override"
)

// The engine of overrides has a lock of its own and calls back for members, so
// it is never called under the Fleet's.

// startOverrides brings the overrides kept on disk into force. A set that is
// damaged is not used at all: the fleet's comes back from the other nodes. It returns the
// incarnation to begin with: the one given or, where this node made overrides under one that is as
// high, and so has lost its own since, the time in milliseconds: there may have been more.
func (f *Fleet) startOverrides(incarnation uint64) (uint64, error) {
	path := filepath.Join(f.cfg.Dir, "overrides.json")
	set, err := override.Load(path)
	if err != nil {
		f.faults = append(f.faults, err.Error()+"; the file is put aside as overrides.json.damaged")
		_ = os.Rename(path, path+".damaged")
		set = override.NewSet()
	}
	if last := set.Incarnation(f.cfg.Self.Name); last >= incarnation {
		incarnation = max(last+1, uint64(time.Now().UnixMilli()))
	}
	engine, err := override.New(override.Config{
		Fleet: f.cfg.Name, Self: f.cfg.Self.Name, Key: f.cfg.Key, Incarnation: incarnation,
		Members: f.Members, World: f.world, Down: f.down, Mesh: meshOf{f}, Path: path, Changed: f.judgeOverrides,
	}, set)
	if err != nil {
		return 0, fmt.Errorf("overrides: %w", err)
	}
	f.overrides = engine
	return incarnation, nil
}

// meshOf lets the engine send once the gossip runs.
type meshOf struct{ f *Fleet }

func (m meshOf) Broadcast(key string, msg []byte) {
	if mesh := m.f.mesh.Load(); mesh != nil {
		mesh.Broadcast(key, msg)
	}
}

func (m meshOf) Send(node string, msg []byte) error {
	mesh := m.f.mesh.Load()
	if mesh == nil {
		return fmt.Errorf("this node is in no fleet")
	}
	return mesh.Send(node, msg)
}

// Submit carries out what an operator asks for. It may wait for the members.
func (f *Fleet) Submit(ctx context.Context, q override.Request) (override.Result, error) {
	if f.Incarnation() == 0 {
		return override.Result{}, fmt.Errorf("this node does not know yet whether it has a past in the fleet: try again in %s, or ask another node", learnFor)
	}
	if err := f.isUnwritten(); err != nil {
		return override.Result{}, fmt.Errorf("this node cannot write what would tell its overrides apart: %w: make room, or ask another node", err)
	}
	return f.overrides.Submit(ctx, q)
}

func (f *Fleet) isUnwritten() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unwritten
}

// Overrides returns those in force, and those suspended. It is immutable.
func (f *Fleet) Overrides() *override.View { return f.ruled.Load() }

// OverrideStats returns the counters of overrides.
func (f *Fleet) OverrideStats() override.Stats { return f.overrides.Stats() }

// Allows errs when a plan's rules would suspend overrides that are in force:
// what an operator took out of service would be answered again.
func (f *Fleet) Allows(p Plan) error {
	before := map[override.ID]bool{}
	for _, o := range f.Overrides().Active {
		before[o.ID] = true
	}
	var errs []error
	for _, s := range f.overrides.ViewUnder(p.Rules, p.World).Suspended {
		if before[s.ID] {
			errs = append(errs, fmt.Errorf("rules: override %s is in force, and would be suspended: %s; clear it first", s.ID, s.Why))
		}
	}
	return errors.Join(errs...)
}

// Members returns who belongs to the fleet.
func (f *Fleet) Members() []health.Member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members()
}

func (f *Fleet) world() ([]override.Rule, override.Fleet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.plan.Rules, f.plan.World
}

// down says whether the fleet's checks find an endpoint down.
func (f *Fleet) down(e override.Endpoint) bool {
	f.mu.Lock()
	id, checked := f.plan.Watched[e]
	f.mu.Unlock()
	if !checked {
		return false
	}
	v := f.View().Targets[id].Verdict
	return v == edge.Failing || v == edge.Dead
}

// judgeOverrides brings the set as it is now into force.
func (f *Fleet) judgeOverrides() {
	f.ruled.Store(f.overrides.View())
	f.announce()
}

// expire lets overrides end.
func (f *Fleet) expire(now time.Time) {
	if next := f.ruled.Load().Next; !next.IsZero() && !now.Before(next) {
		f.judgeOverrides()
	}
}

// joinState puts the two parts of a push/pull into one, and splitState takes
// them apart again.
func joinState(records, overrides []byte) []byte {
	out := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(records)+len(overrides)), uint32(len(records)))
	return append(append(out, records...), overrides...)
}

func splitState(state []byte) (records, overrides []byte, ok bool) {
	if len(state) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(state)
	if uint64(n) > uint64(len(state)-4) {
		return nil, nil, false
	}
	return state[4 : 4+n], state[4+n:], true
}
