package clickhouse

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"edged/mapper/beacon"
)

// scripted is a server that takes rows and says what is wanted when it is asked for
// cells.
func scripted(t *testing.T, cells http.HandlerFunc) *Engine {
	t.Helper()
	rows := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch text := string(body); {
		case r.URL.Query().Get("query") != "":
			rows += len(body) / rowSize
		case strings.HasPrefix(text, "SELECT count() FROM system.clusters"):
			io.WriteString(w, "1\n")
		case strings.HasPrefix(text, "SELECT engine") && strings.Contains(text, "'samples'"):
			io.WriteString(w, "Distributed\n")
		case strings.HasPrefix(text, "SELECT engine"):
			io.WriteString(w, "MergeTree\n")
		case strings.HasPrefix(text, "SELECT concat"):
			io.WriteString(w, strings.Join(columns, "\n")+"\n")
		case strings.HasPrefix(text, "SELECT count()"):
			fmt.Fprintln(w, rows)
		case strings.HasPrefix(text, "SELECT unit"):
			cells(w, r)
		}
	}))
	t.Cleanup(s.Close)
	e, err := New(Options{URLs: []string{s.URL}, Cluster: "c", Database: "d", User: "u", Password: "a secret", Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// two are samples, of one cell each, and right is the answer that they need.
var two = []beacon.Sample{{Unit: 5, PoP: 1, Value: -7, Weight: 3}, {Unit: 6, PoP: 2, Value: 9, Weight: 4}}

const right = "5\t1\t1\t3\t-7\t-7\t0\n6\t2\t1\t4\t9\t9\t0\n"

func TestAnswers(t *testing.T) {
	const trouble = "Code: 210, e.displayText() = DB::NetException: Connection refused: 127.0.0.1:9001, e.what() = DB::NetException\n"
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
	}
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   string // in the error; empty: the right cells
	}{
		{"right", say(right), ""},
		{"status", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			io.WriteString(w, trouble)
		}, "cannot select: 500 Internal Server Error: Code: 210, e.displayText() = DB::NetException: Connection refused"},
		{"exception with a good status", say(trouble), "want 7 columns, got \"Code: 210"},
		{"exception after a cell", say(right[:strings.Index(right, "\n")+1] + trouble), "want 7 columns, got \"Code: 210"},
		{"exception with tabs", say("1\t2\t3\t4\t5\t6\tCode: 210\n"), `column 7 of a cell is "Code: 210"`},
		{"exception in a header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(exceptionCode, "241")
			io.WriteString(w, right)
		}, "cannot select: 200 OK: 5 1 1 3"},
		{"exception in a trailer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", exceptionCode)
			io.WriteString(w, right)
			w.Header().Set(exceptionCode, "241")
		}, "cannot select: its answer ends with exception 241"},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(right)))
			io.WriteString(w, right[:20])
		}, "unexpected EOF"},
		{"cut in a line", say(right[:len(right)-1]), `its answer ends with "6 2 1 4 9 9 0"`},
		{"cut after a line", say(right[:strings.Index(right, "\n")+1]), "the cells lack 1 samples with a weight of 4"},
		{"nothing", say(""), "the cells lack 2 samples with a weight of 7"},
		{"a cell twice", say("5\t1\t1\t3\t-7\t-7\t0\n5\t1\t1\t4\t9\t9\t0\n"), "the cell of 0.0.5.0/24 and pop 1 comes after that of 0.0.5.0/24 and pop 1"},
		{"out of order", say("6\t2\t1\t4\t9\t9\t0\n5\t1\t1\t3\t-7\t-7\t0\n"), "the cell of 0.0.5.0/24 and pop 1 comes after that of 0.0.6.0/24 and pop 2"},
		{"too many", say(right + "7\t0\t1\t1\t0\t0\t0\n"), "the cells have more samples than were sent"},
		{"too heavy", say("5\t1\t1\t4\t-7\t-7\t0\n6\t2\t1\t4\t9\t9\t0\n"), "the cells have more samples than were sent"},
		{"without samples", say("5\t1\t0\t3\t-7\t-7\t0\n"), "a cell has 0 samples"},
		{"pop out of range", say("5\t4096\t1\t3\t-7\t-7\t0\n"), `column 2 of a cell is "4096": want a number up to 4095`},
		{"time out of range", say("5\t1\t1\t3\t-7\t40000\t0\n"), `column 6 of a cell is "40000": want a time`},
		{"a long line", say(strings.Repeat("x", maxLine+1)), "buffer full"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusTemporaryRedirect)
		}, "cannot select: 307 Temporary Redirect"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := scripted(t, tt.answer)
			got, err := aggregate(t, e, two)
			if tt.want == "" {
				if want := []beacon.Cell{{Unit: 5, PoP: 1, Count: 1, Weight: 3, P50: -7, P90: -7}, {Unit: 6, PoP: 2, Count: 1, Weight: 4, P50: 9, P90: 9}}; err != nil || !slices.Equal(got, want) {
					t.Errorf("%+v, %v, want %+v", got, err, want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), e.servers[0].url) {
				t.Errorf("error %v, want one with %q and %q", err, tt.want, e.servers[0].url)
			}
		})
	}
}

// TestRequests: what each request has, and that the password is in a header alone.
func TestRequests(t *testing.T) {
	var seen []*http.Request
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = append(seen, r) }))
	defer s.Close()
	e, err := New(Options{URLs: []string{s.URL + "/ch/"}, Cluster: "c", Database: "d", User: "u", Password: "a secret", Timeout: 90 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.servers[0].send(t.Context(), "INSERT INTO x", []byte("rows")); err != nil {
		t.Fatal(err)
	}
	r := seen[0]
	if r.Header.Get("X-ClickHouse-User") != "u" || r.Header.Get("X-ClickHouse-Key") != "a secret" || r.Method != http.MethodPost || r.URL.Path != "/ch/" {
		t.Errorf("%s %s with %v", r.Method, r.URL, r.Header)
	}
	if strings.Contains(r.RequestURI, "secret") {
		t.Errorf("the password is in the URL %s", r.RequestURI)
	}
	for name, want := range map[string]string{
		"skip_unavailable_shards": "0", "timeout_overflow_mode": "throw", "group_by_overflow_mode": "throw", "result_overflow_mode": "throw",
		"wait_end_of_query": "1", "max_execution_time": "90", "query": "INSERT INTO x",
	} {
		if got := r.URL.Query().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := Options{URLs: []string{"http://127.0.0.1:8123"}, Cluster: "edged", Database: "edged", Timeout: time.Minute}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		spoil func(*Options)
		want  string
	}{
		{func(o *Options) { o.URLs = nil }, "no clickhouse servers"},
		{func(o *Options) { o.URLs = append(o.URLs, o.URLs[0]) }, `clickhouse url "http://127.0.0.1:8123" stands twice`},
		{func(o *Options) { o.URLs = []string{"http://me:secret@h:1/"} }, `clickhouse url of "h:1" holds a user: give user and password_file instead`},
		{func(o *Options) { o.URLs = []string{"http://me:secret@h:x/"} }, "bad clickhouse url: want one like"},
		{func(o *Options) { o.URLs = []string{"tcp://h:9000"} }, `bad clickhouse url "tcp://h:9000": want one like`},
		{func(o *Options) { o.URLs = []string{"http://h/?a=b"} }, "bad clickhouse url"},
		{func(o *Options) { o.Database = "a; DROP" }, `bad clickhouse name "a; DROP"`},
		{func(o *Options) { o.Cluster = "" }, `bad clickhouse name ""`},
		{func(o *Options) { o.Timeout = time.Millisecond }, "bad clickhouse timeout 1ms"},
	} {
		o := good
		o.URLs = slices.Clone(good.URLs)
		tt.spoil(&o)
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

// FuzzCell: whatever a line is, a cell that is taken writes itself as the same
// numbers.
func FuzzCell(f *testing.F) {
	f.Add("5\t1\t1\t3\t-7\t-7\t0")
	f.Add("9223418218926891120\t4095\t4294967295\t9223372036854775808\t32767\t-32768\t1")
	f.Add("Code: 210, e.displayText()")
	f.Add("5\t1\t1\t3\t-7\t-7")
	f.Fuzz(func(t *testing.T, line string) {
		c, err := parseCell(strings.Split(line, "\t"))
		if err != nil {
			return
		}
		if c.Count == 0 || c.PoP > 4095 {
			t.Errorf("%q is taken as %+v", line, c)
		}
		again := fmt.Sprintf("%d\t%d\t%d\t%d\t%d\t%d\t%d", uint64(c.Unit), c.PoP, c.Count, c.Weight, c.P50, c.P90, c.Deviation)
		if d, err := parseCell(strings.Split(again, "\t")); err != nil || d != c {
			t.Errorf("%q is %+v, and written again %+v, %v", line, c, d, err)
		}
	})
}
