package federation

import (
	"context"
	"errors"

	"github.com/firn-log/firn/log/policy"
)

var errSkeleton = errors.New("not there yet")

// A Hub compares the checkpoints of logs. It may be used concurrently.
type Hub struct{ o Options }

var _ Sink = (*Hub)(nil)

// NewHub returns a hub that goes on from the state in o.Dir.
func NewHub(o Options) (*Hub, error) { return &Hub{o: o}, nil }

// Check implements [Sink].
func (h *Hub) Check(note []byte) (*policy.Verified, error) { return nil, errSkeleton }

// Offer implements [Sink].
func (h *Hub) Offer(ctx context.Context, note []byte, from string) (Outcome, error) {
	return Refused, errSkeleton
}

// Best implements [Sink].
func (h *Hub) Best(origin string) []byte { return nil }

// Latest implements [Sink].
func (h *Hub) Latest(origin string) []byte { return nil }

// Origins implements [Sink].
func (h *Hub) Origins() []string { return nil }

// AddEvidence implements [Sink].
func (h *Hub) AddEvidence(b []byte, from string) (bool, error) { return false, errSkeleton }

// Evidence implements [Sink].
func (h *Hub) Evidence() ([]Evidence, error) { return nil, errSkeleton }
