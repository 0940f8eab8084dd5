package main

import (
	"crypto/sha256"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edged/config"
)

// kept builds the files of d and keeps them.
func (d nodeDir) kept() (lastGood, *loaded) {
	d.t.Helper()
	l, _, err := load(d.file("edged.yaml"))
	if err != nil {
		d.t.Fatal(err)
	}
	g := lastGoodIn(config.Path(d.file("state")))
	if err := g.keep(d.file("edged.yaml"), l, l.config); err != nil {
		d.t.Fatal(err)
	}
	return g, l
}

// entries lists a folder's names, and "GENERATION" for the one in force.
func entries(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	current, _ := lastGood(dir).current()
	names := []string{}
	for _, e := range list {
		if e.Name() == filepath.Base(current) {
			names = append(names, "GENERATION")
			continue
		}
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestKeepIsWholeAndSmall(t *testing.T) {
	d := newNodeDir(t)
	g, l := d.kept()
	first, err := g.current()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := entries(t, string(g)), "GENERATION current"; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
	if got, want := entries(t, first), "config.yaml maps source zones"; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
	zone, err := os.ReadFile(filepath.Join(first, "zones/0.zone"))
	if err != nil || !strings.Contains(string(zone), "text.example.com.\t300\tIN\tTXT\t\"one\"\n") || strings.Contains(string(zone), "$INCLUDE") {
		t.Errorf("%v, kept zone:\n%s", err, zone)
	}
	info, err := os.Stat(filepath.Join(first, "config.yaml"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}

	// The same again changes nothing; something else replaces it, and links the
	// map, which is the same.
	if d.kept(); entries(t, string(g)) != "GENERATION current" {
		t.Errorf("kept twice: %s", entries(t, string(g)))
	}
	before, err := os.Stat(filepath.Join(first, "maps/default.edmap"))
	if err != nil {
		t.Fatal(err)
	}
	d.change("more.inc", "one", "two")
	d.kept()
	second, err := g.current()
	if err != nil || second == first || entries(t, string(g)) != "GENERATION current" {
		t.Errorf("%v, kept %s", err, entries(t, string(g)))
	}
	after, err := os.Stat(filepath.Join(second, "maps/default.edmap"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the map was copied (%v)", err)
	}

	// A copy that is damaged is not taken over.
	spoil(t, filepath.Join(second, "maps/default.edmap"))
	d.change("more.inc", "two", "three")
	d.kept()
	if _, err := g.open(d.file("edged.yaml")); err != nil {
		t.Errorf("kept a damaged map: %v", err)
	}

	// What is served is kept, whatever the file is by now.
	d.write("default.edmap", string(testMap(t, testPoPs, 1)))
	if err := os.RemoveAll(string(g)); err != nil {
		t.Fatal(err)
	}
	if err := g.keep(d.file("edged.yaml"), l, l.config); err != nil {
		t.Fatal(err)
	}
	again, err := g.open(d.file("edged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.maps["default"].Version(), l.maps["default"].Version(); got != want {
		t.Errorf("kept map %s, served is %s", got, want)
	}
}

// TestKeepHashesMaps: a reload leaves a map's hash to keep, a start does not.
func TestKeepHashesMaps(t *testing.T) {
	d := newNodeDir(t)
	g, l := d.kept()
	before, err := g.current()
	if err != nil {
		t.Fatal(err)
	}
	file := testMap(t, testPoPs, 1)
	file[32]++ // in the content's hash, which that of the header at 72 covers
	header := sha256.Sum256(file[:72])
	copy(file[72:], header[:])
	d.write("default.edmap", string(file))

	const want = "hash of the content differs: this is not the map that its version names"
	if _, _, err := load(d.file("edged.yaml")); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("load: error %v, want %q at its end", err, want)
	}
	again, c, err := loadAfter(l, d.file("edged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.keep(d.file("edged.yaml"), again, c); err == nil || !strings.HasSuffix(err.Error(), `map "default": `+want) {
		t.Errorf("keep: error %v, want %q at its end", err, want)
	}
	if after, err := g.current(); after != before || err != nil {
		t.Errorf("kept is %q, %v, want %q still", after, err, before)
	}
}

// TestKeptMapWasTheOperatorsFile: a node whose own map was maps/NAME.edmap of its working
// folder linked that file in place of a copy, and lost both when it was written over.
func TestKeptMapWasTheOperatorsFile(t *testing.T) {
	d := newNodeDir(t)
	if err := os.Mkdir(d.file("maps"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(d.file("default.edmap"), d.file("maps/default.edmap")); err != nil {
		t.Fatal(err)
	}
	d.change("edged.yaml", "default.edmap", "maps/default.edmap")
	t.Chdir(d.file("."))
	g, _ := d.kept()
	spoil(t, "maps/default.edmap")
	if _, err := g.open(d.file("edged.yaml")); err != nil {
		t.Error(err)
	}
}

// spoil changes the last octet of a file.
func spoil(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestInterruptedKeep holds that what a crash left behind neither counts nor
// stays.
func TestInterruptedKeep(t *testing.T) {
	d := newNodeDir(t)
	g, _ := d.kept()
	first, _ := g.current()
	for _, name := range []string{".new-1", "00112233445566778899aabbccddeeff/zones"} {
		if err := os.MkdirAll(filepath.Join(string(g), name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.open(d.file("edged.yaml")); err != nil {
		t.Error(err)
	}
	d.change("more.inc", "one", "two")
	d.kept()
	second, _ := g.current()
	if got, want := entries(t, string(g)), "GENERATION current"; second == first || got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
}

func TestOpenKeptErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(g, dir string)
		want  string
	}{
		"nothing":      {func(g, _ string) { os.Remove(g + "/current") }, "nothing is kept"},
		"bad pointer":  {func(g, _ string) { os.WriteFile(g+"/current", []byte("../../x"), 0o600) }, "names no generation"},
		"no source":    {func(_, dir string) { os.Remove(dir + "/source") }, "no such file"},
		"other source": {func(_, dir string) { os.WriteFile(dir+"/source", []byte("/other.yaml"), 0o600) }, "nothing is kept"},
		"no config":    {func(_, dir string) { os.Remove(dir + "/config.yaml") }, "no such file"},
		"bad config":   {func(_, dir string) { os.WriteFile(dir+"/config.yaml", []byte("node: 1\n"), 0o600) }, "node: want a mapping"},
		"record lost": {func(_, dir string) {
			path := dir + "/zones/0.zone"
			zone, _ := os.ReadFile(path)
			i := strings.Index(string(zone), "text.example.com.")
			os.WriteFile(path, zone[:i], 0o600)
		}, "its content is not what was kept"},
		"map damaged": {func(_, dir string) { os.Truncate(dir+"/maps/default.edmap", 100) }, "maps.default.file"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newNodeDir(t)
			g, _ := d.kept()
			dir, err := g.current()
			if err != nil {
				t.Fatal(err)
			}
			tc.spoil(string(g), dir)
			if _, err := g.open(d.file("edged.yaml")); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

// TestKeptWhenThereIsRoom: what could not be kept is kept later, without a reload.
func TestKeptWhenThereIsRoom(t *testing.T) {
	d := newNodeDir(t)
	l, _, err := load(d.file("edged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.file("state"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.write("state/last-good", "in the way")
	n := &node{source: d.file("edged.yaml"), started: l.config, current: l, log: slog.New(slog.DiscardHandler)}
	n.keep()
	since := n.Health().Alarms
	n.keepAgain()
	if now := n.Health().Alarms; len(since) != 1 || since[0].Reason != alarmLastGood || len(now) != 1 || now[0].Since != since[0].Since {
		t.Errorf("the alarm was %+v, and is %+v", since, now)
	}
	if err := os.Remove(d.file("state/last-good")); err != nil {
		t.Fatal(err)
	}
	n.keepAgain()
	if now := n.Health().Alarms; len(now) != 0 {
		t.Errorf("the alarm is %+v", now)
	}
	if _, err := lastGoodIn(l.config.DataDir).open(n.source); err != nil {
		t.Error(err)
	}
}

// TestKeepsOnlyWhatIsReadAgain: what is served beside settings of before that do not go with it takes
// nothing away from what was kept.
func TestKeepsOnlyWhatIsReadAgain(t *testing.T) {
	d := newNodeDir(t)
	const listen = `external: ["0.0.0.0:28253"]`
	d.change("edged.yaml", `external: ["127.0.0.1:0"]`, listen)
	g, l := d.kept()
	before, err := g.current()
	if err != nil {
		t.Fatal(err)
	}
	d.change("edged.yaml", listen, `external: ["192.0.2.11:28253"]`)
	d.change("edged.yaml", "zones:", "bgp: {asn: 64512, router_id: 192.0.2.11, peers: [{name: tor, address: 192.0.2.1, asn: 64500}]}\n"+
		"vips: {ns1: {prefixes: [198.51.100.53/32], listen: 28253}}\nzones:")
	next, _, err := load(d.file("edged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	n := &node{source: d.file("edged.yaml"), started: l.config, current: next, log: slog.New(slog.DiscardHandler)}
	n.keep()
	const want = "what the files say does not go with what a restart alone changes: "
	if a := n.Health().Alarms; len(a) != 1 || a[0].Reason != alarmLastGood || !strings.Contains(a[0].Detail[0], want) {
		t.Errorf("alarms %+v, want %q", a, want)
	}
	if after, err := g.current(); after != before || err != nil {
		t.Errorf("kept is %q, %v, want %q still", after, err, before)
	}
	if _, err := g.open(n.source); err != nil {
		t.Error(err)
	}
}

// TestKeepsWhatItStartedWith: a setting that only a restart brings, and that was reloaded, is not kept:
// nobody has seen that a node starts with it. One that comes with new parts is.
func TestKeepsWhatItStartedWith(t *testing.T) {
	d := newNodeDir(t)
	d.change("edged.yaml", "zones:", "bgp: {asn: 64512, router_id: 192.0.2.11, peers: [{name: tor, address: 192.0.2.1, asn: 64500, password_file: md5}]}\n"+
		"vips: {ns1: {prefixes: [198.51.100.53/32]}}\nfleet: {name: prod, bind: \"192.0.2.11:7946\", advertise: \"192.0.2.11:7946\", join: [\"192.0.2.12:7946\"], link: \"192.0.2.11:7947\", key_file: key, node_key_file: key}\nzones:")
	for _, name := range []string{"key", "md5"} {
		d.write(name, "")
	}
	was, err := config.Load(d.file("edged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d.change("edged.yaml", "fleet: {name: prod", "fleet: {name: prot")
	for _, change := range []string{"{name: fra1", "asn: 64512", "router_id: 192.0.2.11", "link: \"192.0.2.11", "node_key_file: key", "data_dir: state"} {
		d.change("edged.yaml", change, change[:len(change)-1]+"9")
	}
	is, err := config.Load(d.file("edged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := func(c *config.Config) string {
		text, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if text(is) == text(was) || text(asStarted(is, was)) != text(was) {
		t.Errorf("as it was started:\n%s\nwant\n%s", text(asStarted(is, was)), text(was))
	}
}

// TestPasswordsOfBefore: a node that starts from its last good state, for a password is gone, has the one
// that the session had.
func TestPasswordsOfBefore(t *testing.T) {
	d := newNodeDir(t)
	d.change("edged.yaml", "zones:", "bgp: {asn: 64512, router_id: 192.0.2.11, peers: [{name: tor, address: 192.0.2.1, asn: 64500, password_file: md5}]}\nzones:")
	d.write("md5", "secret\n")
	g, _ := d.kept()
	if err := os.MkdirAll(d.file("state/vips"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.write("state/vips/vip-passwords.json", `{"192.0.2.1": "before"}`)
	for _, c := range []struct{ file, want string }{{"secret\n", "secret"}, {"", "before"}} {
		d.write("md5", c.file)
		l, err := g.open(d.file("edged.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if got := l.announce.Peers[0].Password; got != c.want {
			t.Errorf("file %q: the password is %q, want %q", c.file, got, c.want)
		}
	}
	// The folder has been moved along with all that it names.
	if err := os.Rename(d.file("state"), d.file("moved")); err != nil {
		t.Fatal(err)
	}
	l, err := lastGoodIn(config.Path(d.file("moved"))).open(d.file("edged.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := l.announce.Peers[0].Password; got != "before" || string(l.config.DataDir) != d.file("moved") {
		t.Errorf("moved: the password is %q, data_dir %q", got, l.config.DataDir)
	}
}

// TestKeepsForTheNextStart: what a reload brought is kept with the settings of the start, but for parts that
// come with it, and where the next start looks, too.
func TestKeepsForTheNextStart(t *testing.T) {
	d := newNodeDir(t)
	_, l := d.kept()
	n := &node{source: d.file("edged.yaml"), started: l.config, log: slog.New(slog.DiscardHandler)}
	keeps := func(folder string) *config.Config {
		t.Helper()
		var err error
		if n.current, _, err = load(n.source); err != nil {
			t.Fatal(err)
		}
		n.keep()
		kept, err := lastGoodIn(config.Path(d.file(folder))).open(n.source)
		if err != nil || len(n.Health().Alarms) > 0 {
			t.Fatalf("%v, alarms %v", err, n.Health().Alarms)
		}
		return kept.config
	}
	d.change("edged.yaml", "{name: fra1, ", "{name: fra9, ")
	if got := keeps("state").Node.Name; got != "fra1" {
		t.Errorf("the name is %q, want that of the start", got)
	}
	d.change("edged.yaml", "data_dir: state", "data_dir: other")
	if got := keeps("state").DataDir; string(got) != d.file("state") {
		t.Errorf("data_dir is %q", got)
	}
	if got := keeps("other").DataDir; string(got) != d.file("other") {
		t.Errorf("data_dir is %q", got)
	}
	lock, err := lockDataDir(d.file("other"))
	if err != nil {
		t.Fatal(err)
	}
	n.keep()
	if a := n.Health().Alarms; len(a) != 1 || !strings.Contains(a[0].Detail[0], "another node runs on it") {
		t.Errorf("the folder of another node: alarms %v", a)
	}
	lock.Close()
	d.change("edged.yaml", "zones:", "bgp: {asn: 64512, router_id: 192.0.2.11, peers: [{name: tor, address: 192.0.2.1, asn: 64500}]}\n"+
		"vips: {ns1: {prefixes: [198.51.100.53/32]}}\nzones:")
	if got := keeps("state").BGP.ASN; got != 64512 {
		t.Errorf("it is kept with the AS number %d", got)
	}
}
