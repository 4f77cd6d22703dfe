package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/firn-log/firn/internal/place"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/witnessing"
)

// doubtError is why nothing is taken: this may be an older copy.
type doubtError struct{ why string }

func (e *doubtError) Error() string { return e.why }

// notReady says in one sentence why the log is not ready.
func (s *Server) notReady(err error) string {
	var copied *RollbackError
	var doubt *doubtError
	if errors.As(err, &doubt) {
		if now := s.gate.reason(); now != nil {
			err = now
		}
	}
	if errors.As(err, &copied) {
		return "this is an older copy of the log: " + copied.Why
	}
	return err.Error()
}

// findSigned looks for checkpoints that this log has signed and left here: the
// public one, which stays public, and one that can be shown to witnesses although
// the record is missing, which is returned.
func (s *Server) findSigned(rec record) (show published) {
	for _, name := range []string{filepath.Join(publicName, checkpointName), filepath.Join(treeName, checkpointName)} {
		b, err := os.ReadFile(s.path(name))
		if err != nil {
			continue
		}
		n, err := note.Open(b, note.VerifierList(s.key.verifier))
		if err != nil {
			continue
		}
		head, err := policy.ParseCheckpoint(n.Text)
		if err != nil || head.Origin != s.config.Origin || head.Size == 0 {
			continue
		}
		if strings.HasPrefix(name, publicName) {
			s.restorePublic(b, head)
		}
		if head.Size > show.head.Size {
			// Opened with the log's key alone, so this is its line alone.
			own, err := note.Sign(&note.Note{Text: n.Text, Sigs: n.Sigs})
			if err == nil {
				show = published{head: head, note: own}
			}
		}
	}
	s.canShow = rec.head.Size > 0 || show.head.Size > 0
	return show
}

// openGate makes the gate and asks the witnesses for what they know. It returns
// those that did not say.
func (s *Server) openGate(ctx context.Context, size uint64) ([]*witnessing.Client, error) {
	if s.witnesses == nil {
		return nil, nil
	}
	s.gate = newGate(s.witnesses.Policy(), s.witnesses.Names(), s.doubt, s.enough)
	if s.doubt != "" {
		s.seq.refuse(&doubtError{s.doubt})
		s.log.Warn("this may be an older copy of the log: nothing is signed or taken until all witnesses have answered", "why", s.doubt)
	}
	return s.askWitnesses(ctx, size)
}

// enough begins to sign: enough witnesses have answered.
func (s *Server) enough() error {
	if why := s.seq.over(); why != nil {
		return why
	}
	here, err := place.Find(s.dir)
	if err == nil {
		err = s.signer.free(here)
	}
	if err != nil {
		s.log.Error("witnesses have answered, and signing does not begin", "error", err)
		return err
	}
	s.log.Info("witnesses have answered: signing")
	if s.doubt != "" {
		s.seq.refuse(nil)
		s.background.Go(func() {
			if err := s.speak(); err != nil {
				s.log.Error("adding what the log itself has to say", "error", err)
			}
		})
	}
	return nil
}

// askWitnesses asks what each witness shows, all at once. It returns a
// *RollbackError if one shows a checkpoint that this key has signed and that this
// tree does not continue. Those that did not say are asked again by
// keepAsking; they are returned.
func (s *Server) askWitnesses(ctx context.Context, size uint64) ([]*witnessing.Client, error) {
	if s.witnesses == nil {
		return nil, nil
	}
	clients := s.witnesses.Clients()
	errs := make([]error, len(clients))
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() { errs[i] = s.askWitness(ctx, c, size) })
	}
	wg.Wait()
	var silent []*witnessing.Client
	for i, err := range errs {
		var rollback *RollbackError
		switch {
		case errors.As(err, &rollback):
			return nil, err
		case err != nil:
			s.log.Warn("a witness does not say what it has cosigned", "witness", namesOf(clients[i]), "error", err)
			silent = append(silent, clients[i])
		}
	}
	return silent, nil
}

// askWitness asks one. An error that is no RollbackError says that it did not
// answer.
func (s *Server) askWitness(ctx context.Context, c *witnessing.Client, size uint64) error {
	note, err := c.Latest(ctx, s.config.Origin)
	if errors.Is(err, witnessing.ErrNothing) {
		s.shows(c, !c.Guessed())
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.checkNote(ctx, "the witness "+namesOf(c), note, size); err != nil {
		return err
	}
	v, err := s.witnesses.Policy().VerifyLog(note)
	if err != nil {
		return fmt.Errorf("what it shows is not a checkpoint of this log: %w", err)
	}
	own := slices.ContainsFunc(v.Cosignatures, func(cs policy.Cosignature) bool {
		return slices.ContainsFunc(c.Witnesses(), func(w policy.Witness) bool { return w.Name == cs.Witness })
	})
	if !own {
		return errors.New("it shows a checkpoint that it has not cosigned")
	}
	c.Knows(s.config.Origin, v.Size)
	s.shows(c, true)
	return nil
}

// shows notes that a witness shows nothing that this tree does not continue.
// sure is false if it may just have no monitoring interface.
func (s *Server) shows(c *witnessing.Client, sure bool) {
	if s.canShow || !sure && s.doubt != "" {
		return // it will count when it cosigns
	}
	for _, w := range c.Witnesses() {
		s.gate.answered(w.Name)
	}
}

func namesOf(c *witnessing.Client) string {
	var names []string
	for _, w := range c.Witnesses() {
		names = append(names, w.Name)
	}
	return strings.Join(names, " ")
}

// keepAsking asks a witness that was silent at start until it says what it has.
func (s *Server) keepAsking(ctx context.Context, c *witnessing.Client) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if !slices.ContainsFunc(c.Witnesses(), func(w policy.Witness) bool { return slices.Contains(s.witnesses.Names(), w.Name) }) {
			return // evidence has come against it
		}
		size, err := s.store.Size(ctx)
		if err == nil {
			err = s.askWitness(ctx, c, size)
		}
		var rollback *RollbackError
		switch {
		case errors.As(err, &rollback):
			s.refuse(rollback)
			return
		case err == nil:
			return
		}
	}
}

// refuse ends signing and taking for good, after the start: reading goes on.
func (s *Server) refuse(why *RollbackError) {
	s.log.Error("this is not the newest copy of the log; nothing is signed or taken any more", "error", why, "hint", why.Hint)
	s.signer.stop()
	s.gate.breaks(why)
	s.seq.end(why)
	s.metrics.rollback.Set(1)
}
