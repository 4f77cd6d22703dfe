package p2p

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what gossip does. Names begin with firn_peer_gossip_.
type Metrics struct {
	messages  *prometheus.CounterVec
	published *prometheus.CounterVec
	offers    *prometheus.CounterVec
	surplus   *prometheus.CounterVec
	refused   *prometheus.CounterVec
	exchanges *prometheus.CounterVec
	peers     prometheus.Gauge
	graylist  prometheus.Gauge
}

// NewMetrics registers the metrics; with a nil Registerer they are only counted.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "firn_peer_gossip_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "firn_peer_gossip_" + name, Help: help})
	}
	m := &Metrics{
		messages:  counter("messages_total", "Messages of others, by topic, verdict (accept, ignore, reject) and why.", "topic", "verdict", "why"),
		published: counter("published_total", "Messages that were published, by topic.", "topic"),
		offers:    counter("offers_total", "Checkpoints that gossip offered to the hub, by what they meant.", "outcome"),
		surplus:   counter("surplus_total", "What was dropped because there was too much of it, by where.", "where"),
		refused:   counter("refused_connections_total", "Connections that were not allowed, by why.", "why"),
		exchanges: counter("exchanges_total", "Exchanges of what is known, by side (asked, answered) and outcome.", "side", "outcome"),
		peers:     gauge("peers", "Peers that are connected."),
		graylist:  gauge("graylisted", "Peers that are not listened to because of what they sent."),
	}
	if r != nil {
		r.MustRegister(m.messages, m.published, m.offers, m.surplus, m.refused, m.exchanges, m.peers, m.graylist)
	}
	return m
}
