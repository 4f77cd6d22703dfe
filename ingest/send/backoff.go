package send

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/firn-log/firn/log"
)

// firstPause is the pause after the first failure.
const firstPause = time.Second

// Backoff counts failures in a row; its zero value has seen none. It may not be
// used concurrently.
type Backoff struct{ failures int }

// Reset forgets the failures.
func (b *Backoff) Reset() { b.failures = 0 }

// Next returns how long to wait after another failure: twice as long as after
// the last, up to limit, shortened at random by up to half so that machines that
// failed together do not come back together; and as long as the log asks in why.
func (b *Backoff) Next(limit time.Duration, why error) time.Duration {
	pause := limit
	if b.failures < 30 {
		pause = min(limit, firstPause<<b.failures)
	}
	b.failures++
	pause -= time.Duration(rand.Int64N(int64(pause)/2 + 1))
	var refused *log.RequestError
	if errors.As(why, &refused) {
		pause = max(pause, refused.RetryAfter)
	}
	return pause
}

// Sleep waits, and reports whether it was not interrupted.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
