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
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firn-log/firn/log/evidence"
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
	Logs   []Log // as configured: they go before what lists said earlier
	Logger *slog.Logger
	Now    func() time.Time // nil is time.Now
	// Convicted is called with new evidence, for which an origin is refused from
	// now on; nil does nothing.
	Convicted func(evidence.Held)
	// Gate, if not nil, decides beside the steps of a witness whether a checkpoint is
	// cosigned. See [Gate].
	Gate Gate
}

// A Gate is asked about each checkpoint that this package would cosign, before it
// does; no lock is held. An error is why it is not cosigned: a *Refusal is answered as
// it is. It may be called concurrently, also with several checkpoints of one origin.
type Gate func(ctx context.Context, req *Request) error

// A Witness answers add-checkpoint requests. It may be used concurrently.
type Witness struct {
	store     *Store
	key       *Key
	log       *slog.Logger
	now       func() time.Time
	convicted func(evidence.Held)
	gate      Gate

	mu   sync.RWMutex // guards logs and the lists' file
	logs map[string]*knownLog

	behind atomic.Int64 // see ClockBehind

	asked sync.Map      // origins about which a peer has answered since start
	doubt chan struct{} // a request waits for the peers; see restore.go
}

// knownLog is a log with what is left of its budget.
type knownLog struct {
	Log
	budget budget
	listed bool // from a list, not from the configuration
}

// New returns a witness of the logs in o and of those that lists have named
// before. It does not close the store.
func New(o Options) (*Witness, error) {
	w := &Witness{
		store: o.Store, key: o.Key, log: o.Logger, now: o.Now, convicted: o.Convicted, gate: o.Gate,
		logs: make(map[string]*knownLog), doubt: make(chan struct{}, 1),
	}
	if w.now == nil {
		w.now = time.Now
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	for _, l := range o.Logs {
		if err := checkLog(l); err != nil {
			return nil, err
		}
		if w.logs[l.Origin] != nil {
			return nil, fmt.Errorf("two logs with the origin %q", l.Origin)
		}
		w.logs[l.Origin] = &knownLog{Log: l}
	}
	listed, err := readLists(w.store.path(listsName))
	if err != nil {
		return nil, err
	}
	for _, l := range listed {
		if w.logs[l.Origin] == nil {
			w.logs[l.Origin] = &knownLog{Log: l, listed: true}
		}
	}
	return w, nil
}

// checkLog says why l is not a log that can be witnessed.
func checkLog(l Log) error {
	if err := checkOrigin(l.Origin); err != nil {
		return err
	}
	if !slices.ContainsFunc(l.Keys, func(k policy.Key) bool { return k.Type == policy.TypeEd25519 }) {
		return fmt.Errorf("log %q: it has no Ed25519 key (type 0x01)", l.Origin)
	}
	return nil
}

// Key returns the verifier key of the witness.
func (w *Witness) Key() policy.Key { return w.key.Verifier() }

// Logs returns the logs that the witness knows, by origin.
func (w *Witness) Logs() []Log {
	w.mu.RLock()
	defer w.mu.RUnlock()
	logs := make([]Log, 0, len(w.logs))
	for _, l := range w.logs {
		logs = append(logs, l.Log)
	}
	slices.SortFunc(logs, func(a, b Log) int { return strings.Compare(a.Origin, b.Origin) })
	return logs
}

func (w *Witness) known(origin string) *knownLog {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.logs[origin]
}

// State returns what is durable about an origin.
func (w *Witness) State(origin string) State { return w.store.Latest(origin) }

// Monitoring returns the latest cosigned checkpoint of the log whose origin has
// this SHA-256 in lower-case hexadecimal, or nil (W10). The slice is not to be
// changed.
func (w *Witness) Monitoring(originHash string) []byte { return w.store.ByHash(originHash).Note }

// CosignedAt returns the time of a signature if it is a cosignature of the text
// of a checkpoint by this witness.
func (w *Witness) CosignedAt(text string, s policy.Signature) (time.Time, bool) {
	return w.key.cosignedAt(text, s)
}

// ClockBehind returns how far the clock was, at the last cosignature, behind the
// cosignature before of the same log; 0 if it was not. The tree does not depend on any
// clock, so it stops nothing.
func (w *Witness) ClockBehind() time.Duration { return time.Duration(w.behind.Load()) }

// clockLimit is how far the clock may go back without a word.
const clockLimit = time.Minute

// noteClock compares the time of a new cosignature with that of the one before.
func (w *Witness) noteClock(origin string, before, now time.Time) {
	behind := max(before.Sub(now.Truncate(time.Second)), 0)
	if was := time.Duration(w.behind.Swap(int64(behind))); behind > clockLimit && was <= clockLimit {
		w.log.Warn("the clock of this machine is behind the last cosignature: one of the two is wrong, and readers will misjudge the age", "origin", origin, "by", behind)
	}
}

// Doubt says why nothing is cosigned for now, or nil.
func (w *Witness) Doubt() error {
	if w.store.Moved() {
		return ErrMoved
	}
	if why := w.store.Doubt(); why != "" {
		return &DoubtError{why}
	}
	return nil
}

// A DoubtError says that this may be an older copy of the witness, so that
// nothing is cosigned until a peer has answered (spec/witness.md#restore).
type DoubtError struct{ Why string }

func (e *DoubtError) Error() string {
	return "nothing is cosigned until a peer has confirmed that this is the newest copy: " + e.Why
}

// A Refusal is why a request was not granted: a status and one sentence.
type Refusal struct {
	Status int
	Rule   string // the step of spec/witness.md that refused, for instance "W4"
	Origin string // "" if it is not a known one
	Reason string
	// RetryAfter is when to come back, 0 if that says nothing.
	RetryAfter time.Duration
	Err        error // a deeper reason, or nil
}

func (r *Refusal) Error() string {
	if r.Err != nil {
		return r.Reason + ": " + r.Err.Error()
	}
	return r.Reason
}

func (r *Refusal) Unwrap() error { return r.Err }

// AddCheckpoint answers the body of an add-checkpoint request with an HTTP
// status and a body. The body of a 200 holds the cosignature lines, that of a
// 409 the size of the latest cosigned checkpoint; any other is one sentence. err
// is nil for 200, and otherwise a *Refusal.
func (w *Witness) AddCheckpoint(ctx context.Context, body []byte) (status int, response []byte, err error) {
	lines, err := w.addCheckpoint(ctx, body)
	if err == nil {
		return 200, lines, nil
	}
	r := refusalOf(err)
	if r.Status == 409 {
		return r.Status, []byte(r.Reason + "\n"), r
	}
	return r.Status, []byte(r.Reason + "\n"), r
}

// refusalOf maps errors to refusals: this is the one switch.
func refusalOf(err error) *Refusal {
	var r *Refusal
	var disk *StorageError
	var doubt *DoubtError
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &doubt):
		return &Refusal{Status: 503, Rule: "restore", Reason: "this witness may be a restored copy and cosigns nothing until a peer has answered", RetryAfter: time.Minute, Err: err}
	case errors.Is(err, ErrMoved):
		return &Refusal{Status: 410, Rule: "moved", Reason: ErrMoved.Error()}
	case errors.Is(err, ErrClosed):
		return &Refusal{Status: 503, Rule: "stopping", Reason: "the witness is stopping; send it again in a moment", RetryAfter: 5 * time.Second}
	case errors.As(err, &disk):
		return &Refusal{Status: 503, Rule: "W8", Reason: "the witness could not keep the checkpoint and did not sign it", RetryAfter: 10 * time.Second, Err: err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Refusal{Status: 503, Rule: "gone", Reason: "the request took too long", RetryAfter: 5 * time.Second, Err: err}
	}
	return &Refusal{Status: 500, Rule: "internal", Reason: "the witness could not answer; its operator can see why", Err: err}
}
