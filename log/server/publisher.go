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
)

// published is a checkpoint that readers may know.
type published struct {
	head policy.Head // Size 0: none yet
	note []byte
	at   time.Time
}

// publisher writes the public checkpoint. It only ever publishes what the
// signer signed, after the index has read every entry below its size, in
// growing order; and it tells those who wait.
type publisher struct {
	path string
	log  *slog.Logger
	m    *metrics
	wake chan struct{} // holds one token if there may be something to do

	mu      sync.Mutex // guards what follows
	indexed uint64     // size that the index has read
	signed  published  // newest from the signer
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
	p.mu.Lock()
	next, indexed, current := p.signed, p.indexed, p.current
	p.mu.Unlock()
	if next.head.Size > indexed || next.head.Size <= current.head.Size {
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
	p.current = next
	p.m.published.Set(float64(next.head.Size))
	p.m.checkpoints.Inc()
	close(p.changed)
	p.changed = make(chan struct{})
	p.signal() // something newer may have been signed meanwhile
	return nil
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

var errNotPublished = errors.New("no checkpoint covers it yet")

// wait returns the first public checkpoint of at least size. If ctx ends
// before, it returns the newest with errNotPublished.
func (p *publisher) wait(ctx context.Context, size uint64) (published, error) {
	for {
		p.mu.Lock()
		current, changed := p.current, p.changed
		p.mu.Unlock()
		if current.head.Size >= size {
			return current, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return current, errNotPublished
		}
	}
}
