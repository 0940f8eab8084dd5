package bgp

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what machines do into testdata/machine, to be read before it is believed")

// scripted is the VIP of the scripts.
var scripted = VIP{
	Name:          "ns1",
	Prefixes:      []netip.Prefix{netip.MustParsePrefix("198.51.100.53/32"), netip.MustParsePrefix("2001:db8::53/128")},
	Port:          53,
	MinAnnouncers: 2,
	MinPoPs:       2,
	Communities:   []Community{64512<<16 | 100},
	Hold:          30 * time.Second,
	Linger:        30 * time.Second,
	Ladder:        []Rung{{Kind: Gshut}, {Kind: Prepend, Value: 3}, {Kind: Withdraw}},
}

// TestMachineScripts runs testdata/machine/*.txt. A line that begins with ">"
// is a time and what happens then; the lines below it are all that the machine
// does until the next one, as it does it: when, the state, the route, what else
// is wished, and why the state was entered. The words are those of player.apply.
func TestMachineScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/machine/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("the machine does\n%s\nwant\n%s", got, text)
			}
		})
	}
}

// player plays a script: a node with one VIP, checks every second, and a runtime
// that makes every wish so at once.
type player struct {
	t       *testing.T
	vip     VIP
	machine *Machine
	start   time.Duration // of the machine, in the script's time
	facts   Facts
	passing bool
	cause   string
	deaf    bool // no peer is sent anything
	late    bool // no socket can be made
	wish    Wish
	said    string
	out     strings.Builder
}

func play(t *testing.T, script string) string {
	p := &player{t: t, vip: scripted, passing: true}
	p.facts.Others, p.facts.OtherPoPs = 2, 2
	p.facts.Promises = "0 promises in 0 PoPs, want 2 in 2"
	p.machine = NewMachine(p.vip, Kept{})
	var now time.Duration
	for line := range strings.Lines(script) {
		switch {
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
			p.out.WriteString(line)
		case strings.HasPrefix(line, ">"):
			p.out.WriteString(line)
			when, words, _ := strings.Cut(strings.TrimSpace(line[1:]), " ")
			then, err := time.ParseDuration(when)
			if err != nil || then < now {
				t.Fatalf("%q: want a time from %v on", line, now)
			}
			// Write what came before above the line.
			head := strings.TrimSuffix(p.out.String(), line)
			p.out.Reset()
			p.out.WriteString(head)
			p.run(now, then)
			p.out.WriteString(line)
			now = then
			for word := range strings.SplitSeq(words, ",") {
				p.apply(now, strings.TrimSpace(word))
			}
			p.step(now)
		}
	}
	return p.out.String()
}

// run lets time pass until just before then.
func (p *player) run(now, then time.Duration) {
	for check := now.Truncate(time.Second) + time.Second; now < then; {
		now = min(check, max(p.start+p.wish.Next, now+1), then)
		if now == then && then != check {
			return
		}
		if now == check {
			if p.wish.Listen {
				p.machine.Check(now-p.start, p.passing, p.cause)
			}
			check += time.Second
		}
		if now < then {
			p.step(now)
		}
	}
}

// apply takes one word of a script.
func (p *player) apply(now time.Duration, word string) {
	f := &p.facts
	verb, rest, _ := strings.Cut(word, " ")
	number := func(format string, into ...any) {
		if _, err := fmt.Sscanf(rest, format, into...); err != nil {
			p.t.Fatalf("%q: %v", word, err)
		}
	}
	switch verb {
	case "planned":
		f.Planned = true
	case "unplanned":
		f.Planned = false
	case "drain":
		f.Leave = Out
	case "undrain":
		f.Leave, f.Forced = Stay, false
	case "force":
		f.Forced = true
	case "unheard":
		f.Unheard = true
	case "stop":
		f.Leave = Stopping
	case "hold":
		f.Hold = true
	case "release":
		f.Hold = false
	case "frozen":
		f.Frozen = rest
	case "thawed":
		f.Frozen = ""
	case "breaker":
		f.Breaker = rest
	case "closed":
		f.Breaker = ""
	case "passing":
		p.passing, p.cause = true, ""
	case "failing":
		p.passing, p.cause = false, rest
	case "answers": // answers with a TTL of
		ttl, err := time.ParseDuration(rest)
		if err != nil {
			p.t.Fatal(err)
		}
		f.AnswerTTL = ttl
	case "quiet":
		f.Quiet = true
	case "others":
		number("%d in %d", &f.Others, &f.OtherPoPs)
	case "promises":
		var pops int
		number("%d in %d", new(int), &pops)
		f.Permit, f.Promises = true, "promises: "+rest
	case "unpromised":
		f.Permit, f.Promises = false, "0 promises in 0 PoPs, want 2 in 2"
	case "deaf":
		p.deaf = true
	case "heard":
		p.deaf = false
	case "late":
		p.late = true
	case "unlate":
		p.late = false
	case "crash", "reboot":
		kept := p.machine.Keep(now - p.start)
		if verb == "reboot" {
			kept.Age = time.Minute
		}
		p.machine, p.start, p.facts.Bound = NewMachine(p.vip, kept), now, false
		if f.Leave == Stopping {
			f.Leave = Stay
		}
	case "prepend":
		p.vip.Ladder = []Rung{{Kind: Prepend, Value: 2}}
		p.machine.SetVIP(p.vip)
	case "abrupt":
		p.vip.Ladder = []Rung{{Kind: Withdraw}}
		p.machine.SetVIP(p.vip)
	case "split": // what is followed from here is the part
		p.machine, f.Planned = p.machine.Split(scripted.Prefixes[1:]), false
	case "end":
	default:
		p.t.Fatalf("unknown word %q", word)
	}
}

// step steps the machine, until all is as it wishes, and writes what changed.
func (p *player) step(now time.Duration) {
	for {
		p.facts.Now = now - p.start
		p.facts.Sent = !p.deaf && p.wish.Route != nil
		p.facts.Heard = p.facts.Sent
		p.wish = p.machine.Step(p.facts)
		p.write(now)
		bound, sent := p.wish.Listen && !p.late, !p.deaf && p.wish.Route != nil
		if bound == p.facts.Bound && sent == p.facts.Sent {
			return
		}
		p.facts.Bound = bound
	}
}

func (p *player) write(now time.Duration) {
	w := p.wish
	route, flags, cause := "-", "", w.Cause
	if w.Route != nil {
		route = w.Route.String()
	}
	for _, f := range []struct {
		on   bool
		name string
	}{{w.Listen && len(p.machine.vip.Prefixes) == 1, " one"}, {w.Listen, " socket"}, {w.Answer, " answers"}, {w.Ask, " asks"}} {
		if f.on {
			flags += f.name
		}
	}
	what := fmt.Sprintf("%-11s %-46s%-24s", w.State, route, flags)
	if said := what + cause; said != p.said {
		p.said = said
		fmt.Fprintf(&p.out, "%-7s %s\n", now.Round(time.Millisecond), strings.TrimRight(what+" "+cause, " "))
	}
}
