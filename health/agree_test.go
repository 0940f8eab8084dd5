package health

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"edged/edge"
)

// ballots reads votes as text: "fra:dead,status 503" is a vote of an observer in
// fra; a "~" before it is not fresh, a "?" is suspect. Observers are o0, o1…
func ballots(t *testing.T, text string) []Vote {
	t.Helper()
	var votes []Vote
	for i, word := range strings.Fields(text) {
		v := Vote{Observer: fmt.Sprintf("o%d", i), Fresh: true}
		v.Observation.Next = time.Duration(i+1) * time.Second
		if rest, ok := strings.CutPrefix(word, "~"); ok {
			word, v.Fresh = rest, false
		}
		if rest, ok := strings.CutPrefix(word, "?"); ok {
			word, v.Suspect = rest, "uplink"
		}
		pop, said, _ := strings.Cut(word, ":")
		verdict, reason, _ := strings.Cut(said, ",")
		var err error
		if v.Verdict, err = edge.ParseVerdict(verdict); err != nil {
			t.Fatal(err)
		}
		v.PoP, v.Reason = pop, reason
		votes = append(votes, v)
	}
	return votes
}

func TestAgree(t *testing.T) {
	for _, tc := range []struct {
		what  string
		votes string
		q     Quorum
		want  string // verdict and reason, or "" for kept
		how   string
	}{
		{"nobody", "", Quorum{}, "", "kept: 0 of 0 observers count, want 1"},
		{"one is a majority of one", "a:dead,x", Quorum{}, "dead x", "1 of 1 observers"},
		{"all up", "a:ok a:ok b:ok", Quorum{MinObservers: 2, MinPoPs: 2}, "ok", "3 of 3 observers"},
		{"a majority is down", "a:ok a:dead,x b:dead,x", Quorum{MinObservers: 2, MinPoPs: 2}, "dead x", "2 of 3 observers"},
		{"a tie is up", "a:ok a:dead,x b:dead,x b:ok", Quorum{}, "ok", "2 of 4 observers"},
		{"a minority is down", "a:ok a:dead,x b:ok", Quorum{}, "ok", "2 of 3 observers"},
		{"down in one PoP alone, up elsewhere", "a:dead,x a:dead,x b:ok", Quorum{MinPoPs: 2}, "ok", "1 of 3 observers"},
		{"down in one PoP alone, unknown elsewhere", "a:dead,x a:dead,x b:unknown", Quorum{MinPoPs: 2}, "", "kept: 2 of 3 observers say down, want 2; PoPs: 1, want 2"},
		{"down in two PoPs", "a:dead,x b:dead,x b:ok", Quorum{MinPoPs: 2}, "dead x", "2 of 3 observers"},

		{"too few", "a:dead,x b:dead,x", Quorum{MinObservers: 3}, "", "kept: 2 of 2 observers count, want 3"},
		{"too few are fresh", "a:dead,x ~b:dead,x ~c:dead,x", Quorum{MinObservers: 2}, "", "kept: 1 of 3 observers count, want 2"},
		{"too few are believed", "?a:dead,x b:ok", Quorum{MinObservers: 2}, "", "kept: 1 of 2 observers count, want 2"},
		{"of too few PoPs", "a:dead,x a:dead,x ~b:dead,x", Quorum{MinPoPs: 2}, "", "kept: PoPs that count: 1, want 2"},
		{"a majority, but fewer than asked", "a:dead,x b:dead,x c:unknown", Quorum{MinObservers: 3}, "", "kept: 2 of 3 observers say down, want 3; PoPs: 2, want 1"},
		{"stale and suspect votes do not count", "a:ok ~b:dead,x ?c:dead,x ~?d:dead,x", Quorum{}, "ok", "1 of 1 observers"},

		{"nobody knows", "a:unknown b:unknown", Quorum{}, "", "kept: none of 2 observers knows"},
		{"one up among the unknowing", "a:unknown b:ok c:unknown", Quorum{MinObservers: 3}, "ok", "1 of 3 observers"},
		{"one down among the unknowing", "a:unknown b:dead,x c:unknown", Quorum{}, "", "kept: 1 of 3 observers say down, want 2; PoPs: 1, want 1"},

		{"degraded needs a majority of the up", "a:ok b:degraded,slow", Quorum{}, "ok", "2 of 2 observers"},
		{"degraded", "a:ok b:degraded,slow c:degraded,slow d:dead,x", Quorum{}, "degraded slow", "3 of 4 observers"},
		{"failing and dead are one side", "a:dead,x b:failing,y c:ok", Quorum{}, "failing y", "2 of 3 observers"},
		{"dead needs a majority of the down", "a:dead,x b:failing,y c:dead,z", Quorum{}, "dead x", "3 of 3 observers"},
		{"the most frequent reason", "a:dead,x b:dead,z c:dead,z d:dead,y", Quorum{}, "dead z", "4 of 4 observers"},
		{"of equal reasons the smallest", "a:dead,z b:dead,y c:dead,z d:dead,y", Quorum{}, "dead y", "4 of 4 observers"},
		{"an empty reason is one too", "a:dead b:dead c:dead,y", Quorum{}, "dead", "3 of 3 observers"},
	} {
		votes := ballots(t, tc.votes)
		d := agree(votes, tc.q)
		got := ""
		if !d.kept {
			got = strings.TrimSpace(d.verdict.String() + " " + d.reason)
		}
		if got != tc.want || d.decided != tc.how {
			t.Errorf("%s: %q by %q, want %q by %q", tc.what, got, d.decided, tc.want, tc.how)
		}
	}
}

// slowAgree states the rule once more, by counting from scratch at each step.
func slowAgree(votes []Vote, q Quorum) (verdict edge.Verdict, reason string, kept bool) {
	count := func(match func(Vote) bool) (n, pops int) {
		seen := make(map[string]bool)
		for _, v := range votes {
			if v.Fresh && v.Suspect == "" && match(v) {
				n++
				seen[v.PoP] = true
			}
		}
		return n, len(seen)
	}
	is := func(list ...edge.Verdict) func(Vote) bool {
		return func(v Vote) bool { return slices.Contains(list, v.Verdict) }
	}
	n, pops := count(func(Vote) bool { return true })
	down, downPoPs := count(is(edge.Failing, edge.Dead))
	up, _ := count(is(edge.OK, edge.Degraded))
	switch {
	case n == 0, n < q.MinObservers, pops < q.MinPoPs:
		return 0, "", true
	case 2*down > n && down >= q.MinObservers && downPoPs >= q.MinPoPs:
		verdict = edge.Failing
		if dead, _ := count(is(edge.Dead)); 2*dead > down {
			verdict = edge.Dead
		}
	case up > 0:
		verdict = edge.OK
		if degraded, _ := count(is(edge.Degraded)); 2*degraded > up {
			verdict = edge.Degraded
		}
	default:
		return 0, "", true
	}
	type tally struct {
		reason string
		n      int
	}
	var reasons []tally
	for _, v := range votes {
		same := func(w Vote) bool { return w.Verdict == verdict && w.Reason == v.Reason }
		if n, _ := count(same); v.Verdict == verdict && n > 0 {
			reasons = append(reasons, tally{v.Reason, n})
		}
	}
	best := slices.MinFunc(reasons, func(a, b tally) int {
		return cmp.Or(cmp.Compare(b.n, a.n), strings.Compare(a.reason, b.reason))
	})
	return verdict, best.reason, false
}

func randomVotes(rng *rand.Rand) []Vote {
	votes := make([]Vote, rng.IntN(8))
	for i := range votes {
		votes[i] = Vote{Observer: fmt.Sprintf("o%d", i), PoP: string(rune('a' + rng.IntN(3))), Fresh: rng.IntN(5) > 0}
		votes[i].Verdict = []edge.Verdict{edge.OK, edge.OK, edge.Degraded, edge.Unknown, edge.Failing, edge.Dead, edge.Dead}[rng.IntN(7)]
		votes[i].Reason = []string{"", "x", "y"}[rng.IntN(3)]
		if rng.IntN(6) == 0 {
			votes[i].Suspect = "uplink"
		}
	}
	return votes
}

func TestAgreeLikeSlow(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for range 20_000 {
		votes, q := randomVotes(rng), Quorum{MinObservers: rng.IntN(5), MinPoPs: rng.IntN(4)}
		d := agree(votes, q)
		verdict, reason, kept := slowAgree(votes, q)
		if d.kept != kept || d.verdict != verdict || d.reason != reason {
			t.Fatalf("%+v with %+v: %+v, want %v %q, kept %t", votes, q, d, verdict, reason, kept)
		}
	}
}

// TestAgreeInAnyOrder holds that the order of votes decides nothing.
func TestAgreeInAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for range 5000 {
		votes, q := randomVotes(rng), Quorum{MinObservers: rng.IntN(4), MinPoPs: rng.IntN(3)}
		want := agree(votes, q)
		rng.Shuffle(len(votes), func(i, j int) { votes[i], votes[j] = votes[j], votes[i] })
		if got := agree(votes, q); got != want {
			t.Fatalf("%+v: %+v, want %+v", votes, got, want)
		}
	}
}

// observersOf reads a matrix as text, a line per observer: name, PoP, and one
// letter per target from 1 on: '.' ok, '~' degraded, 'u' unknown, 'f' failing,
// 'D' dead, '-' not checked. A '!' after the name declares it suspect, a '*' not
// fresh.
func observersOf(t *testing.T, text string) []Observer {
	t.Helper()
	letters := map[rune]edge.Verdict{'.': edge.OK, '~': edge.Degraded, 'u': edge.Unknown, 'f': edge.Failing, 'D': edge.Dead}
	var all []Observer
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		o := Observer{Name: fields[0], PoP: fields[1], Fresh: true, Observations: make(map[TargetID]Observation)}
		if name, ok := strings.CutSuffix(o.Name, "!"); ok {
			o.Name, o.Suspect = name, "slow to answer peers"
		}
		if name, ok := strings.CutSuffix(o.Name, "*"); ok {
			o.Name, o.Fresh = name, false
		}
		for i, letter := range fields[2] {
			if letter == '-' {
				continue
			}
			v, ok := letters[letter]
			if !ok {
				t.Fatalf("no verdict is written %q", letter)
			}
			id := TargetID(i + 1)
			o.Observations[id] = Observation{Target: id, Verdict: v, Next: 6 * time.Second}
		}
		all = append(all, o)
	}
	return all
}

func TestSuspects(t *testing.T) {
	for _, tc := range []struct {
		what, matrix string
		want         map[string]string
	}{
		{"its uplink is down", "a p DDDD\n b q ....\n c r ....", map[string]string{"a": "says down to 4 of 4 targets that others see up"}},
		{"just more than half", "a p DDD..\n b q .....", map[string]string{"a": "says down to 3 of 5 targets that others see up"}},
		{"half", "a p DD..\n b q ....", map[string]string{}},
		{"one target alone", "a p D\n b q .\n c r .", map[string]string{}},
		{"two targets", "a p Df\n b q ..\n c r .~", map[string]string{"a": "says down to 2 of 2 targets that others see up"}},
		{"unknown ones are not known", "a p DDuuuu\n b q ......", map[string]string{"a": "says down to 2 of 2 targets that others see up"}},
		{"an outage", "a p DDDD\n b q DDDD\n c r DDDD", map[string]string{}},
		{"an outage that one does not see", "a p DDDD\n b q DDDD\n c r ....", map[string]string{}},
		{"two of five see an outage", "a p DDDD\n b q DDDD\n c r ....\n d s ....\n e t ....", map[string]string{
			"a": "says down to 4 of 4 targets that others see up", "b": "says down to 4 of 4 targets that others see up",
		}},
		{"three of five", "a p DDDD\n b q DDDD\n c r DDDD\n d s ....\n e t ....", map[string]string{}},
		{"nobody else looks", "a p DDDD--\n b q ----..", map[string]string{}},
		{"nobody else knows", "a p DDDD\n b q uuuu", map[string]string{}},
		{"others that are stale say nothing", "a p DDDD\n b* q ....", map[string]string{}},
		{"others that doubt themselves say nothing", "a p DDDD\n b! q ....", map[string]string{"b": "slow to answer peers"}},
		{"its own word", "a! p ....\n b q ....", map[string]string{"a": "slow to answer peers"}},
		{"a stale one is not judged", "a* p DDDD\n b q ....", map[string]string{}},
		{"to see all up is no reason", "a p ....\n b q DDDD\n c r DDDD", map[string]string{}},
	} {
		got := suspects(observersOf(t, tc.matrix))
		if fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: %v, want %v", tc.what, got, tc.want)
		}
	}
}

func TestStated(t *testing.T) {
	for _, tc := range []struct{ what, votes, want, how string }{
		{"nobody", "", "", "kept: no node there is heard"},
		{"none is heard", "~a:dead,x", "", "kept: no node there is heard"},
		{"one is down", "a:dead,x", "dead x", "1 of 1 nodes there"},
		{"one is up", "a:dead,x a:ok,announced a:dead,x", "ok announced", "1 of 3 nodes there"},
		{"whoever is not believed of others is believed of itself", "?a:ok,announced a:dead", "ok announced", "1 of 2 nodes there"},
		{"degraded is better than dead", "a:dead a:degraded,gshut", "degraded gshut", "1 of 2 nodes there"},
		{"all are down", "a:dead,x a:dead,x", "dead x", "2 of 2 nodes there"},
	} {
		d := stated(ballots(t, tc.votes))
		got := strings.TrimSpace(fmt.Sprint(d.verdict, " ", d.reason))
		if d.kept {
			got = ""
		}
		if got != tc.want || d.decided != tc.how {
			t.Errorf("%s: got %q, %q, want %q, %q", tc.what, got, d.decided, tc.want, tc.how)
		}
	}
}
