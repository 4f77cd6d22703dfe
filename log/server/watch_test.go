package server

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/server/sample"
)

// watchLog opens a stream about keys, and returns a function that reads its next event.
func watchLog(t *testing.T, url string, keys ...string) (next func() *watched) {
	t.Helper()
	resp := want(http.Get(url + "/v1/watch?key=" + strings.Join(keys, "&key=")))(t)
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("status %d, %v", resp.StatusCode, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	return func() *watched {
		t.Helper()
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				w := new(watched)
				if err := json.Unmarshal([]byte(data), w); err != nil {
					t.Fatal(err)
				}
				return w
			}
		}
		return nil // it ended
	}
}

// A stream outlives the deadlines of the server, says what lookups then find, and
// ends when the log stops.
func TestWatchersHearOfWhatIsAdded(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	l.settle()
	srv := httptest.NewUnstartedServer(l.Handler())
	srv.Config.ReadTimeout, srv.Config.WriteTimeout = 20*time.Millisecond, 20*time.Millisecond
	srv.Start()
	defer srv.Close()
	out := index.Out(sample.Build(1).Outputs[0].Path)
	key := "key:" + o.Build.PublicKey().ID().String()
	next := watchLog(t, srv.URL, out, key)
	w := next()
	if w == nil || w.Schema != 1 || w.Keys[out] != 0 || w.Keys[key] != 1 || w.Revision == 0 || w.Revision > w.Size {
		t.Fatalf("at first: %+v", w)
	}
	l.must(o.Builds(5, 6)...)
	if w = next(); w == nil || w.Keys[out] != 0 || w.Keys[key] != 2 {
		t.Fatalf("after another build: %+v", w)
	}
	l.must(o.Builds(1, 2)...)
	if w = next(); w == nil || w.Keys[out] != 1 || w.Keys[key] != 3 {
		t.Fatalf("after the build: %+v", w)
	}
	if _, a := l.lookupNow(fmt.Sprintf(`{"keys":[{"key":%q}]}`, out)); len(a.Lists[0].Items) != 1 {
		t.Error("a lookup does not find it")
	}
	l.watches.stop()
	if w := next(); w != nil {
		t.Errorf("after the end: %+v", w)
	}
}

func TestWatchingIsBounded(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	l.settle()
	for name, query := range map[string]string{
		"no keys": "", "too many": "?" + strings.Repeat("key=a&", maxWatchedKeys+1), "a long one": "?key=" + strings.Repeat("a", 600),
	} {
		if status, _, body := l.get("/v1/watch" + query); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	r := requestFrom("192.0.2.1:1", "/v1/watch", "", nil)
	var taken []func()
	for range watchersOfOne {
		taken = append(taken, want(l.watches.take(r))(t))
	}
	if _, err := l.watches.take(r); err == nil {
		t.Error("one address has more than its share")
	}
	other := requestFrom("192.0.2.2:1", "/v1/watch", "", nil)
	want(l.watches.take(other))(t)()
	for range maxWatchers - watchersOfOne {
		l.watches.slots <- struct{}{}
	}
	if _, err := l.watches.take(other); err == nil {
		t.Error("there are more than may be")
	}
	taken[0]()
	want(l.watches.take(other))(t)()
}

// What an auditor asks when it looks for a difference.
func TestOlderRevisionsAreAnswered(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	var last uint64
	for i := range 6 {
		l.must(o.Builds(3*i, 3*i+3)...)
		last = l.settle()
	}
	kh := index.KeyHash("key:" + o.Build.PublicKey().ID().String())
	sizes := 0
	for _, r := range l.stated(last) {
		sizes++
		status, _, b := l.get(fmt.Sprintf("/v1/index/%d/trie?prefix=%064d&levels=12", r.Size, 0))
		n, rest, err := index.ParsePruned(b)
		if status != http.StatusOK || err != nil || len(rest) > 0 || n.Hash() != r.Root {
			t.Errorf("size %d: %d, %v, root %v, want %x", r.Size, status, err, n.Hash(), r.Root)
			continue
		}
		head, ok, err := n.Find(kh)
		if err != nil {
			t.Errorf("size %d: %v", r.Size, err)
		}
		status, _, b = l.get(fmt.Sprintf("/v1/index/%d/list?key=%s&from=1", r.Size, hex.EncodeToString(kh[:])))
		if !ok {
			if status != http.StatusNotFound {
				t.Errorf("size %d: a list that is not there: %d", r.Size, status)
			}
			continue
		}
		list, rest, err := index.ParseList(b)
		if status != http.StatusOK || err != nil || len(rest) > 0 || list.Prefix.Count() != 1 || list.Check(head, r.Size) != nil {
			t.Errorf("size %d: %d, %v, %v", r.Size, status, err, list.Check(head, r.Size))
		}
	}
	if sizes < 6 {
		t.Errorf("%d revisions", sizes)
	}
	zero := strings.Repeat("0", 64)
	for path, want := range map[string]int{
		"/v1/index/1000000/trie?levels=1&prefix=" + zero:                       http.StatusNotFound,
		"/v1/index/x/trie?levels=1&prefix=" + zero:                             http.StatusNotFound,
		"/v1/index/01/trie?levels=1&prefix=" + zero:                            http.StatusNotFound,
		fmt.Sprintf("/v1/index/%d/trie?levels=13&prefix=%s", 1, zero):          http.StatusBadRequest,
		fmt.Sprintf("/v1/index/%d/trie?depth=257&prefix=%s", 1, zero):          http.StatusBadRequest,
		fmt.Sprintf("/v1/index/%d/trie?prefix=%s", 1, strings.Repeat("1", 64)): http.StatusBadRequest,
		fmt.Sprintf("/v1/index/%d/list?key=%s", 1, strings.Repeat("A", 64)):    http.StatusBadRequest,
		fmt.Sprintf("/v1/index/%d/list?from=-1&key=%s", 1, zero):               http.StatusBadRequest,
	} {
		if status, _, body := l.get(path); status != want {
			t.Errorf("%s: %d %s, want %d", path, status, body, want)
		}
	}
	// One older state is computed at a time, for whoever asks.
	at, _, _ := l.mapper.answer()
	l.older <- struct{}{}
	for _, r := range l.stated(last) {
		status, header, _ := l.get(fmt.Sprintf("/v1/index/%d/trie?prefix=%s", r.Size, zero))
		if r.Size == at.revision.size && status != http.StatusOK || r.Size != at.revision.size && (status != http.StatusServiceUnavailable || header.Get("Retry-After") == "") {
			t.Errorf("size %d while another is computed: %d", r.Size, status)
		}
	}
	<-l.older
}

// A question for a prefix is answered with all that begins with it.
func TestPrefixesShowEverythingBelow(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	l.operator("alice")
	o := l.operator("bob")
	l.must(o.Builds(0, 600)...)
	l.settle()
	for bits := range 12 {
		kh := index.KeyHash(index.Out(sample.Build(7).Outputs[0].Path))
		for i := bits; i < 256; i++ {
			kh[i/8] &^= 0x80 >> (i % 8)
		}
		body := fmt.Sprintf(`{"prefix":{"bits":%d,"prefix":"%s"},"signers":[],"tail":true}`, bits, hex.EncodeToString(kh[:]))
		status, a := l.lookupNow(body)
		if bits == 0 {
			if status != http.StatusBadRequest {
				t.Errorf("all %d keys: %d", 1000, status)
			}
			continue
		}
		if status != http.StatusOK {
			continue // more than 1,024
		}
		keys, err := a.Trie.FindPrefix(bits, kh)
		if err != nil || len(keys) != len(a.Lists) || len(keys) == 0 || a.Tail == nil {
			t.Fatalf("%d bits: %d keys, %d lists, %v", bits, len(keys), len(a.Lists), err)
		}
		for i, k := range keys {
			if err := a.Lists[i].Check(k.Head, 1<<40); err != nil || index.CommonBits(k.Key, kh) < bits {
				t.Errorf("%d bits: list %d: %v", bits, i, err)
			}
		}
	}
	var none index.Hash
	for i := range none {
		none[i] = 0xa5
	}
	_, a := l.lookupNow(fmt.Sprintf(`{"prefix":{"bits":256,"prefix":"%s"}}`, hex.EncodeToString(none[:])))
	if keys, err := a.Trie.FindPrefix(256, none); err != nil || len(keys) != 0 || len(a.Lists) != 0 {
		t.Errorf("nothing: %v, %v, %d lists", keys, err, len(a.Lists))
	}
}
