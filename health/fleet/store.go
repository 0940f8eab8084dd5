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

// load reads both files. What is not there is empty. So is what cannot be read,
// which the faults tell of: a node without its last verdicts serves better than
// one that does not start. A damaged file is put aside, for whoever wonders.
func (s store) load() (out saved, faults []string) {
	out.Verdicts = map[health.TargetID]verdict{}
	fault := func(name string, err error) {
		path := filepath.Join(s.dir, name)
		faults = append(faults, fmt.Sprintf("%q is not used, and put aside as %s.damaged: %v", path, name, err))
		_ = os.Rename(path, path+".damaged")
	}
	data, err := os.ReadFile(filepath.Join(s.dir, incarnationFile))
	if err == nil {
		_, err = fmt.Sscanf(string(data), "%d\n", &out.Incarnation)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		out.Incarnation = 0
		fault(incarnationFile, err)
	}
	data, err = os.ReadFile(filepath.Join(s.dir, stateFile))
	read := saved{}
	if err == nil {
		err = json.Unmarshal(data, &read)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		fault(stateFile, err)
	default:
		out.Seen, out.History = read.Seen, read.History
		if read.Verdicts != nil {
			out.Verdicts = read.Verdicts
		}
	}
	return out, faults
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

// write replaces a file; see edge.ReplaceFile.
func (s store) write(name string, data []byte) error {
	err := os.MkdirAll(s.dir, 0o700)
	if err == nil {
		err = edge.ReplaceFile(filepath.Join(s.dir, name), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	return nil
}
