//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"time"
)

// A regime is one way to load the servers.
type regime struct {
	key   string
	title string
	load  func(ctx context.Context, p *process, l *lab) (loadResult, error)
	takes func(s *server) bool // which servers it says something about
}

// lab is one set of data with the servers that were started on it.
type lab struct {
	data    *data
	file    string  // the questions for dnsperf
	blastQ  []query // and for our own loader
	check   []query // and to be decoded before and after each load
	servers []*process
	length  time.Duration
}

// measurement is one load on one server.
type measurement struct {
	PerQuery float64 `json:"us_per_query"` // microseconds of server CPU
	User     float64 `json:"user_share"`   // the part of it outside the kernel, 0 to 1
	QPS      float64 `json:"qps"`
	Lost     int     `json:"lost"`
	Sent     int     `json:"sent"`
}

// row is one server in one regime over all rounds.
type row struct {
	Regime  string        `json:"regime"`
	Server  string        `json:"server"`
	Runs    []measurement `json:"runs"`
	Verdict verdict       `json:"verdict"`
	Note    string        `json:"note,omitempty"` // why there is no figure
}

func overUDP(*server) bool    { return true }
func overTCP(s *server) bool  { return !s.echo }
func withNets(s *server) bool { return s.name == "echo" || s.name == "edged" || s.name == "gdnsd" }

// regimes300k are the loads on 300,000 /24s, regimes1M those on a million mixed
// prefixes.
var regimes300k = []regime{
	{"A", "dnsperf, as fast as it can", func(ctx context.Context, p *process, l *lab) (loadResult, error) {
		return dnsperf(ctx, p.addr, perfOptions{file: l.file, length: l.length, clients: 8, flying: 400})
	}, overUDP},
	{"C", "dnsperf at 50,000 q/s", func(ctx context.Context, p *process, l *lab) (loadResult, error) {
		return dnsperf(ctx, p.addr, perfOptions{file: l.file, length: l.length, clients: 8, flying: 400, rate: 50000})
	}, overUDP},
	{"D", "dnsperf, TCP, 8 connections, pipelined", func(ctx context.Context, p *process, l *lab) (loadResult, error) {
		return dnsperf(ctx, p.addr, perfOptions{file: l.file, length: l.length, clients: 8, flying: 400, tcp: true})
	}, overTCP},
}

var regimes1M = []regime{
	{"B", "sendmmsg loader, 1,048,576 random client subnets, saturated", func(_ context.Context, p *process, l *lab) (loadResult, error) {
		return blast(p.addr, l.blastQ, l.length, p.server.echo)
	}, withNets},
}

// newLab makes the questions for d in dir.
func newLab(dir string, d *data, length time.Duration) (*lab, error) {
	l := &lab{data: d, file: filepath.Join(dir, fmt.Sprintf("queries-%d", len(d.nets))), length: length}
	l.blastQ = makeQueries(d, 1<<20, 10, 2)
	l.check = makeQueries(d, 2048, 9, 3)
	return l, writeQueryFile(l.file, makeQueries(d, 300000, 9, 4))
}

// startAll starts the servers one after the other, each stopped again at once to
// wait for its turn. One that does not start gets a note in its place.
func (l *lab) startAll(dir string, list []*server, patience time.Duration, progress io.Writer) map[string]string {
	notes := map[string]string{}
	for _, s := range list {
		p, err := s.start(dir, l.data, patience)
		switch {
		case errors.Is(err, errNotInstalled):
			notes[s.name] = "not installed"
		case err != nil:
			notes[s.name] = err.Error()
		default:
			p.freeze()
			l.servers = append(l.servers, p)
			fmt.Fprintf(progress, "%s: first right answer after %v\n", s.name, p.startup.Round(time.Millisecond))
			continue
		}
		fmt.Fprintf(progress, "%s: %s\n", s.name, notes[s.name])
	}
	return notes
}

func (l *lab) stopAll() {
	for _, p := range l.servers {
		p.stop()
	}
}

// run puts every server through every regime, rounds times, in an order drawn
// anew for each round, and returns the rows by regime and then server.
func (l *lab) run(ctx context.Context, regimes []regime, rounds int, rng *rand.Rand, progress io.Writer) ([]*row, error) {
	var rows []*row
	type turn struct {
		r   regime
		p   *process
		row *row
	}
	var turns []turn
	for _, r := range regimes {
		for _, p := range l.servers {
			if r.takes(p.server) {
				rows = append(rows, &row{Regime: r.key, Server: p.server.name})
				turns = append(turns, turn{r, p, rows[len(rows)-1]})
			}
		}
	}
	for round := range rounds {
		rng.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
		for _, t := range turns {
			m, v, err := l.measure(ctx, t.r, t.p)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				t.row.Note = err.Error()
				fmt.Fprintf(progress, "round %d, %s, %s: %v\n", round+1, t.r.key, t.p.server.name, err)
				continue
			}
			t.row.Runs = append(t.row.Runs, m)
			t.row.Verdict.merge(v)
			fmt.Fprintf(progress, "round %d, %s, %s: %.3f us/query, %.0f q/s, %d lost, %d wrong of %d\n",
				round+1, t.r.key, t.p.server.name, m.PerQuery, m.QPS, m.Lost, v.Wrong, v.Checked)
		}
	}
	return rows, nil
}

// measure loads one server once.
func (l *lab) measure(ctx context.Context, r regime, p *process) (measurement, verdict, error) {
	p.thaw()
	defer p.freeze()
	v := p.verify(l.data, l.check) // warms up as well
	before, err := p.cpu()
	if err != nil {
		return measurement{}, v, err
	}
	user, system := p.ticks()
	res, err := r.load(ctx, p, l)
	if err != nil {
		return measurement{}, v, err
	}
	userAfter, systemAfter := p.ticks()
	user, system = userAfter-user, systemAfter-system
	after, err := p.cpu()
	if err != nil {
		return measurement{}, v, err
	}
	if res.Answered == 0 {
		return measurement{}, v, errors.New("no answers")
	}
	for _, s := range res.samples {
		fault, _, _ := p.server.judge(l.data, s.q, s.reply)
		v.add(fault)
	}
	if res.Failed > 0 && !p.server.echo {
		v.Wrong += res.Failed
		v.First = fmt.Sprintf("%d replies under load are no NOERROR answers", res.Failed)
	}
	v.merge(p.verify(l.data, l.check[:256]))
	return measurement{
		PerQuery: float64(after-before) / float64(time.Microsecond) / float64(res.Answered),
		User:     float64(user) / float64(max(1, user+system)),
		QPS:      float64(res.Answered) / res.Took.Seconds(),
		Lost:     res.Lost, Sent: res.Answered + res.Lost,
	}, v, nil
}
