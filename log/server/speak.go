package server

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/firn-log/firn/log/statement"
)

// speakAsLog adds what the log itself has to say: the genesis statement of a
// new log, or its new rules if the configuration changed.
func (s *Server) speakAsLog(ctx context.Context, size uint64) error {
	rules, err := s.config.Rules()
	if err != nil {
		return err
	}
	var body statement.Body
	switch {
	case size == 0:
		body = &statement.Genesis{Origin: s.config.Origin, LogKey: s.key.statement.PublicKey(), Rules: rules}
	case !sameRules(rules, s.registry.Rules()):
		body = &statement.LogConfig{Origin: s.config.Origin, Rules: rules}
	}
	if body != nil {
		st, err := statement.Sign(ctx, s.key.statement, body, "", nil)
		if err != nil {
			return fmt.Errorf("signing the %s statement: %w", body.Kind(), err)
		}
		e := newEntry(st, st.Leaf())
		s.seq.mu.Lock()
		s.seq.enqueue(e, nil)
		s.seq.mu.Unlock()
		i, err := e.wait(ctx)
		if err != nil {
			return fmt.Errorf("adding the %s statement: %w", body.Kind(), err)
		}
		s.log.Info("added a statement about the log", "kind", body.Kind(), "index", i)
		size = i + 1
	}
	if s.witnesses != nil {
		return nil // its checkpoint takes as long as witnesses take
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second+2*s.config.CheckpointInterval.Duration)
	defer cancel()
	_, err = s.publisher.wait(ctx, size)
	return err
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
