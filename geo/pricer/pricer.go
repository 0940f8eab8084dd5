package pricer

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
	// Say replaces what this node says; nothing takes it back.
	Say(text string)

	// Said returns what each node said last, this one too, of its own PoP.
	Said() []Saying
}

// Saying is what a node says.
type Saying struct{ PoP, Node, Text string }

// Config is what a Pricer starts with.
type Config struct {
	Node   string // this node's name
	PoP    string // this node's
	Gossip Gossip
	Ask    Ask
	// Sites returns what the maps in force say of the PoPs.
	Sites func() []shed.Site
	File  string // keeps what was said last, in a folder that is there
	Log   *slog.Logger
}

// Ask returns the PoP's load in requests/s. It is asked once in an epoch, for three
// seconds at most. nil: the load is told, if anybody knows it.
type Ask func(context.Context) (float64, error)

// Pricer is the running prices of a node. Its methods are safe for concurrent use.
type Pricer struct {
	cfg  Config
	book shed.Book
	stop context.CancelFunc
	done sync.WaitGroup

	now     atomic.Pointer[Prices]
	updates chan struct{}
	own     *shed.Report // of the goroutine: what this node says; nil: nothing
	resumed time.Time    // when it took up what was said before the start; zero: it did not

	mu    sync.Mutex
	ask   Ask
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
func Start(cfg Config) *Pricer {
	p := &Pricer{cfg: cfg, ask: cfg.Ask, updates: make(chan struct{}, 1)}
	now := time.Now()
	if r, err := p.read(); err != nil {
		cfg.Log.Warn("load: what was said before the start cannot be used", "error", err)
	} else if epoch := epochOf(now); r != (shed.Report{}) && r.Epoch <= epoch && r.Epoch+keptFor > epoch {
		p.say(&r)
		p.resumed = now
	}
	p.turn(epochOf(now))
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.done.Go(func() { p.run(ctx) })
	return p
}

// Stop ends the goroutine.
func (p *Pricer) Stop() {
	p.stop()
	p.done.Wait()
}

// Prices returns how the PoPs stand.
func (p *Pricer) Prices() *Prices { return p.now.Load() }

// Updates has an element whenever an epoch began since it was last drained.
func (p *Pricer) Updates() <-chan struct{} { return p.updates }

// Use brings another question into force.
func (p *Pricer) Use(ask Ask) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ask = ask
}

// Fault says why this node does not know its PoP's load; empty: it does, or has no
// way to.
func (p *Pricer) Fault() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

// Tell says what load the PoP has, in requests/s. It counts for three epochs. It
// errs when there is no such load.
func (p *Pricer) Tell(requests float64) error {
	if err := check(requests); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told, p.at = requests, time.Now()
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
func (p *Pricer) run(ctx context.Context) {
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
			p.turn(epoch)
			p.tell(ctx, epoch)
		}
	}
}

// turn works out the prices of an epoch.
func (p *Pricer) turn(epoch uint64) {
	var all []shed.Said
	if p.own != nil {
		all = append(all, shed.Said{PoP: p.cfg.PoP, Node: p.cfg.Node, Report: *p.own})
	}
	for _, s := range p.cfg.Gossip.Said() {
		if p.own != nil && s.Node == p.cfg.Node {
			continue // the gossip may be a moment behind
		}
		r, err := shed.ParseReport(s.Text)
		if err != nil {
			p.cfg.Log.Warn("load: what a node says is not understood", "node", s.Node, "pop", s.PoP, "error", err)
			continue
		}
		all = append(all, shed.Said{PoP: s.PoP, Node: s.Node, Report: r})
	}
	p.now.Store(&Prices{epoch, p.book.Turn(epoch, all, p.cfg.Sites())})
	select {
	case p.updates <- struct{}{}:
	default:
	}
}

// Alike says whether answers by p and by o are the same.
func (p *Prices) Alike(o *Prices) bool {
	priced := slices.ContainsFunc(p.Standings, func(s shed.Standing) bool { return s.Price > 0 })
	return slices.EqualFunc(p.Standings, o.Standings, func(a, b shed.Standing) bool { return a.PoP == b.PoP && a.Price == b.Price }) &&
		(!priced || shed.Turn(p.Epoch) == shed.Turn(o.Epoch))
}

// tell says what load the PoP had in the epoch before this one, if this node has
// a way to know.
func (p *Pricer) tell(ctx context.Context, epoch uint64) {
	r := shed.Report{Epoch: epoch - 1}
	if !p.learn(ctx, &r) {
		if p.own != nil { // there was a way to know until the last reload
			p.say(nil)
			os.Remove(p.cfg.File)
		}
		return
	}
	for _, s := range p.Prices().Standings {
		if s.PoP == p.cfg.PoP {
			r.Price = s.Price
		}
	}
	p.say(&r)
	if err := edge.ReplaceFile(p.cfg.File, []byte(r.String()+"\n"), 0o600); err != nil {
		p.cfg.Log.Error("load: what was said cannot be kept", "error", err)
	}
}

// say tells the others, or takes back what was said.
func (p *Pricer) say(r *shed.Report) {
	if p.own = r; r == nil {
		p.cfg.Gossip.Say("")
	} else {
		p.cfg.Gossip.Say(r.String())
	}
}

// learn finds out the load, and says whether there is a way to.
func (p *Pricer) learn(ctx context.Context, r *shed.Report) (way bool) {
	p.mu.Lock()
	told, at, ask := p.told, p.at, p.ask
	p.mu.Unlock()
	var err error
	way = true
	switch {
	case !at.IsZero() && time.Since(at) < toldFor:
		r.Load, r.Known = told, true
	case ask != nil:
		ctx, cancel := context.WithTimeout(ctx, askFor)
		defer cancel()
		if r.Load, err = ask(ctx); err == nil {
			err = check(r.Load)
		}
		if r.Known = err == nil; !r.Known {
			r.Load = 0
		}
	case at.IsZero() && !p.resumed.IsZero() && time.Since(p.resumed) < toldFor:
		err = errors.New("nobody told it since the start")
	case at.IsZero():
		way = false
	default:
		err = fmt.Errorf("it was told last %v ago", time.Since(at).Round(time.Second))
	}
	fault := ""
	if err != nil {
		fault = err.Error()
	}
	p.mu.Lock()
	was := p.fault
	p.fault = fault
	p.mu.Unlock()
	switch {
	case fault != "" && was == "":
		p.cfg.Log.Warn("load: not known; the price stays", "error", fault)
	case r.Known && was != "":
		p.cfg.Log.Info("load: known again", "requests_per_second", r.Load)
	}
	return way
}

// read returns what was said before a restart.
func (p *Pricer) read() (shed.Report, error) {
	f, err := os.ReadFile(p.cfg.File)
	if errors.Is(err, fs.ErrNotExist) {
		return shed.Report{}, nil
	}
	if err != nil {
		return shed.Report{}, err
	}
	return shed.ParseReport(strings.TrimSuffix(string(f), "\n"))
}
