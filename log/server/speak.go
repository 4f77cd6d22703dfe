package server

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/firn-log/firn/log/statement"
)

// speakAsLog adds what the log itself has to say: the genesis statement of a
// new log, its new rules if the configuration changed, that its index is taken back,
// its last word if it is to be frozen.
func (s *Server) speakAsLog(ctx context.Context, size uint64) error {
	rules, err := s.config.Rules()
	if err != nil {
		return err
	}
	switch {
	case size == 0:
		size, err = s.say(ctx, &statement.Genesis{Origin: s.config.Origin, LogKey: s.key.statement.PublicKey(), Rules: rules})
	case s.seq.isFrozen() == nil && !sameRules(rules, s.registry.Rules()):
		size, err = s.say(ctx, &statement.LogConfig{Origin: s.config.Origin, Rules: rules})
	}
	if err == nil && s.resets.waiting() {
		size, err = s.sayReset(ctx, max(size, s.db.State().Size))
	}
	if err == nil && s.lastWord != nil {
		if size, err = s.addOwn(ctx, s.lastWord); err == nil {
			s.saidLastWord()
		}
	}
	if err != nil {
		return err
	}
	if s.witnesses != nil {
		return nil // its checkpoint takes as long as witnesses take
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second+2*s.config.CheckpointInterval.Duration)
	defer cancel()
	_, err = s.publisher.wait(ctx, size)
	return err
}

// say signs and adds a statement of the log, and returns the size after it.
func (s *Server) say(ctx context.Context, body statement.Body) (uint64, error) {
	st, err := statement.Sign(ctx, s.key.statement, body, "", nil)
	if err != nil {
		return 0, fmt.Errorf("signing the %s statement: %w", body.Kind(), err)
	}
	return s.addOwn(ctx, st)
}

// addOwn adds a statement of the log, and returns the size after it.
func (s *Server) addOwn(ctx context.Context, st *statement.Statement) (uint64, error) {
	e := newEntry(st, st.Leaf())
	s.seq.mu.Lock()
	s.seq.enqueue(e, nil)
	s.seq.mu.Unlock()
	i, err := e.wait(ctx)
	if err != nil {
		return 0, fmt.Errorf("adding the %s statement: %w", st.Kind, err)
	}
	s.log.Info("added a statement about the log", "kind", st.Kind, "index", i)
	return i + 1, nil
}

func sameRules(a, b statement.Rules) bool {
	for _, r := range []*statement.Rules{&a, &b} {
		if len(r.OperatorKeys) == 0 {
			r.OperatorKeys = nil
		}
		if len(r.CacheKeys) == 0 {
			r.CacheKeys = nil
		}
	}
	return reflect.DeepEqual(a, b)
}
