// Package audit recomputes the index of a log: it reads every entry, computes the
// map again, and says whether each revision that the log has signed is right
// (spec/index.md#auditors). An [Auditor] is the gate of a witness, which then
// cosigns nothing that the auditor has not computed.
//
// A revision that is wrong stops that until the log resets its index, and the
// auditor looks for the difference in the map that the log shows and keeps it as
// evidence (spec/auditor.md).
package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/triedb"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// Bounds of an auditor.
const (
	saveEvery   = 16384            // entries after which the state is written
	nearby      = 16384            // entries behind up to which a request waits
	keptSizes   = 1024             // sizes of which revisions are kept
	defaultWait = 3 * time.Second  // of a request, for the entries it needs
	askTimeout  = 30 * time.Second // one request to the log
	retryRead   = time.Second      // after entries could not be read
)

// DefaultPoll is how often the log is asked for its checkpoint while nobody brings one,
// and MinPoll how often it may be.
const (
	DefaultPoll = 2 * time.Second
	MinPoll     = 100 * time.Millisecond
)

// Options is what New makes an auditor from.
type Options struct {
	// Dir is the directory of the auditor: the map is in audit/<SHA-256 of the
	// origin>/, what was seen of the log in checkpoints/, and evidence in evidence/.
	Dir string
	// Key is the Ed25519 key of the log, named as its origin.
	Key policy.Key
	// URL is the log's, and Mirrors are where else its tree is read.
	URL     string
	Mirrors []string
	Logger  *slog.Logger // nil is silent
	HTTP    *http.Client // nil is one of its own
	// Poll is how often the log is asked for a checkpoint while nobody brings one, and
	// Wait how long a request waits for entries that are being read; 0 are 2 and 3 s.
	Poll, Wait time.Duration
	// Found is called with new evidence against the log or its index. It must not
	// block; nil does nothing.
	Found func(evidence.Held)
}

// An Auditor follows one log. It may be used concurrently.
type Auditor struct {
	o      Options
	log    *slog.Logger
	pol    *policy.Policy
	logKey statement.PublicKey
	memory *log.Memory
	client *log.Client
	shown  *shownIndex // the index as the log shows it
	db     *triedb.DB
	file   string // of the state

	// What follows belongs to the goroutine that replays.
	at        uint64         // index of the entry that is read next
	waiting   []triedb.Row   // of the entries that were read and are not in the map
	revisions lately[[]byte] // leaves of revisions, by size
	last      uint64         // largest size of a revision at or after the size of the map

	saving sync.Mutex    // held while the state is written
	saved  atomic.Uint64 // how far revisions were compared by the state on disk

	wake  chan struct{} // there is something to replay
	hunts chan struct{} // a wrong revision is to be looked at

	mu     sync.Mutex // guards what follows
	state  state
	target *log.Checkpoint // the largest believed
	asked  time.Time       // when somebody last brought a checkpoint
	unread error           // why entries are not read, nil if they are
	unseen error           // why no checkpoint of the log is known, nil if one is
	counts counts
	// withheld says of a wrong revision, by its index, why there is no evidence yet.
	withheld map[uint64]error
	changed  chan struct{} // closed when any of this changes
}

// counts is what happened since start.
type counts struct{ entries, revisions, wrong, evidence uint64 }

// New opens the auditor of a log. The caller calls Run, and Close after it.
func New(o Options) (*Auditor, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Poll == 0 {
		o.Poll = DefaultPoll
	}
	if o.Wait == 0 {
		o.Wait = defaultWait
	}
	if o.HTTP == nil {
		o.HTTP = &http.Client{}
	}
	if o.Key.Type != policy.TypeEd25519 {
		return nil, fmt.Errorf("the log %s: its index is signed with an Ed25519 key (type 0x01), and this key is of another type", o.Key.Name)
	}
	logKey, err := statement.Ed25519Key(o.Key.Public)
	if err != nil {
		return nil, fmt.Errorf("the log %s: %w", o.Key.Name, err)
	}
	pol, err := policy.Parse([]byte("log " + o.Key.String() + "\nquorum none\n"))
	if err != nil {
		return nil, err
	}
	a := &Auditor{
		o: o, log: o.Logger.With("origin", o.Key.Name), logKey: logKey,
		pol:  pol,
		wake: make(chan struct{}, 1), hunts: make(chan struct{}, 1), changed: make(chan struct{}),
		withheld: make(map[uint64]error),
	}
	a.memory = log.NewMemory(o.Dir)
	a.memory.OnEvidence(a.found)
	a.client, err = log.NewClient(o.URL, a.pol, log.Options{
		Mirrors: o.Mirrors, Memory: a.memory, HTTP: o.HTTP, UserAgent: "firn-auditor",
		OnTrouble: func(err error) { a.log.Warn("a place of the log is passed over", "error", err) },
	})
	if err != nil {
		return nil, err
	}
	a.shown = &shownIndex{url: o.URL, client: o.HTTP}
	if err := a.open(); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *Auditor) dir() string {
	return filepath.Join(a.o.Dir, "audit", evidence.OriginName(a.o.Key.Name))
}

// open opens the map and the state. What is damaged, or of which nobody knows
// which tree it is of, is computed again.
func (a *Auditor) open() error {
	if err := durable.MkdirAll(a.dir(), 0o755); err != nil {
		return err
	}
	a.file = filepath.Join(a.dir(), "state")
	st, err := readState(a.file)
	if err != nil {
		a.log.Warn("the state of the audit is damaged: every revision is computed again", "error", err)
		st = state{}
	}
	seen, err := a.memory.Remembered(a.pol, a.o.Key.Name)
	if fork := (*log.ForkError)(nil); err != nil && !errors.As(err, &fork) {
		return err
	}
	if a.db, err = a.openMap(); err != nil {
		return err
	}
	if why := anew(a.db.Size(), st, seen); why != "" {
		a.log.Warn(why + ": everything is computed again")
		if err := errors.Join(a.db.Close(), triedb.Remove(a.mapDir())); err != nil {
			return err
		}
		if a.db, err = a.openMap(); err != nil {
			return err
		}
		st = state{}
	}
	a.state, a.target = st, seen
	a.saved.Store(st.checked)
	a.rewind()
	if len(st.wrongs) > 0 {
		signal(a.hunts)
	}
	return nil
}

// anew says why nothing goes on from a map of so many entries and a state, "" if it
// does.
func anew(mapped uint64, st state, seen *log.Checkpoint) string {
	switch size := max(mapped, st.knows()); {
	case size > 0 && (seen == nil || seen.Size < size):
		return "no checkpoint is remembered that holds what was computed"
	case mapped > st.checked:
		// To compare revisions with states of the map of long ago takes far longer than to make it.
		return "which revisions were compared is not known"
	}
	return ""
}

func (a *Auditor) mapDir() string { return filepath.Join(a.dir(), "map") }

// Run follows the log until ctx ends.
func (a *Auditor) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { a.poll(ctx) })
	wg.Go(func() { a.hunt(ctx) })
	a.replay(ctx)
	wg.Wait()
}

// Close writes what is only in memory, after Run has returned.
func (a *Auditor) Close() error { return errors.Join(a.save(), a.db.Close()) }

// Origin returns the origin of the log.
func (a *Auditor) Origin() string { return a.o.Key.Name }

// poll asks the log for its checkpoint while nobody brings one.
func (a *Auditor) poll(ctx context.Context) {
	for {
		a.mu.Lock()
		quiet := time.Since(a.asked) >= a.o.Poll
		a.mu.Unlock()
		if quiet {
			a.pollOnce(ctx)
		}
		if sleep(ctx, a.o.Poll) != nil {
			return
		}
	}
}

func (a *Auditor) pollOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	cp, err := a.client.Checkpoint(ctx)
	switch {
	case err == nil:
		a.fail(&a.unseen, nil)
		a.aim(cp)
	case errors.Is(err, log.ErrStale):
		a.fail(&a.unseen, nil)
	case !errors.Is(err, context.Canceled):
		a.fail(&a.unseen, err)
	}
}

// aim makes cp what is replayed to, if it is larger than what was.
func (a *Auditor) aim(cp *log.Checkpoint) {
	a.mu.Lock()
	if a.target == nil || cp.Size > a.target.Size {
		a.target = cp
	}
	a.mu.Unlock()
	signal(a.wake)
}

// found passes evidence on and says so.
func (a *Auditor) found(h evidence.Held) {
	a.log.Error("evidence was found and is kept", "what", h.Verdict.Why, "kind", string(h.Verdict.Kind), "evidence", h.Path)
	a.mu.Lock()
	a.counts.evidence++
	a.notify()
	a.mu.Unlock()
	if a.o.Found != nil {
		a.o.Found(h)
	}
}

// fail notes in one of unread and unseen why the log is not followed; nil that it is.
func (a *Auditor) fail(what *error, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil && (*what == nil || (*what).Error() != err.Error()) {
		a.log.Warn("the log is not followed", "error", err)
	}
	was := a.trouble()
	*what = err
	if was != nil && a.trouble() == nil {
		a.log.Info("the log is followed again")
	}
	a.notify()
}

// trouble returns why the log is not followed, nil if it is. The caller holds mu.
func (a *Auditor) trouble() error { return errors.Join(a.unseen, a.unread) }

// notify wakes whoever waits for something. The caller holds mu.
func (a *Auditor) notify() {
	close(a.changed)
	a.changed = make(chan struct{})
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// sleep returns after d, or with an error when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lately holds what belongs to the last few sizes.
type lately[T any] struct {
	order []uint64
	of    map[uint64]T
}

func (l *lately[T]) put(size uint64, v T) {
	if l.of == nil {
		l.of = make(map[uint64]T)
	}
	if _, there := l.of[size]; !there {
		l.order = append(l.order, size)
	}
	l.of[size] = v
	if len(l.order) > keptSizes {
		delete(l.of, l.order[0])
		l.order = l.order[1:]
	}
}
