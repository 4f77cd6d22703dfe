package witness

import (
	"sync"
	"time"
)

const day = 24 * time.Hour

// budget is what a log has left of its requests per day: a bucket that holds a
// day's worth and fills steadily.
type budget struct {
	mu   sync.Mutex // guards what follows
	left float64
	at   time.Time // zero before the first request
}

// take takes one request of perDay, or returns how long to wait for one.
func (b *budget) take(perDay uint64, now time.Time) (wait time.Duration) {
	if perDay == 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	all := float64(perDay)
	if b.at.IsZero() {
		b.left, b.at = all, now
	}
	// A clock that goes back gives nothing and takes nothing.
	if passed := now.Sub(b.at); passed > 0 {
		b.left = min(all, b.left+all*passed.Seconds()/day.Seconds())
		b.at = now
	} else {
		b.at = now
	}
	if b.left < 1 {
		return time.Duration((1-b.left)/all*day.Seconds()*float64(time.Second)) + 1
	}
	b.left--
	return 0
}
