package federation_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// shelf serves blobs for a test log, whatever they are, and counts who asks.
type shelf struct {
	mu    sync.Mutex
	blobs map[string][]byte // by path
	asked map[string]int
}

func newShelf(l *logtest.Log) *shelf {
	s := &shelf{blobs: make(map[string][]byte), asked: make(map[string]int)}
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = func(path string, status int, body []byte) (int, []byte) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !strings.HasPrefix(path, "v1/blob/") {
				return status, body
			}
			s.asked[path]++
			if b, ok := s.blobs[path]; ok {
				return http.StatusOK, b
			}
			return http.StatusNotFound, nil
		}
	})
	return s
}

func (s *shelf) put(name, blob []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[log.BlobPath(sha256.Sum256(name))] = blob
}

func (s *shelf) askedFor(blob []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[log.BlobPath(sha256.Sum256(blob))]
}

// listed returns a leaf that names a list by its digest, and the list.
func listed(t *testing.T, n int) (leaf, list []byte) {
	t.Helper()
	list = fmt.Appendf(nil, "00000000000000000000000000000000-a%d\n", n)
	return closureOf(t, list), list
}

// closureOf returns a closure whose list is to be a blob.
func closureOf(t *testing.T, blob []byte) []byte {
	t.Helper()
	return logtest.Leaf(t, logtest.Signer(t, "a"), &statement.Closure{Name: "c", StoreDir: nix.DefaultStoreDir, Digest: sha256.Sum256(blob), Count: 1})
}

func (m *mirrored) pullAll() {
	m.t.Helper()
	if err := errors.Join(m.Pull(m.t.Context()), m.PullLists(m.t.Context())); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mirrored) hasList(blob []byte) bool {
	m.t.Helper()
	got, err := os.ReadFile(m.dir + "/" + log.BlobPath(sha256.Sum256(blob)))
	if err == nil && !bytes.Equal(got, blob) {
		m.t.Errorf("other bytes are kept: %q", got)
	}
	return err == nil
}

func TestMirrorHoldsTheListsThatEntriesName(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(1, 1))
	s := newShelf(l)
	var lists [][]byte
	for n := range 300 {
		leaf, list := listed(t, n)
		l.Add(leaf)
		s.put(list, list)
		lists = append(lists, list)
	}
	m := newMirror(t, newPeer(t, l.Policy(), l.URL()), l.URL())
	m.wants(federation.Larger, l.Publish())
	m.pullAll()
	for i, list := range lists {
		if !m.hasList(list) {
			t.Fatalf("list %d is missing", i)
		}
	}
	m.whole(l.Size())
	leaf, late := listed(t, 1000)
	l.Add(leaf)
	s.put(late, late)
	m.wants(federation.Larger, l.Publish())
	m.open() // started again
	m.pullAll()
	if !m.hasList(late) || s.askedFor(lists[0]) != 1 {
		t.Errorf("the new one is to be fetched, and the first was asked for %d times", s.askedFor(lists[0]))
	}
	// Another mirror is made of this one, and readers find the lists there.
	web := httptest.NewServer((&federation.Server{Hub: m.Hub, Mirrors: []*federation.Mirror{m.Mirror}}).Handler())
	defer web.Close()
	url := web.URL + "/mirror/" + federation.OriginHash(l.Origin()) + "/"
	again := newMirror(t, newPeer(t, l.Policy(), l.URL()), url)
	again.wants(federation.Larger, l.Publish())
	again.pullAll()
	if !again.hasList(late) || !again.hasList(lists[7]) {
		t.Error("the mirror of the mirror lacks a list")
	}
	c, err := log.NewClient(web.URL+"/down", l.Policy(), log.Options{Mirrors: []string{web.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := c.Blob(t.Context(), sha256.Sum256(late), 1<<20); err != nil || !bytes.Equal(b, late) {
		t.Errorf("%q, %v", b, err)
	}
	resp, err := http.Get(url + log.BlobPath(sha256.Sum256(late)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); !bytes.Equal(b, late) || resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Content-Type") != "application/octet-stream" ||
		!strings.Contains(resp.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

// A log may serve anything; a mirror keeps lists of paths with the right hash.
func TestMirrorKeepsNothingButLists(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(1, 1))
	s := newShelf(l)
	page, right, huge := []byte("<html>\n"), []byte("00000000000000000000000000000000-a\n"), bytes.Repeat([]byte("x"), statement.MaxBlob+1)
	for _, blob := range [][]byte{page, right, huge} {
		l.Add(closureOf(t, blob))
	}
	s.put(page, page)
	s.put(right, []byte("00000000000000000000000000000000-b\n"))
	s.put(huge, huge)
	m := newMirror(t, newPeer(t, l.Policy(), l.URL()), l.URL())
	m.wants(federation.Larger, l.Publish())
	m.pullAll()
	if m.hasList(page) || m.hasList(right) || m.hasList(huge) {
		t.Error("what is no list, or another one, is kept")
	}
	if n := m.counted("firn_peer_wanted_lists"); n != 3 {
		t.Errorf("%v lists are wanted, want 3", n)
	}
	m.whole(l.Size())
}

// What nobody has is asked for less and less often, and given up if the log need not
// have it.
func TestListsThatNobodyHasAreGivenUp(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(1, 1))
	s := newShelf(l)
	leaf, list := listed(t, 1)
	l.Add(leaf)
	p := newPeer(t, l.Policy(), l.URL())
	m := newMirror(t, p, l.URL())
	m.wants(federation.Larger, l.Publish())
	m.pullAll()
	m.pullAll()
	if n := s.askedFor(list); n != 1 {
		t.Errorf("asked %d times at once", n)
	}
	for range 20 {
		m.open() // a start asks again
		m.pullAll()
	}
	if n := s.askedFor(list); n != 12 {
		t.Errorf("asked %d times, want 12", n)
	}
	if n := m.counted("firn_peer_wanted_lists"); n != 0 {
		t.Errorf("%v lists are wanted", n)
	}
	// That of a cache-sig the log must have.
	sig := cacheSig(t)
	l.Add(sig.leaf)
	m.wants(federation.Larger, l.Publish())
	for range 20 {
		m.open()
		m.pullAll()
	}
	s.put(sig.list, sig.list)
	m.open()
	m.pullAll()
	if !m.hasList(sig.list) {
		t.Error("the list of a cache-sig was given up")
	}
}

type sigWithList struct{ leaf, list []byte }

func cacheSig(t *testing.T) sigWithList {
	t.Helper()
	var refs []nix.StorePath
	for i := range 1500 {
		p, err := nix.DefaultStoreDir.FromBase(fmt.Sprintf("%032d-dependency-of-some-length", i))
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, p)
	}
	key := nix.SecretKey{Name: "cache.example-1", Key: bytes.Repeat([]byte{1}, 64)}
	key.Key = logtest.New(t).Key()
	info := &nix.PathInfo{Path: refs[0], NarHash: nix.Hash{1}, NarSize: 1, References: refs}
	st, err := statement.NewCacheSig(info, key.Public(), key.Sign(info.Fingerprint()))
	if err != nil {
		t.Fatal(err)
	}
	return sigWithList{st.Leaf(), statement.PathsBlob(refs)}
}

// A list that is not there yet is asked for again, and not at once.
func TestMirrorComesBackForALateList(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(1, 1))
	s := newShelf(l)
	leaf, list := listed(t, 1)
	l.Add(leaf)
	p := newPeer(t, l.Policy(), l.URL())
	m := newMirror(t, p, l.URL())
	m.wants(federation.Larger, l.Publish())
	m.pullAll()
	s.put(list, list)
	if at, any := m.NextList(); !any || !at.After(time.Now()) {
		t.Errorf("it is asked for again at %v, %v", at, any)
	}
}
