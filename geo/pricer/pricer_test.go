package pricer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edged/geo/shed"
	"edged/maps"
)

// air carries what nodes say, to each of them when it has not lost it.
type air struct {
	mu    sync.Mutex
	delay time.Duration
	lost  func(to string) bool
	heard map[string]map[string]Saying // by node that hears, and node that says
}

// radio is one node's part of the air.
type radio struct {
	air       *air
	pop, node string
}

func (r radio) Say(text string) {
	r.air.mu.Lock()
	defer r.air.mu.Unlock()
	for to, heard := range r.air.heard {
		if to == r.node && text == "" {
			delete(heard, r.node)
		} else if to == r.node {
			heard[r.node] = Saying{r.pop, r.node, text}
		} else if r.air.lost == nil || !r.air.lost(to) {
			time.AfterFunc(r.air.delay, func() {
				r.air.mu.Lock()
				defer r.air.mu.Unlock()
				heard[r.node] = Saying{r.pop, r.node, text}
			})
		}
	}
}

func (r radio) Said() (all []Saying) {
	r.air.mu.Lock()
	defer r.air.mu.Unlock()
	for _, s := range r.air.heard[r.node] {
		all = append(all, s)
	}
	return all
}

// testSites are two PoPs whose clients leave evenly up to 50 ms, and which should
// have 1000 requests/s at most.
func testSites() []shed.Site {
	c := shed.NewCurves(2)
	for lost := range uint16(100) {
		c.Add([]maps.Hop{{PoP: 0, RTT: 10}, {PoP: 1, RTT: 10 + lost}}, nil, 1)
		c.Add([]maps.Hop{{PoP: 1, RTT: 10}, {PoP: 0, RTT: 10 + lost}}, nil, 1)
	}
	return []shed.Site{{Name: "ams", Curve: c.Curve(1), Soft: 1000}, {Name: "fra", Curve: c.Curve(0), Soft: 1000}}
}

// startTest starts a node of a PoP, for which ask may be nil.
func startTest(t *testing.T, a *air, pop, node string, ask Ask) *Pricer {
	t.Helper()
	a.mu.Lock()
	if a.heard == nil {
		a.heard = map[string]map[string]Saying{}
	}
	if a.heard[node] == nil {
		a.heard[node] = map[string]Saying{}
	}
	a.mu.Unlock()
	return Start(Config{
		Node: node, PoP: pop, Gossip: radio{a, pop, node}, Ask: ask, Sites: testSites,
		File: filepath.Join(t.TempDir(), "load"), Log: slog.New(slog.DiscardHandler),
	})
}

func always(load float64) Ask {
	return func(context.Context) (float64, error) { return load, nil }
}

func pricesOf(l *Pricer) string {
	var words []string
	for _, s := range l.Prices().Standings {
		words = append(words, fmt.Sprintf("%s %d", s.PoP, s.Price))
	}
	return strings.Join(words, ", ")
}

// TestTwoNodesAgree has two PoPs' nodes run for minutes: they have the same prices
// in every epoch, worked out from the loads of the one before the last; also
// when what they say is late by half an epoch. When some of it is lost they
// differ, and one epoch after the next word they agree again.
func TestTwoNodesAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &air{delay: 5 * time.Second}
		ams, fra := startTest(t, a, "ams", "a1", always(400)), startTest(t, a, "fra", "f1", always(1100))
		defer ams.Stop()
		defer fra.Stop()
		time.Sleep(time.Second)
		var got []string
		for range 6 {
			synctest.Wait()
			if pricesOf(ams) != pricesOf(fra) {
				t.Errorf("epoch %d: ams has %s, fra has %s", ams.Prices().Epoch, pricesOf(ams), pricesOf(fra))
			}
			got = append(got, pricesOf(ams))
			time.Sleep(shed.Epoch)
		}
		// Begun in epoch 0; of it is told in 1, which counts in 2.
		want := []string{"ams 0, fra 0", "ams 0, fra 0", "ams 0, fra 600", "ams 0, fra 1200", "ams 0, fra 1800", "ams 0, fra 2400"}
		if !slices.Equal(got, want) {
			t.Errorf("prices were\n%q, want\n%q", got, want)
		}

		deaf := true
		a.mu.Lock()
		a.lost = func(to string) bool { return deaf && to == "a1" }
		a.mu.Unlock()
		time.Sleep(4 * shed.Epoch)
		synctest.Wait()
		if got, want := pricesOf(ams)+" and "+pricesOf(fra), "ams 0, fra 3600 and ams 0, fra 5400"; got != want {
			t.Errorf("with messages lost, prices are %s, want %s", got, want)
		}
		a.mu.Lock()
		deaf = false
		a.mu.Unlock()
		time.Sleep(2 * shed.Epoch)
		synctest.Wait()
		if pricesOf(ams) != "ams 0, fra 5600" { // on its way, by 2 ms an epoch at most
			t.Errorf("when heard again, ams has %s", pricesOf(ams))
		}
		time.Sleep(shed.Epoch)
		synctest.Wait()
		if pricesOf(ams) != pricesOf(fra) || pricesOf(fra) != "ams 0, fra 7200" {
			t.Errorf("an epoch on, ams has %s, fra has %s", pricesOf(ams), pricesOf(fra))
		}
		late := startTest(t, a, "sin", "s1", nil)
		defer late.Stop()
		a.mu.Lock()
		a.heard["s1"]["f1"] = a.heard["a1"]["f1"] // of the first exchange of states: from before the last word
		a.mu.Unlock()
		time.Sleep(shed.Epoch)
		synctest.Wait()
		if got, want := pricesOf(late)+" and "+pricesOf(fra), "ams 0, fra 7200 and ams 0, fra 7800"; got != want {
			t.Errorf("a node that started, and another, have %s, want %s", got, want)
		}
		time.Sleep(shed.Epoch)
		synctest.Wait()
		if got, want := pricesOf(late)+" and "+pricesOf(fra), "ams 0, fra 8400 and ams 0, fra 8400"; got != want {
			t.Errorf("an epoch later they have %s, want %s", got, want)
		}
	})
}

// TestRestart holds that a node goes on with its price, and says so at once.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "load")
		start := func() (*Pricer, *air) {
			a := &air{heard: map[string]map[string]Saying{"f1": {}}}
			return Start(Config{
				Node: "f1", PoP: "fra", Gossip: radio{a, "fra", "f1"}, Ask: always(1100), Sites: testSites,
				File: file, Log: slog.New(slog.DiscardHandler),
			}), a
		}
		l, _ := start()
		time.Sleep(5*shed.Epoch + time.Second)
		synctest.Wait()
		before := pricesOf(l)
		l.Stop()
		time.Sleep(5 * time.Second)
		l, a := start()
		if got := pricesOf(l); before != "ams 0, fra 2400" || got != "ams 0, fra 2400" {
			t.Errorf("before the restart %s, after it %s", before, got)
		}
		if said := a.heard["f1"]["f1"].Text; said != "epoch 94668484 load 1100.0 price 2400" {
			t.Errorf("said at the start: %q", said)
		}
		l.Stop()
		time.Sleep(2 * time.Hour)
		l, a = start()
		if got := pricesOf(l); got != "ams 0, fra 0" || len(a.heard["f1"]) > 0 {
			t.Errorf("hours later: %s, and it says %v", got, a.heard["f1"])
		}
		l.Stop()
		if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
		l, _ = start()
		defer l.Stop()
		if got := pricesOf(l); got != "ams 0, fra 0" {
			t.Errorf("with a bad file: %s", got)
		}
	})
}

// TestRestartBeforeTold holds that a node whose load is told goes on with its price
// after a restart until it can have been told again, and no longer.
func TestRestartBeforeTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "load")
		a := &air{heard: map[string]map[string]Saying{"f1": {}}}
		start := func() *Pricer {
			return Start(Config{
				Node: "f1", PoP: "fra", Gossip: radio{a, "fra", "f1"}, Sites: testSites,
				File: file, Log: slog.New(slog.DiscardHandler),
			})
		}
		after := func(l *Pricer, epochs int, want string) {
			t.Helper()
			time.Sleep(time.Duration(epochs) * shed.Epoch)
			synctest.Wait()
			if got := pricesOf(l) + "; " + l.Fault(); got != want {
				t.Errorf("in epoch %d: %q, want %q", l.Prices().Epoch, got, want)
			}
		}
		l := start()
		time.Sleep(9 * time.Second)
		if err := l.Tell(1200); err != nil {
			t.Fatal(err)
		}
		after(l, 2, "ams 0, fra 1199; ")
		l.Stop()
		l = start()
		defer l.Stop()
		after(l, 1, "ams 0, fra 2398; nobody told it since the start") // by the load before the restart
		after(l, 2, "ams 0, fra 2398; nobody told it since the start")
		after(l, 2, "ams 0, fra 398; ")
		after(l, 1, "ams 0, fra 0; ")
		if _, err := os.Stat(file); err == nil || len(a.heard["f1"]) > 0 {
			t.Errorf("nobody tells it, and it says %v (file: %v)", a.heard["f1"], err)
		}
	})
}

// TestUnknownLoad holds that a load that is not known leaves the price, and that
// one that is told counts for three epochs, before what is asked for.
func TestUnknownLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &air{}
		var fails atomic.Bool
		l := startTest(t, a, "fra", "f1", func(context.Context) (float64, error) {
			if fails.Load() {
				return 0, errors.New("no such host")
			}
			return 1100, nil
		})
		defer l.Stop()
		after := func(epochs int, want string) {
			t.Helper()
			time.Sleep(time.Duration(epochs) * shed.Epoch)
			synctest.Wait()
			if got := pricesOf(l) + "; " + l.Fault(); got != want {
				t.Errorf("in epoch %d: %q, want %q", l.Prices().Epoch, got, want)
			}
		}
		time.Sleep(time.Second)
		after(4, "ams 0, fra 1800; ")
		fails.Store(true)
		after(1, "ams 0, fra 2400; no such host")
		after(5, "ams 0, fra 2400; no such host")
		if err := l.Tell(1200); err != nil {
			t.Fatal(err)
		}
		after(1, "ams 0, fra 2400; ")
		after(1, "ams 0, fra 3599; ")
		after(2, "ams 0, fra 5999; no such host") // 29 s on it counted still
		after(3, "ams 0, fra 5999; no such host")
		if err := l.Tell(-1); err == nil || err.Error() != "load of -1 requests/s: want 0 to 1e+15" {
			t.Errorf("a load below 0: %v", err)
		}
	})
}

// TestSilentNode holds that a node without a way to know a load says nothing.
func TestSilentNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &air{}
		l := startTest(t, a, "fra", "f1", nil)
		defer l.Stop()
		time.Sleep(5 * shed.Epoch)
		if len(a.heard["f1"]) > 0 || l.Fault() != "" {
			t.Errorf("it says %v, and complains %q", a.heard["f1"], l.Fault())
		}
		l.Use(always(900))
		time.Sleep(2 * shed.Epoch)
		synctest.Wait()
		if got := a.heard["f1"]["f1"].Text; !strings.HasSuffix(got, "load 900.0 price 0") {
			t.Errorf("with a question it says %q", got)
		}
		l.Use(nil)
		time.Sleep(2 * shed.Epoch)
		synctest.Wait()
		if len(a.heard["f1"]) > 0 {
			t.Errorf("without one it says %v", a.heard["f1"])
		}
	})
}
