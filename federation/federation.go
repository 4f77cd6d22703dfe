// Package federation compares what everybody was shown of a log, so that a log
// or a witness that shows two histories leaves evidence (spec/federation.md).
//
// A [Hub] takes signed checkpoints from anywhere: logs, the monitoring endpoints
// of witnesses, other peers, gossip. It believes keys of its policies and nothing
// else. Each checkpoint is compared with the largest tree that was verified; one
// that no single tree can hold beside another becomes evidence, which is on
// disk before anything else happens. A smaller checkpoint of the same history is
// stale, and one whose tiles nobody serves is unproven; neither is ever evidence.
//
// Around the hub: a [Poller] fetches checkpoints and evidence from others, a
// [Feeder] shows new checkpoints to witnesses, a [Mirror] keeps a whole log, and
// [Handler] serves all of it again. Evidence against the index of a log
// (log/index/fraud) is kept and passed on like all other; the log's checkpoints go on
// being believed. Package federation/p2p spreads the same bytes
// by gossip, behind [Sink].
package federation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
)

// A Log is a log that a hub follows.
type Log struct {
	// Policy says who signs and who cosigns for this log, and when a checkpoint
	// is worth serving: see [Hub.Best].
	Policy *policy.Policy
	Origin string // a log of Policy
	// URL is where the log itself is: look-ups are asked and statements submitted
	// there. "" does neither.
	URL string
	// URLs are where its tiles are read, in this order: the log itself, mirrors,
	// mirrors of other peers, each an http, https or file URL.
	URLs []string
}

// Options are what a Hub is made from.
type Options struct {
	Dir  string // state of the hub, made if missing; "" keeps it in memory
	Logs []Log
	// Evidence is where evidence is kept: with fraud.Judge, or none is taken
	// against an index.
	Evidence *evidence.Store
	Hooks    *evidence.Hooks // run for new evidence; may be nil
	HTTP     *http.Client    // nil is a client of its own
	// Timeout bounds one request for a tile; 0 is 10 s.
	Timeout time.Duration
	Logger  *slog.Logger     // nil says nothing
	Metrics *Metrics         // nil counts nothing
	Now     func() time.Time // nil is time.Now
}

// An Outcome says what a checkpoint meant to a hub.
type Outcome int

// The outcomes of [Hub.Offer].
const (
	Refused  Outcome = iota // not believed: see the error
	Larger                  // the largest tree so far, proven to go on from the one before
	Merged                  // new cosignatures on a text that was known
	Known                   // nothing new
	Stale                   // an older tree of the same history
	Unproven                // nobody served the tiles that would tell; it is kept and tried again
	Forked                  // another history: evidence is on disk
)

func (o Outcome) String() string {
	switch o {
	case Refused:
		return "refused"
	case Larger:
		return "larger"
	case Merged:
		return "merged"
	case Known:
		return "known"
	case Stale:
		return "stale"
	case Unproven:
		return "unproven"
	case Forked:
		return "forked"
	}
	return fmt.Sprintf("outcome %d", int(o))
}

var (
	// ErrUnknownOrigin is matched when a checkpoint is of a log that is not followed.
	ErrUnknownOrigin = errors.New("not a log that is followed")
	// ErrConvicted is matched when evidence is held against the log.
	ErrConvicted = errors.New("evidence is held against this log")
)

// A Sink is what gossip needs of a hub.
type Sink interface {
	// Check verifies the signatures of a note by the policies and compares it
	// with nothing: no network, no disk.
	Check(note []byte) (*policy.Verified, error)
	// Offer compares a note with what is known. It may wait for the network.
	Offer(ctx context.Context, note []byte, from string) (Outcome, error)
	// Best returns the best cosigned checkpoint of a log, Latest the one of the
	// largest verified tree; nil if there is none.
	Best(origin string) []byte
	Latest(origin string) []byte
	// Origins returns the logs that are followed.
	Origins() []string
	// AddEvidence keeps evidence that convicts a key of the policies, and
	// reports whether it is new. An error means that it convicts nobody, or
	// that it could not be kept.
	AddEvidence(b []byte, from string) (added bool, err error)
	// Evidence returns all evidence that is held.
	Evidence() ([]Evidence, error)
}

// Evidence is a file that convicts a log, its index or a witness. Against an index it
// ends no trust in the checkpoints of its log.
type Evidence struct {
	Hash  string // SHA-256 of Bytes in hexadecimal
	Bytes []byte
	evidence.Verdict
}
