package follow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/store"
)

// fake is a store in memory that can be told to fail.
type fake struct {
	mu      sync.Mutex
	next    map[string]uint64
	roots   map[string][32]byte
	entries map[string][]store.Entry
	noted   map[string]store.LogView
	// fail is asked before each call; kept says that what it refuses is done all the same.
	fail func(call string) (err error, kept bool)
}

func newFake() *fake {
	return &fake{next: map[string]uint64{}, roots: map[string][32]byte{}, entries: map[string][]store.Entry{}, noted: map[string]store.LogView{}}
}

func (f *fake) before(call string) (error, bool) {
	if f.fail == nil {
		return nil, true
	}
	err, kept := f.fail(call)
	return err, kept || err == nil
}

func (f *fake) Progress(_ context.Context, origin string) (uint64, [32]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err, _ := f.before("progress")
	return f.next[origin], f.roots[origin], err
}

func (f *fake) Logs(context.Context) ([]store.LogView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err, _ := f.before("logs")
	return slices.Collect(maps.Values(f.noted)), err
}

func (f *fake) Keys() map[statement.KeyID]statement.PublicKey {
	r := keyRing{keys: make(map[statement.KeyID]statement.PublicKey)}
	for _, all := range f.entries {
		for _, e := range all {
			if e.Statement != nil {
				r.learn(e.Statement)
			}
		}
	}
	return r.keys
}

func (f *fake) Add(_ context.Context, origin string, entries []store.Entry) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err, kept := f.before("add")
	if !kept {
		return err
	}
	for _, e := range entries {
		if e.Index != f.next[origin] {
			return fmt.Errorf("entry %d comes, and %d is next", e.Index, f.next[origin])
		}
		f.next[origin]++
		f.entries[origin] = append(f.entries[origin], e)
	}
	return err
}

func (f *fake) Note(_ context.Context, v store.LogView, root [32]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err, kept := f.before("note")
	if kept {
		f.noted[v.Origin], f.roots[v.Origin] = v, root
	}
	return err
}

// dump is all that was added, and of it what was verified.
func (f *fake) dump() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, origin := range slices.Sorted(maps.Keys(f.next)) {
		fmt.Fprintf(&b, "%s %d\n", origin, f.next[origin])
		for _, e := range f.entries[origin] {
			id := "none"
			if e.Statement != nil {
				id = e.Statement.ID().String()
			}
			fmt.Fprintf(&b, "%d %s %v\n", e.Index, id, e.Verified)
		}
	}
	return b.String()
}

// world is a log with an operator who makes statements.
type world struct {
	t *testing.T
	*logtest.Log
	last statement.ID
	id   statement.ID
}

func newWorld(t *testing.T, opts ...logtest.Option) *world {
	w := &world{t: t, Log: logtest.New(t, opts...)}
	return w
}

func (w *world) people(body statement.Body) {
	w.t.Helper()
	var prev *statement.ID
	if !w.last.IsZero() {
		prev = &w.last
	}
	s, err := statement.Sign(w.t.Context(), logtest.Signer(w.t, "alice identity"), body, "", prev)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Add(s.Leaf())
	if w.id.IsZero() {
		w.id = s.ID()
	}
	w.last = s.ID()
}

// register makes an operator with a build key.
func (w *world) register() {
	w.t.Helper()
	w.people(&statement.Operator{Name: "alice", Contact: "alice@example.org", HomeLog: w.Origin(), Identity: logtest.Signer(w.t, "alice identity").PublicKey()})
	body, err := statement.ProveKey(w.t.Context(), logtest.Signer(w.t, "alice"), w.id, statement.RoleBuild)
	if err != nil {
		w.t.Fatal(err)
	}
	w.people(body)
}

// claims adds n statements by a key.
func (w *world) claims(who string, from, n int) {
	w.t.Helper()
	s := logtest.Signer(w.t, who)
	for i := from; i < from+n; i++ {
		w.Add(logtest.Leaf(w.t, s, logtest.Closure(fmt.Sprintf("%s-%d", who, i))))
	}
}

// spoiled is a claim whose signature does not verify.
func (w *world) spoiled(who string) []byte {
	leaf := logtest.Leaf(w.t, logtest.Signer(w.t, who), logtest.Closure("spoiled"))
	leaf[len(leaf)-1] ^= 1
	return leaf
}

func (w *world) log() Log {
	return Log{Origin: w.Origin(), URL: w.URL(), Policy: w.Policy()}
}

// folder is the log as a folder of files.
func (w *world) folder() Log {
	return Log{Origin: w.Origin(), URL: w.FileURL(), Policy: w.Policy()}
}

func follow(t *testing.T, dir string, store Store, logs ...Log) *Follower {
	t.Helper()
	f, err := New(t.Context(), Options{Logs: logs, Store: store, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func replay(t *testing.T, f *Follower) {
	t.Helper()
	if err := f.Replay(t.Context()); err != nil {
		t.Fatal(err)
	}
}

var errGone = errors.New("the database is gone")
