package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/witnessing"
)

// published is a checkpoint that readers may know.
type published struct {
	head policy.Head // Size 0: none yet
	note []byte
	at   time.Time
	// cosigned reports whether it satisfies the quorum of witnesses, if there
	// are any. One that does not is an old one, from before there were.
	cosigned bool
}

// publisher writes the public checkpoint. It only ever publishes what the
// signer signed, after the index has read every entry below its size and, if
// there are witnesses, their quorum has cosigned it, in growing order; and it tells
// those who wait. The same checkpoint is written again with more cosignatures.
type publisher struct {
	path      string
	log       *slog.Logger
	m         *metrics
	witnesses *witnessing.Collector // nil if there are none
	wake      chan struct{}         // holds one token if there may be something to do

	mu      sync.Mutex  // guards what follows
	indexed uint64      // size that the index has read
	signed  published   // newest from the signer
	offered policy.Head // newest that the witnesses were asked about
	version uint64      // of what the witnesses cosigned and is current
	current published
	changed chan struct{} // closed and replaced when current changes
	failed  error         // why the newest could not be written
	refused error         // why the newest could not be signed
}

func newPublisher(path string, log *slog.Logger, m *metrics) *publisher {
	return &publisher{path: path, log: log, m: m, wake: make(chan struct{}, 1), changed: make(chan struct{})}
}

func (p *publisher) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// offer hands over what was just signed.
func (p *publisher) offer(head policy.Head, note []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signed, p.refused = published{head: head, note: note}, nil
	p.signal()
}

// refuse says that the newest checkpoint could not be signed.
func (p *publisher) refuse(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = why
}

// ingested says that the index has read all entries below size.
func (p *publisher) ingested(size uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.indexed = size
	p.signal()
}

// run publishes until ctx ends.
func (p *publisher) run(ctx context.Context) {
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-retry:
		}
		retry = nil
		if err := p.publish(); err != nil {
			p.log.Error("publishing the checkpoint failed", "error", err)
			retry = time.After(time.Second)
		}
	}
}

func (p *publisher) publish() error {
	next, version := p.next()
	if next.head.Size == 0 {
		return nil
	}
	err := durable.WriteFile(p.path, next.note, 0o644)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = err
	if err != nil {
		return err
	}
	next.at = time.Now()
	if next.head.Size > p.current.head.Size {
		p.m.checkpoints.Inc()
	}
	p.current, p.version = next, version
	p.m.published.Set(float64(next.head.Size))
	close(p.changed)
	p.changed = make(chan struct{})
	p.signal() // something newer may have been signed meanwhile
	return nil
}

// next returns what is to be written now; its Size is 0 if nothing is.
func (p *publisher) next() (published, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.signed
	if p.witnesses == nil {
		if next.head.Size > p.indexed || next.head.Size <= p.current.head.Size {
			return published{}, 0
		}
		next.cosigned = true
		return next, 0
	}
	if next.head.Size > 0 && next.head.Size <= p.indexed && (next.head.Size != p.offered.Size || next.head.Root != p.offered.Root) {
		p.offered = next.head
		p.witnesses.Offer(witnessing.Checkpoint{Head: next.head, Note: next.note})
	}
	cp, version := p.witnesses.Public()
	if version == 0 {
		p.current.cosigned = false // not any more, if evidence came against a witness
	}
	if version == p.version || cp.Head.Size < p.current.head.Size {
		return published{}, 0
	}
	return published{head: cp.Head, note: cp.Note, cosigned: true}, version
}

// restore makes current what was public when the last run ended.
func (p *publisher) restore(head policy.Head, note []byte, cosigned bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = published{head: head, note: note, at: time.Now(), cosigned: cosigned}
	p.m.published.Set(float64(head.Size))
}

// latest returns the public checkpoint; its Size is 0 if there is none yet.
func (p *publisher) latest() published {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

// health returns why the newest checkpoint is not public, or nil.
func (p *publisher) health() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return cmp.Or(p.failed, p.refused)
}

// fixed returns the size below which nothing changes any more: that of the newest
// checkpoint that was signed, and so recorded, public or not.
func (p *publisher) fixed() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.current.head.Size, p.signed.head.Size)
}

// watch is latest, and a channel that is closed when it changes.
func (p *publisher) watch() (published, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current, p.changed
}

var errNotPublished = errors.New("no checkpoint covers it yet")

// wait returns the first public checkpoint of at least size that has the quorum
// of witnesses, if there are any. If ctx ends
// before, it returns the newest with errNotPublished.
func (p *publisher) wait(ctx context.Context, size uint64) (published, error) {
	for {
		p.mu.Lock()
		current, changed := p.current, p.changed
		p.mu.Unlock()
		if current.head.Size >= size && (current.cosigned || size == 0) {
			return current, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return current, errNotPublished
		}
	}
}
