package p2p

import (
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// A pace is how much of something a peer may send: each second, and at once.
type pace struct{ perSecond, burst float64 }

// The paces of spec/gossip.md#limits.
var (
	paceCheckpoint = pace{2, 16}            // checkpoints of one log
	paceStale      = pace{0.1, 4}           // of those, older than what is cosigned
	paceEvidence   = pace{1, 32}            // evidence
	paceMessages   = pace{200, 2000}        // messages of any kind, also those that mean nothing here
	paceBytes      = pace{1 << 20, 8 << 20} // bytes of messages
	paceExchange   = pace{1, 8}             // exchanges that it asks for
	paceFetch      = pace{4, 64}            // evidence that it fetches
)

// maxBuckets bounds the memory of rates. With many peers and many logs it is
// reached: then those that are full again go, because they say nothing.
const maxBuckets = 1 << 16

type bucketName struct {
	peer   peer.ID
	what   string
	origin string
}

type bucket struct {
	pace   pace
	tokens float64
	at     time.Time
}

// fill adds what has come since the last time.
func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.pace.burst, b.tokens+b.pace.perSecond*d.Seconds())
	}
	b.at = now
}

// rates are token buckets. They may be used concurrently.
type rates struct {
	now     func() time.Time
	mu      sync.Mutex
	buckets map[bucketName]*bucket
}

func newRates(now func() time.Time) *rates {
	return &rates{now: now, buckets: make(map[bucketName]*bucket)}
}

// allow takes n tokens from the bucket of a peer, if there are as many.
func (r *rates) allow(p pace, name bucketName, n float64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	b := r.buckets[name]
	if b == nil {
		if len(r.buckets) >= maxBuckets {
			r.sweep(now)
		}
		if len(r.buckets) >= maxBuckets {
			return false
		}
		b = &bucket{pace: p, tokens: p.burst, at: now}
		r.buckets[name] = b
	}
	b.fill(now)
	if b.tokens < n {
		return false
	}
	b.tokens -= n
	return true
}

// sweep forgets the buckets that are full. The caller holds mu.
func (r *rates) sweep(now time.Time) {
	for name, b := range r.buckets {
		if b.fill(now); b.tokens >= b.pace.burst {
			delete(r.buckets, name)
		}
	}
}
