package main

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/firn-log/firn/tracker/follow"
)

// metrics is what /metrics shows (docs/tracker.md#metrics).
type metrics struct {
	registry *prometheus.Registry
	pages    *prometheus.HistogramVec
}

func (t *tracker) metrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		pages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "firn_tracker_page_seconds", Help: "How long pages took, by HTTP status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, 1, 10},
		}, []string{"status"}),
	}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), m.pages,
		counts{t.follower, t.evaluations})
	return m
}

// count measures requests.
func (m *metrics) count(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin, s := time.Now(), &statusWriter{w, http.StatusOK}
		h.ServeHTTP(s, r)
		m.pages.WithLabelValues(strconv.Itoa(s.status)).Observe(time.Since(begin).Seconds())
	})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// counts shows how far the logs are followed as metrics.
type counts struct {
	follower    *follow.Follower
	evaluations *follow.Evaluations
}

func description(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("firn_tracker_"+name, help, labels, nil)
}

var (
	descSize       = description("log_size", "Entries of the newest checkpoint that is believed.", "origin")
	descReplayed   = description("log_replayed", "Entries that are in the database.", "origin")
	descLag        = description("log_lag_entries", "Entries that are known to be there and not replayed.", "origin")
	descBehind     = description("log_lag_seconds", "How long it has been known that there is more than was replayed.", "origin")
	descFollowed   = description("log_followed", "1 if the log is followed, 0 if its page says why not.", "origin")
	descCheckpoint = description("log_checkpoint_time_seconds", "Time of the cosignatures of the newest checkpoint, 0 if there are none.", "origin")
	descEntries    = description("log_entries_total", "Entries read since start: verified, known to verify from an earlier run, unverified because no key is known, or left out.", "origin", "outcome")
	descErrors     = description("log_errors_total", "Why a log was not followed, since start.", "origin", "kind")
	descEvals      = description("evaluations_total", "Evaluation files added since start.")
	descStuck      = description("evaluations_stuck", "1 if an evaluation file cannot be added.")
)

// Describe implements prometheus.Collector.
func (c counts) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSize, descReplayed, descLag, descBehind, descFollowed, descCheckpoint, descEntries, descErrors, descEvals, descStuck} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c counts) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	for _, s := range c.follower.Status() {
		send(descSize, prometheus.GaugeValue, float64(s.Size), s.Origin)
		send(descReplayed, prometheus.GaugeValue, float64(s.Replayed), s.Origin)
		send(descLag, prometheus.GaugeValue, float64(s.Size-min(s.Size, s.Replayed)), s.Origin)
		send(descBehind, prometheus.GaugeValue, s.Behind.Seconds(), s.Origin)
		send(descFollowed, prometheus.GaugeValue, flag(s.Error == ""), s.Origin)
		at := 0.0
		if !s.CheckpointTime.IsZero() {
			at = float64(s.CheckpointTime.Unix())
		}
		send(descCheckpoint, prometheus.GaugeValue, at, s.Origin)
		send(descEntries, prometheus.CounterValue, float64(s.Entries-s.Kept-s.Left-s.Unverified), s.Origin, "verified")
		send(descEntries, prometheus.CounterValue, float64(s.Kept), s.Origin, "known")
		send(descEntries, prometheus.CounterValue, float64(s.Unverified), s.Origin, "unverified")
		send(descEntries, prometheus.CounterValue, float64(s.Left), s.Origin, "left-out")
		for kind, n := range s.Errors {
			send(descErrors, prometheus.CounterValue, float64(n), s.Origin, kind)
		}
	}
	added, stuck := c.evaluations.Status()
	send(descEvals, prometheus.CounterValue, float64(added))
	send(descStuck, prometheus.GaugeValue, flag(stuck != ""))
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
