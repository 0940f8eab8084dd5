package pricer

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestURL(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		load   float64
		want   string
	}{
		{"a load", 200, `{"requests_per_second": 1120.5}`, 1120.5, ""},
		{"more beside it", 200, `{"requests_per_second": 0, "machines": 7}`, 0, ""},
		{"another status", 503, `{"requests_per_second": 1}`, 0, "load.url answers status 503, want 200"},
		{"a redirect", 302, `{"requests_per_second": 1}`, 0, "load.url answers status 302, want 200"},
		{"text", 200, "1120", 0, "load is not JSON as wanted"},
		{"another name", 200, `{"rps": 1}`, 0, "load has no requests_per_second"},
		{"below 0", 200, `{"requests_per_second": -1}`, 0, "load of -1 requests/s: want 0 to 1e+15"},
		{"too much", 200, `{"requests_per_second": 1e16}`, 0, "load of 1e+16 requests/s"},
		{"too long", 200, `{"requests_per_second": 1` + strings.Repeat(" ", maxBody) + "}", 0, "load of more than 64 KiB"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(tt.status)
			w.Write([]byte(tt.body))
		}))
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("edged", "hidden")
		load, err := URL(u)(context.Background())
		if text := errorText(err); tt.want == "" && (load != tt.load || err != nil) || !strings.Contains(text, tt.want) {
			t.Errorf("%s: %v (%v), want %v (%q)", tt.name, load, err, tt.load, tt.want)
		}
		s.Close()
		if _, err := URL(u)(context.Background()); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("nobody answers: %v", err)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"requests_per_second": 1120.5}`))
	f.Add([]byte(`{"requests_per_second": null}`))
	f.Add([]byte(`[1e999]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if load, err := Parse(body); err == nil && check(load) != nil {
			t.Errorf("%q is a load of %v", body, load)
		}
	})
}
