package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"edged/dnsserver"
)

// registry returns all metrics of the node.
func (n *node) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		nodeCollector{n},
	)
	return r
}

// nodeCollector reads the node when it is scraped: nothing is counted twice.
type nodeCollector struct{ *node }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("edged_"+name, help, labels, nil)
}

var (
	descReplies = desc("replies_total", "Replies sent.", "zone", "type", "rcode", "transport")
	descDecided = desc("decisions_total", "Answers of pools, by the PoP chosen and what located the client.", "pool", "pop", "source")
	descEvents  = desc("server_events_total", "What else happened to queries and connections.", "event")
	descScope   = desc("ecs_scope", "Scope prefix lengths of replies with a client subnet.")
	descLatency = desc("reply_seconds", "Time from receiving a batch of queries to having its replies ready.")
	descTapLost = desc("dnstap_dropped_total", "Dnstap messages lost because the reader was slow.")
	descViewAge = desc("view_age_seconds", "Time since what is served was built.")
	descMapAge  = desc("map_age_seconds", "Time since the map was built.", "map")
	descMap     = desc("map_info", "The version of the map in use.", "map", "version")
	descSerial  = desc("zone_serial", "The SOA serial of the zone.", "zone")
	descReloads = desc("reloads_total", "Reloads asked for.")
	descFailed  = desc("reload_failures_total", "Reloads refused because of bad files.")
	descLastOK  = desc("last_reload_ok", "Whether the last reload was applied; 1 before the first.")
	descAlarm   = desc("alarm", "Whether the alarm is raised.", "reason")
	descBuild   = desc("build_info", "The version of edged.", "version")
)

func (c nodeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descReplies, descDecided, descEvents, descScope, descLatency, descTapLost, descViewAge, descMapAge,
		descMap, descSerial, descReloads, descFailed, descLastOK, descAlarm, descBuild,
	} {
		ch <- d
	}
	describeHealth(ch)
	describeVIPs(ch)
	describePage(ch)
	describeLoad(ch)
}

func (c nodeCollector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	t := c.server.Stats()
	for k, v := range t.Replies {
		counter(descReplies, v, k.Zone, k.Type, k.Rcode, k.Transport)
	}
	for k, v := range t.Decisions {
		counter(descDecided, v, k.Pool, k.PoP, k.Source)
	}
	for event, v := range t.Events {
		counter(descEvents, v, event)
	}
	ch <- scopeHistogram(&t)
	ch <- latencyHistogram(&t)
	if c.tap != nil {
		counter(descTapLost, c.tap.Dropped())
	}

	l := c.serving()
	gauge(descViewAge, time.Since(l.view.Created()).Seconds())
	for name, m := range l.maps {
		gauge(descMapAge, time.Since(m.Created()).Seconds(), name)
		gauge(descMap, 1, name, m.Version())
	}
	for _, z := range l.zones {
		gauge(descSerial, float64(z.Serial()), z.Origin())
	}
	gauge(descBuild, 1, version())
	c.collectHealth(counter, gauge)
	c.collectVIPs(counter, gauge)
	c.collectPage(counter)
	c.collectLoad(gauge)

	c.mu.Lock()
	defer c.mu.Unlock()
	counter(descReloads, uint64(c.reloads))
	counter(descFailed, uint64(c.failures))
	gauge(descLastOK, truth(c.lastReloadOK))
	for _, reason := range alarmReasons {
		raised := false
		for _, a := range c.alarms {
			raised = raised || a.Reason == reason
		}
		gauge(descAlarm, truth(raised), reason)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// scopeBounds are the scope lengths that a histogram tells apart: those of
// IPv4 come in steps of 4, those of IPv6 up to /64 in steps of 8.
var scopeBounds = []int{0, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 128}

func scopeHistogram(t *dnsserver.Totals) prometheus.Metric {
	buckets := map[float64]uint64{}
	var count, sum uint64
	next := 0
	for length, n := range t.Scopes {
		count += n
		sum += n * uint64(length)
		if length == scopeBounds[next] {
			buckets[float64(length)] = count
			next++
		}
	}
	return prometheus.MustNewConstHistogram(descScope, count, float64(sum), buckets)
}

func latencyHistogram(t *dnsserver.Totals) prometheus.Metric {
	buckets := map[float64]uint64{}
	var count uint64
	for i, n := range t.Latency {
		count += n
		if i < len(t.Latency)-1 { // the last one has no bound
			buckets[dnsserver.LatencyBound(i).Seconds()] = count
		}
	}
	return prometheus.MustNewConstHistogram(descLatency, count, float64(t.LatencyNs)/1e9, buckets)
}
