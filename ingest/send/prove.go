package send

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// proofPatience is how long a log may take to prove what it has acknowledged.
const proofPatience = 20 * time.Second

// Prove waits until s is proven to be in the log, which shows that what the log
// acknowledged it also publishes. It returns the size of the checkpoint; 0 if no
// proof came in time, which is no error: s is durable, and under no checkpoint yet.
func (l *Log) Prove(ctx context.Context, s *statement.Statement) (uint64, error) {
	client, err := l.Client()
	if err != nil {
		return 0, err
	}
	proof, err := client.Proof(ctx, s.ID(), s.Leaf(), proofPatience)
	var late *log.PendingError
	switch {
	case errors.As(err, &late):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("everything was sent, but the log does not prove it: %w", err)
	}
	cp, err := client.Accept(ctx, proof.Note)
	if err != nil {
		return 0, err
	}
	return cp.Size, nil
}
