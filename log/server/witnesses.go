package server

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/witnessing"
)

// WitnessingConfig says who cosigns checkpoints (spec/log.md#witnesses).
type WitnessingConfig struct {
	// Policy is a c2sp.org/tlog-policy file with this log's own line. "": there
	// are no witnesses.
	Policy string `toml:"policy" comment:"File in tlog-policy form, with one log line, this log's: all its witnesses are asked to cosign,\nand a checkpoint is public when they make up its quorum. Empty: no witnesses."`
	// Interval is the shortest time between two checkpoints with witnesses, if
	// it is longer than checkpoint-interval. Default 1s.
	Interval Duration `toml:"interval" comment:"Shortest time between two checkpoints with witnesses, if longer than checkpoint-interval."`
	// Republish is after how long the public checkpoint is cosigned again while
	// there is no newer one, 1s to 24h; 0s is never. Default 1m.
	Republish Duration `toml:"republish" comment:"After how long the public checkpoint is cosigned again if there is no newer one; 0s is never."`
	// Timeout is how long a witness may take to answer, 100ms to 1m. Default 5s.
	Timeout Duration `toml:"timeout" comment:"How long a witness may take to answer."`
	// Monitoring is where a witness shows what it cosigned, by its name in the
	// policy. Without an entry the URL of the policy is tried.
	Monitoring map[string]string `toml:"monitoring" comment:"Monitoring prefix of each witness, by its name in the policy, for instance w1 = \"https://w1.example/\".\nWithout an entry its submission prefix is tried."`
	// QueriesPerDay is how many requests a witness allows a day, by its name in
	// the policy. Without an entry it is twice what Interval and Republish need.
	QueriesPerDay map[string]uint64 `toml:"queries-per-day" comment:"Requests a day that a witness allows, by its name in the policy, for instance w1 = 8640; 0 is any number.\nWithout an entry it is twice what interval and republish need."`
	// Index is a c2sp.org/tlog-policy file with this log's own line and the
	// auditors of its index (spec/log.md#auditors). "": there are none.
	Index string `toml:"index" comment:"File in tlog-policy form, with this log's line, the auditors of its index and their quorum. They are asked if\nthe policy above names them too, with their URLs, outside its quorum. Empty: no auditors."`
	// Evidence is the folder with evidence (spec/log.md#evidence). Default
	// "evidence".
	Evidence string `toml:"evidence" comment:"Folder with evidence, files *.firn-evidence. A witness that it convicts is neither asked nor counted;\nif it convicts this log, nothing is signed any more."`
}

func defaultWitnessing() WitnessingConfig {
	return WitnessingConfig{
		Interval: Duration{time.Second}, Republish: Duration{time.Minute}, Timeout: Duration{witnessing.DefaultTimeout},
		Monitoring: map[string]string{}, QueriesPerDay: map[string]uint64{}, Evidence: "evidence",
	}
}

// check returns every problem of the settings, through bad.
func (w *WitnessingConfig) check(bad func(format string, args ...any)) {
	if d := w.Interval.Duration; d < minInterval || d > time.Hour {
		bad("witnessing.interval: %v is not between 100ms and 1h", d)
	}
	if d := w.Republish.Duration; d != 0 && (d < time.Second || d > 24*time.Hour) {
		bad("witnessing.republish: %v is neither 0s nor between 1s and 24h", d)
	}
	if d := w.Timeout.Duration; d < 100*time.Millisecond || d > time.Minute {
		bad("witnessing.timeout: %v is not between 100ms and 1m", d)
	}
	if w.Evidence == "" {
		bad("witnessing.evidence: want the name of a folder")
	}
	for name, u := range w.Monitoring {
		if p, err := url.Parse(u); err != nil || p.Scheme != "http" && p.Scheme != "https" || p.Host == "" {
			bad("witnessing.monitoring.%s: %q is not an http or https URL", name, u)
		}
	}
}

// interval returns the shortest time between two checkpoints.
func (c *Config) interval() time.Duration {
	if c.Witnessing.Policy == "" {
		return c.CheckpointInterval.Duration
	}
	return max(c.CheckpointInterval.Duration, c.Witnessing.Interval.Duration)
}

// queriesPerDay returns the budget of a witness that has none of its own: twice
// what checkpoints at every interval and fresh cosignatures between them need, and
// an hour's worth of it is enough to begin with.
func (c *Config) queriesPerDay() uint64 {
	const day, least = 24 * time.Hour, 2400
	n := 2 * uint64(day/c.interval())
	if r := c.Witnessing.Republish.Duration; r > 0 {
		n += 2 * uint64(day/r)
	}
	return max(n, least)
}

// openWitnesses reads the policy and makes what asks its witnesses; without a
// policy it does nothing.
func (s *Server) openWitnesses(o Options) error {
	c := &s.config.Witnessing
	if c.Policy == "" {
		return nil
	}
	path := inDir(s.dir, c.Policy)
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the witness policy: %w", err)
	}
	pol, err := policy.Parse(b)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(pol.Logs) != 1 || pol.Logs[0].Key.String() != s.key.vkey {
		return fmt.Errorf("%s: it must have one log line, that of this log: log %s", path, s.key.vkey)
	}
	if pol, err = s.heedEvidence(pol); err != nil {
		return err
	}
	client := witnessing.Options{
		Transport: o.witnessTransport, Timeout: c.Timeout.Duration, UserAgent: "firn-log " + s.config.Origin,
		QueriesPerDay: s.config.queriesPerDay(), Now: s.now,
	}
	s.witnesses, err = witnessing.NewCollector(witnessing.CollectorOptions{
		Origin: s.config.Origin, Policy: pol, Prove: s.consistency, Client: client,
		Monitoring: c.Monitoring, QueriesPerDay: c.QueriesPerDay, Republish: c.Republish.Duration,
		Log: s.log, Asked: s.asked, Changed: s.publisher.signal,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s.publisher.witnesses = s.witnesses
	for _, names := range []map[string]bool{keysOf(c.Monitoring), keysOf(c.QueriesPerDay)} {
		for name := range names {
			if !slices.Contains(s.witnesses.Names(), name) && !slices.Contains(pol.Ignored(), name) {
				return fmt.Errorf("witnessing: %s has no witness %q with a URL", path, name)
			}
		}
	}
	return nil
}

func keysOf[V any](m map[string]V) map[string]bool {
	out := make(map[string]bool)
	for k := range m {
		out[k] = true
	}
	return out
}

// consistency proves to a witness that the log only grew.
func (s *Server) consistency(ctx context.Context, old, size uint64) ([]tlog.Hash, error) {
	return s.tree.Consistency(ctx, old, size)
}

// asked hears how each request for a cosignature ended.
func (s *Server) asked(witness string, cp witnessing.Checkpoint, cosig *witnessing.Cosignature, err error) {
	s.metrics.witness.WithLabelValues(witness, string(witnessing.OutcomeOf(err))).Inc()
	if cosig == nil {
		return
	}
	s.vouching.add(cp, cosig)
	// A request that was on its way for so long was begun after the start.
	if off := s.now().Sub(cosig.Time); off.Abs() > witnessing.ClockLimit+s.config.Witnessing.Timeout.Duration {
		s.gate.doubtful(witness, fmt.Sprintf("its cosignature is of %s: a clock is wrong, or it is an old one", cosig.Time.UTC().Format(time.RFC3339)))
		return
	}
	s.gate.answered(witness)
}

// canAsk reports whether there is a witness that could know of a newer copy.
func (s *Server) canAsk() bool { return s.witnesses != nil && len(s.witnesses.Names()) > 0 }

// startWitnesses begins to ask, and to sign when they have answered.
func (s *Server) startWitnesses(ctx context.Context, silent []*witnessing.Client, size uint64, override bool) error {
	if override {
		s.log.Warn("signing without having asked the witnesses, as --no-witness-check says")
	}
	asking, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.background.Go(func() { s.witnesses.Run(asking) })
	for _, c := range silent {
		s.background.Go(func() { s.keepAsking(asking, c) })
	}
	s.stopWitnesses = func() { cancel(); s.background.Wait() }
	if s.doubt == "" || override {
		if err := s.speakAsLog(ctx, size); err != nil {
			return err
		}
		s.gate.arm(override)
		return nil
	}
	s.speak = func() error { return s.speakAsLog(asking, size) }
	s.gate.arm(false)
	return nil
}

// restorePublic takes the checkpoint that was public when the last run ended. It
// stays up until a newer one has its quorum.
func (s *Server) restorePublic(note []byte, head policy.Head) {
	if s.witnesses == nil {
		return
	}
	err := s.witnesses.Restore(note)
	if err != nil {
		s.log.Info("the public checkpoint has not been cosigned as the policy wants it", "size", head.Size, "error", err)
	}
	s.publisher.restore(head, note, err == nil)
}

// waitingFor says which witnesses the newest checkpoint waits for, or nil.
func (s *Server) waitingFor() error {
	if s.witnesses == nil {
		return nil
	}
	if err := s.gate.reason(); err != nil {
		return err
	}
	size, missing := s.witnesses.Waiting(quorumLate)
	if size == 0 {
		return nil
	}
	who := describe(missing)
	for _, name := range s.witnesses.Policy().Ignored() {
		who += ", " + name + " (evidence is held against it)"
	}
	return fmt.Errorf("the checkpoint of size %d waits for its quorum of witnesses; missing are %s", size, strings.TrimPrefix(who, ", "))
}

// quorumLate is how long a checkpoint may wait for its quorum before the log is
// said not to be ready.
const quorumLate = 10 * time.Second

// describe names witnesses and what is wrong with each.
func describe(missing []witnessing.Status) string {
	var parts []string
	for _, m := range missing {
		why := "has not answered yet"
		var e *witnessing.Error
		switch {
		case errors.As(m.Err, &e):
			why = fmt.Sprintf("%s: %v", e.Outcome, e.Err)
		case m.Err != nil:
			why = m.Err.Error()
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", m.Witness, why))
	}
	return strings.Join(parts, ", ")
}

// failing returns the witnesses whose last request failed.
func (s *Server) failing() []witnessing.Status {
	if s.witnesses == nil {
		return nil
	}
	return slices.DeleteFunc(s.witnesses.Statuses(), func(st witnessing.Status) bool { return st.Err == nil })
}

// quorumAnswers reports whether a checkpoint that is signed now can be expected
// to become public.
func (s *Server) quorumAnswers() bool {
	if s.seq.over() != nil {
		return false
	}
	if s.witnesses == nil {
		return true
	}
	if s.gate.reason() != nil {
		return false
	}
	var good []string
	for _, st := range s.witnesses.Statuses() {
		if st.Err == nil {
			good = append(good, st.Witness)
		}
	}
	return s.witnesses.Policy().Satisfied(good)
}
