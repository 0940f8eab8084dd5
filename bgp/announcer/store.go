package announcer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edged/bgp"
	"edged/edge"
)

// kept is what survives a restart.
type kept struct {
	Saved      time.Time           `json:"saved"`             // by the node's clock
	Plan       bgp.NodePlan        `json:"plan"`              // generation 0: none yet
	Pending    []string            `json:"pending,omitempty"` // VIPs of the file that no plan names and that the node saw while it ran
	Earlier    []bgp.NodePlan      `json:"earlier,omitempty"` // plans of before, the newest first, at most keepPlans
	Older      []string            `json:"older,omitempty"`   // IDs of the operations that were there when the plan was taken
	VIPs       map[string]bgp.Kept `json:"vips,omitempty"`
	Operations []bgp.Operation     `json:"operations,omitempty"` // in force, or to begin
	Rollout    *bgp.Rollout        `json:"rollout,omitempty"`    // the last that this node coordinates or did

	Peers     map[netip.Addr]keptPeer `json:"peers,omitempty"`     // with which there were sessions
	Sessions  []keptSession           `json:"sessions,omitempty"`  // to begin with, by address
	Announced []bgp.VIP               `json:"announced,omitempty"` // by the node's own word, and in no plan
	Starts    []time.Time             `json:"starts,omitempty"`    // after which it did not stop in order, of late, by its clock

	Lost bool `json:"-"` // there was something, and it cannot be read
}

// decided is what people decided of what is kept, in a form to be compared.
func (k *kept) decided() string {
	b, err := json.Marshal([]any{k.Plan, k.Pending, k.Operations})
	if err != nil {
		panic(err) // plain data: it has no cause to fail
	}
	return checksum(b)
}

const (
	stateFile   = "vip-state.json"
	stateHeader = "edged vip-state 1 sha256:"
	keepPlans   = 8
)

// store is the file of what is kept: a line with a checksum, and JSON
// (docs/format/vip-state.md). Beside it is a copy, as old as the last change of
// what people decided: the plan, what is pending, and operations.
type store struct {
	path   string
	copied string // what of the copy people decided, as decided gives it
	secret string // the text of passwordFile
}

func (s *store) copy() string { return s.path + ".copy" }

// openStore returns the store in a folder, which is made if it is not there, and
// what is kept in it. A file that is damaged or cannot be read
// is not used in any part: it is put aside as FILE.damaged, the copy is used, and the alarm says why. When that is no better, what was kept is Lost.
func openStore(dir string, now time.Time) (s *store, k kept, alarm string, err error) {
	s = &store{path: filepath.Join(dir, stateFile)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, kept{}, "", fmt.Errorf("keep the state of VIPs: %w", err)
	}
	used, fault := readKept(s.path)
	copied, copyFault := readKept(s.copy())
	missing := used == nil && fault == nil
	if missing && copied == nil && copyFault == nil {
		return s, kept{}, "", nil // a first start
	}
	if used == nil {
		used, alarm = s.instead(fault, copied, copyFault)
	}
	k = *used
	age := max(now.Sub(k.Saved), 0)
	for name, v := range k.VIPs {
		v.Age = age
		k.VIPs[name] = v
	}
	if k.Rollout != nil {
		k.Rollout.Loaded()
	}
	return s, k, alarm, nil
}

// Intent is what a node is to announce by what it keeps.
type Intent struct {
	VIPs      []bgp.VIP // by its plan
	Announced []bgp.VIP // by its own word, and in no plan
	Heard     bool      // some peer had a session with it
	Passive   bool      // a peer that it had a session with connects to it
}

// IntentOf returns that of the node with a folder. It changes nothing, and errs when what is kept
// cannot be read.
func IntentOf(dir string) (Intent, error) {
	s := store{path: filepath.Join(dir, stateFile)}
	var faults []error
	for _, path := range []string{s.path, s.copy()} {
		k, fault := readKept(path)
		if k != nil {
			passive := slices.ContainsFunc(k.Sessions, func(s keptSession) bool { return s.Passive })
			return Intent{k.Plan.VIPs, k.Announced, len(k.Peers) > 0, passive}, nil
		}
		if fault != nil {
			faults = append(faults, fmt.Errorf("%q: %w", path, fault))
		}
	}
	return Intent{}, errors.Join(faults...)
}

// readKept reads a file of what is kept. It returns nil and no fault when there is
// none, and the fault of one that cannot be used.
func readKept(path string) (k *kept, fault error) {
	b, err := edge.ReadRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	read, err := parseKept(b)
	if err != nil {
		return nil, err
	}
	return &read, nil
}

// instead returns what is used in the place of a file that is gone (no fault), or has a
// fault and is put aside, and the alarm that says so. Without the copy nobody knows what people had
// decided, and nothing is announced until they decide again.
func (s *store) instead(fault error, copied *kept, copyFault error) (k *kept, alarm string) {
	if fault == nil {
		alarm = fmt.Sprintf("%q is gone; ", s.path)
	} else if err := os.Rename(s.path, s.path+".damaged"); err != nil {
		alarm = fmt.Sprintf("%q is not used: %v (it could not be put aside: %v); ", s.path, fault, err)
	} else {
		alarm = fmt.Sprintf("%q is not used, and put aside as %s.damaged: %v; ", s.path, stateFile, fault)
	}
	if copied != nil {
		return copied, alarm + fmt.Sprintf("its copy of %s is in force: the plan and the operations are the last ones, penalties and a rollout may be older",
			copied.Saved.UTC().Format(time.RFC3339))
	}
	why := "there is no copy of it"
	if copyFault != nil {
		why = fmt.Sprintf("its copy is no better: %v", copyFault)
	}
	return &kept{Lost: true}, alarm + why + ": nothing is announced until a plan is applied; edged vip plan shows what the configuration wants"
}

// parseKept reads the file whole, or says what is wrong with it.
func parseKept(b []byte) (kept, error) {
	header, body, ok := bytes.Cut(b, []byte("\n"))
	sum, known := strings.CutPrefix(string(header), stateHeader)
	if !ok || !known {
		return kept{}, fmt.Errorf("it begins with %.40q, want %q and a checksum: was it written by a newer edged?", header, stateHeader)
	}
	if got := checksum(body); got != sum {
		return kept{}, fmt.Errorf("its checksum is %.12q, that of its text %.12q", sum, got)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var k kept
	if err := d.Decode(&k); err != nil {
		return kept{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return kept{}, errors.New("something is after the end")
	}
	return k, k.check()
}

func (k *kept) check() error {
	var faults []error
	plans := slices.Clone(k.Earlier)
	if k.Plan.Generation > 0 {
		plans = append(plans, k.Plan)
	} else if k.Plan.VIPs != nil {
		faults = append(faults, errors.New("the plan has VIPs and no generation"))
	}
	for _, p := range plans {
		faults = append(faults, p.Check())
	}
	if len(k.Starts) > keepStarts {
		faults = append(faults, fmt.Errorf("%d starts, want at most %d", len(k.Starts), keepStarts))
	}
	if len(k.Earlier) > keepPlans {
		faults = append(faults, fmt.Errorf("%d earlier plans, want at most %d", len(k.Earlier), keepPlans))
	}
	for name, v := range k.VIPs {
		if p := v.Damping.Penalty; !(p >= 0 && p < 1e9) {
			faults = append(faults, fmt.Errorf("VIP %q has the penalty %g", name, p))
		}
	}
	for _, o := range k.Operations {
		faults = append(faults, o.Check())
	}
	for _, v := range k.Announced {
		faults = append(faults, v.Check())
	}
	if k.Rollout != nil {
		faults = append(faults, k.Rollout.Check())
	}
	return errors.Join(faults...)
}

// encode returns the text of the file.
func (k *kept) encode() ([]byte, error) {
	body, err := json.MarshalIndent(k, "", "\t")
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	return append([]byte(stateHeader+checksum(body)+"\n"), body...), nil
}

func checksum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// save replaces the file by a text that encode returned, and before it the copy when
// people decided something else than that has: when it returns nil, what is kept
// survives a crash. One call at a time.
func (s *store) save(text []byte, decided string) error {
	if decided != s.copied {
		if err := edge.ReplaceFile(s.copy(), text, 0o600); err != nil {
			return fmt.Errorf("keep the state of VIPs: %w", err)
		}
		s.copied = decided
	}
	if err := edge.ReplaceFile(s.path, text, 0o600); err != nil {
		return fmt.Errorf("keep the state of VIPs: %w", err)
	}
	return nil
}

// superseded puts the plan that was in force before the earlier ones, of which the
// oldest may go.
func superseded(before bgp.NodePlan, earlier []bgp.NodePlan) []bgp.NodePlan {
	if before.Generation == 0 {
		return earlier
	}
	all := append([]bgp.NodePlan{before}, earlier...)
	return all[:min(len(all), keepPlans)]
}
