package cache

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// secret is a Nix key of tests.
func secret(name string) nix.SecretKey {
	seed := sha256.Sum256([]byte("seed of " + name))
	return nix.SecretKey{Name: name, Key: ed25519.NewKeyFromSeed(seed[:])}
}

var mine = secret("cache.example-1")

// path is the store path of a name, always the same.
func path(t testing.TB, name string) nix.StorePath {
	t.Helper()
	h := sha256.Sum256([]byte(name))
	p, err := nix.DefaultStoreDir.FromBase(nix.EncodeBase32(h[:20]) + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fakeCache is a binary cache over HTTP that can be told to lie.
type fakeCache struct {
	t   testing.TB
	url string

	mu     sync.Mutex
	files  map[string][]byte
	lies   map[string]http.HandlerFunc // by name of a file
	asked  map[string]int
	before func(name string) // called for each request
}

func newFakeCache(t testing.TB) *fakeCache {
	f := &fakeCache{t: t, files: map[string][]byte{"nix-cache-info": []byte("StoreDir: /nix/store\n")}, lies: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

func (f *fakeCache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	f.mu.Lock()
	f.asked[name]++
	lie, b, before := f.lies[name], f.files[name], f.before
	f.mu.Unlock()
	if before != nil {
		before(name)
	}
	switch {
	case lie != nil:
		lie(w, r)
	case b == nil:
		http.NotFound(w, r)
	default:
		w.Write(b)
	}
}

// narInfo is what a cache has about a path, signed by keys.
func narInfo(t testing.TB, name string, refs []string, keys ...nix.SecretKey) *nix.NarInfo {
	t.Helper()
	n := &nix.NarInfo{URL: "nar/" + name + ".nar", Compression: "none"}
	n.Path, n.NarHash, n.NarSize = path(t, name), sha256.Sum256([]byte("nar of "+name)), 1000
	for _, r := range refs {
		n.References = append(n.References, path(t, r))
	}
	slices.SortFunc(n.References, nix.StorePath.Compare)
	for _, k := range keys {
		n.Sigs = append(n.Sigs, k.Sign(n.Fingerprint()))
	}
	return n
}

func fileOf(p nix.StorePath) string { return p.HashPart() + ".narinfo" }

// put makes the cache have a path.
func (f *fakeCache) put(n *nix.NarInfo) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[fileOf(n.Path)] = n.Marshal()
}

// add makes the cache have a path with references, signed by mine.
func (f *fakeCache) add(name string, refs ...string) { f.put(narInfo(f.t, name, refs, mine)) }

func (f *fakeCache) lie(name string, h http.HandlerFunc) { f.lies[fileOf(path(f.t, name))] = h }

// requests returns how many narinfos were asked for since the last call.
func (f *fakeCache) requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for name, times := range f.asked {
		if strings.HasSuffix(name, ".narinfo") {
			n += times
		}
	}
	clear(f.asked)
	return n
}

func (f *fakeCache) open(t testing.TB) *bincache.Client {
	t.Helper()
	c, err := bincache.Open(t.Context(), f.url, bincache.ClientOptions{})
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
	w := &world{t: t, log: l, state: filepath.Join(t.TempDir(), "import"), keys: Keys{mine.Name: {mine.Public()}}}
	w.to = send.Open(&send.Config{}, send.Options{Client: l.Client("")})
	return w
}

// run imports what roots need.
func (w *world) run(c *bincache.Client, o Options, roots ...string) (*Summary, error) {
	w.t.Helper()
	var r Roots
	for _, name := range roots {
		r.Paths = append(r.Paths, path(w.t, name))
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
