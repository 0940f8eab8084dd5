package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"edged/config"
)

// TestCheck holds that a check finds what is wrong between the files.
func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(d nodeDir)
		want  []string // how each line of the error begins, without the folder
	}{
		{"address at a pool's name", func(d nodeDir) {
			d.write("more.inc", "www A 192.0.2.2\nwww AAAA 2001:db8::2\n")
		}, []string{
			`edged.yaml:9: zones[0].file: more.inc:1: A at "www.example.com."`,
			`edged.yaml:9: zones[0].file: more.inc:2: AAAA at "www.example.com."`,
		}},
		{"pool's name below a cut", func(d nodeDir) {
			d.change("edged.yaml", "names: {www.example.com", "names: {www.sub.example.com")
			d.write("more.inc", "sub NS ns1.example.net.\n")
		}, []string{
			`edged.yaml:9: zones[0].file: zone "example.com.": dynamic name "www.sub.example.com." lies below a delegation`,
		}},
		{"target beside other data", func(d nodeDir) {
			d.change("edged.yaml", "    endpoints:", "    fallback: {cname: last.example.net}\n    endpoints:")
			d.write("more.inc", "www TXT x\nwww HTTPS 1 .\n")
		}, []string{
			`edged.yaml:18: names.www.example.com: pool "www" holds the CNAME target "last.example.net.", but zone "example.com." has other data at the name (TXT, HTTPS), which a CNAME cannot stand beside (RFC 1034 section 3.6.2)`,
		}},
		{"secrets that others can read", func(d nodeDir) {
			d.change("edged.yaml", "zones:", "admin: {tokens_file: tokens}\ncookies: {secret_file: cookie}\nzones:")
			d.write("tokens", "ann engineer 0123456789012345678901234\n")
			d.write("cookie", "000102030405060708090a0b0c0d0e0f\n")
			os.Chmod(d.file("tokens"), 0o644)
			os.Chmod(d.file("cookie"), 0o640)
		}, []string{
			`edged.yaml:9: admin.tokens_file: tokens file "tokens": mode 0644 lets others use it; chmod 600`,
			`edged.yaml:10: cookies.secret_file: cookie secrets "cookie": mode 0640 lets others use it; chmod 600`,
		}},
		{"bad secrets", func(d nodeDir) {
			d.change("edged.yaml", "zones:", "admin: {tokens_file: tokens}\ncookies: {secret_file: cookie}\nzones:")
			d.write("tokens", "ann enginer 0123456789012345678901234\nbob engineer\n")
			d.write("cookie", "# ours\n000102030405060708090a0b0c0d0e\n\n000102030405060708090a0b0c0d0e0f00\nzz0102030405060708090a0b0c0d0e0f\n")
		}, []string{
			`edged.yaml:9: admin.tokens_file: tokens:1: unknown role; want engineer or map-builder`,
			`edged.yaml:9: admin.tokens_file: tokens:2: want name, role and token, got 2 fields`,
			`edged.yaml:10: cookies.secret_file: cookie:2: want 32 hex digits; make them with: openssl rand -hex 16`,
			`edged.yaml:10: cookies.secret_file: cookie:4: want 32 hex digits; make them with: openssl rand -hex 16`,
			`edged.yaml:10: cookies.secret_file: cookie:5: want 32 hex digits; make them with: openssl rand -hex 16`,
		}},
		{"no secret at all", func(d nodeDir) {
			d.change("edged.yaml", "zones:", "cookies: {secret_file: cookie}\nzones:")
			d.write("cookie", "# none yet\n")
		}, []string{
			`edged.yaml:9: cookies.secret_file: cookie secrets "cookie": there is none`,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newNodeDir(t)
			tc.spoil(d)
			code, out, errs := command(t, "check", "--config", d.file("edged.yaml"))
			got := strings.ReplaceAll(errs, d.path+"/", "")
			lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
			if code != 1 || out != "" || !slices.EqualFunc(lines, tc.want, strings.HasPrefix) {
				t.Errorf("exit code %d, output %q, got:\n%s\nwant:\n%s", code, out, got, strings.Join(tc.want, "\n"))
			}
		})
	}
}

func TestCheckGood(t *testing.T) {
	d := newNodeDir(t)
	path := d.file("edged.yaml")
	if code, out, errs := command(t, "check", "--config", path); code != 0 || errs != "" || out != path+": ok: 2 pops, 1 zones, 1 maps, 1 pools, 1 names\n" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	if _, err := os.Stat(d.file("state")); !os.IsNotExist(err) {
		t.Errorf("a check made the data folder: %v", err)
	}

	d.change("edged.yaml", "names:", "  idle: {policy: failover, endpoints: [{address: 192.0.2.9}]}\nnames:")
	code, _, errs := command(t, "check", "--config", path)
	if want := "warning: " + path + ":17: pools.idle: no name uses this pool\n"; code != 0 || errs != want {
		t.Errorf("%d %q, want %q", code, errs, want)
	}
	code, out, _ := command(t, "check", "--json", "--config", path)
	var report struct {
		OK               bool
		Errors, Warnings config.Problems
	}
	if err := json.Unmarshal([]byte(out), &report); code != 0 || err != nil || !report.OK || len(report.Errors) != 0 || len(report.Warnings) != 1 || report.Warnings[0].Line != 17 {
		t.Errorf("%d %v %s", code, err, out)
	}
	d.change("edged.yaml", "idle", "Idle")
	code, out, _ = command(t, "check", "--json", "--config", path)
	if err := json.Unmarshal([]byte(out), &report); code != 1 || err != nil || report.OK || len(report.Errors) != 1 || report.Errors[0].Key != "pools.Idle" {
		t.Errorf("%d %v %s", code, err, out)
	}
}

// TestCheckPrint holds that the printed configuration is one that passes.
func TestCheckPrint(t *testing.T) {
	d := newNodeDir(t)
	code, out, errs := command(t, "check", "--print", "--config", d.file("edged.yaml"))
	if code != 0 || !strings.Contains(out, "max_udp: 1232\n") {
		t.Fatalf("%d %s\n%s", code, errs, out)
	}
	d.write("printed.yaml", out)
	if code, again, errs := command(t, "check", "--print", "--config", d.file("printed.yaml")); code != 0 || again != out {
		t.Errorf("%d %s\nfirst:\n%s\nsecond:\n%s", code, errs, out, again)
	}
}

func TestCommandLineErrors(t *testing.T) {
	t.Setenv("EDGED_DATA_DIR", t.TempDir())
	for _, tc := range []struct {
		args string
		want string
	}{
		{"serve", `required flag(s) "config" not set`},
		{"check --config none.yaml", "none.yaml: cannot open: no such file or directory"},
		{"explain", "accepts between 1 and 2 arg(s), received 0"},
		{"explain a.example --client home", `client "home": want an IP address or a prefix`},
		{"explain a.example --resolver home", `resolver "home": want an IP address`},
		{"explain a.example --node http://[", "want a socket's path or a URL"},
		{"status", "no control socket"},
		{"reload --token-file none --node http://127.0.0.1:1", "--token-file: open none"},
		{"nothing", `unknown command "nothing"`},
	} {
		code, _, errs := command(t, strings.Fields(tc.args)...)
		if code != 1 || !strings.Contains(errs, tc.want) {
			t.Errorf("%s: %d, want %q in %q", tc.args, code, tc.want, errs)
		}
	}
	if code, out, _ := command(t, "version"); code != 0 || !strings.HasPrefix(out, "edged ") {
		t.Errorf("version: %d %q", code, out)
	}
}

// TestCheckListsFilesBesideKeys had a wrong key hide the faults of zones, maps
// and secrets.
func TestCheckListsFilesBesideKeys(t *testing.T) {
	d := newNodeDir(t)
	d.change("edged.yaml", "policy:", "polcy:")
	d.change("edged.yaml", "zones:", "admin: {tokens_file: tokens}\nzones:")
	d.write("more.inc", "www A 192.0.2.300\n")
	d.write("default.edmap", "no map")
	code, _, errs := command(t, "check", "--config", d.file("edged.yaml"))
	for _, want := range []string{`did you mean "policy"?`, "more.inc:1: ", "default.edmap", `tokens file "`} {
		if code != 1 || !strings.Contains(errs, want) {
			t.Errorf("%d\n%s\nwant %s in it", code, errs, want)
		}
	}
}

// TestCheckWarnsOfHiddenNames has a zone with names that another zone served
// beside it holds.
func TestCheckWarnsOfHiddenNames(t *testing.T) {
	d := newNodeDir(t)
	d.write("more.inc", "a.sub A 192.0.2.9\n")
	d.write("sub.zone", "@ 3600 SOA ns host 1 7200 3600 1209600 300\n@ 3600 NS ns\nns 3600 A 192.0.2.1\n")
	d.change("edged.yaml", "zones: [", "zones: [{name: sub.example.com, file: sub.zone}, ")
	code, _, errs := command(t, "check", "--config", d.file("edged.yaml"))
	if want := `has a.sub.example.com., which is never answered: zone "sub.example.com." is served here too`; code != 0 || !strings.Contains(errs, want) {
		t.Errorf("%d\n%s\nwant %s in it", code, errs, want)
	}
}
