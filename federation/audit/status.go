package audit

import (
	"errors"
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/firn-log/firn/log/index"
)

// A Status is what the status page says about the audit of a log
// (spec/auditor.md#status).
type Status struct {
	MapVersion uint64 `json:"map_version"`
	Computed   uint64 `json:"computed"` // entries below this size were read, and revisions compared
	Size       uint64 `json:"size"`     // of the newest checkpoint that was seen
	Refused    bool   `json:"refused"`  // checkpoints of this size, because of a wrong revision
	Wrong      int    `json:"wrong"`    // revisions of which evidence is looked for
	Withheld   string `json:"withheld,omitempty"`
	Trouble    string `json:"trouble,omitempty"`
}

// Behind is how many entries are to be computed.
func (s Status) Behind() uint64 { return s.Size - min(s.Size, s.Computed) }

// State is current, replaying or wrong.
func (s Status) State() string {
	switch {
	case s.Refused:
		return "wrong"
	case s.Behind() > nearby:
		return "replaying"
	}
	return "current"
}

// Status returns the state of the audit.
func (a *Auditor) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Status{MapVersion: index.MapVersion, Computed: a.state.checked, Wrong: len(a.state.wrongs), Refused: a.state.open() != nil}
	if a.target != nil {
		s.Size = a.target.Size
	}
	if err := a.why(); err != nil {
		s.Withheld = err.Error()
	}
	if err := a.trouble(); err != nil {
		s.Trouble = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return s
}

// why returns why there is no evidence of a wrong revision yet. The caller holds mu.
func (a *Auditor) why() error {
	for _, w := range a.state.wrongs {
		if err := a.withheld[w.at]; err != nil {
			return fmt.Errorf("revision at index %d: %w", w.at, err)
		}
	}
	return nil
}

// Ready says why checkpoints of this log are not cosigned now, or nil.
func (a *Auditor) Ready() error {
	s := a.Status()
	switch {
	case s.Refused && s.Withheld != "":
		return fmt.Errorf("%s: a revision of the index is wrong, and the log does not show how: %s", a.Origin(), s.Withheld)
	case s.Refused:
		return fmt.Errorf("%s: a revision of the index is wrong", a.Origin())
	case s.Trouble != "":
		return fmt.Errorf("%s: %s", a.Origin(), s.Trouble)
	case s.Behind() > nearby:
		return fmt.Errorf("%s: the index of %d entries of %d is computed", a.Origin(), s.Computed, s.Size)
	}
	return nil
}

// Ready says why one of several auditors is not ready.
func Ready(auditors []*Auditor) error {
	var errs []error
	for _, a := range auditors {
		errs = append(errs, a.Ready())
	}
	return errors.Join(errs...)
}

// metric is one metric about each log.
type metric struct {
	desc *prometheus.Desc
	typ  prometheus.ValueType
	of   func(Status, counts) float64
}

// Collector returns the metrics of auditors (spec/auditor.md#metrics).
func Collector(auditors []*Auditor) prometheus.Collector {
	c := &collector{auditors: auditors}
	add := func(name, help string, typ prometheus.ValueType, of func(Status, counts) float64) {
		c.metrics = append(c.metrics, metric{prometheus.NewDesc("firn_auditor_"+name, help, []string{"origin"}, nil), typ, of})
	}
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	add("computed_entries", "Entries of the log of which the index was computed and compared.", prometheus.GaugeValue, func(s Status, _ counts) float64 { return float64(s.Computed) })
	add("behind_entries", "Entries of the newest known checkpoint that are still to be computed.", prometheus.GaugeValue, func(s Status, _ counts) float64 { return float64(s.Behind()) })
	add("wrong", "1 while the index of the log is wrong and nothing is cosigned.", prometheus.GaugeValue, func(s Status, _ counts) float64 { return flag(s.Refused) })
	add("withheld", "1 while a revision is wrong and the log does not show how.", prometheus.GaugeValue, func(s Status, _ counts) float64 { return flag(s.Withheld != "") })
	add("unreachable", "1 while the log cannot be read.", prometheus.GaugeValue, func(s Status, _ counts) float64 { return flag(s.Trouble != "") })
	add("entries_total", "Entries read since start.", prometheus.CounterValue, func(_ Status, n counts) float64 { return float64(n.entries) })
	add("revisions_total", "Revisions compared since start.", prometheus.CounterValue, func(_ Status, n counts) float64 { return float64(n.revisions) })
	add("wrong_revisions_total", "Revisions that were wrong, since start.", prometheus.CounterValue, func(_ Status, n counts) float64 { return float64(n.wrong) })
	add("evidence_total", "Evidence found since start.", prometheus.CounterValue, func(_ Status, n counts) float64 { return float64(n.evidence) })
	return c
}

type collector struct {
	auditors []*Auditor
	metrics  []metric
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		ch <- m.desc
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, a := range c.auditors {
		s := a.Status()
		a.mu.Lock()
		n := a.counts
		a.mu.Unlock()
		for _, m := range c.metrics {
			ch <- prometheus.MustNewConstMetric(m.desc, m.typ, m.of(s, n), a.Origin())
		}
	}
}
