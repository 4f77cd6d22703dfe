package bincache

import (
	"crypto/ed25519"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/firn-log/firn/internal/nix"
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

func fileOf(p nix.StorePath) string { return p.HashPart() + narInfoSuffix }

func (f *fakeCache) lie(name string, h http.HandlerFunc) { f.lies[fileOf(path(f.t, name))] = h }

func (f *fakeCache) open(t testing.TB) *Client {
	t.Helper()
	c, err := Open(t.Context(), f.url, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
