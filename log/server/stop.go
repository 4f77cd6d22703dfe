package server

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How long each step of stopping may take.
const (
	stopListener   = 10 * time.Second
	stopBatch      = 20 * time.Second
	stopCheckpoint = 10 * time.Second
	stopStore      = 10 * time.Second
)

// Close stops the log in order: it takes nothing more, adds what it took,
// publishes a checkpoint of it, and closes the store. Each step has a deadline
// of its own; what is late is named in the error. What was acknowledged is
// safe in any case.
func (s *Server) Close(ctx context.Context) error {
	var errs []error
	s.seq.close(errStopping)
	if err := s.stopSequencer(ctx); err != nil {
		errs = append(errs, err)
	}
	step, cancel := context.WithTimeout(ctx, stopCheckpoint)
	if _, err := s.publisher.wait(step, s.db.State().Size); err != nil {
		errs = append(errs, fmt.Errorf("publishing the last checkpoint: %w", err))
	}
	cancel()
	return errors.Join(append(errs, s.release(ctx))...)
}

// stopSequencer waits until what was admitted is added.
func (s *Server) stopSequencer(ctx context.Context) error {
	step, cancel := context.WithTimeout(ctx, stopBatch)
	defer cancel()
	select {
	case <-s.seq.stopped:
		return nil
	case <-step.Done():
	}
	s.sequencing()
	return errors.New("adding the last batch took too long; what was not acknowledged may be missing")
}

// release gives back what New took. It may be called on a Server that is not
// fully open.
func (s *Server) release(ctx context.Context) error {
	var errs []error
	s.signer.stop()
	if s.sequencing != nil {
		s.sequencing()
		s.seq.signal()
		s.publishing()
		<-s.publisherDone
	}
	if s.store != nil {
		step, cancel := context.WithTimeout(ctx, stopStore)
		errs = append(errs, s.store.Close(step))
		cancel()
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
	}
	return errors.Join(errs...)
}
