package server

import "github.com/prometheus/client_golang/prometheus"

// mapMetrics says how far the index has come (spec/log.md#metrics).
type mapMetrics struct{ s *Server }

var (
	mapSize     = prometheus.NewDesc("firn_log_index_size", "Entries in the index.", nil, nil)
	mapRevision = prometheus.NewDesc("firn_log_revision_size", "Size of the revision that lookups are answered with.", nil, nil)
	mapWatching = prometheus.NewDesc("firn_log_watchers", "Connections that watch keys.", nil, nil)
	mapVouched  = prometheus.NewDesc("firn_log_revision_vouched", "1 if the quorum of auditors vouches for that revision.", nil, nil)
	mapFraud    = prometheus.NewDesc("firn_log_index_convicted", "1 while evidence is held that this log stated a wrong index, and no index-reset answers it.", nil, nil)
	mapBroken   = prometheus.NewDesc("firn_log_index_broken", "1 while the index does not follow the log.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m mapMetrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{mapSize, mapRevision, mapVouched, mapBroken, mapFraud, mapWatching} {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (m mapMetrics) Collect(c chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) { c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	if m.s.mapper == nil {
		return
	}
	gauge(mapSize, float64(m.s.mapper.db.Size()))
	gauge(mapBroken, truth(m.s.mapper.health() != nil))
	against := m.s.indexConvicted.Load()
	gauge(mapFraud, truth(against != nil && *against != ""))
	gauge(mapWatching, float64(m.s.watches.len()))
	if at, _, _ := m.s.mapper.answer(); at != nil {
		gauge(mapRevision, float64(at.revision.size))
		gauge(mapVouched, truth(at.vouched.head.Size > 0))
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
