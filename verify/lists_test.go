package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// counting is a log that has lists and counts the bytes that it was asked for.
type counting struct {
	listing
	asked map[nix.Hash]int
	bytes int64
	err   error // of what it does not have
}

func (l *counting) Blob(ctx context.Context, h nix.Hash, limit int64) ([]byte, error) {
	l.asked[h]++
	b, ok := l.lists[h]
	switch {
	case !ok:
		return nil, l.err
	case int64(len(b)) > limit:
		l.bytes += limit
		return nil, log.ErrTooLarge
	}
	l.bytes += int64(len(b))
	return b, nil
}

// manyRefs is a path with more references than fit in a leaf.
func manyRefs(t *testing.T, n int) *nix.PathInfo {
	t.Helper()
	info := *subject(t, "hello", "hello").Info
	for i := range 1500 {
		p, err := info.Path.Dir().FromBase(fmt.Sprintf("%032d-dependency-%d", i, n))
		if err != nil {
			t.Fatal(err)
		}
		info.References = append(info.References, p)
	}
	slices.SortFunc(info.References, nix.StorePath.Compare)
	return &info
}

// A log that names list after list makes a reader fetch no more than its bound.
func TestListsOfOthersAreReadWithinABound(t *testing.T) {
	cache := cacheKey("cache.example-1")
	known := func(statement.KeyID) (statement.PublicKey, bool) {
		key, err := statement.Ed25519Key(cache.Public().Key)
		return key, err == nil
	}
	l := &counting{asked: make(map[nix.Hash]int), err: log.ErrNotFound}
	l.lists = make(map[nix.Hash][]byte)
	var order []*checked
	var size int64
	for i := range 10 {
		info := manyRefs(t, i)
		for range 2 { // the same list is asked for once
			order = append(order, &checked{statement: cacheSig(t, cache, info)})
		}
		b := statement.PathsBlob(info.References)
		l.lists[statement.PathsDigest(info.References)] = b
		size = int64(len(b))
	}
	r := newReading(&LogRef{}, l, newMemory(), time.Now)
	if r.listLeft != 64<<20 {
		t.Errorf("%d bytes are allowed", r.listLeft)
	}
	r.listLeft = 3*size + size/2
	r.check(t.Context(), order, known)
	good := 0
	for _, c := range order {
		switch {
		case c.good && c.unknown == "":
			good++
		case c.unknown != tooManyLists:
			t.Errorf("good %v, unknown %q", c.good, c.unknown)
		}
	}
	if good != 6 || l.bytes > 3*size+size/2 {
		t.Errorf("%d good, %d bytes of lists of %d", good, l.bytes, size)
	}
	for h, n := range l.asked {
		if n > 1 {
			t.Errorf("%s was asked for %d times", h.Hex(), n)
		}
	}
	if why := r.unverified[keyID(t, cache)]; !strings.Contains(why, "64 MiB") {
		t.Errorf("unverified because %q", why)
	}

	// What is not there costs nothing; what is served in its place does.
	for _, tt := range []struct {
		err  error
		left int64
	}{{log.ErrNotFound, 64 << 20}, {log.ErrDeleted, 64 << 20}, {errors.New("something else was served"), 0}} {
		l := &counting{asked: make(map[nix.Hash]int), err: tt.err}
		r := newReading(&LogRef{}, l, newMemory(), time.Now)
		for _, c := range order {
			c.good, c.unknown = false, ""
		}
		r.check(t.Context(), order, known)
		if r.listLeft != tt.left {
			t.Errorf("%v leaves %d bytes", tt.err, r.listLeft)
		}
	}
}
