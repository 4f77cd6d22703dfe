package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/verify"
)

// A Log is a log that is followed.
type Log struct {
	Origin  string
	URL     string
	Mirrors []string
	Policy  *policy.Policy // whose checkpoints are believed
	// Index names the auditors of its index, nil if nobody does. They are shown and
	// decide nothing here, where every entry is read.
	Index  *policy.Policy
	MaxAge time.Duration // 0: any age is fresh enough
}

// LogsOf returns the logs of a firn.policy.
func LogsOf(pol *verify.Policy) []Log {
	logs := make([]Log, len(pol.Logs))
	for i, l := range pol.Logs {
		logs[i] = Log{Origin: l.Origin, URL: l.URL, Mirrors: l.Mirrors, Policy: l.Policy, Index: l.IndexPolicy, MaxAge: l.MaxAge}
	}
	return logs
}

// DefaultPoll is how often a log is asked for its checkpoint, and MinPoll how often it may be.
const (
	DefaultPoll = 5 * time.Second
	MinPoll     = 100 * time.Millisecond
)

// Options is what New makes a follower from.
type Options struct {
	Logs  []Log
	Store Store
	// Dir is the data folder: remembered checkpoints are in checkpoints/, evidence in
	// evidence/, and what was verified of each log in logs/<SHA-256 of its origin>/.
	Dir    string
	Logger *slog.Logger // nil is silent
	HTTP   *http.Client // nil is one of its own
	Poll   time.Duration
	// Found is called with new evidence. It must not block; nil does nothing.
	Found func(evidence.Held)
}

// A Follower replays logs into a store. It may be used concurrently.
type Follower struct {
	o    Options
	log  *slog.Logger
	keys keyRing
	logs []*follower
}

// follower follows one log.
type follower struct {
	Log
	f      *Follower
	log    *slog.Logger
	client *log.Client
	file   *verifiedFile

	// What follows belongs to the goroutine that replays.
	recalled bool // what the database knows
	compared bool // that with what the log shows
	noted    noted
	looked   bool // whether the log has ended

	mu     sync.Mutex // guards what follows
	status Status
	since  time.Time // when something was first known to be there that is not replayed
}

// New opens what is known of the logs. Nothing is asked yet. The caller calls Run or
// Replay, and Close after it.
func New(ctx context.Context, o Options) (*Follower, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Poll == 0 {
		o.Poll = DefaultPoll
	}
	f := &Follower{o: o, log: o.Logger}
	memory := log.NewMemory(o.Dir)
	memory.OnEvidence(f.found)
	for _, l := range o.Logs {
		one, err := f.open(l, memory)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("following %s: %w", l.Origin, err), f.Close())
		}
		f.logs = append(f.logs, one)
	}
	return f, nil
}

func (f *Follower) open(l Log, memory *log.Memory) (*follower, error) {
	one := &follower{Log: l, f: f, log: f.log.With("origin", l.Origin)}
	one.status = Status{Origin: l.Origin, URL: l.URL, Errors: make(map[string]uint64)}
	dir := filepath.Join(f.o.Dir, "logs")
	own := filepath.Join(dir, evidence.OriginName(l.Origin))
	if err := durable.MkdirAll(own, 0o755); err != nil {
		return nil, err
	}
	var err error
	if one.file, err = openVerified(filepath.Join(own, "verified"), l.Origin); err != nil {
		one.log.Warn("which leaves are verified cannot be kept, so that a database that is made again takes longer; remove what is there", "error", err)
	}
	one.client, err = log.NewClient(l.URL, l.Policy, log.Options{
		Origin: l.Origin, Mirrors: l.Mirrors, Memory: memory, CacheDir: dir, HTTP: f.o.HTTP, UserAgent: "firn-tracker",
		OnTrouble: func(err error) { one.log.Warn("a place of the log is passed over", "error", err) },
	})
	if err != nil {
		return nil, errors.Join(err, one.file.Close())
	}
	f.keys.addLog(l.Policy, l.Origin)
	return one, nil
}

// Run follows all logs until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, l := range f.logs {
		wg.Go(func() { l.run(ctx) })
	}
	wg.Wait()
}

// Replay replays every log once, up to the checkpoint that it shows. Logs that cannot
// be replayed are in the error; the others are replayed all the same.
func (f *Follower) Replay(ctx context.Context) error {
	errs := make([]error, len(f.logs))
	var wg sync.WaitGroup
	for i, l := range f.logs {
		wg.Go(func() {
			if err := l.round(ctx); err != nil {
				errs[i] = fmt.Errorf("replaying %s: %w", l.Origin, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close closes what New opened, after Run and Replay have returned.
func (f *Follower) Close() error {
	var errs []error
	for _, l := range f.logs {
		errs = append(errs, l.file.Close())
	}
	return errors.Join(errs...)
}

// found passes evidence on and says so.
func (f *Follower) found(h evidence.Held) {
	f.log.Error("evidence was found and is kept", "what", h.Verdict.Why, "kind", string(h.Verdict.Kind), "evidence", h.Path)
	if f.o.Found != nil {
		f.o.Found(h)
	}
}
