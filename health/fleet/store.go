package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"edged/edge"
	"edged/health"
)

// store keeps what must survive a restart in two files of a folder. The
// incarnation has its own: it must be on disk before it is used.
type store struct{ dir string }

const (
	stateFile       = "state.json"
	incarnationFile = "incarnation"
)

// saved is the state file.
type saved struct {
	Incarnation uint64                      `json:"-"` // in a file of its own
	Verdicts    map[health.TargetID]verdict `json:"verdicts"`
	Seen        []health.Member             `json:"seen"`
	History     []health.Transition         `json:"history"`
}

type verdict struct {
	Verdict edge.Verdict `json:"verdict"`
	Reason  string       `json:"reason,omitempty"`
	Since   time.Time    `json:"since"`
	LastOK  time.Time    `json:"last_ok,omitzero"`
}

// load reads both files. What is not there is empty; a state file that cannot
// be read is an error, since serving a dead target for want of it would be
// worse than not to start.
func (s store) load() (saved, error) {
	out := saved{Verdicts: map[health.TargetID]verdict{}}
	data, err := os.ReadFile(filepath.Join(s.dir, incarnationFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return saved{}, fmt.Errorf("health: %w", err)
	default:
		if _, err := fmt.Sscanf(string(data), "%d\n", &out.Incarnation); err != nil {
			return saved{}, fmt.Errorf("health: %q is no number; remove the file, and the node learns it from the others", filepath.Join(s.dir, incarnationFile))
		}
	}
	data, err = os.ReadFile(filepath.Join(s.dir, stateFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return out, nil
	case err != nil:
		return saved{}, fmt.Errorf("health: %w", err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return saved{}, fmt.Errorf("health: state %q is damaged: %w; remove the file to start without the last verdicts", filepath.Join(s.dir, stateFile), err)
	}
	if out.Verdicts == nil {
		out.Verdicts = map[health.TargetID]verdict{}
	}
	return out, nil
}

func (s store) save(state saved) error {
	data, err := json.MarshalIndent(state, "", "\t")
	if err != nil {
		return err
	}
	return s.write(stateFile, append(data, '\n'))
}

func (s store) saveIncarnation(n uint64) error {
	return s.write(incarnationFile, fmt.Appendf(nil, "%d\n", n))
}

// write puts data beside the file, on disk, and in its place.
func (s store) write(name string, data []byte) (err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("health: %w", err)
	}
	f, err := os.CreateTemp(s.dir, "."+name+".*")
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("health: %w", err)
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(s.dir, name))
}
