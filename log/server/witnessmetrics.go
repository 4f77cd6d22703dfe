package server

import (
	"github.com/prometheus/client_golang/prometheus"
)

// witnessMetrics shows how each witness is doing.
type witnessMetrics struct{ s *Server }

var (
	descMissing = prometheus.NewDesc("firn_log_witness_missing", "1 if the witness did not cosign the last checkpoint that it was asked about.", []string{"witness"}, nil)
	descSize    = prometheus.NewDesc("firn_log_witness_size", "Largest size that the witness has cosigned since start.", []string{"witness"}, nil)
	descAt      = prometheus.NewDesc("firn_log_witness_last_cosignature_timestamp_seconds", "When the witness cosigned last, by this log's clock; 0 if not since start.", []string{"witness"}, nil)
	descClock   = prometheus.NewDesc("firn_log_witness_clock_offset_seconds", "How far the clock of the witness is ahead of this log's.", []string{"witness"}, nil)
	descIgnored = prometheus.NewDesc("firn_log_witness_convicted", "1 for each witness that evidence is held against: it is neither asked nor counted.", []string{"witness"}, nil)
	descSigning = prometheus.NewDesc("firn_log_signing", "1 if new checkpoints are signed, 0 while witnesses have not answered since start.", nil, nil)
)

// Describe implements prometheus.Collector.
func (m witnessMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descMissing, descSize, descAt, descClock, descIgnored, descSigning} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m witnessMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if m.s.witnesses == nil {
		signing := 1.0
		if m.s.seq.over() != nil {
			signing = 0
		}
		gauge(descSigning, signing)
		return
	}
	signing := 1.0
	if m.s.gate.reason() != nil {
		signing = 0
	}
	gauge(descSigning, signing)
	for _, name := range m.s.witnesses.Policy().Ignored() {
		gauge(descIgnored, 1, name)
	}
	for _, st := range m.s.witnesses.Statuses() {
		missing, at := 0.0, 0.0
		if st.Err != nil || st.At.IsZero() {
			missing = 1
		}
		if !st.At.IsZero() {
			at = float64(st.At.UnixMilli()) / 1000
		}
		gauge(descMissing, missing, st.Witness)
		gauge(descSize, float64(st.Size), st.Witness)
		gauge(descAt, at, st.Witness)
		gauge(descClock, st.Clock.Seconds(), st.Witness)
	}
}
