package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edged/config"
	"edged/edge"
	"edged/mapper/beacon"
)

// pullState is the file in a folder of copies that says how whole they are.
const pullState = "pulled.json"

// pulledFrom is how the last pull from one node ended.
type pulledFrom struct {
	Began time.Time `json:"began"`
	Whole bool      `json:"whole"` // everything that the node had then is here
	Files int       `json:"files"` // that the folder had then
	Error string    `json:"error,omitempty"`
}

// sourceFlags say from which nodes measurements are pulled.
type sourceFlags struct {
	nodeFlags
	into    string
	without []string
}

func beaconPullCommand() *cobra.Command {
	var f sourceFlags
	cmd := &cobra.Command{
		Use:   "pull --config FILE --into DIR",
		Short: "copy what all nodes measured",
		Long: `Copy the segments of the nodes in beacon.sources into a folder, one folder for
each node in it. Only what is missing is copied, a copy that broke off goes on where
it was, and a file appears when it is whole. A node that cannot be reached is an
error, after the others were copied: edged map build refuses the folder then,
unless it is told --without that node. It needs a token or a certificate with the
role map-builder.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.pull(cmd) },
	}
	configFlag(cmd, &f.config)
	cmd.Flags().StringVar(&f.into, "into", "", "the folder of copies, `DIR`; made when it is not there")
	f.addWho(cmd)
	f.addWithout(cmd)
	cmd.MarkFlagRequired("config")
	cmd.MarkFlagRequired("into")
	return cmd
}

func (f *sourceFlags) addWithout(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.without, "without", nil, "a `NODE` of beacon.sources that is not asked, by its host; what was copied of it before still counts")
}

// sources returns the nodes of the configuration by the names of their folders,
// without those that were named.
func (f *sourceFlags) sources() (names []string, urls map[string]string, err error) {
	list, err := config.LoadSources(f.config)
	if err != nil {
		return nil, nil, err
	}
	urls = map[string]string{}
	left := slices.Clone(f.without)
	for _, text := range list {
		u, err := url.Parse(text)
		if err != nil {
			return nil, nil, err
		}
		name := strings.NewReplacer(":", "_", "[", "", "]", "").Replace(u.Host)
		is := func(w string) bool { return slices.Contains([]string{text, name, u.Host, u.Hostname()}, w) }
		if slices.ContainsFunc(f.without, is) {
			left = slices.DeleteFunc(left, is)
			continue
		}
		if other, taken := urls[name]; taken {
			return nil, nil, fmt.Errorf("beacon.sources: %q and %q are the same node", other, text)
		}
		names, urls[name] = append(names, name), text
	}
	if len(left) > 0 {
		return nil, nil, fmt.Errorf("--without %q: beacon.sources has no such node", left[0])
	}
	return names, urls, nil
}

// pull copies from all sources, one after the other, and says what came.
func (f *sourceFlags) pull(cmd *cobra.Command) error {
	names, urls, err := f.sources()
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("%s: beacon.sources lists no node to pull from", f.config)
	}
	if err := os.MkdirAll(f.into, 0o755); err != nil {
		return err
	}
	var failed []string
	for _, name := range names {
		if err := f.pullNode(cmd, name, urls[name]); err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\n", name, err)
			failed = append(failed, name)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d nodes were not copied whole: %s; pull again, or go on --without them", len(failed), len(names), strings.Join(failed, ", "))
	}
	return nil
}

func (f *sourceFlags) pullNode(cmd *cobra.Command, name, node string) error {
	// Until the end the copy does not count as whole, whatever happens.
	state := pulledFrom{Began: time.Now().UTC(), Error: "the pull did not end"}
	if err := noteState(f.into, name, state); err != nil {
		return err
	}
	bar := newProgressBar(cmd.ErrOrStderr(), name, 1)
	done, err := f.copyNode(cmd.Context(), name, node, bar)
	bar.clear()
	held, e := beacon.CountFiles(filepath.Join(f.into, name))
	err = errors.Join(err, e)
	state.Whole, state.Files, state.Error = err == nil, held, ""
	if err != nil {
		state.Error = err.Error()
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %d files, %d of them new with %d octets\n", name, done.Total, done.Files, done.Octets)
	}
	return errors.Join(err, noteState(f.into, name, state))
}

func (f *sourceFlags) copyNode(ctx context.Context, name, node string, bar *progressBar) (beacon.Pulled, error) {
	c, err := f.clientOf(node)
	if err != nil {
		return beacon.Pulled{}, err
	}
	defer c.Close()
	return beacon.Pull(ctx, filepath.Join(f.into, name), c, func(done, total int64) {
		bar.total = max(1, total)
		bar.show(done)
	})
}

// readState reads how the pulls into a folder ended, by node.
func readState(dir string) (map[string]pulledFrom, error) {
	all := map[string]pulledFrom{}
	data, err := edge.ReadRegular(filepath.Join(dir, pullState))
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%s: %w: remove it, and pull again", filepath.Join(dir, pullState), err)
	}
	return all, nil
}

// noteState keeps how the pull from a node ended.
func noteState(dir, name string, state pulledFrom) error {
	all, err := readState(dir)
	if err != nil {
		return err
	}
	all[name] = state
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return edge.ReplaceFile(filepath.Join(dir, pullState), append(data, '\n'), 0o644)
}

// noteRemoved takes files that were removed on purpose off the number of those that
// the copy of a node has.
func noteRemoved(dir, name string, files int) error {
	all, err := readState(dir)
	if err != nil {
		return err
	}
	state, ok := all[name]
	if !ok || files == 0 {
		return nil
	}
	state.Files = max(0, state.Files-files)
	return noteState(dir, name, state)
}

// checkWhole holds that the copies of all sources are whole, so that no map is
// made of a part without saying so. It returns what to say of them.
func (f *sourceFlags) checkWhole() (report func(io.Writer), err error) {
	names, urls, err := f.sources()
	if err != nil {
		return nil, err
	}
	all, err := readState(f.into)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		switch state, ok := all[name]; {
		case !ok:
			return nil, fmt.Errorf("folder %q has nothing of node %q: run edged beacon pull, or build --without %s", f.into, urls[name], name)
		case !state.Whole:
			return nil, fmt.Errorf("folder %q has not all of node %q: %s: run edged beacon pull, or build --without %s", f.into, urls[name], state.Error, name)
		}
		have, err := beacon.CountFiles(filepath.Join(f.into, name))
		if err != nil {
			return nil, err
		}
		if want := all[name].Files; have < want {
			return nil, fmt.Errorf("folder %q has %d of the %d files of node %q that were there after the last pull: run edged beacon pull, or build --without %s", f.into, have, want, urls[name], name)
		}
	}
	return func(w io.Writer) {
		for _, name := range names {
			fmt.Fprintf(w, "  of %s: %d files, pulled at %s\n", name, all[name].Files, all[name].Began.Format(time.RFC3339))
		}
		for _, name := range f.without {
			fmt.Fprintf(w, "  without %s\n", name)
		}
	}, nil
}
