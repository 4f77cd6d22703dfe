package cache

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/bincache/cachetest"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

func open(t testing.TB, f *cachetest.Cache) *bincache.Client {
	t.Helper()
	c, err := bincache.Open(t.Context(), f.URL, bincache.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// world is a log and a state to import into.
type world struct {
	t     testing.TB
	log   *logtest.Log
	to    *send.Log
	state string
	keys  Keys
}

func newWorld(t testing.TB) *world {
	l := logtest.New(t)
	w := &world{t: t, log: l, state: filepath.Join(t.TempDir(), "import"), keys: Keys{cachetest.Mine.Name: {cachetest.Mine.Public()}}}
	w.to = send.Open(&send.Config{}, send.Options{Client: l.Client("")})
	return w
}

// run imports what roots need.
func (w *world) run(c *bincache.Client, o Options, roots ...string) (*Summary, error) {
	w.t.Helper()
	var r Roots
	for _, name := range roots {
		r.Paths = append(r.Paths, cachetest.Path(w.t, name))
	}
	return w.runRoots(c, o, r)
}

func (w *world) runRoots(c *bincache.Client, o Options, r Roots) (*Summary, error) {
	w.t.Helper()
	st, err := OpenState(w.state)
	if err != nil {
		w.t.Fatal(err)
	}
	if o.Log == nil {
		o.Log = w.to
	}
	if o.Keys == nil {
		o.Keys = w.keys
	}
	sum, err := Import(w.t.Context(), c, st, r, o)
	return sum, errors.Join(err, st.Close())
}

// must is run that has to come to its end.
func (w *world) must(c *bincache.Client, o Options, roots ...string) *Summary {
	w.t.Helper()
	sum, err := w.run(c, o, roots...)
	if err != nil {
		w.t.Fatal(err)
	}
	return sum
}

// logged returns the statements in the log of a kind.
func (w *world) logged(kind statement.Kind) []*statement.Statement {
	w.t.Helper()
	client := w.log.Client("")
	cp, err := client.Checkpoint(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	var list []*statement.Statement
	for e, err := range client.Entries(context.Background(), cp, 0, cp.Size) {
		if err != nil {
			w.t.Fatal(err)
		}
		s, err := statement.Parse(e.Leaf)
		if err != nil {
			w.t.Fatal(err)
		}
		if s.Kind == kind {
			list = append(list, s)
		}
	}
	return list
}

// wantTroubles requires these problems, and no others.
func wantTroubles(t testing.TB, sum *Summary, want map[Trouble]string) {
	t.Helper()
	for _, p := range sum.Problems {
		text, ok := want[p.Trouble]
		if !ok || !strings.Contains(p.Path+": "+p.What, text) {
			t.Errorf("told of %s: %s: %s", p.Trouble, p.Path, p.What)
		}
	}
	for trouble, text := range want {
		if sum.Troubles[trouble] == 0 {
			t.Errorf("not told of %s: %s", trouble, text)
		}
	}
}
