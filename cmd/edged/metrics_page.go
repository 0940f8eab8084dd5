package main

import "github.com/prometheus/client_golang/prometheus"

var (
	descPageRequests  = desc("beacon_requests_total", "Requests to the beacon, by what was asked for or why it was refused.", "what")
	descPageReports   = desc("beacon_reports_total", "Reports of pages, by what became of them.", "outcome")
	descPageAsked     = desc("beacon_names_total", "Questions for names of sessions, by what became of them.", "outcome")
	descPageRows      = desc("beacon_rows_total", "Measurements that were made durable.")
	descPageLost      = desc("beacon_rows_lost_total", "Measurements that the disk did not take.")
	descPageSightings = desc("beacon_resolvers_lost_total", "Resolvers of sessions that the disk did not take.")
	descPageUnwatched = desc("beacon_names_lost_total", "Questions for names of sessions that came too fast to be noted.")
)

func describePage(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descPageRequests, descPageReports, descPageAsked, descPageRows, descPageLost, descPageSightings, descPageUnwatched,
	} {
		ch <- d
	}
}

func (c nodeCollector) collectPage(counter func(*prometheus.Desc, uint64, ...string)) {
	server := c.page.Load()
	if server == nil {
		return
	}
	t := server.Totals()
	for what, n := range t.Requests {
		counter(descPageRequests, n, what)
	}
	for outcome, n := range t.Reports {
		counter(descPageReports, n, outcome)
	}
	for outcome, n := range t.Asked {
		counter(descPageAsked, n, outcome)
	}
	counter(descPageRows, t.Rows)
	counter(descPageLost, t.LostRows)
	counter(descPageSightings, t.LostSightings)
	counter(descPageUnwatched, c.watch.Lost())
}
