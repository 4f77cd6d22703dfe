package federation

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/firn-log/firn/log"
)

var (
	errNoURL     = errors.New("no URL says where this log itself is")
	errNotProven = errors.New("its checkpoint is not proven to go on from what others were shown")
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
	return log.NewClient(o.URL, pol, log.Options{Origin: o.Origin, HTTP: h.o.HTTP, Timeout: h.o.Timeout, Now: h.o.Now, UserAgent: userAgent})
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
