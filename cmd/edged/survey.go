package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"edged/admin"
)

// A node asks itself and all others the same, again and again, and counts who
// answers differently: the nodes of a fleet must agree on answers, scopes and
// map versions, and where they do not a user may see it before we do.
const (
	surveyEvery = 30 * time.Second
	surveyWait  = 3 * time.Second
)

// survey compares the fleet's answers until the node leaves.
func (n *node) survey() {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-n.leave
		cancel()
	}()
	before := ""
	every := time.NewTicker(surveyEvery)
	defer every.Stop()
	for {
		select {
		case <-n.leave:
			return
		case <-every.C:
		}
		n.compare(ctx)
		impostors := strings.Join(n.fleet.Impostors(), ", ")
		if impostors != before {
			n.alarm(alarmKey, "members are heard with another key than theirs and not believed; if that is meant, list the new key under fleet.members", impostors)
			before = impostors
		}
	}
}

// compare asks one random question of every node.
func (n *node) compare(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, surveyWait)
	defer cancel()
	question := n.serving().randomQuestion()
	if question == "" {
		return
	}
	own := n.answerSurvey(question)
	var differ []string
	for name, answer := range n.fleet.Survey(ctx, question) {
		if answer != own {
			differ = append(differ, fmt.Sprintf("%s: %s answers %q, this node %q", question, name, answer, own))
		}
	}
	if own != n.answerSurvey(question) {
		return // it changed meanwhile
	}
	n.mu.Lock()
	n.differences = differ
	n.mu.Unlock()
	for _, d := range differ {
		n.log.Warn("nodes of the fleet answer differently", "difference", d)
	}
}

// randomQuestion is a name that a pool answers and a client, "" when there is
// no such name.
func (l *loaded) randomQuestion() string {
	names := sortedKeys(l.config.Names)
	if len(names) == 0 {
		return ""
	}
	name := strings.Replace(names[rand.IntN(len(names))], "*", "survey", 1)
	client := netip.AddrFrom4([4]byte{byte(1 + rand.IntN(223)), byte(rand.IntN(256)), byte(rand.IntN(256)), 0})
	return name + " " + netip.PrefixFrom(client, 24).String()
}

// answerSurvey is what this node answers, in a form to be compared: the PoP, the
// endpoints to choose from, the scope, and the versions of map and zone.
func (n *node) answerSurvey(question string) string {
	name, client, _ := strings.Cut(question, " ")
	q, err := admin.ParseQuestion(name, "A", client, "")
	if err != nil {
		return "not understood"
	}
	l := n.serving()
	e, err := l.view.Explain(q.Name, dns.TypeA, q.Resolver, q.Client)
	if err != nil {
		return "not understood"
	}
	if e.Decision == nil {
		return fmt.Sprintf("%s serial %d", e.Rcode, e.Serial)
	}
	var endpoints, versions []string
	for _, p := range e.Decision.Endpoints {
		endpoints = append(endpoints, p.Address)
	}
	for _, s := range e.Decision.Stages {
		if s.Location != nil {
			versions = append(versions, s.Location.Version)
		}
	}
	return fmt.Sprintf("%s %s %s/%d map %s serial %d", e.Decision.Outcome, e.Decision.PoP, strings.Join(endpoints, ","),
		e.Decision.Scope, strings.Join(versions, ","), e.Serial)
}
