package substituter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/verify"
	"github.com/firn-log/firn/verify/closure"
)

// A policy that comes while a path is being asked for decides about it: the request began before and
// ends after.
func TestPolicyThatComesWhileAPathIsAskedFor(t *testing.T) {
	for name, change := range map[string]struct {
		before, after string
		status        int
	}{
		"stricter": {allowRule, refuseRule, http.StatusInternalServerError},
		"milder":   {refuseRule, allowRule, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			n := info(t, "app", "text")
			w.caches[0].has(n, "text", cacheKey)
			w.start(change.before)
			done := false
			w.caches[0].before = func(file string) {
				if done || !strings.HasSuffix(file, ".narinfo") {
					return
				}
				done = true
				pol, text := w.policy(change.after)
				if err := w.s.SetPolicy(pol, text); err != nil {
					t.Error(err)
				}
			}
			w.narInfo(n.Path, change.status)
		})
	}
}

// A key that the policy lists no more signs nothing in, also where a decision rested on it.
func TestKeyThatIsTakenOffThePolicy(t *testing.T) {
	w := newWorld(t)
	n := info(t, "app", "text")
	w.caches[0].has(n, "text", cacheKey)
	w.start(allowRule)
	w.served(n)
	_, text := w.policy(allowRule)
	next := bytes.Replace(text, []byte("key "+cacheKey.Public().String()+" public"), []byte("key "+secret("cache.example-2").Public().String()+" public"), 1)
	pol, err := verify.ParsePolicy("firn.policy", next, func(string) ([]byte, error) { return []byte(w.log.PolicyText()), nil })
	if err != nil || bytes.Equal(next, text) {
		t.Fatalf("%v\n%s", err, next)
	}
	if err := w.s.SetPolicy(pol, next); err != nil {
		t.Fatal(err)
	}
	w.refused(n.Path, http.StatusInternalServerError, "only with a signature by a key that the policy lists")
	// And the one that is listed now does.
	w.caches[0].has(n, "text", secret("cache.example-2"))
	w.s.store.drop(hashOf(t, n.Path))
	w.served(n)
}

// derivers is the database of a store with derivations and nothing else.
type derivers struct {
	nixdb.Source // what is not overridden panics
	of           map[nix.StorePath][]nix.StorePath
}

func (d derivers) ValidDerivers(_ context.Context, p nix.StorePath) ([]nix.StorePath, error) {
	return d.of[p], nil
}

// A cache that leaves the content address of a source out gains nothing by it: what its derivation
// fixes counts, and Nix gets it.
func TestFixedContentWithoutItsAddress(t *testing.T) {
	const rules = "group two 2 a b c\nrule sources fod need nothing else allow\nrule default need two else refuse\n"
	w := newWorld(t)
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "nix/store"), 0o755); err != nil {
		t.Fatal(err)
	}
	db := derivers{of: make(map[nix.StorePath][]nix.StorePath)}
	w.o.Store = &closure.Store{Source: db, Root: root}
	fixed := func(method nix.Method, hash nix.Hash) (nix.StorePath, string) {
		ca := nix.ContentAddress{Method: method, Algo: "sha256", Hash: hash[:]}
		p, err := nix.FixedOutputPath(storeDir, "source", ca, nix.Refs{})
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf(`Derive([("out","%s","%s","%s")],[],[],"x86_64-linux","/bin/sh",[],[("out","%[1]s")])`, p, ca.MethodAlgo(), hash.Hex())
		d, err := nix.ParseDerivation(storeDir, "source", []byte(text))
		if err == nil {
			err = os.WriteFile(filepath.Join(root, d.DrvPath().String()), []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		db.of[p] = []nix.StorePath{d.DrvPath()}
		return p, ca.String()
	}
	tree, file := info(t, "source", "text"), info(t, "source", "text")
	var treeCA, fileCA string
	tree.Path, treeCA = fixed(nix.Recursive, tree.NarHash)
	file.Path, fileCA = fixed(nix.Flat, sha256.Sum256([]byte("text")))
	poison := info(t, "source", "poison")
	poison.Path = tree.Path
	w.caches[0].has(poison, "poison", cacheKey)
	w.caches[0].has(file, "text", cacheKey)
	w.start(rules)
	w.refused(poison.Path, http.StatusInternalServerError, "2 of 3 needed")
	if got := w.served(file); got.CA != fileCA {
		t.Errorf("a file is served with the address %q, so that Nix does not check it", got.CA)
	}
	w.caches[0].has(tree, "text", cacheKey)
	w.s.store.drop(hashOf(t, tree.Path))
	if got := w.served(tree); got.CA != treeCA {
		t.Errorf("a tree is served with the address %q", got.CA)
	}
	w.later(w.s.rules.Load().pol.DecisionTTL)
	if got := w.served(file); got.CA != fileCA {
		t.Errorf("judged again, it is served with the address %q", got.CA)
	}
}

// An upstream that keeps silent, or packs NARs as nobody here can unpack them, does not stand before
// one that has the path.
func TestUpstreamThatKeepsSilent(t *testing.T) {
	for name, silent := range map[string]string{"from the beginning": "nix-cache-info", "about a path": ".narinfo", "not at all": "nothing"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.caches = append(w.caches, newCache(t))
			n := info(t, "app", "text")
			w.caches[1].has(n, "text", cacheKey)
			packed := *n
			packed.Compression = "br"
			w.caches[0].set(n.Path.HashPart()+".narinfo", packed.Marshal())
			w.builds("a b", n)
			end := make(chan struct{})
			t.Cleanup(func() { close(end) })
			w.caches[0].before = func(file string) {
				if strings.HasSuffix(file, silent) {
					<-end
				}
			}
			w.o.upstreamPatience = 2 * time.Second
			w.start(refuseRule)
			w.served(n)
			if d := w.s.store.get(hashOf(t, n.Path)); d == nil || d.upstream != w.caches[1].url {
				t.Errorf("decided: %+v", d)
			}
		})
	}
}
