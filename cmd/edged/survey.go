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
	"edged/edge"
)

// A node asks itself and all others the same, again and again, and counts who
// answers differently: the nodes of a fleet must agree on answers, scopes and
// map versions, and where they do not a user may see it before we do.
const (
	surveyEvery = 30 * time.Second // at most; at random down to two thirds of it, for a node answers one at a time
	surveyWait  = 3 * time.Second
)

// survey compares the fleet's answers until the node leaves, and tries again what could not be kept.
func (n *node) survey() {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-n.leave
		cancel()
	}()
	before := ""
	for {
		select {
		case <-n.leave:
			return
		case <-time.After(surveyEvery - rand.N(surveyEvery/3)):
		}
		n.compare(ctx)
		n.keepAgain()
		impostors := strings.Join(n.fleet.Impostors(), ", ")
		if impostors != before {
			n.alarm(alarmKey, "members are heard with another key than theirs and not believed; if that is meant, list the new key under fleet.members", impostors)
			before = impostors
		}
	}
}

// compare asks every node for a random client and, if prefixes are pinned, for
// a pinned one: pins are where nodes are told apart by hand.
func (n *node) compare(ctx context.Context) {
	l := n.serving()
	var clients []netip.Prefix
	if len(l.config.Names) > 0 {
		clients = append(clients, randomClient())
		if pins := n.fleet.Overrides().Pins(); len(pins) > 0 {
			clients = append(clients, pins[rand.IntN(len(pins))].Prefix)
		}
	}
	nodes := map[string]string{} // what each that differs answers otherwise
	for _, client := range clients {
		if !n.differ(ctx, l.randomName()+" "+client.String(), nodes) {
			return
		}
	}
	var differ []string
	for _, name := range sortedKeys(nodes) {
		differ = append(differ, nodes[name])
	}
	n.mu.Lock()
	n.differences = differ
	n.mu.Unlock()
	for _, d := range differ {
		n.log.Warn("nodes of the fleet answer differently", "difference", d)
	}
}

// differ asks all nodes one question, and notes those that answer otherwise than
// this one. It is not ok when this node's own answer changed meanwhile.
func (n *node) differ(ctx context.Context, question string, nodes map[string]string) (ok bool) {
	ctx, cancel := context.WithTimeout(ctx, surveyWait)
	defer cancel()
	own := n.answerSurvey(question)
	for name, answer := range n.fleet.Survey(ctx, question) {
		if answer != own {
			nodes[name] = fmt.Sprintf("%s: %s answers %q, this node %q", question, name, answer, own)
		}
	}
	return own == n.answerSurvey(question)
}

// randomName is one that a pool answers. There must be one.
func (l *loaded) randomName() string {
	names := sortedKeys(l.config.Names)
	return strings.Replace(names[rand.IntN(len(names))], "*", "survey", 1)
}

// randomClient is a /24 of those that clients are in: of any other each node
// would say that its own PoP is the closest.
func randomClient() netip.Prefix {
	for {
		a := netip.AddrFrom4([4]byte{byte(1 + rand.IntN(223)), byte(rand.IntN(256)), byte(rand.IntN(256)), 0})
		if p := netip.PrefixFrom(a, 24); edge.Routable(p) {
			return p
		}
	}
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
