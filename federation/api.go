package federation

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/firn-log/firn/log"
)

var (
	errNoURL     = errors.New("no URL says where this log itself is")
	errTooMuch   = fmt.Errorf("it answers more than %d bytes", int64(maxAnswers))
	errNotProven = errors.New("its checkpoint is not proven to go on from what others were shown")
)

const (
	// askTimeout bounds one look-up or submission, however many requests it takes.
	askTimeout = time.Minute
	// maxAnswers bounds what a log may answer to one of them, in bytes without compression:
	// what comes after a revision of its index may be much, and is read in full.
	maxAnswers = 256 << 20
)

// client returns a client of a log itself, for look-ups and submissions, under its
// policy without convicted witnesses. A convicted log is not asked (ErrConvicted).
func (h *Hub) client(o *origin) (*log.Client, error) {
	o.mu.Lock()
	pol, convicted := o.counted, o.convicted
	o.mu.Unlock()
	switch {
	case convicted:
		return nil, fmt.Errorf("%s: %w", o.Origin, ErrConvicted)
	case o.URL == "":
		return nil, errNoURL
	}
	bounded := *h.o.HTTP
	bounded.Transport = newBudget(h.o.HTTP.Transport, maxAnswers)
	return log.NewClient(o.URL, pol, log.Options{Origin: o.Origin, HTTP: &bounded, Timeout: h.o.Timeout, Now: h.o.Now, UserAgent: userAgent})
}

// believe returns nil if a checkpoint that came with an answer is of the history that
// is compared here, which everybody else is shown too.
func (h *Hub) believe(ctx context.Context, o *origin, cp *log.Checkpoint) error {
	if _, err := h.Offer(ctx, cp.Note, o.URL); err != nil {
		return err
	}
	s, _, err := readSigned(o.Policy, cp.Note, h.o.Now())
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, recent := find(o.recent, s.text); recent || o.older[sha256.Sum256([]byte(s.text))] {
		return nil
	}
	return errNotProven
}

// A budget is a transport that reads so many bytes of answers and no more, so that a
// log fills no memory with an answer that goes on for ever.
type budget struct {
	to   http.RoundTripper // nil is the default one
	left atomic.Int64
}

func newBudget(to http.RoundTripper, bytes int64) *budget {
	b := &budget{to: to}
	b.left.Store(bytes)
	return b
}

// RoundTrip implements [http.RoundTripper].
func (b *budget) RoundTrip(r *http.Request) (*http.Response, error) {
	to := b.to
	if to == nil {
		to = http.DefaultTransport
	}
	r = r.Clone(r.Context())
	r.Header.Del("Accept-Encoding") // the transport decompresses, so that this is counted
	resp, err := to.RoundTrip(r)
	if err == nil {
		resp.Body = &spending{resp.Body, b}
	}
	return resp, err
}

type spending struct {
	io.ReadCloser
	b *budget
}

func (s *spending) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if s.b.left.Add(-int64(n)) < 0 {
		return 0, errTooMuch
	}
	return n, err
}
