package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"edged/edge"
)

// MaxSize is the largest configuration file, in octets.
const MaxSize = 4 << 20

// delimiter joins the steps of a key inside viper. Names have dots and colons,
// but never a control character.
const delimiter = "\x1f"

// envPrefix begins the name of each environment variable that sets a key:
// EDGED_LISTEN_ADMIN sets listen.admin.
const envPrefix = "EDGED_"

// Load reads the file at path, lets EDGED_ environment variables override its
// single values, and checks the whole. Its error is a [Problems] that lists
// everything wrong at once. The Config beside it is then what was understood, if
// anything was: enough to look into the files it names, not to be served.
func Load(path string) (*Config, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	return parse(data, path, os.LookupEnv)
}

// Parse is [Load] for text that was read already, without the environment.
// Relative paths are taken from the folder of file.
func Parse(data []byte, file string) (*Config, error) {
	return parse(data, file, func(string) (string, bool) { return "", false })
}

// LoadPoPs reads only the sections pops and geo, so that a map can be built
// before the rest of the file makes sense.
func LoadPoPs(path string) ([]edge.PoP, Geo, error) {
	c, err := loadOnly(path, []string{"pops", "geo"}, (*checker).pops)
	if err != nil {
		return nil, Geo{}, err
	}
	return c.PoPs, c.Geo, nil
}

// LoadSources reads only beacon.sources, for the same reason.
func LoadSources(path string) ([]string, error) {
	c, err := loadOnly(path, []string{"beacon"}, (*checker).beaconSources)
	if err != nil {
		return nil, err
	}
	return c.Beacon.Sources, nil
}

// loadOnly reads and checks some sections.
func loadOnly(path string, sections []string, check func(*checker)) (*Config, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	root, problems := document(data, path)
	if len(problems) > 0 {
		return nil, problems
	}
	only := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: root.Line}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if slices.Contains(sections, root.Content[i].Value) {
			only.Content = append(only.Content, root.Content[i], root.Content[i+1])
		}
	}
	c, problems, err := layer(only, path, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	ck := newChecker(c, problems)
	check(ck)
	return c, ck.problems.sorted().Err()
}

var dataDirLine = regexp.MustCompile(`(?m)^data_dir:[ \t]*(.+?)[ \t\r]*$`)

// GuessDataDir finds the data folder of a configuration that may not load: the
// environment's, else the one that the file seems to name, else the default.
func GuessDataDir(path string) string {
	text, ok := os.LookupEnv(envName("data_dir"))
	if !ok {
		data, _ := read(path)
		if m := dataDirLine.FindSubmatch(data); m == nil || yaml.Unmarshal(m[1], &text) != nil {
			text = ""
		}
	}
	if text == "" {
		return DefaultDataDir
	}
	if !filepath.IsAbs(text) {
		text = filepath.Join(folder(path), text)
	}
	return text
}

func read(path string) ([]byte, error) {
	f, err := edge.OpenRegular(path)
	if err != nil {
		return nil, Problems{{File: path, Message: plain(err)}}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, Problems{{File: path, Message: plain(err)}}
	}
	return data, nil
}

// plain returns what went wrong with a file, without the path, which the
// problem names already.
func plain(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return fmt.Sprintf("cannot %s: %v", pe.Op, pe.Err)
	}
	return err.Error()
}

// folder returns the absolute folder of a file.
func folder(file string) string {
	dir := filepath.Dir(file)
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

func parse(data []byte, file string, env func(string) (string, bool)) (*Config, error) {
	root, problems := document(data, file)
	if len(problems) > 0 {
		return nil, problems
	}
	c, problems, err := layer(root, file, env)
	if err != nil {
		return nil, err
	}
	ck := newChecker(c, problems)
	ck.all()
	return c, ck.problems.sorted().Err()
}

var yamlError = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

// document parses the one YAML document of a file, whose top must be a mapping.
func document(data []byte, file string) (*yaml.Node, Problems) {
	bad := func(line int, format string, args ...any) (*yaml.Node, Problems) {
		return nil, Problems{{File: file, Line: line, Message: fmt.Sprintf(format, args...)}}
	}
	if len(data) > MaxSize {
		return bad(0, "the file is larger than %d MiB", MaxSize>>20)
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, nil
	case err != nil:
		if m := yamlError.FindStringSubmatch(err.Error()); m != nil {
			line, _ := strconv.Atoi(m[1])
			return bad(line, "not YAML: %s", m[2])
		}
		return bad(0, "not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, nil
	}
	if root.Kind != yaml.MappingNode {
		return bad(root.Line, "want a mapping of sections such as node and pops, got %s", describe(root))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return bad(0, "there is a second YAML document after the first; a configuration is one")
	}
	return root, nil
}

// layer puts the file over the defaults and the environment over both. The
// error is for what can only be a mistake of ours.
func layer(root *yaml.Node, file string, env func(string) (string, bool)) (*Config, Problems, error) {
	t := &tree{
		source: source{file: file, lines: map[string]int{}, env: map[string]string{}},
		dir:    folder(file),
	}
	v := viper.NewWithOptions(viper.KeyDelimiter(delimiter))
	sections := t.fields(root, reflect.TypeFor[Config](), "")
	t.foldNames(sections)
	if err := v.MergeConfigMap(sections); err != nil {
		return nil, nil, fmt.Errorf("config %s: %w", file, err)
	}
	for _, s := range singles(reflect.ValueOf(defaults()), nil) {
		key := strings.Join(s.path, delimiter)
		v.SetDefault(key, s.value)
		name := envName(s.path...)
		text, ok := env(name)
		if !ok {
			continue
		}
		t.source.env[strings.Join(s.path, ".")] = name
		value, err := parseText(reflect.TypeOf(s.value), text, t.dir)
		if err != nil {
			t.problems = append(t.problems, Problem{File: "environment", Key: name, Message: err.Error()})
			continue
		}
		v.Set(key, value)
	}
	c := &Config{source: t.source}
	if err := v.UnmarshalExact(c, func(d *mapstructure.DecoderConfig) {
		d.TagName = "yaml"
		d.WeaklyTypedInput = false
		d.DecodeHook = nil
	}); err != nil {
		return nil, nil, fmt.Errorf("config %s: %w", file, err)
	}
	return c, t.problems, nil
}

// foldNames gives the keys of names their absolute lower-case form, and reports
// those that are no domain names or that become the same.
func (t *tree) foldNames(sections map[string]any) {
	names, ok := sections["names"].(map[string]any)
	if !ok {
		return
	}
	folded := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		key := "names." + name
		absolute, err := domain(name)
		if err != nil {
			t.problems = append(t.problems, t.source.problem(key, "%v", err))
			continue
		}
		if _, dup := folded[absolute]; dup {
			t.problems = append(t.problems, t.source.problem(key, "duplicate name; %q is bound already", absolute))
			continue
		}
		folded[absolute] = names[name]
		for _, sub := range []string{"", ".pool"} { // problems name the folded key
			if line, ok := t.source.lines[key+sub]; ok {
				t.source.lines[NameKey(absolute)+sub] = line
			}
		}
	}
	sections["names"] = folded
}

// envName returns the environment variable for a key.
func envName(path ...string) string {
	return envPrefix + strings.ToUpper(strings.Join(path, "_"))
}

// single is a key with one value, outside lists and maps.
type single struct {
	path  []string
	value any
}

// singles lists the single values of a struct and of the structs in it.
func singles(v reflect.Value, path []string) []single {
	var out []single
	for _, f := range fieldsOf(v.Type()) {
		at := append(slices.Clone(path), f.key)
		if _, ok := kinds[f.typ]; ok {
			out = append(out, single{at, v.Field(f.index).Interface()})
		} else if f.typ.Kind() == reflect.Struct {
			out = append(out, singles(v.Field(f.index), at)...)
		}
	}
	return out
}
