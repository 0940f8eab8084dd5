package load

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"edged/edge"
	"edged/geo/shed"
	"edged/maps"
)

// Gossip is how nodes tell each other what load their PoPs have: a register of
// each node for its own PoP.
type Gossip interface {
	// Say replaces what this node says.
	Say(text string)

	// Said returns what each node said last, this one too, of its own PoP.
	Said() []Saying
}

// Saying is what a node says.
type Saying struct{ PoP, Node, Text string }

// Config is what a Load starts with.
type Config struct {
	PoP    string // this node's
	Gossip Gossip
	// Ask returns the PoP's load in requests/s. It is asked once in an epoch, for
	// three seconds at most. nil: the load is told.
	Ask func(context.Context) (float64, error)
	// Sites returns what the maps in force say of the PoPs.
	Sites func() []shed.Site
	// Changed is called when prices are others than before, on the goroutine that
	// works them out.
	Changed func()
	File    string // keeps what was said last; its folder is made when needed
	Log     *slog.Logger
}

// Load is the running prices of a node. Its methods are safe for concurrent use.
type Load struct {
	cfg  Config
	book shed.Book
	stop context.CancelFunc
	done sync.WaitGroup

	now atomic.Pointer[Prices]

	mu    sync.Mutex
	told  float64
	at    time.Time // when it was told; zero: never
	fault string    // of the last question
}

// Prices is how all PoPs stand in an epoch. It is immutable.
type Prices struct {
	Epoch     uint64
	Standings []shed.Standing // in the order of the sites
}

// askFor bounds a question, toldFor how long what was told counts, and keptFor
// how long after it was said a price goes on after a restart.
const (
	askFor  = 3 * time.Second
	toldFor = 3 * shed.Epoch
	keptFor = 360 // epochs: an hour
)

// Start works out the prices of the epoch and goes on until Stop.
func Start(cfg Config) *Load {
	l := &Load{cfg: cfg}
	now := time.Now()
	if r, err := l.read(); err != nil {
		cfg.Log.Warn("load: what was said before the start cannot be used", "error", err)
	} else if epoch := epochOf(now); r != (shed.Report{}) && r.Epoch <= epoch && r.Epoch+keptFor > epoch {
		l.book.Begin(cfg.PoP, r.Price)
		cfg.Gossip.Say(r.String())
	}
	l.turn(epochOf(now))
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.done.Go(func() { l.run(ctx) })
	return l
}

// Stop ends the goroutine.
func (l *Load) Stop() {
	l.stop()
	l.done.Wait()
}

// Prices returns how the PoPs stand.
func (l *Load) Prices() *Prices { return l.now.Load() }

// Fault says why this node does not know its PoP's load; empty: it does, or has no
// way to.
func (l *Load) Fault() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

// Tell says what load the PoP has, in requests/s. It counts for three epochs. It
// errs when there is no such load.
func (l *Load) Tell(requests float64) error {
	if err := check(requests); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told, l.at = requests, time.Now()
	return nil
}

func check(requests float64) error {
	if !(requests >= 0 && requests <= maps.MaxRequests) {
		return fmt.Errorf("load of %v requests/s: want 0 to %g", requests, float64(maps.MaxRequests))
	}
	return nil
}

func epochOf(t time.Time) uint64 { return shed.EpochOf(uint64(max(0, t.Unix()))) }

// run has each epoch begin on time.
func (l *Load) run(ctx context.Context) {
	epoch := epochOf(time.Now())
	for {
		begin := time.Unix(int64((epoch+1)*uint64(shed.Epoch/time.Second)), 0)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(begin)):
		}
		// The clock may have been set, or the machine have slept.
		if now := epochOf(time.Now()); now != epoch {
			epoch = now
			l.turn(epoch)
			l.tell(ctx, epoch)
		}
	}
}

// turn works out the prices of an epoch.
func (l *Load) turn(epoch uint64) {
	var all []shed.Said
	for _, s := range l.cfg.Gossip.Said() {
		r, err := shed.ParseReport(s.Text)
		if err != nil {
			l.cfg.Log.Warn("load: what a node says is not understood", "node", s.Node, "pop", s.PoP, "error", err)
			continue
		}
		all = append(all, shed.Said{PoP: s.PoP, Node: s.Node, Report: r})
	}
	next := &Prices{epoch, l.book.Turn(epoch, all, l.cfg.Sites())}
	was := l.now.Swap(next)
	if was == nil {
		was = &Prices{}
	}
	if !slices.EqualFunc(was.Standings, next.Standings, func(a, b shed.Standing) bool { return a.PoP == b.PoP && a.Price == b.Price }) ||
		priced(next) && shed.Turn(was.Epoch) != shed.Turn(epoch) {
		l.cfg.Changed()
	}
}

func priced(p *Prices) bool {
	return slices.ContainsFunc(p.Standings, func(s shed.Standing) bool { return s.Price > 0 })
}

// tell says what load the PoP had in the epoch before this one, if this node has
// a way to know.
func (l *Load) tell(ctx context.Context, epoch uint64) {
	r := shed.Report{Epoch: epoch - 1}
	if !l.learn(ctx, &r) {
		return
	}
	for _, s := range l.Prices().Standings {
		if s.PoP == l.cfg.PoP {
			r.Price = s.Price
		}
	}
	l.cfg.Gossip.Say(r.String())
	if err := edge.ReplaceFile(l.cfg.File, []byte(r.String()+"\n"), 0o600); err != nil {
		l.cfg.Log.Error("load: what was said cannot be kept", "error", err)
	}
}

// learn finds out the load, and says whether there is a way to.
func (l *Load) learn(ctx context.Context, r *shed.Report) bool {
	l.mu.Lock()
	told, at := l.told, l.at
	l.mu.Unlock()
	var err error
	switch {
	case !at.IsZero() && time.Since(at) < toldFor:
		r.Load, r.Known = told, true
	case l.cfg.Ask != nil:
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		if r.Load, err = l.cfg.Ask(ctx); err == nil {
			err = check(r.Load)
		}
		if r.Known = err == nil; !r.Known {
			r.Load = 0
		}
	case at.IsZero():
		return false
	default:
		err = fmt.Errorf("it was told last %v ago", time.Since(at).Round(time.Second))
	}
	fault := ""
	if err != nil {
		fault = err.Error()
	}
	l.mu.Lock()
	was := l.fault
	l.fault = fault
	l.mu.Unlock()
	switch {
	case fault != "" && was == "":
		l.cfg.Log.Warn("load: not known; the price stays", "error", fault)
	case fault == "" && was != "":
		l.cfg.Log.Info("load: known again", "requests_per_second", r.Load)
	}
	return true
}

// read returns what was said before a restart.
func (l *Load) read() (shed.Report, error) {
	f, err := os.ReadFile(l.cfg.File)
	if errors.Is(err, fs.ErrNotExist) {
		return shed.Report{}, nil
	}
	if err != nil {
		return shed.Report{}, err
	}
	return shed.ParseReport(strings.TrimSuffix(string(f), "\n"))
}
