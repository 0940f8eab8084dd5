package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"edged/edge"
	"edged/health/override"
)

var (
	descVerdict     = desc("health_verdict", "The verdict on the target: 0 ok, 1 degraded, 2 unknown, 3 failing, 4 dead.", "target")
	descTargets     = desc("health_targets", "Targets by verdict.", "verdict")
	descTransitions = desc("health_transitions_total", "Verdicts that changed, by what they became.", "verdict")
	descProbes      = desc("health_probes_total", "Probes that this node made.")
	descProbesBad   = desc("health_probe_failures_total", "Probes of this node that failed.")
	descFrozen      = desc("health_frozen", "Whether verdicts are kept because no majority of the members is heard.")
	descHeard       = desc("health_observer_fresh", "Whether the member is heard.", "observer")
	descSuspect     = desc("health_observer_suspect", "Whether the member is not believed.", "observer")
	descHash        = desc("health_view_hash", "The top 32 bits of a hash of all verdicts: the same on nodes that agree.")
	descRefused     = desc("health_records_refused_total", "Messages of the fleet that were not taken.", "reason")
	descBehind      = desc("health_records_behind_total", "Messages that showed that earlier ones were missing.")
	descDiffer      = desc("fleet_differences", "Nodes that answered otherwise than this one when they were last compared.")
	descOverrides   = desc("overrides", "Overrides by action.", "action", "suspended")
)

func describeHealth(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descVerdict, descTargets, descTransitions, descProbes, descProbesBad, descFrozen, descHeard, descSuspect,
		descHash, descRefused, descBehind, descDiffer, descOverrides,
	} {
		ch <- d
	}
}

func (n *node) collectHealth(counter func(*prometheus.Desc, uint64, ...string), gauge func(*prometheus.Desc, float64, ...string)) {
	view, targets, stats, of := n.fleet.View(), n.fleet.Targets(), n.fleet.Stats(), n.fleet.OverrideStats()
	count := map[edge.Verdict]int{}
	for id, t := range view.Targets {
		count[t.Verdict]++
		gauge(descVerdict, float64(t.Verdict), targets[id].String()+" "+id.String())
	}
	for v := edge.OK; v <= edge.Dead; v++ {
		gauge(descTargets, float64(count[v]), v.String())
		counter(descTransitions, stats.Transitions[v], v.String())
	}
	counter(descProbes, stats.Probes)
	counter(descProbesBad, stats.Failures)
	gauge(descFrozen, truth(view.Frozen != ""))
	gauge(descHash, float64(view.Hash>>32))
	for _, o := range view.Observers {
		gauge(descHeard, truth(o.Fresh), o.Name)
		gauge(descSuspect, truth(o.Suspect != ""), o.Name)
	}
	counter(descRefused, stats.Forged+of.Forged, "forged")
	counter(descRefused, stats.Replayed+of.Replayed, "replayed")
	counter(descRefused, stats.Malformed+of.Malformed, "malformed")
	counter(descBehind, stats.Behind)
	n.mu.Lock()
	gauge(descDiffer, float64(len(n.differences)))
	n.mu.Unlock()

	overrides := n.fleet.Overrides()
	active, suspended := map[override.Action]int{}, map[override.Action]int{}
	for _, o := range overrides.Active {
		active[o.Action]++
	}
	for _, o := range overrides.Suspended {
		suspended[o.Action]++
	}
	for a, k := range active {
		gauge(descOverrides, float64(k), string(a), "no")
	}
	for a, k := range suspended {
		gauge(descOverrides, float64(k), string(a), "yes")
	}
}
