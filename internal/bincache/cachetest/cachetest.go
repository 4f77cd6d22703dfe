// Package cachetest has a binary cache for tests that can be told to lie.
package cachetest

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

// Secret is a Nix key, always the same under a name.
func Secret(name string) nix.SecretKey {
	seed := sha256.Sum256([]byte("seed of " + name))
	return nix.SecretKey{Name: name, Key: ed25519.NewKeyFromSeed(seed[:])}
}

// Mine is the key of a [Cache].
var Mine = Secret("cache.example-1")

// Path is the store path of a name, always the same.
func Path(t testing.TB, name string) nix.StorePath {
	t.Helper()
	h := sha256.Sum256([]byte(name))
	p, err := nix.DefaultStoreDir.FromBase(nix.EncodeBase32(h[:20]) + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A Cache is a binary cache over HTTP. Its fields may be changed while nobody asks it.
type Cache struct {
	URL    string
	Files  map[string][]byte // by path below URL
	Lies   map[string]http.HandlerFunc
	Before func(name string) // called for each request

	t     testing.TB
	mu    sync.Mutex // guards the maps while it is asked
	asked map[string]int
}

// New starts a cache that has nothing.
func New(t testing.TB) *Cache {
	c := &Cache{t: t, Files: map[string][]byte{"nix-cache-info": []byte("StoreDir: /nix/store\n")}, Lies: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	c.URL = srv.URL
	return c
}

// ServeHTTP implements http.Handler.
func (c *Cache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	c.mu.Lock()
	c.asked[name]++
	lie, b, before := c.Lies[name], c.Files[name], c.Before
	c.mu.Unlock()
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

// NarInfo is what a cache has about a path, signed by keys.
func NarInfo(t testing.TB, name string, refs []string, keys ...nix.SecretKey) *nix.NarInfo {
	t.Helper()
	n := &nix.NarInfo{URL: "nar/" + name + ".nar", Compression: "none"}
	n.Path, n.NarHash, n.NarSize = Path(t, name), sha256.Sum256([]byte("nar of "+name)), 1000
	for _, r := range refs {
		n.References = append(n.References, Path(t, r))
	}
	slices.SortFunc(n.References, nix.StorePath.Compare)
	for _, k := range keys {
		n.Sigs = append(n.Sigs, k.Sign(n.Fingerprint()))
	}
	return n
}

// FileOf is the name of the narinfo of a path.
func FileOf(p nix.StorePath) string { return p.HashPart() + ".narinfo" }

// Put makes the cache have a path.
func (c *Cache) Put(n *nix.NarInfo) { c.PutFile(FileOf(n.Path), n.Marshal()) }

// PutFile makes the cache have a file.
func (c *Cache) PutFile(name string, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Files[name] = b
}

// Add makes the cache have a path with references, signed by Mine.
func (c *Cache) Add(name string, refs ...string) { c.Put(NarInfo(c.t, name, refs, Mine)) }

// Lie makes h answer for the narinfo of a path; nil ends it.
func (c *Cache) Lie(name string, h http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Lies[FileOf(Path(c.t, name))] = h
}

// Requests returns how many narinfos were asked for since the last call.
func (c *Cache) Requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for name, times := range c.asked {
		if strings.HasSuffix(name, ".narinfo") {
			n += times
		}
	}
	clear(c.asked)
	return n
}
