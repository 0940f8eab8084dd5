package page

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func normal(x float64) float64 { return math.Exp(-x * x / 2) }

func TestParseReport(t *testing.T) {
	got, err := ParseReport("TOKEN\nfra 12.3\nams -\nx-1 0.25\nsin 3000\niad failed")
	want := Report{Token: "TOKEN", PoPs: []string{"fra", "ams", "x-1", "sin", "iad"}, MS: []float64{12.3, 0, 0.25, 3000, Failed}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, text := range []string{
		"", "token", "token\n", "token\nfra", "token\nfra ", "token\nfra x", "token\nfra -1", "token\nfra Failed", "token\nfra failed 1", "token\nfra 1e3", "token\nfra 0x1",
		"token\nfra NaN", "token\nfra 1.2.3", "token\nfra .", "token\nfra 12345678901", "token\nfra 1 2", "token\nFRA 1", "token\n 1",
		"token\n" + strings.Repeat("a", 64) + " 1", "token\nfra 1\n\n", "token\r\nfra 1\r\n",
		"token" + strings.Repeat("\nfra 1", 17), "token\nfra 1" + strings.Repeat(" ", MaxReport),
	} {
		if r, err := ParseReport(text); err == nil {
			t.Errorf("%q is taken: %+v", text, r)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add("TOKEN\nfra 12.3\nams -\n")
	f.Add("TOKEN\nfra failed\n")
	f.Add("\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseReport(text)
		if err != nil {
			return
		}
		if len(r.PoPs) != len(r.MS) || len(r.PoPs) < 1 || len(r.PoPs) > maxPoPs {
			t.Fatalf("%q: %+v", text, r)
		}
		for _, ms := range r.MS {
			if !(ms >= 0 && ms < 1e10) && ms != Failed {
				t.Fatalf("%q: %v ms", text, ms)
			}
		}
	})
}

func TestLimiter(t *testing.T) {
	l := newLimiter()
	now := time.Unix(1_800_000_000, 0)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	spend := func(who netip.Addr, n int) (allowed int) {
		for range n {
			if l.allow(who, now) {
				allowed++
			}
		}
		return allowed
	}
	for _, step := range []struct {
		after time.Duration
		who   netip.Addr
		want  int
	}{
		{0, a, burst},
		{0, a, 0},
		{0, b, burst},
		{time.Second, a, perSecond},
		{time.Second / 2, a, perSecond / 2},
		{-time.Second, a, 0}, // a clock that goes back gives nothing
		{time.Hour, a, burst},
	} {
		now = now.Add(step.after)
		if got := spend(step.who, 2*burst); got != step.want {
			t.Errorf("%s, %v later: %d allowed, want %d", step.who, step.after, got, step.want)
		}
	}
	// All of a /64 is one source.
	rng := rand.New(rand.NewPCG(1, 1))
	allowed := 0
	for range 2 * burst {
		if l.allow(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(rng.Uint32())}), now) {
			allowed++
		}
	}
	if allowed != burst {
		t.Errorf("%d of a /64 allowed, want %d", allowed, burst)
	}
}
