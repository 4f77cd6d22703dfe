// Package send is a log as those see it who write claims to it: a key that signs
// and a client that submits, both opened when they are first needed, and many
// leaves sent in requests of bounded size, again until the log has them.
//
// What it promises: nothing is believed but what [log.Client] has verified against
// the policy in the configuration; a log that is caught with two histories is sent
// nothing more by that call; a log that asks for a pause gets it. It keeps nothing
// on disk but what a client remembers: whoever must not lose a statement writes it
// to the spool (package submit), or can make it again.
package send

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/statement"
)

// Log is the log of a configuration, with the key that signs. Its methods may be
// called concurrently.
type Log struct {
	conf *Config
	opts Options

	mu     sync.Mutex // guards what follows
	signer statement.Signer
	client *log.Client
	hooks  *evidence.Hooks // of client
}

// Options are what a Log needs beside its configuration.
type Options struct {
	// Signer opens the key that Config.Key names.
	Signer func(ctx context.Context, spec string) (statement.Signer, error)
	// Client is the log's client, for a caller that has one; nil makes it from the
	// configuration.
	Client *log.Client
	// UserAgent is what the log sees, for instance "firn-submit".
	UserAgent string
	// Patience is how long SendAll tries one request again; 0 is 10 minutes.
	Patience time.Duration
	// MaxPause bounds the pause between two tries; 0 is 5 minutes.
	MaxPause time.Duration
	// OnTrouble, if not nil, is told each time that SendAll is about to pause.
	// It is called from several goroutines.
	OnTrouble func(err error, pause time.Duration)
}

// Open returns the log of conf, which is not changed and must not be. It touches
// neither key nor network: what is wrong with them the first use says.
func Open(conf *Config, o Options) *Log {
	if o.Patience <= 0 {
		o.Patience = 10 * time.Minute
	}
	if o.MaxPause <= 0 {
		o.MaxPause = 5 * time.Minute
	}
	return &Log{conf: conf, opts: o, client: o.Client}
}

// hookPatience is how long Close waits for hooks that were started for evidence.
const hookPatience = 5 * time.Second

// Close gives hooks for evidence that still run a moment to end.
func (l *Log) Close() {
	l.mu.Lock()
	hooks := l.hooks
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), hookPatience)
	defer cancel()
	hooks.Wait(ctx)
}

// Signer returns the key that signs, which it opens the first time, and again
// until that works. A key that cannot be opened is a *ConfigError.
func (l *Log) Signer(ctx context.Context) (statement.Signer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.signer != nil {
		return l.signer, nil
	}
	if l.opts.Signer == nil {
		return nil, errors.New("there is no key to sign with")
	}
	signer, err := l.opts.Signer(ctx, l.conf.Key)
	if err != nil {
		return nil, &ConfigError{err}
	}
	l.signer = signer
	return signer, nil
}

// Client returns the client of the log, which remembers what it saw in the state
// folder. A policy or address that is wrong is a *ConfigError.
func (l *Log) Client() (*log.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil {
		return l.client, nil
	}
	pol, err := l.conf.policy()
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("log-policy: %w", err)}
	}
	hooks, err := evidence.NewHooks(l.conf.Evidence, nil)
	if err != nil {
		return nil, &ConfigError{err}
	}
	mem := log.NewMemory(l.conf.State)
	mem.OnEvidence(hooks.Run)
	c, err := log.NewClient(l.conf.Log, pol, log.Options{Origin: l.conf.Origin, Memory: mem, UserAgent: l.opts.UserAgent})
	if err != nil {
		return nil, &ConfigError{err}
	}
	l.client, l.hooks = c, hooks
	return c, nil
}

// Submit sends leaves once: it is [log.Client.Submit].
func (l *Log) Submit(ctx context.Context, leaves [][]byte, wait time.Duration) (*log.SubmitResult, error) {
	c, err := l.Client()
	if err != nil {
		return nil, err
	}
	return c.Submit(ctx, leaves, wait)
}

// SubmitWithBlobs sends one leaf and blobs that it names, once: it is
// [log.Client.SubmitWithBlobs].
func (l *Log) SubmitWithBlobs(ctx context.Context, leaf []byte, blobs [][]byte, wait time.Duration) (*log.SubmitResult, error) {
	c, err := l.Client()
	if err != nil {
		return nil, err
	}
	return c.SubmitWithBlobs(ctx, leaf, blobs, wait)
}

// later are the codes of rejections that may end without a change to the
// statement: the budget of a day, a key that somebody still has to register, or
// the wrong key in the configuration (a statement does not name its signer).
var later = []string{
	"budget-unvouched", "budget-key", "unknown-key", "wrong-role", "revoked-key", "not-listed", "depends-on-failed", statement.CodeInternalError,
}

// Later reports whether a rejection with this code may end without a change to
// the statement (spec/spool.md#order-of-a-run).
func Later(code string) bool { return slices.Contains(later, code) }

// RejectedError says that the log does not take a statement now, and may later.
type RejectedError struct{ Code, Message string }

func (e *RejectedError) Error() string {
	return "the log refuses it for now: " + e.Code + ": " + e.Message
}

// Final reports whether trying again soon is pointless: the configuration is
// wrong, the log has two histories, or somebody wants it to end.
func Final(err error) bool {
	var conf *ConfigError
	return errors.As(err, &conf) || ForkOf(err) != nil || errors.Is(err, context.Canceled)
}

// ForkOf returns the proof in err that a log misbehaved, nil if there is none.
func ForkOf(err error) *log.ForkError {
	var fork *log.ForkError
	if errors.As(err, &fork) {
		return fork
	}
	return nil
}
