package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/firn-log/firn/internal/cmdline"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

const (
	// watchAnyway is how often a log is asked although it would say that there is
	// something new: it may keep that to itself.
	watchAnyway = 10 * time.Minute
	// watchApart is how long at least lies between two questions.
	watchApart = time.Second
	// watchAsks is for how long at most it is found out, at the end, whether the log has answered evidence.
	watchAsks = 10 * time.Second
)

type watchFlags struct {
	logFlags
	since uint64
	poll  time.Duration
	json  bool
}

func newWatchCmd(a *app) *cobra.Command {
	var f watchFlags
	c := &cobra.Command{
		Use:   "watch KEY...",
		Short: "Follow what is logged about a path, a key or an operator",
		Long: `Watch prints a line for each entry of a log under KEY, and goes on as entries are
added, until it is stopped: the index, the kind of statement, the first digits of its signer's
key id, and what it is about. The next watch of the same KEY goes on where this one ended.

KEY is a store path or a link to one, the id of a key or of an operator, a file with a key, or a key of the
log's index such as out:PATH, digest:sha256:HASH or drv:PATH. Watch your own keys: whatever they
sign anywhere is printed here, also if it was not you.

Every entry is proven to be in the log, and each answer to hold everything under KEY as far
as the log's index is right. On whose word that rests is said as firn verify says it: the
auditors that the index policy of your firn.policy names, or the log itself. While nobody
vouches, entries may be missing: a warning says so, and the next watch begins where
somebody last did. The signatures of entries are not checked (firn log audit does that).

Exit status: 0 stopped, 1 it could not be done or the log gave a wrong answer, 2 usage, 5 the
log was caught.`,
		Example: `  firn watch ~/.config/firn/identity.pub ~/.config/firn/build.pub
  firn watch --since 1000 --json /nix/store/...-hello-2.12.1`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.watch(c.Context(), &f, args, c.Flags().Changed("since"))
		},
	}
	f.add(c.Flags())
	c.Flags().Uint64Var(&f.since, "since", 0, "print entries from this `INDEX` on (default those that were not printed before)")
	c.Flags().DurationVar(&f.poll, "poll", time.Minute, "how often to ask a log that does not say by itself that something is new")
	c.Flags().BoolVar(&f.json, "json", false, "write one JSON object for each entry")
	return c
}

func (a *app) watch(ctx context.Context, f *watchFlags, args []string, since bool) error {
	keys, err := a.watchKeys(ctx, args)
	if err != nil {
		return err
	}
	if f.poll < watchApart {
		return failf(exitUsage, "", "--poll %v is less than %v", f.poll, watchApart)
	}
	at, err := a.resolveLog(&f.logFlags)
	if err != nil {
		return err
	}
	c, err := a.newClient(&f.logFlags, at, log.Options{})
	if err != nil {
		return err
	}
	w := &watching{
		a: a, f: f, c: c, keys: keys, news: make(chan struct{}, 1), ref: at.ref, off: at.off,
		file: watchFile(a.stateDir(f.state), c.Origin()), at: make(map[string]watchedKey), printed: make(map[uint64]bool),
	}
	if w.ref == nil {
		w.ref = &verify.LogRef{Name: c.Origin(), Origin: c.Origin(), Policy: at.policy}
	}
	if err := w.load(); err != nil {
		fmt.Fprintf(a.Stderr, "firn: warning: %v; everything is printed again\n", err)
	}
	if since {
		w.begin = &f.since
	}
	err = w.run(ctx)
	if ctx.Err() != nil {
		return nil // stopped
	}
	if fault := w.fault(); fault != nil {
		return failf(exitMisbehaviour, "keep that file and show it to others: "+fault.File, "watching: %w; the index of log %s is wrong: %s", err, w.ref.Name, fault.What)
	}
	var prefix *log.PrefixError
	if errors.As(err, &prefix) {
		return failf(exitFailed, fmt.Sprintf("the log may have taken its index back: look for an index-reset in `firn log entries`; `firn watch --since %d` begins anew", w.at[prefix.Key].Next), "watching: %w", err)
	}
	return logFailure("watching", err)
}

// indexKinds are what the keys of an index begin with (spec/index.md#keys).
var indexKinds = []string{"out", "drv", "real", "digest", "key", "operator"}

const watchable = "KEY is a store path, the id of a key or of an operator (64 hexadecimal digits), a file with a key, or out:PATH, drv:PATH, key:ID, operator:ID, digest:sha256:HEX or real:sha256:HEX!OUTPUT"

// indexKey reports whether a key may be in the index of a log.
func indexKey(s string) bool {
	kind, rest, _ := strings.Cut(s, ":")
	switch kind {
	case "out", "drv":
		p, err := nix.ParseStorePath(rest)
		return err == nil && p.IsDerivation() == (kind == "drv")
	case "real":
		hash, output, found := strings.Cut(rest, "!")
		return found && output != "" && indexKey("digest:"+hash)
	case "digest":
		hash, found := strings.CutPrefix(rest, "sha256:")
		return found && indexKey("key:"+hash)
	case "key", "operator":
		_, err := statement.ParseKeyID(rest)
		return err == nil
	}
	return false
}

// storePath is the store path that arg is, or that it links to.
func storePath(arg string) (nix.StorePath, error) {
	if to, err := os.Readlink(arg); err == nil {
		arg = to
	}
	return nix.ParseStorePath(arg)
}

// watchKeys returns the index keys that arguments mean, each once.
func (a *app) watchKeys(ctx context.Context, args []string) ([]string, error) {
	var keys []string
	for _, arg := range args {
		kind, _, _ := strings.Cut(arg, ":")
		id, notID := statement.ParseKeyID(arg)
		path, notPath := storePath(arg)
		switch {
		case indexKey(arg):
			keys = append(keys, arg)
		case kind != arg && slices.Contains(indexKinds, kind):
			return nil, failf(exitUsage, watchable, "%q is no key of an index", arg)
		case notID == nil: // of a key or of an operator: nobody can tell
			keys = append(keys, index.Key(id), index.Operator(statement.ID(id)))
		case notPath == nil && path.IsDerivation():
			keys = append(keys, "drv:"+path.String())
		case notPath == nil:
			keys = append(keys, "out:"+path.String())
		default:
			key, err := a.publicKey(ctx, arg)
			var wrong *cmdline.Failure
			if errors.As(err, &wrong) && wrong.Code == exitUsage {
				err = failf(exitUsage, watchable, "%w", wrong.Err)
			}
			if err != nil {
				return nil, err
			}
			keys = append(keys, index.Key(key.ID()))
		}
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	if len(keys) > log.MaxWatched {
		return nil, failf(exitUsage, "run several", "%d keys: %d can be watched at a time", len(keys), log.MaxWatched)
	}
	return keys, nil
}

// watching is a firn watch on its way. Fields are of the goroutine that runs it, but
// for live and news.
type watching struct {
	a    *app
	f    *watchFlags
	c    *log.Client
	keys []string
	ref  *verify.LogRef // how its answers are judged
	off  bool           // the policy says `completeness off`

	file  string // of what is below, "" for none
	at    map[string]watchedKey
	begin *uint64 // --since, until it was heeded

	live   atomic.Bool   // the log says what is new
	news   chan struct{} // something may be new, or live has changed
	began  bool          // there was an answer
	warned string        // the last warning, which is not repeated
	basis  string        // on whose word the last answer was whole, in words

	printed map[uint64]bool // entries that were printed of answers that nobody vouched for
}

func (w *watching) warn(err error) {
	if text := err.Error(); text != w.warned {
		w.warned = text
		fmt.Fprintf(w.a.Stderr, "firn: warning: %s\n", text)
	}
}

// run goes on until ctx ends, or there is no point in asking again.
func (w *watching) run(ctx context.Context) error {
	go w.listen(ctx)
	for tries := 0; ; {
		began := time.Now()
		news, pause := w.news, w.f.poll
		switch err := w.look(ctx); {
		case err == nil && w.live.Load():
			tries, pause = 0, watchAnyway
		case err == nil:
			tries = 0
		case ctx.Err() != nil || !passing(err):
			return err
		default:
			w.warn(err)
			tries++
			news, pause = nil, log.WatchPause(tries, rand.Float64())
		}
		select {
		case <-news:
			pause = watchApart - time.Since(began)
		case <-time.After(pause):
			continue
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// passing reports whether another try may succeed.
func passing(err error) bool {
	var quorum *policy.QuorumError
	return errors.Is(err, log.ErrUnreachable) || errors.Is(err, log.ErrStale) || errors.As(err, &quorum)
}

// listen waits for the log to say that there is something new.
func (w *watching) listen(ctx context.Context) {
	tell := func(live bool) {
		w.live.Store(live)
		select {
		case w.news <- struct{}{}:
		default: // it will look anyway
		}
	}
	for tries := 1; ctx.Err() == nil; tries++ {
		for _, err := range w.c.Watch(ctx, w.keys) {
			if err == nil {
				tries = 0
				tell(true)
				continue
			}
			if w.live.Load() {
				tell(false)
			}
			if errors.Is(err, log.ErrNoWatch) {
				return // it is asked from time to time
			}
		}
		select {
		case <-time.After(log.WatchPause(tries, rand.Float64())):
		case <-ctx.Done():
		}
	}
}

// look asks for what came since, prints it and remembers how far it was.
func (w *watching) look(ctx context.Context) error {
	if err := w.beginAt(ctx); err != nil {
		return err
	}
	q := log.Query{Keys: w.keys, Known: make(map[string]log.Known)}
	for _, k := range w.keys {
		q.Known[k] = w.at[k].known()
	}
	answers, err := w.c.Lookup(ctx, q)
	if err != nil {
		return err
	}
	trust, err := w.c.IndexTrust(ctx, w.ref.IndexPolicy)
	if err != nil {
		return err
	}
	off := w.off && answers.Incomplete == "" // or what the log itself leaves out would never be printed
	by := verify.Completeness(w.ref, off, answers, trust, time.Now())
	w.sayBasis(&by)
	if !w.began {
		w.began = true
		w.sayUnheard(answers)
	}
	found := make(map[uint64]*watchedEntry)
	for _, k := range w.keys {
		for _, e := range answers.Of(k) {
			if e.Index < w.at[k].Next || w.printed[e.Index] {
				continue
			}
			if found[e.Index] == nil {
				found[e.Index] = &watchedEntry{leaf: e.Leaf}
			}
			found[e.Index].keys = append(found[e.Index].keys, k)
		}
	}
	order := slices.Sorted(maps.Keys(found))
	for _, i := range order {
		if e := found[i]; w.f.json && e.leaf.Proof == nil { // it was read in the tail
			if e.leaf.Proof, err = w.c.ProveInclusion(ctx, answers.Checkpoint, i); err != nil {
				return err
			}
		}
	}
	for _, i := range order {
		if err := w.print(found[i], &by); err != nil {
			return err
		}
		w.printed[i] = true
	}
	if by.By == verify.BasisNone {
		return nil
	}
	return w.remember(answers)
}

// sayBasis says on whose word nothing is missing from answers, when that changes.
func (w *watching) sayBasis(by *verify.Complete) {
	words := by.Words()
	switch {
	case words == w.basis:
	case by.By == verify.BasisNone:
		fmt.Fprintf(w.a.Stderr, "firn: warning: entries may be missing here: %s\n", by.Why)
	default:
		fmt.Fprintf(w.a.Stderr, "firn: log %s: %s\n", w.ref.Name, words)
	}
	w.basis = words
}

// fault is evidence that is held against the index, nil if there is none.
func (w *watching) fault() *log.IndexFault {
	ctx, cancel := context.WithTimeout(context.Background(), watchAsks)
	defer cancel()
	trust, err := w.c.IndexTrust(ctx, w.ref.IndexPolicy)
	if err != nil || len(trust.Faults) == 0 {
		return nil
	}
	return &trust.Faults[0]
}

// sayUnheard names the keys under which there is nothing yet: they may be mistyped.
func (w *watching) sayUnheard(answers *log.Answers) {
	has := func(k string) bool { return answers.Heads[k].Count > 0 || len(answers.Of(k)) > 0 }
	for _, k := range w.keys {
		kind, id, _ := strings.Cut(k, ":")
		other := map[string]string{"key": "operator:" + id, "operator": "key:" + id}[kind]
		switch both := slices.Contains(w.keys, other); {
		case has(k) || both && (has(other) || kind == "operator"): // one line for an id
		case both:
			fmt.Fprintf(w.a.Stderr, "firn: warning: nothing is logged about %s yet\n", id)
		default:
			fmt.Fprintf(w.a.Stderr, "firn: warning: nothing is logged under %s yet\n", k)
		}
	}
}

// watchedEntry is an entry and the keys under which it was found.
type watchedEntry struct {
	leaf *log.Leaf
	keys []string
}

func (w *watching) print(e *watchedEntry, by *verify.Complete) error {
	if !w.f.json {
		return printEntry(w.a.Stdout, log.Entry{Index: e.leaf.Index, Leaf: e.leaf.Bytes}, false, false)
	}
	s := e.leaf.Statement
	basis := map[string]any{"by": by.By, "auditors": list(by.Auditors)}
	if by.Why != "" {
		basis["why"] = by.Why
	}
	return writeJSON(w.a.Stdout, map[string]any{
		"schema": 1, "origin": w.c.Origin(), "index": e.leaf.Index, "keys": e.keys, "leaf": e.leaf.Bytes, "id": s.ID().String(),
		"kind": s.Kind, "signer": s.Signer.String(), "subjects": subjects(s), "proof": string(e.leaf.Proof.Marshal()),
		"completeness": basis,
	})
}
