package substituter

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify"
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

// No narinfo says how large a file is in a way that keeps its reader from coming to an end.
func TestFileSizesAtTheirBounds(t *testing.T) {
	nar := narOf(t, "text")
	for _, size := range []uint64{0, 1, uint64(len(nar)), chunk - 1, chunk, chunk + 1, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64 - 1, math.MaxUint64} {
		n := &nix.NarInfo{Compression: "none", FileSize: size}
		n.Path, n.NarHash, n.NarSize = pathOf(t, "app"), sha256.Sum256(nar), uint64(len(nar))
		_, err := copyChecked(io.Discard, bytes.NewReader(nar), n)
		if good := size == 0 || size == uint64(len(nar)); good != (err == nil) {
			t.Errorf("FileSize %d: %v", size, err)
		}
	}
}
