// Package witness is a C2SP tlog-witness: it cosigns the checkpoints of logs,
// each only if it continues the one that it cosigned before.
//
// The promise is one sentence: this witness never signs two checkpoints of one
// origin that no single tree can hold, whatever is sent at once, killed, full or
// restored. Everything in this package serves it. Package witness/server is
// HTTP around it. It implements c2sp.org/tlog-witness (version and deviations:
// spec/CONFORMANCE.md) and spec/witness.md, which names the steps W1 to W12.
package witness

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/firn-log/firn/log/policy"
)

// A Log is a log whose checkpoints a witness cosigns.
type Log struct {
	Origin string
	// Keys are the keys the log may sign with. One of type Ed25519 is needed;
	// the name of a key may differ from the origin.
	Keys []policy.Key
	// QPD is how many requests with a valid signature of the log are answered
	// a day; 0 is no limit.
	QPD uint64
	// Contact is how to reach whoever runs the log, for people.
	Contact string
}

// Options is what New makes a witness from.
type Options struct {
	Store  *Store
	Key    *Key
	Logs   []Log
	Logger *slog.Logger
	Now    func() time.Time // nil is time.Now
}

// A Witness answers add-checkpoint requests. It may be used concurrently.
type Witness struct {
	o Options
}

var errSkeleton = errors.New("not there yet")

// New returns a witness of the logs in o. It does not close the store.
func New(o Options) (*Witness, error) { return &Witness{o: o}, nil }

// AddCheckpoint answers the body of an add-checkpoint request with an HTTP
// status and a body. The body of a 200 holds the cosignature lines, that of a
// 409 the size of the latest cosigned checkpoint; any other is one sentence. err
// says more about a refusal, for the log of the program; it is nil for 200.
func (w *Witness) AddCheckpoint(ctx context.Context, body []byte) (status int, response []byte, err error) {
	return 500, nil, errSkeleton
}

// Monitoring returns the latest cosigned checkpoint of the log whose origin has
// this SHA-256 in lower-case hexadecimal, or nil (W10).
func (w *Witness) Monitoring(originHash string) []byte { return nil }

// UpdateLogs adds logs that the witness does not know yet and makes that
// durable. A known origin keeps its keys and its budget: a list may add, never
// change. It returns the origins that were added.
func (w *Witness) UpdateLogs(logs []Log) (added []string, err error) { return nil, errSkeleton }

// Evidence checks evidence of misbehaviour of a log. If it convicts one, it is
// kept, and nothing of that origin is cosigned any more.
func (w *Witness) Evidence(ctx context.Context, evidence []byte) (origin string, err error) {
	return "", errSkeleton
}
