package main

import (
	"maps"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/firn-log/firn/verify/substituter"
)

// handler adds /metrics, whose names are in spec/substituter.md#metrics.
func handler(s *substituter.Substituter) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), counts{s})
	return s.Handler(substituter.Page{Path: "/metrics", Handler: promhttp.HandlerFor(reg, promhttp.HandlerOpts{})})
}

// counts shows what a substituter did as metrics.
type counts struct{ s *substituter.Substituter }

var descriptions = map[string]*prometheus.Desc{
	"narinfos":  prometheus.NewDesc("firn_substituter_narinfos_total", "Narinfos served since start.", nil, nil),
	"nars":      prometheus.NewDesc("firn_substituter_nars_total", "NARs served whole since start.", nil, nil),
	"decided":   prometheus.NewDesc("firn_substituter_decisions_total", "Decisions made since start, by what became of the path.", []string{"action"}, nil),
	"judged":    prometheus.NewDesc("firn_substituter_judged_total", "Paths judged since start, with those that were judged again.", nil, nil),
	"batches":   prometheus.NewDesc("firn_substituter_batches_total", "Questions to the logs since start, each about many paths.", nil, nil),
	"submitted": prometheus.NewDesc("firn_substituter_submitted_total", "Signatures of public upstreams that were posted to the log.", nil, nil),
	"failures":  prometheus.NewDesc("firn_substituter_failures_total", "What could not be done since start: judging, submitting, passing a NAR on.", nil, nil),
	"kept":      prometheus.NewDesc("firn_substituter_kept_decisions", "Decisions that are kept.", nil, nil),
}

func (c counts) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		ch <- d
	}
}

func (c counts) Collect(ch chan<- prometheus.Metric) {
	n := c.s.Counts()
	counter := func(name string, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(descriptions[name], prometheus.CounterValue, float64(v), labels...)
	}
	counter("narinfos", n.Served)
	counter("nars", n.Nars)
	counter("judged", n.Judged)
	counter("batches", n.Batches)
	counter("submitted", n.Submitted)
	counter("failures", n.Failures)
	for _, action := range slices.Sorted(maps.Keys(n.Decided)) {
		counter("decided", n.Decided[action], action)
	}
	ch <- prometheus.MustNewConstMetric(descriptions["kept"], prometheus.GaugeValue, float64(n.Decisions))
}
