package server

import (
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics of one log. Names begin with firn_log_.
type metrics struct {
	registry *prometheus.Registry

	leaves      *prometheus.CounterVec
	requests    *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	append      prometheus.Histogram
	ingest      prometheus.Histogram
	batch       prometheus.Histogram
	size        prometheus.Gauge
	published   prometheus.Gauge
	checkpoints prometheus.Counter
	failures    prometheus.Counter
	witness     *prometheus.CounterVec
	rollback    prometheus.Gauge
	convicted   prometheus.Gauge
	mapping     prometheus.Histogram
	frozen      prometheus.Gauge
}

func newMetrics(s *Server) *metrics {
	r := prometheus.NewRegistry()
	m := &metrics{
		registry: r,
		leaves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "firn_log_leaves_total", Help: "Leaves submitted, by what became of them and, if rejected, the error code.",
		}, []string{"status", "error"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "firn_log_http_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "firn_log_http_request_seconds", Help: "Time to answer a request, waiting for checkpoints included.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"route"}),
		append: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "firn_log_append_seconds", Help: "Time until a batch was durable in the tree.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		ingest: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "firn_log_ingest_seconds", Help: "Time to write a batch to the index.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "firn_log_batch_leaves", Help: "Leaves in a batch.", Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		size: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "firn_log_tree_size", Help: "Entries that the tree and the index have.",
		}),
		published: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "firn_log_published_size", Help: "Size of the public checkpoint.",
		}),
		checkpoints: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "firn_log_checkpoints_total", Help: "Checkpoints published since start.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "firn_log_storage_failures_total", Help: "Batches that the disk did not take at once.",
		}),
	}
	m.witness = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "firn_log_witness_requests_total", Help: "Checkpoints that a witness was asked to cosign, by what became of it.",
	}, []string{"witness", "outcome"})
	m.rollback = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "firn_log_rollback", Help: "1 if a witness showed, after the start, that this is an older copy of the log.",
	})
	m.convicted = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "firn_log_convicted", Help: "1 if there is evidence against this log itself.",
	})
	m.frozen = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "firn_log_frozen", Help: "1 if the log has ended with a freeze statement.",
	})
	m.mapping = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "firn_log_map_seconds", Help: "Time to take a published checkpoint into the index and compute its root.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	})
	r.MustRegister(
		m.mapping, mapMetrics{s}, blobMetrics{s},
		m.witness, m.rollback, m.convicted, m.frozen, witnessMetrics{s},
		m.leaves, m.requests, m.duration, m.append, m.ingest, m.batch, m.size, m.published, m.checkpoints, m.failures,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "firn_log_open", Help: "1 while the log takes statements.",
		}, func() float64 {
			if s.seq.reason() != nil {
				return 0
			}
			return 1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "firn_log_operators", Help: "Operators registered in this log.",
		}, func() float64 { n, _, _ := s.registry.Len(); return float64(n) }),
	)
	return m
}

func (m *metrics) leaf(status, code string) { m.leaves.WithLabelValues(status, code).Inc() }

// version returns the version of the program.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
