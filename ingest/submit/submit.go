// Package submit turns what the post-build hook spooled into statements and
// sends them to a log.
//
// It works in two halves that meet on disk. *Resolving* needs the derivation and
// Nix's database and no network: it fixes, for one spooled build, the exact
// statement to be made, and then gives up the garbage collector roots. *Sending*
// needs a key and a log and no store. Whatever stops one half, the other goes on,
// and nothing is lost: a build is sent, held back because its derivation is not
// public, or kept with the reason why it cannot be sent.
//
// It claims only what this machine built: outputs that Nix's database calls
// ultimate. It finds them through the derivation and the database, never through
// OUT_PATHS. A statement leaves only if its derivation is public.
//
// The files and states are those of spec/spool.md.
package submit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/firn-log/firn/ingest/hook"
	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// orphanAge is how old a root without a record, or an unfinished record, is
// before it is given up.
const orphanAge = time.Hour

// Submitter works on one spool. Its methods may not be called concurrently, and
// it holds the spool's lock from Open to Close.
type Submitter struct {
	conf    *Config
	spool   spool
	lock    *durable.Lock
	also    []nix.StorePath
	signing sync.Mutex // held while the key signs

	mu   sync.Mutex // guards said
	said io.Writer  // one line for each thing that happens
	now  func() time.Time

	client sender
	most   int // leaves in one request
	open   func(ctx context.Context) (*store, error)
	back   send.Backoff
}

// Options are what a Submitter needs beside its configuration.
type Options struct {
	Also   []string  // derivations to send although no root makes them public
	Said   io.Writer // gets a line for each thing that happens; nil for none
	Signer func(ctx context.Context, spec string) (statement.Signer, error)
	Now    func() time.Time // nil is time.Now

	step   func()                                    // see spool
	most   int                                       // leaves in one request; 0 is log.MaxSubmitLeaves
	client sender                                    // instead of the log; may be nil
	store  func(ctx context.Context) (*store, error) // instead of the store; may be nil
}

// Open locks the spool of conf, which another submitter may hold
// (*durable.LockedError), and clears what a crash left half done.
func Open(conf *Config, opts Options) (*Submitter, error) {
	s := &Submitter{conf: conf, spool: spool{dir: conf.Spool, step: opts.step}, said: opts.Said, now: opts.Now}
	if s.said == nil {
		s.said = io.Discard
	}
	if s.now == nil {
		s.now = time.Now
	}
	for _, text := range opts.Also {
		p, err := nix.StoreDir(conf.StoreDir).Parse(text)
		if err != nil || !p.IsDerivation() {
			return nil, &send.ConfigError{Err: fmt.Errorf("--also %s: it is not a derivation in %s", text, conf.StoreDir)}
		}
		if !slices.Contains(s.also, p) {
			s.also = append(s.also, p)
		}
	}
	s.client, s.open, s.most = opts.client, opts.store, opts.most
	if s.most == 0 {
		s.most = log.MaxSubmitLeaves
	}
	if s.client == nil {
		s.client = newLogSender(conf, opts.Signer)
	}
	if s.open == nil {
		s.open = s.openStore
	}
	if err := s.spool.prepare(); err != nil {
		return nil, err
	}
	var err error
	if s.lock, err = durable.Acquire(s.spool.path(submitDir, lockFile)); err != nil {
		return nil, err
	}
	if err := s.spool.recover(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close gives the spool up, after hooks for evidence had a moment to end.
func (s *Submitter) Close() error {
	if l, ok := s.client.(logSender); ok {
		l.Close()
	}
	return s.lock.Unlock()
}

// say writes one line.
func (s *Submitter) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.said, format+"\n", args...)
}

// Resolve turns every record in pending/ into a statement or a failure, and
// releases statements in held/ that have become public. An error says that the
// store or the spool could not be read; what was not resolved stays, and what is
// wrong about one build does not stop the others.
func (s *Submitter) Resolve(ctx context.Context) error {
	records, err := s.spool.list(hook.PendingDir)
	if err != nil {
		return err
	}
	held, err := s.spool.list(heldDir)
	if err != nil {
		return err
	}
	err = s.sweep(records)
	if len(records)+len(held) == 0 {
		return err
	}
	store, err2 := s.open(ctx)
	if err2 != nil {
		return errors.Join(err, err2)
	}
	defer store.src.Close()
	public, err2 := s.findPublic(ctx, store)
	if err2 != nil {
		return errors.Join(err, err2)
	}
	var failed failures
	failed.add(err)
	for chunk := range slices.Chunk(records, together) {
		var done []func() error
		for _, name := range chunk {
			write, err := s.resolveOne(ctx, store, public, name)
			if err != nil {
				failed.add(err)
				continue
			}
			done = append(done, write)
		}
		_ = s.spool.each(len(done), func(i int) error { failed.add(done[i]()); return nil })
		if ctx.Err() != nil {
			return failed.err()
		}
	}
	for _, name := range held {
		failed.add(s.release(ctx, store, public, name))
	}
	return failed.err()
}

// failures is what went wrong about builds: the first of it and how much else.
// It may be used concurrently.
type failures struct {
	mu    sync.Mutex // guards what follows
	first error
	more  int
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
	case f.first == nil:
		f.first = err
	default:
		f.more++
	}
}

func (f *failures) err() error {
	if f.more == 0 {
		return f.first
	}
	return fmt.Errorf("%w (and %d more)", f.first, f.more)
}

// sweep removes what hooks left that were killed.
func (s *Submitter) sweep(records []string) error {
	live := make(map[string]bool, len(records))
	for _, name := range records {
		live[name] = true
	}
	spool := s.spool.hook()
	return errors.Join(spool.SweepRoots(func(name string) bool { return live[name] }, orphanAge), spool.SweepUnfinished(orphanAge))
}

// openStore opens the store's database. Without knowing what was built here
// there is nothing that could be claimed.
func (s *Submitter) openStore(ctx context.Context) (*store, error) {
	dir := nix.StoreDir(s.conf.StoreDir)
	src, err := nixdb.OpenStore(ctx, filepath.Join(s.conf.Store, s.conf.StateDir), dir, "")
	if err != nil {
		return nil, fmt.Errorf("reading Nix's database: %w", err)
	}
	return newStore(src, s.conf.Store), nil
}

// resolveOne finds out what becomes of one record and returns what writes that
// down. An error is one of the machine; what is wrong with the record goes to
// failed/.
func (s *Submitter) resolveOne(ctx context.Context, st *store, public *publicSet, name string) (func() error, error) {
	b, err := s.spool.read(hook.PendingDir, name)
	if outOf(err) {
		return nil, fmt.Errorf("resolving %s: %w", name, err)
	}
	var rec *hook.Record
	if err == nil {
		rec, err = hook.ParseRecord(b)
	}
	if err == nil && rec.Name() != name {
		err = errors.New("it is another build's")
	}
	var build *statement.Build
	var payload []byte
	var lists [][]byte
	if err != nil {
		err = &Reason{CodeBadRecord, "the file is not a record of the hook, or cannot be read: " + err.Error()}
	} else {
		build, payload, lists, err = st.resolve(ctx, rec, s.builder(rec))
	}
	var reason *Reason
	if errors.As(err, &reason) {
		return func() error { return s.fail(hook.PendingDir, name, reason) }, nil
	}
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", name, err)
	}
	to, state, why := unsignedDir, Waiting, ""
	realised, err := s.realised(ctx, st, build)
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", name, err)
	}
	if ok, err := public.has(ctx, st, build); err != nil {
		return nil, fmt.Errorf("resolving %s: %w", name, err)
	} else if !ok {
		to, state, why = heldDir, Held, ": private, nothing that public-from names needs it"
		realised = nil // made when it is released
	}
	return func() error {
		for _, list := range lists {
			if err := s.spool.writeBlob(list); err != nil {
				return err
			}
		}
		if err := s.putAll(realised); err != nil {
			return err
		}
		if err := s.spool.write(to, name, payload); err != nil {
			return err
		}
		s.say("%s %s%s", state, build.DrvPath.Name(), why)
		return s.spool.removePending(name)
	}, nil
}

// release moves a held statement on if it has become public.
func (s *Submitter) release(ctx context.Context, st *store, public *publicSet, name string) error {
	body, _, err := s.spool.readPayload(heldDir, name)
	build, ok := body.(*statement.Build)
	if err == nil && !ok {
		err = fmt.Errorf("a %s statement", body.Kind())
	}
	if err != nil {
		return s.fail(heldDir, name, &Reason{CodeBadRecord, "the file is not a statement: " + err.Error()})
	}
	ok, err = public.has(ctx, st, build)
	if err != nil || !ok {
		return err
	}
	realised, err := s.realised(ctx, st, build)
	if err == nil {
		err = s.putAll(realised)
	}
	if err != nil {
		return err
	}
	s.say("%s %s: it is public now", Waiting, build.DrvPath.Name())
	return s.spool.move(heldDir, unsignedDir, name)
}

// fail sets a file aside with its reason.
func (s *Submitter) fail(from, name string, reason *Reason) error {
	s.say("%s %s: %s", failedDir, name, strings.TrimSpace(reason.Error()))
	return s.spool.fail(from, name, reason)
}
