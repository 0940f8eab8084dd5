package main

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"edged/bgp/speaker"
)

var (
	descVIPState    = desc("vip_state", "The state of the VIP on this node: 0 absent, 1 bound, 2 canary, 3 announced, 4 degraded, 5 last-resort, 6 draining, 7 withdrawn.", "vip")
	descVIPSent     = desc("vip_sent", "Whether the peer was sent the VIP as it should be announced.", "vip", "peer")
	descAnnouncers  = desc("vip_announcers", "Nodes that announce the VIP as planned, as this node heard lately, itself included.", "vip")
	descPenalty     = desc("vip_penalty", "The penalty of the VIP for flapping; suppressed from 3000 until 1500.", "vip")
	descBreaker     = desc("vip_breaker_open", "Whether no node may withdraw the VIP by itself, for many left within a short time.", "vip")
	descAsked       = desc("vip_promises_asked_total", "Times that this node asked others to promise that they stay.", "vip")
	descTaken       = desc("vip_promises_taken_total", "Promises of others.", "vip")
	descGiven       = desc("vip_promises_given_total", "Promises given to others.", "vip")
	descDenied      = desc("vip_promises_denied_total", "Promises not given to others.", "vip")
	descPromiseLost = desc("vip_promises_dropped_total", "Messages about promises that were not taken.", "reason")
	descSession     = desc("bgp_session_established", "Whether the session with the peer is established.", "peer")
	descWhyDown     = desc("bgp_session_down_reason", "1 for a peer without a session, with the last error, of which 120 octets are shown.", "peer", "reason")
	descFlaps       = desc("bgp_session_flaps_total", "Sessions with the peer that were lost.", "peer")
	descBFD         = desc("bgp_bfd_up", "Whether BFD with the peer is up, where it is configured.", "peer")
	descPlan        = desc("vip_plan_generation", "How many plans this node has stored.")
	descLinkCalls   = desc("link_calls_total", "Calls of other members that were answered.")
	descLinkRefused = desc("link_refused_total", "Connections and calls that were refused.", "reason")
)

func describeVIPs(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descVIPState, descVIPSent, descAnnouncers, descPenalty, descBreaker, descAsked, descTaken, descGiven, descDenied,
		descPromiseLost, descSession, descWhyDown, descFlaps, descBFD, descPlan, descLinkCalls, descLinkRefused,
	} {
		ch <- d
	}
}

func (n *node) collectVIPs(counter func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	a := n.vips.Load()
	if a == nil {
		return
	}
	s := a.Status()
	gauge(descPlan, float64(s.Generation))
	for _, p := range s.Peers {
		gauge(descSession, truth(p.State == speaker.Established), p.Name)
		if p.State != speaker.Established {
			gauge(descWhyDown, 1, p.Name, strings.ToValidUTF8(p.LastError[:min(len(p.LastError), 120)], ""))
		}
		counter(descFlaps, uint64(p.Flaps), p.Name)
		if p.BFD != speaker.BFDOff {
			gauge(descBFD, truth(p.BFD == speaker.BFDUp), p.Name)
		}
	}
	for _, v := range s.VIPs {
		gauge(descVIPState, float64(v.State), v.Name)
		sent := map[string]bool{}
		for _, peer := range v.Sent {
			sent[peer] = true
		}
		for _, p := range s.Peers {
			gauge(descVIPSent, truth(sent[p.Name]), v.Name, p.Name)
		}
		gauge(descAnnouncers, float64(v.Announcers), v.Name)
		gauge(descPenalty, v.Penalty, v.Name)
		gauge(descBreaker, truth(v.Breaker != ""), v.Name)
		counter(descAsked, v.Guard.Asked, v.Name)
		counter(descTaken, v.Guard.Taken, v.Name)
		counter(descGiven, v.Guard.Granted, v.Name)
		counter(descDenied, v.Guard.Refused, v.Name)
	}
	for reason, count := range map[string]uint64{
		"malformed": s.Dropped.Malformed, "forged": s.Dropped.Forged, "foreign": s.Dropped.Foreign, "replayed": s.Dropped.Replayed,
	} {
		counter(descPromiseLost, count, reason)
	}
	if n.link != nil {
		c := n.link.Counts()
		counter(descLinkCalls, c.Answered)
		for reason, count := range c.Refused {
			counter(descLinkRefused, count, string(reason))
		}
	}
}
