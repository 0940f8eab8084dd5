package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	gomaps "maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"edged/config"
	"edged/edge"
	"edged/maps"
	"edged/zone"
)

// lastGood is the folder in a data folder that keeps what a node last served,
// so that it can start again when its files have become bad:
//
//	current       names the generation in force
//	GENERATION/   named by a hash of all that is in it
//	  source      the path of the configuration file that it comes from
//	  config.yaml the effective configuration, its paths pointing here
//	  zones/N.zone  each zone flat, as it was in memory: no includes, no generators
//	  maps/NAME.edmap
//
// A generation is written aside, synced and then named in current, whole or not
// at all. Secrets are not copied: config.yaml names where they were.
type lastGood string

func lastGoodIn(dataDir config.Path) lastGood {
	return lastGood(filepath.Join(string(dataDir), "last-good"))
}

// errMixed says that settings of the files cannot be kept beside those of the start.
var errMixed = errors.New("what the files say does not go with what a restart alone changes")

// errNothingKept says that a node has not served before.
var errNothingKept = errors.New("nothing is kept")

// current returns the folder of the generation in force.
func (g lastGood) current() (string, error) {
	name, err := os.ReadFile(filepath.Join(string(g), "current"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return "", errNothingKept
	}
	if err != nil {
		return "", err
	}
	generation := strings.TrimSpace(string(name))
	if _, err := hex.DecodeString(generation); err != nil || generation == "" {
		return "", fmt.Errorf("%q names no generation", filepath.Join(string(g), "current"))
	}
	return filepath.Join(string(g), generation), nil
}

// keep saves what l serves with the configuration c, which came from the file
// source. It does nothing when that is kept already, and undamaged.
func (g lastGood) keep(source string, l *loaded, c *config.Config) error {
	k, err := newKeeping(source, l, c)
	if err != nil {
		return fmt.Errorf("last good state: %w", err)
	}
	old, _ := g.current()
	final := filepath.Join(string(g), k.name())
	if old == final {
		if _, err := g.open(source); err == nil {
			return nil
		}
		old = "" // damaged: take nothing from it
	}
	if err := g.write(k, final, old); err != nil {
		return fmt.Errorf("last good state in %q: %w", string(g), err)
	}
	return nil
}

// keeping is a generation in memory, but for its maps.
type keeping struct {
	source string
	config []byte
	zones  [][]byte
	maps   map[string]*maps.Map
}

func newKeeping(source string, l *loaded, c *config.Config) (*keeping, error) {
	k := &keeping{source: source, maps: l.maps}
	kept := *c
	kept.Geo = config.Geo{} // is in the maps already
	kept.Zones, kept.Maps = slices.Clone(c.Zones), gomaps.Clone(c.Maps)
	for i, z := range l.zones {
		text, err := flatten(z)
		if err != nil {
			return nil, fmt.Errorf("zone %q: %w", z.Origin(), err)
		}
		k.zones = append(k.zones, text)
		kept.Zones[i].File = config.Path(zonePath(i))
	}
	for name := range c.Maps {
		kept.Maps[name] = config.Map{File: config.Path(mapPath(name))}
	}
	var err error
	if k.config, err = kept.YAML(); err != nil {
		return nil, err
	}
	if _, err := config.Parse(k.config, source); err != nil {
		return nil, fmt.Errorf("%w: %w", errMixed, err)
	}
	return k, nil
}

func zonePath(i int) string      { return filepath.Join("zones", fmt.Sprintf("%d.zone", i)) }
func mapPath(name string) string { return filepath.Join("maps", name+".edmap") }

// flatten writes a zone as a plain master file, and makes sure that reading it
// gives the same zone.
func flatten(z *zone.Zone) ([]byte, error) {
	var text bytes.Buffer
	var dynamic []string
	for n := range z.Nodes() {
		if n.Dynamic {
			dynamic = append(dynamic, n.Name)
		}
	}
	for _, rr := range zone.Diff(new(zone.Zone), z).Added {
		text.WriteString(rr.String())
		text.WriteByte('\n')
	}
	again, err := zone.Parse(z.Origin(), bytes.NewReader(text.Bytes()), "kept.zone", zone.Options{Dynamic: dynamic})
	if err != nil {
		return nil, err
	}
	if changes := zone.Diff(z, again); len(changes.Added)+len(changes.Removed) > 0 {
		return nil, fmt.Errorf("reads back differently:\n%s", changes)
	}
	return text.Bytes(), nil
}

// name is a hash of all that the generation holds.
func (k *keeping) name() string {
	h := sha256.New()
	part := func(b []byte) { fmt.Fprintf(h, "%d:%s", len(b), b) }
	part([]byte(k.source))
	part(k.config)
	for _, z := range k.zones {
		part(z)
	}
	for _, name := range sortedKeys(k.maps) {
		part([]byte(name + " " + k.maps[name].Version()))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// write makes the generation and puts it in force. old is the folder of the
// one in force until now; "" when nothing may be taken from one.
func (g lastGood) write(k *keeping, final, old string) (err error) {
	if err := os.MkdirAll(string(g), 0o700); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(string(g), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // is not there any more when all went well
	for _, sub := range []string{"zones", "maps"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return err
		}
	}
	files := map[string][]byte{"source": []byte(k.source), "config.yaml": k.config}
	for i, z := range k.zones {
		files[zonePath(i)] = z
	}
	for _, name := range sortedKeys(files) {
		if err := writeSynced(filepath.Join(dir, name), bytes.NewReader(files[name])); err != nil {
			return err
		}
	}
	for name, m := range k.maps {
		if err := m.CheckHash(); err != nil {
			return fmt.Errorf("map %q: %w", name, err)
		}
		if err := keepMap(filepath.Join(dir, mapPath(name)), m, old, mapPath(name)); err != nil {
			return err
		}
	}
	for _, sub := range []string{"zones", "maps", "."} {
		if err := syncDir(filepath.Join(dir, sub)); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(final); err != nil { // a leftover of an interrupted write
		return err
	}
	if err := os.Rename(dir, final); err != nil {
		return err
	}
	name := filepath.Base(final)
	pointer := filepath.Join(string(g), ".current")
	if err := writeSynced(pointer, strings.NewReader(name+"\n")); err != nil {
		return err
	}
	if err := os.Rename(pointer, filepath.Join(string(g), "current")); err != nil {
		return err
	}
	if err := syncDir(string(g)); err != nil {
		return err
	}
	return g.removeOthers(name)
}

// removeOthers removes all generations but one.
func (g lastGood) removeOthers(name string) error {
	entries, err := os.ReadDir(string(g))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != name {
			err = errors.Join(err, os.RemoveAll(filepath.Join(string(g), e.Name())))
		}
	}
	return err
}

// keepMap puts the map m at to. The copy of the generation old, at path in it, is
// linked when it is the same. Files of others are never linked: they are written over.
func keepMap(to string, m *maps.Map, old, path string) error {
	if old != "" {
		if last := filepath.Join(old, path); holds(last, m) && os.Link(last, to) == nil {
			return nil
		}
	}
	return writeSynced(to, m)
}

// holds says whether a file is that of m.
func holds(path string, m *maps.Map) bool {
	f, err := edge.OpenRegular(path)
	if err != nil {
		return false
	}
	defer f.Close()
	c := comparer{f, make([]byte, 64<<10)}
	if _, err := m.WriteTo(c); err != nil {
		return false
	}
	n, err := f.Read(c.buffer)
	return n == 0 && err == io.EOF
}

// comparer errs when what is written is not what comes next in r.
type comparer struct {
	r      io.Reader
	buffer []byte
}

func (c comparer) Write(b []byte) (n int, err error) {
	for n < len(b) {
		part := c.buffer[:min(len(c.buffer), len(b)-n)]
		if _, err := io.ReadFull(c.r, part); err != nil {
			return n, err
		}
		if !bytes.Equal(part, b[n:][:len(part)]) {
			return n, errors.New("differs")
		}
		n += len(part)
	}
	return n, nil
}

// open builds what is kept for the configuration file source. It fails with
// errNothingKept when the node has not served that file before.
func (g lastGood) open(source string) (*loaded, error) {
	dir, err := g.current()
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*loaded, error) {
		return nil, fmt.Errorf("last good state in %q: %w", dir, err)
	}
	from, err := os.ReadFile(filepath.Join(dir, "source"))
	if err != nil {
		return fail(err)
	}
	if string(from) != source {
		return nil, errNothingKept
	}
	path := filepath.Join(dir, "config.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return fail(err)
	}
	c, err := config.Parse(text, path)
	if err != nil {
		return fail(err)
	}
	c.DataDir = config.Path(filepath.Dir(string(g))) // it may have been moved
	l, err := buildKept(c)
	if err != nil {
		return fail(err)
	}
	k := &keeping{source: source, config: text, maps: l.maps}
	for i := range c.Zones {
		z, err := os.ReadFile(filepath.Join(dir, zonePath(i)))
		if err != nil {
			return fail(err)
		}
		k.zones = append(k.zones, z)
	}
	if k.name() != filepath.Base(dir) {
		return fail(errors.New("its content is not what was kept"))
	}
	return l, nil
}

func writeSynced(path string, from io.WriterTo) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = from.WriteTo(f)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncDir makes the names in a folder last.
func syncDir(path string) error {
	if runtime.GOOS == "windows" { // has no such call
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
