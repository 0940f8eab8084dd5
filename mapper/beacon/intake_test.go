package beacon

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
)

const header7 = "time,session,client,resolver,pop,rtt_ms,method\n"

func options() Options { return Options{Now: noon, Oldest: noon.AddDate(0, 0, -7)} }

// summary writes a report in a line.
func summary(r Report) string {
	s := fmt.Sprintf("%d accepted", r.Accepted)
	for _, x := range r.Rejected {
		s += fmt.Sprintf("; %d %s %v", x.Rows, x.Reason, x.Lines)
	}
	return s
}

// TestRowsAreJudged: each line is one row behind a right header.
func TestRowsAreJudged(t *testing.T) {
	for _, tt := range []struct{ row, want string }{
		{"2026-06-17T12:00:00Z,s,81.2.3.4,8.8.8.8,fra,12.5,resource", ""},
		{"2026-06-17T14:05:00.25+02:00,s,2a00:1::1,2a00::8,fra,0.3,connect", ""},
		{"1781697600,s,81.2.3.4,,fra,3000,tcp", ""},
		{"1781697600.75,s,::ffff:81.2.3.4,8.8.8.8,fra,12.5,ping", ""},
		{`1781697600,"a, ""b""",81.2.3.4,8.8.8.8,"fra",12.5,resource`, ""},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,12.5", "not a row: it has 6 fields, want 7"},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,12.5,resource,", "not a row: it has more than 7 fields"},
		{`1781697600,"s,81.2.3.4,8.8.8.8,fra,12.5,resource`, "not a row: a quotation mark is out of place"},
		{`1781697600,s"s,81.2.3.4,8.8.8.8,fra,12.5,resource`, "not a row: a quotation mark is out of place"},
		{`1781697600,"s"s,81.2.3.4,8.8.8.8,fra,12.5,resource`, "not a row: a quotation mark is out of place"},
		{strings.Repeat("x", maxLine+1), "not a row: the line has more than 16384 octets"},
		{"noon,s,81.2.3.4,8.8.8.8,fra,12.5,resource", `bad time: "noon": want RFC 3339 or Unix seconds`},
		{"-5,s,81.2.3.4,8.8.8.8,fra,12.5,resource", `bad time: "-5": want RFC 3339 or Unix seconds`},
		{",s,81.2.3.4,8.8.8.8,fra,12.5,resource", `bad time: "": want RFC 3339 or Unix seconds`},
		{"99999999999999999999999,s,81.2.3.4,8.8.8.8,fra,12.5,resource", `bad time: "99999999999999999999999": want RFC 3339 or Unix seconds`},
		{"1969-12-31T23:59:59Z,s,81.2.3.4,8.8.8.8,fra,12.5,resource", `bad time: "1969-12-31T23:59:59Z": want RFC 3339 or Unix seconds`},
		{"2026-06-10T11:59:59Z,s,81.2.3.4,8.8.8.8,fra,12.5,resource", `too long ago: "2026-06-10T11:59:59Z"`},
		{"2026-06-17T12:10:00Z,s,81.2.3.4,8.8.8.8,fra,12.5,resource", ""},
		{"2026-06-17T12:10:01Z,s,81.2.3.4,8.8.8.8,fra,12.5,resource", `in the future: "2026-06-17T12:10:01Z": more than 10m0s ahead`},
		{"1781697600,,81.2.3.4,8.8.8.8,fra,12.5,resource", "bad session: 0 octets: want 1 to 255"},
		{"1781697600," + strings.Repeat("s", 256) + ",81.2.3.4,8.8.8.8,fra,12.5,resource", "bad session: 256 octets: want 1 to 255"},
		{"1781697600,s,81.2.3,8.8.8.8,fra,12.5,resource", `bad client: "81.2.3" is no address`},
		{"1781697600,s,fe80::1%eth0,8.8.8.8,fra,12.5,resource", `bad client: "fe80::1%eth0" is no address`},
		{"1781697600,s,81.2.3.4,dns,fra,12.5,resource", `bad resolver: "dns" is no address`},
		{"1781697600,s,10.2.3.4,8.8.8.8,fra,12.5,resource", "client not public: 10.2.3.4"},
		{"1781697600,s,::ffff:127.0.0.1,8.8.8.8,fra,12.5,resource", "client not public: 127.0.0.1"},
		{"1781697600,s,fd00::1,8.8.8.8,fra,12.5,resource", "client not public: fd00::1"},
		{"1781697600,s,2001:db8::1,8.8.8.8,fra,12.5,resource", "client not public: 2001:db8::1"},
		{"1781697600,s,240.0.0.1,8.8.8.8,fra,12.5,resource", "client not public: 240.0.0.1"},
		{"1781697600,s,81.2.3.4,192.168.1.1,fra,12.5,resource", "resolver not public: 192.168.1.1"},
		{"1781697600,s,81.2.3.4,8.8.8.8,,12.5,resource", `unknown pop: ""`},
		{"1781697600,s,81.2.3.4,8.8.8.8,xyz,12.5,resource", `unknown pop: "xyz"`},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,fast,resource", `bad rtt_ms: "fast": want milliseconds`},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,NaN,resource", `bad rtt_ms: "NaN": want milliseconds`},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,0.29,resource", "implausible rtt_ms: 0.29 ms: want 0.3 to 3000"},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,-1,resource", "implausible rtt_ms: -1 ms: want 0.3 to 3000"},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,+Inf,resource", "implausible rtt_ms: +Inf ms: want 0.3 to 3000"},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,3000.1,resource", "implausible rtt_ms: 3000.1 ms: want 0.3 to 3000"},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,12.5,guess", `unknown method: "guess"`},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,,resource-failed", ""},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,,ping-failed", ""},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,,guess-failed", `unknown method: "guess-failed"`},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,,-failed", `unknown method: "-failed"`},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,,resource-failed-failed", `unknown method: "resource-failed-failed"`},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,,resource", `bad rtt_ms: "": want milliseconds`},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,12.5,resource-failed", `failed, with a time: "resource-failed" with rtt_ms "12.5": want it empty`},
		{"1781697600,s,81.2.3.4,8.8.8.8,fra,0,resource-failed", `failed, with a time: "resource-failed" with rtt_ms "0": want it empty`},
	} {
		o := options()
		o.PoPs = fleet
		// A good row before and after: no row spoils another.
		good := "1781697600,x,81.2.3.4,8.8.8.8,fra,1,tcp\n"
		report, err := Intake(t.Context(), strings.NewReader(header7+good+tt.row+"\n"+good), o)
		if err != nil {
			t.Errorf("%q: %v", tt.row, err)
			continue
		}
		got := ""
		if len(report.Rejected) > 0 {
			x := report.Rejected[0]
			if got = string(x.Reason) + ": " + x.Example; x.Rows != 1 || !slices.Equal(x.Lines, []int{3}) {
				t.Errorf("%q: rejected %d rows at %v, want 1 at line 3", tt.row, x.Rows, x.Lines)
			}
		}
		if want := 3 - min(1, len(tt.want)); got != tt.want || report.Accepted != want {
			t.Errorf("%.80q: %d accepted, %q, want %d and %q", tt.row, report.Accepted, got, want, tt.want)
		}
	}
}

// TestFailedRows: attempts that brought no answer come back as such, from all that
// rows are written in, and from segments of the format before, which has none.
func TestFailedRows(t *testing.T) {
	for _, text := range []string{
		header7 + "1781697600,s,81.2.3.4,,fra,12.5,tcp\n1781697600,s,81.2.3.4,,nyc,,connect-failed\n",
		`{"time":1781697600,"session":"s","client":"81.2.3.4","pop":"fra","rtt_ms":12.5,"method":"tcp"}` + "\n" +
			`{"time":1781697600,"session":"s","client":"81.2.3.4","pop":"nyc","rtt_ms":null,"method":"connect-failed"}` + "\n",
	} {
		dir := t.TempDir()
		o := options()
		o.Into, o.Batch = writer(t, dir), "b"
		if report, err := Intake(t.Context(), strings.NewReader(text), o); err != nil || report.Accepted != 2 {
			t.Fatalf("%s, %v", summary(report), err)
		}
		set, err := OpenAll(dir)
		if err != nil {
			t.Fatal(err)
		}
		for s, err := range set.Sessions() {
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range s.Rows {
				got = append(got, fmt.Sprint(s.PoPs[r.PoP], " ", r.RTT, " ", r.Method, " ", r.Failed()))
			}
			if want := []string{"fra 125 tcp false", "nyc 0 connect true"}; !slices.Equal(got, want) {
				t.Errorf("rows %q, want %q", got, want)
			}
		}
		set.Close()
	}
}

// TestSegmentVersions: the version before is read, one of the future is not.
func TestSegmentVersions(t *testing.T) {
	whole, err := encodeSegment(header{hour: uint32(noon.Unix() / hourLength), batches: []string{"a"}, pops: fleet},
		[]Row{{Session: 1, Time: noon.Unix(), Client: netip.MustParseAddr("81.2.3.4"), RTT: 125}})
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range []string{"version 0, want 2", "", "", "version 3, want 2"} {
		b := bytes.Clone(whole[:len(whole)-trailerSize])
		b[8] = byte(version)
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
		_, err := parseSegment(bytes.NewReader(b), int64(len(b)))
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("version %d: %v, want %q", version, err, want)
		}
	}
}

func TestAllowPrivate(t *testing.T) {
	o := options()
	o.AllowPrivate = true
	report, err := Intake(t.Context(), strings.NewReader(header7+"1781697600,s,127.0.0.1,::1,fra,12.5,resource\n"), o)
	if err != nil || summary(report) != "1 accepted" {
		t.Errorf("%s, %v", summary(report), err)
	}
}

func TestHeaders(t *testing.T) {
	const row = "1781697600,s,81.2.3.4,8.8.8.8,fra,12.5,resource\n"
	for _, tt := range []struct{ text, want string }{
		{"", "bad header: it is empty: want time,session,client,resolver,pop,rtt_ms,method"},
		{row, `bad header: column "1781697600" is unknown or there twice: want time,session,client,resolver,pop,rtt_ms,method`},
		{"time,session,client,resolver,pop,rtt_ms\n", `bad header: it has no column "method": want time,session,client,resolver,pop,rtt_ms,method`},
		{"time,session,client,resolver,pop,rtt_ms,method,time\n", `bad header: column "time" is unknown or there twice: want time,session,client,resolver,pop,rtt_ms,method`},
		{"time;session;client;resolver;pop;rtt_ms;method\n", `bad header: column "time;session;client;resolver;pop;rtt_ms;method" is unknown or there twice: want time,session,client,resolver,pop,rtt_ms,method`},
		{"\ufeff" + header7, ""},
		{strings.ReplaceAll(header7, "\n", "\r\n") + strings.ReplaceAll(row, "\n", "\r\n"), ""},
	} {
		report, err := Intake(t.Context(), strings.NewReader(tt.text), options())
		if tt.want == "" && (err != nil || len(report.Rejected) > 0) || tt.want != "" && (err == nil || err.Error() != tt.want) {
			t.Errorf("%q: %+v, %v, want %q", tt.text, report, err, tt.want)
		}
	}
	report, err := Intake(t.Context(), strings.NewReader("method,rtt_ms,pop,resolver,client,session,time\n\nresource,12.5,fra,8.8.8.8,81.2.3.4,s,1781697600"), options())
	if err != nil || summary(report) != "1 accepted" {
		t.Errorf("columns in another order: %s, %v", summary(report), err)
	}
}

func TestNDJSON(t *testing.T) {
	o := options()
	o.PoPs = fleet
	report, err := Intake(t.Context(), strings.NewReader(`{"time":1781697600,"session":"s","client":"81.2.3.4","resolver":null,"pop":"fra","rtt_ms":12.5,"method":"resource"}
{"time":"2026-06-17T12:00:00Z","session":"s","client":"81.2.3.4","pop":"fra","rtt_ms":"12.5","method":"tcp"}
{"time":1781697600,"session":"s","client":"81.2.3.4","pop":"fra","rtt_ms":12.5,"method":"resource","more":1}
{"time":1781697600,"time":1781697600,"session":"s","client":"81.2.3.4","pop":"fra","rtt_ms":12.5,"method":"resource"}
{"time":1781697600,"session":7,"client":"81.2.3.4","pop":"fra","rtt_ms":12.5,"method":"resource"}
{"time":1781697600,"session":"s","client":"81.2.3.4","pop":"fra","rtt_ms":12.5
[1,2]
{"time":1781697600,"session":"s","client":"81.2.3.4","pop":"fra","rtt_ms":12.5,"method":"resource"} {}
{"session":"s","client":"81.2.3.4","pop":"fra","rtt_ms":12.5,"method":"resource"}
{"time":1781697600,"session":"s","client":"81.2.3.4","pop":"nyx","rtt_ms":12.5,"method":"resource"}

{"time":1781697600,"session":"s","client":"81.2.3.4","pop":"fra","rtt_ms":{},"method":"resource"}`), o)
	want := "2 accepted; 7 not a row [3 4 5 6 7]; 1 bad time [9]; 1 unknown pop [10]"
	if err != nil || summary(report) != want {
		t.Errorf("%s, %v, want %s", summary(report), err, want)
	}
}

// rowsAsText writes n right rows in CSV, so many in each hour.
func rowsAsText(n, hourly int) string {
	var b strings.Builder
	b.WriteString(header7)
	for i := range n {
		fmt.Fprintf(&b, "%d,s%d,81.2.%d.4,8.8.8.8,%s,%d.5,resource\n", noon.Unix()-int64(i/hourly)*3600, i/4, i%256, fleet[i%4], 1+i%500)
	}
	return b.String()
}

func TestCompressionAndFormatsGiveTheSameRows(t *testing.T) {
	const n = 3000
	plain := rowsAsText(n, 1000)
	var zipped, z bytes.Buffer
	g := gzip.NewWriter(&zipped)
	io.WriteString(g, plain)
	g.Close()
	e, _ := zstd.NewWriter(&z)
	io.WriteString(e, plain)
	e.Close()
	var lines bytes.Buffer
	type row struct {
		Time     int64   `json:"time" parquet:"time,timestamp(millisecond)"`
		Session  string  `json:"session" parquet:"session"`
		Client   string  `json:"client" parquet:"client"`
		Resolver *string `json:"resolver" parquet:"resolver,optional"`
		PoP      string  `json:"pop" parquet:"pop,dict"`
		RTT      float64 `json:"rtt_ms" parquet:"rtt_ms"`
		Method   string  `json:"method" parquet:"method,dict,snappy"`
	}
	var list []row
	resolver := "8.8.8.8"
	for i := range n {
		r := row{noon.Unix() - int64(i/1000)*3600, fmt.Sprint("s", i/4), fmt.Sprintf("81.2.%d.4", i%256), &resolver, fleet[i%4], float64(1+i%500) + 0.5, "resource"}
		b, _ := json.Marshal(r)
		lines.Write(append(b, '\n'))
		r.Time *= 1000
		list = append(list, r)
	}
	var pq bytes.Buffer
	if err := parquet.Write(&pq, list, parquet.MaxRowsPerRowGroup(700)); err != nil {
		t.Fatal(err)
	}
	from, to := all()
	var want []string
	for name, b := range map[string][]byte{"csv": []byte(plain), "gzip": zipped.Bytes(), "zstd": z.Bytes(), "ndjson": lines.Bytes(), "parquet": pq.Bytes()} {
		dir := t.TempDir()
		o := options()
		o.Into, o.Batch = writer(t, dir), "b"
		var report Report
		var err error
		if name == "parquet" {
			if !IsParquet(b) {
				t.Error("not taken for parquet")
			}
			report, err = IntakeParquet(t.Context(), bytes.NewReader(b), int64(len(b)), o)
		} else {
			report, err = Intake(t.Context(), bytes.NewReader(b), o)
		}
		if err != nil || summary(report) != "3000 accepted" {
			t.Fatalf("%s: %s, %v", name, summary(report), err)
		}
		got := text(t, dir, from, to)
		if want == nil {
			want = got
		}
		if len(got) != n || !slices.Equal(got, want) {
			t.Errorf("%s gives other rows: %d", name, len(got))
		}
	}
}

func TestWrongParquet(t *testing.T) {
	var other, damaged bytes.Buffer
	if err := parquet.Write(&other, []struct{ A int64 }{{1}}); err != nil {
		t.Fatal(err)
	}
	parquet.Write(&damaged, []struct{ A int64 }{{1}})
	damaged.Truncate(damaged.Len() - 9)
	for want, b := range map[string][]byte{
		`bad parquet file: column "A" is unknown, nested or there twice: want time,session,client,resolver,pop,rtt_ms,method`: other.Bytes(),
		"bad parquet file: ": damaged.Bytes(),
	} {
		_, err := IntakeParquet(t.Context(), bytes.NewReader(b), int64(len(b)), options())
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestResume: a file that broke off is taken in again under its batch, and each
// row is there once.
func TestResume(t *testing.T) {
	const chunk, n = 1000, 1300
	plain := rowsAsText(n, 600)
	dir := t.TempDir()
	o := options()
	o.chunk = chunk
	o.Into, o.Batch = writer(t, dir), "upload-1"
	cut := io.MultiReader(strings.NewReader(plain[:len(plain)-1000]), iotest.ErrReader(io.ErrUnexpectedEOF))
	report, err := Intake(t.Context(), cut, o)
	if !errors.Is(err, errShort) || report.Accepted != chunk {
		t.Fatalf("cut off: %d accepted, %v", report.Accepted, err)
	}
	from, to := all()
	if got := len(text(t, dir, from, to)); got != report.Accepted {
		t.Errorf("after the cut %d rows are there, want the %d accepted", got, report.Accepted)
	}
	o.Into = writer(t, dir)
	for _, known := range []int{chunk, n} {
		report, err = Intake(t.Context(), strings.NewReader(plain), o)
		if err != nil || report.Accepted != n || report.Known != known {
			t.Errorf("again: %d accepted, %d known, %v, want %d and %d", report.Accepted, report.Known, err, n, known)
		}
		if got := len(text(t, dir, from, to)); got != n {
			t.Errorf("%d rows are there, want %d", got, n)
		}
	}
}

func TestQuotas(t *testing.T) {
	plain := rowsAsText(100, 1000)
	dir := t.TempDir()
	for _, tt := range []struct {
		set  func(*Options)
		want string
	}{
		{func(o *Options) { o.MaxRows = 99 }, "line 101: over the quota of 99 rows"},
		{func(o *Options) { o.MaxOctets = int64(len(plain)) - 1 }, fmt.Sprintf("over the quota of %d octets", len(plain)-1)},
		{func(o *Options) { o.MaxRows, o.MaxOctets = 100, int64(len(plain)) }, ""},
	} {
		o := options()
		o.Into, o.Batch = writer(t, dir), "b"
		tt.set(&o)
		report, err := Intake(t.Context(), strings.NewReader(plain), o)
		if tt.want == "" {
			if err != nil || report.Accepted != 100 || report.Known != 0 {
				t.Errorf("within the quota: %+v, %v", report, err)
			}
			continue
		}
		if !errors.Is(err, ErrQuota) || !strings.Contains(err.Error(), tt.want) || report.Accepted != 0 {
			t.Errorf("%d accepted, %v, want %q", report.Accepted, err, tt.want)
		}
	}
}

func TestIntakeStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := options()
	o.Oldest = time.Time{}
	calls := 0
	o.Progress = func(int64) {
		if calls++; calls == 2 {
			cancel()
		}
	}
	if _, err := Intake(ctx, strings.NewReader(rowsAsText(5*progressLines, 1000)), o); !errors.Is(err, context.Canceled) || calls != 2 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestBatchIDs(t *testing.T) {
	for _, id := range []string{"", "a/b", "ä", "a+b", strings.Repeat("x", 49)} {
		o := options()
		o.Into, o.Batch = writer(t, t.TempDir()), id
		if _, err := Intake(t.Context(), strings.NewReader(header7), o); err == nil || !strings.HasPrefix(err.Error(), "bad batch id ") {
			t.Errorf("batch %q: %v", id, err)
		}
	}
}
