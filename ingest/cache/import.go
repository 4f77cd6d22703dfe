package cache

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// Roots are the paths whose closures are imported.
type Roots struct {
	Paths []nix.StorePath
	All   bool // everything that the cache has; only for one in a folder
}

// Options are how a cache is imported.
type Options struct {
	// Keys are those whose signatures are sent; without one there is nothing to do.
	Keys Keys
	// Log gets the statements.
	Log *send.Log
	// Jobs is how many narinfos are asked for at once; 0 is [DefaultJobs].
	Jobs int
	// Recheck asks for paths again that an earlier run has brought.
	Recheck bool
	// CheckNars reads the NAR of every path that is asked for, and compares its
	// hash. A NAR that differs is a [Lie]; what was signed is sent nevertheless.
	CheckNars bool
	// MissingRoots makes a root that the cache does not have [Missing], as a
	// reference is, and no failure.
	MissingRoots bool
	// Observer, if not nil, signs an observed statement for each path.
	Observer statement.Signer
	// OnProblem, if not nil, is told of each problem when it is met, by one
	// goroutine at a time.
	OnProblem func(Problem)
	// Progress, if not nil, is told how far the run is, by one goroutine at a time.
	Progress func(s *Summary, waiting int)

	mostHearsay, mostNames int // of tests; 0 is maxHearsay and maxNames
}

// DefaultJobs is how many narinfos are asked for at once.
const DefaultJobs = 16

// A RefusedError says that the log takes statements by none of the listed keys.
type RefusedError struct{ Code, Message string }

func (e *RefusedError) Error() string {
	return "the log takes no statement by the listed keys: " + e.Code + ": " + e.Message
}

// Import brings the signatures by listed keys about all paths in the closures of
// roots into a log (spec/import.md#a-run). The summary is never nil and says what was
// done, also beside an error: then the run could not be finished, and the next one
// with the same state goes on from there. What goes wrong with single paths is in
// the summary and is no error.
//
// Errors: a *bincache.StopError of the cache, a *RefusedError, those of [send.Log.SendAll],
// those of the state, and the cause of ctx.
func Import(ctx context.Context, c *bincache.Client, st *State, roots Roots, o Options) (*Summary, error) {
	r := &run{c: c, st: st, o: o, sum: newSummary(c.URL()), cache: st.cache(c.URL(), c.StoreDir()), refused: make(map[keyRef]bool), visited: make(map[uint64]bool), names: make(map[string]bool)}
	if r.o.mostHearsay == 0 {
		r.o.mostHearsay, r.o.mostNames = maxHearsay, maxNames
	}
	if r.o.Jobs <= 0 {
		r.o.Jobs = DefaultJobs
	}
	err := r.plan(roots)
	if err == nil {
		err = r.work(ctx)
	}
	if err2 := st.Sync(); err == nil {
		err = err2
	}
	if err == nil {
		err = r.prove(ctx)
	}
	r.sum.Contradictions = st.contradictions()
	return r.sum, err
}

// run is one call of Import.
type run struct {
	c     *bincache.Client
	st    *State
	o     Options
	cache uint64

	// The following belong to the goroutine of walk.
	stack   []task
	visited map[uint64]bool
	parts   map[string]bool // hash parts that are roots, if the cache was listed
	names   map[string]bool // of keys that are not listed
	hearsay int             // paths that were new, and named without a signature by a listed key

	mu      sync.Mutex // guards what follows
	stop    context.CancelCauseFunc
	sum     *Summary
	refused map[keyRef]bool // keys by which the log takes nothing
	last    *RefusedError
	newest  *sent
	at      uint64 // index of newest
	synced  time.Time
}

// task is a path to look at.
type task struct {
	path  uint64 // number, if named
	named bool
	part  string // hash part, if not named
	root  bool
	from  uint64 // a path that refers to it, if not root
}

// answer is what became of a task that was asked for.
type answer struct {
	task
	info *nix.NarInfo
	verified
	nar error // of checking it
	err error
}

// sent is a statement on its way.
type sent struct {
	of    *pending
	claim *claim // nil for an observed statement
	body  *statement.Statement
	blobs [][]byte // that it names
	as    signed
}

// pending is a path of which something is on its way.
type pending struct {
	path uint64
	info pathInfo
	left int  // statements without an answer
	good bool // nothing was refused, and nothing was wrong
}

// plan puts the roots on the stack, the first on top.
func (r *run) plan(roots Roots) error {
	if roots.All {
		parts, err := r.c.HashParts()
		if err != nil {
			return err
		}
		known := r.st.hashParts(r.cache)
		r.parts = make(map[string]bool, len(parts))
		for i := len(parts) - 1; i >= 0; i-- {
			path, ok := known[parts[i]]
			if ok {
				r.visited[path] = true
			}
			r.parts[parts[i]] = true
			r.stack = append(r.stack, task{path: path, named: ok, part: parts[i], root: true})
		}
	}
	for i := len(roots.Paths) - 1; i >= 0; i-- {
		p := roots.Paths[i]
		if p.Dir() != r.c.StoreDir() {
			return fmt.Errorf("%s is not in %s, which is the store of %s", p, r.c.StoreDir(), r.c.URL())
		}
		if n := r.st.path(p); !r.visited[n] && !r.parts[p.HashPart()] {
			r.visited[n] = true
			r.stack = append(r.stack, task{path: n, named: true, root: true})
		}
	}
	return nil
}

func (r *run) work(ctx context.Context) error {
	stopped, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.stop = stop
	g, ctx := errgroup.WithContext(stopped)
	tasks, answers, items := make(chan task), make(chan answer, r.o.Jobs), make(chan send.Item, 1000)
	for range r.o.Jobs {
		g.Go(func() error {
			for t := range tasks {
				select {
				case answers <- r.ask(ctx, t):
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			return nil
		})
	}
	g.Go(func() error { return r.o.Log.SendAll(ctx, items, 0, r.report) })
	g.Go(func() error {
		defer close(items)
		defer close(tasks)
		return r.walk(ctx, tasks, answers, items)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(stopped) // by the last answer of the log
}
