package server

import (
	"runtime/debug"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/firn-log/firn/witness"
)

// metrics is what /metrics shows. Their names are listed in
// spec/witness.md#metrics.
type metrics struct {
	registry     *prometheus.Registry
	cosigned     prometheus.Counter
	refusals     *prometheus.CounterVec
	duration     prometheus.Histogram
	listFailures prometheus.Counter
	adopted      prometheus.Counter
	last         atomic.Int64 // unix seconds of the last cosignature
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		cosigned: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "firn_witness_cosigned_total", Help: "Checkpoints cosigned since start.",
		}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "firn_witness_refused_total", Help: "Requests that were not granted, by the step that refused (spec/witness.md).",
		}, []string{"rule"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "firn_witness_request_seconds", Help: "Time from reading a request to its answer, the disk included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		listFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "firn_witness_list_failures_total", Help: "Lists of logs that could not be read.",
		}),
		adopted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "firn_witness_adopted_total", Help: "Newer checkpoints cosigned by this witness that only a peer had.",
		}),
	}
	m.registry.MustRegister(m.cosigned, m.refusals, m.duration, m.listFailures, m.adopted,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(s.o.Extra.Collectors...)
	gauge := func(name, help string, f func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	gauge("firn_witness_open", "1 while checkpoints are cosigned, 0 while only reads are served.", func() float64 {
		if s.witness.Doubt() != nil {
			return 0
		}
		return 1
	})
	gauge("firn_witness_logs", "Logs that are known.", func() float64 { return float64(len(s.witness.Logs())) })
	gauge("firn_witness_refused_logs", "Logs that are refused for good because of evidence.", func() float64 {
		n := 0
		s.store.Each(func(_ string, st witness.State) bool {
			if st.Refused != "" {
				n++
			}
			return true
		})
		return float64(n)
	})
	gauge("firn_witness_last_cosignature_timestamp_seconds", "When the last checkpoint was cosigned, 0 if none was since start.", func() float64 {
		return float64(m.last.Load())
	})
	gauge("firn_witness_clock_behind_seconds", "How far the clock was behind the cosignature before; 0 if it was not.", func() float64 {
		return s.witness.ClockBehind().Seconds()
	})
	for name, help := range map[string]string{
		"firn_witness_syncs_total":  "Groups of checkpoints that were made durable with one sync.",
		"firn_witness_synced_total": "Checkpoints that were made durable.",
	} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 {
			groups, members := s.store.Syncs()
			if name == "firn_witness_syncs_total" {
				return float64(groups)
			}
			return float64(members)
		}))
	}
	return m
}

func (m *metrics) refused(rule string) { m.refusals.WithLabelValues(rule).Inc() }

// version returns the version of the program.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
