package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
)

// evidenceInterval is how often the folder with evidence is read.
const evidenceInterval = 5 * time.Second

// convictedError is why nothing is signed or taken: this log's key signed two
// histories.
type convictedError struct{ path string }

func (e *convictedError) Error() string {
	return fmt.Sprintf("there is evidence that the key of this log signed two histories: %s; nothing is signed or taken any more", e.path)
}

// openEvidence opens the folder with evidence and looks for this log in it.
func (s *Server) openEvidence() error {
	s.evidence = evidence.NewStore(inDir(s.dir, s.config.Witnessing.Evidence))
	why, err := s.againstMe()
	if err != nil {
		return err
	}
	if why != nil {
		s.log.Error("this log starts for reading only", "error", why)
		s.metrics.convicted.Set(1)
		s.seq.end(why)
		s.convicted = why
	}
	return nil
}

// againstMe returns a *convictedError if evidence is held against this log's key, or
// nil.
func (s *Server) againstMe() (why, err error) {
	key, err := policy.ParseKey(s.key.vkey)
	if err != nil {
		return nil, err
	}
	own := &policy.Policy{Logs: []policy.Log{{Key: key}}, Quorum: policy.None}
	held, err := s.evidence.AgainstLog(own, s.config.Origin)
	if err != nil || len(held) == 0 {
		return nil, err
	}
	return &convictedError{held[0].Path}, nil
}

// heedEvidence returns the policy without the witnesses that evidence is held against.
func (s *Server) heedEvidence(pol *policy.Policy) (*policy.Policy, error) {
	pol, err := s.evidence.Apply(pol)
	if err != nil {
		return nil, err
	}
	for _, name := range pol.Ignored() {
		s.log.Error("evidence is held against a witness: it is neither asked nor counted", "witness", name, "folder", s.evidence.Dir())
	}
	return pol, nil
}

// startReading begins to answer readers and nothing else: this log is convicted. What
// was public stays so.
func (s *Server) startReading(ctx context.Context) {
	if s.witnesses != nil {
		s.gate = newGate(s.policy, s.witnesses.Names(), "", func() error { return s.convicted })
		s.gate.breaks(s.convicted)
	}
	if b, err := os.ReadFile(s.path(filepath.Join(publicName, checkpointName))); err == nil && s.witnesses == nil {
		if n, err := note.Open(b, note.VerifierList(s.key.verifier)); err == nil {
			if head, err := policy.ParseCheckpoint(n.Text); err == nil && head.Origin == s.config.Origin {
				s.publisher.restore(head, b, true)
			}
		}
	}
	s.run(ctx)
}

// watchEvidence reads the folder with evidence every now and then, until the function
// that it returns is called. Evidence against this log ends signing at once, evidence
// against a witness is heeded at the next start.
func (s *Server) watchEvidence() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(evidenceInterval)
		defer t.Stop()
		var told []string
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			told = s.readEvidence(told)
		}
	})
	return func() { cancel(); wg.Wait() }
}

// readEvidence acts on what is new in the folder. told are the witnesses about whom the
// log has been told.
func (s *Server) readEvidence(told []string) []string {
	why, err := s.againstMe()
	switch {
	case err != nil:
		s.log.Error("evidence cannot be read", "error", err)
		return told
	case why != nil && s.seq.over() == nil:
		s.log.Error("evidence against this log has come", "error", why)
		s.signer.stop()
		s.gate.breaks(why)
		s.seq.end(why)
		s.metrics.convicted.Set(1)
	}
	if s.policy == nil {
		return told
	}
	pol, err := s.evidence.Apply(s.policy)
	if err != nil {
		s.log.Error("evidence cannot be read", "error", err)
		return told
	}
	for _, name := range pol.Ignored() {
		if !slices.Contains(s.policy.Ignored(), name) && !slices.Contains(told, name) {
			told = append(told, name)
			s.log.Error("evidence against a witness has come: it still counts here until firn-log is started again", "witness", name, "folder", s.evidence.Dir())
		}
	}
	return told
}
