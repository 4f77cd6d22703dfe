package federation

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/firn-log/firn/log/evidence"
)

// Metrics count what a peer sees. Names begin with firn_peer_.
type Metrics struct {
	offers        *prometheus.CounterVec
	wrong         *prometheus.CounterVec
	clocks        *prometheus.CounterVec
	found         *prometheus.CounterVec
	polls         *prometheus.CounterVec
	feeds         *prometheus.CounterVec
	operatorReads *prometheus.CounterVec
	operatorPeers *prometheus.GaugeVec
	submissions   *prometheus.CounterVec
	mirrored      *prometheus.GaugeVec
	lists         *prometheus.GaugeVec
	latest        *prometheus.GaugeVec
	best          *prometheus.GaugeVec
	pending       *prometheus.GaugeVec
}

// NewMetrics registers the metrics; with a nil Registerer they are only counted.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "firn_peer_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "firn_peer_" + name, Help: help}, []string{"origin"})
	}
	m := &Metrics{
		offers:        counter("offers_total", "Checkpoints that were offered, by what they meant.", "outcome"),
		wrong:         counter("wrong_tiles_total", "Times that a source served tiles that do not hash to the checkpoint.", "origin"),
		clocks:        counter("clock_ahead_total", "Cosignatures more than a minute ahead of this clock.", "witness"),
		found:         counter("evidence_total", "New evidence, by kind and whom it convicts.", "kind", "against"),
		polls:         counter("polls_total", "Questions to logs, witnesses and peers, by what came of them.", "target", "outcome"),
		feeds:         counter("feeds_total", "Checkpoints shown to witnesses, by what came of it.", "witness", "outcome"),
		operatorReads: counter("operator_reads_total", "Times that a log was asked for the peers of operators, by what came of it.", "origin", "outcome"),
		operatorPeers: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "firn_peer_operator_peers", Help: "Peers that an operator says it runs and that are followed."}, []string{"operator"}),
		submissions:   counter("submissions_total", "Evidence that was sent to a log, by what came of it.", "origin", "outcome"),
		mirrored:      gauge("mirrored_size", "Entries that the mirror of a log has."),
		lists:         gauge("wanted_lists", "Lists of paths that entries in the mirror name and that nobody has served yet."),
		latest:        gauge("latest_size", "Size of the largest verified tree."),
		best:          gauge("best_size", "Size of the best cosigned checkpoint."),
		pending:       gauge("unproven", "Checkpoints that wait for tiles that prove them."),
	}
	if r != nil {
		r.MustRegister(m.operatorReads, m.operatorPeers, m.submissions, m.offers, m.wrong, m.clocks, m.found, m.polls, m.feeds, m.mirrored, m.lists, m.latest, m.best, m.pending)
	}
	return m
}

func (m *Metrics) offer(out Outcome)       { m.offers.WithLabelValues(out.String()).Inc() }
func (m *Metrics) wrongTile(origin string) { m.wrong.WithLabelValues(origin).Inc() }
func (m *Metrics) clock(witness string)    { m.clocks.WithLabelValues(witness).Inc() }

func (m *Metrics) evidence(v evidence.Verdict) {
	m.found.WithLabelValues(string(v.Kind), v.Name).Inc()
}

// sizes shows the state of a log, whose mu the caller holds.
func (m *Metrics) sizes(o *origin) {
	if o.latest != nil {
		m.latest.WithLabelValues(o.Origin).Set(float64(o.latest.head.Size))
	}
	if o.best != nil {
		m.best.WithLabelValues(o.Origin).Set(float64(o.best.head.Size))
	}
	m.pending.WithLabelValues(o.Origin).Set(float64(len(o.pending)))
}
