package witnessing

import (
	"math/rand/v2"
	"time"
)

// backoff is the pause after failures in a row.
type backoff struct {
	pause time.Duration
	until time.Time
}

// fail makes the pause twice as long, within the bounds of o, and at least as
// long as the witness asked for, but never longer than the upper bound. What is
// waited is a random part of it, at least half, so that many who failed at once
// do not come back at once.
func (b *backoff) fail(now time.Time, o Options, asked time.Duration) {
	b.pause = min(max(2*b.pause, o.BackoffMin), o.BackoffMax)
	wait := b.pause/2 + rand.N(b.pause/2+1)
	b.until = now.Add(max(wait, min(asked, o.BackoffMax)))
}

// bucket is a budget of requests a day that fills steadily.
type bucket struct {
	perDay uint64
	size   float64 // what may come at once
	left   float64
	at     time.Time
}

func newBucket(perDay uint64) bucket {
	size := max(float64(perDay)/24, 1)
	return bucket{perDay: perDay, size: size, left: size}
}

func (b *bucket) fill(now time.Time) {
	if !b.at.IsZero() {
		b.left = min(b.size, b.left+now.Sub(b.at).Hours()/24*float64(b.perDay))
	}
	b.at = now
}

// ready returns when one request is covered.
func (b *bucket) ready(now time.Time) time.Time {
	if b.perDay == 0 {
		return time.Time{}
	}
	b.fill(now)
	if b.left >= 1 {
		return now
	}
	return now.Add(time.Duration((1-b.left)/float64(b.perDay)*float64(24*time.Hour)) + time.Millisecond)
}

// take takes one request.
func (b *bucket) take(now time.Time) bool {
	if b.perDay == 0 {
		return true
	}
	b.fill(now)
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
