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
	stopUnsigned   = 500 * time.Millisecond // the store, if its last checkpoint cannot be signed
)

// Close stops the log in order: it takes nothing more, adds what it took,
// publishes a checkpoint of it, and closes the store. Each step has a deadline
// of its own; what is late is named in the error. What was acknowledged is
// safe in any case.
func (s *Server) Close(ctx context.Context) error {
	var errs []error
	s.seq.close(errStopping)
	s.watches.stop()
	if err := s.stopSequencer(ctx); err != nil {
		errs = append(errs, err)
	}
	if err := s.publishLast(ctx); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, s.release(ctx))...)
}

// publishLast waits until a checkpoint of everything is public. Without a quorum
// of witnesses that is not to be expected: the next run has it cosigned.
func (s *Server) publishLast(ctx context.Context) error {
	size := s.db.State().Size
	if !s.quorumAnswers() {
		if cp := s.publisher.latest(); cp.head.Size < size {
			s.log.Warn("stopping with entries that no public checkpoint covers: witnesses are missing", "size", size, "published", cp.head.Size)
		}
		return nil
	}
	step, cancel := context.WithTimeout(ctx, stopCheckpoint)
	defer cancel()
	if _, err := s.publisher.wait(step, size); err != nil {
		return fmt.Errorf("publishing the last checkpoint: %w", err)
	}
	return nil
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

// closeStore closes the store. It waits for a checkpoint of everything, which
// without witnesses may not come.
func (s *Server) closeStore(ctx context.Context) error {
	limit := stopStore
	unsigned := (s.witnesses != nil || s.seq.over() != nil) && s.db != nil && s.publisher.latest().head.Size < s.db.State().Size
	if unsigned {
		limit = stopUnsigned
	}
	step, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := s.store.Close(step)
	if unsigned && errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// release gives back what New took. It may be called on a Server that is not
// fully open.
func (s *Server) release(ctx context.Context) error {
	var errs []error
	s.signer.stop()
	if s.stopWatching != nil {
		s.stopWatching()
	}
	if s.stopWitnesses != nil {
		s.stopWitnesses()
	}
	if s.stopFollowing != nil {
		s.stopFollowing()
		<-s.followerDone
	}
	s.blobs.stop()
	if s.sequencing != nil {
		s.sequencing()
		s.seq.signal()
		s.publishing()
		<-s.publisherDone
	}
	if s.store != nil {
		errs = append(errs, s.closeStore(ctx))
	}
	if s.mapper != nil { // nothing follows any more
		errs = append(errs, s.mapper.db.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Unlock())
	}
	return errors.Join(errs...)
}
