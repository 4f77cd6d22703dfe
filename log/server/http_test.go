package server

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/statement"
)

func TestTilesEndAtTheCheckpoint(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	l.must(o.Builds(0, 300)...)
	size := int(l.settle()) // 303 and revisions
	for path, want := range map[string]int{
		"/tile/0/000":       http.StatusOK,
		"/tile/entries/000": http.StatusOK,
		"/tile/0/000.p/5":   http.StatusOK, // from the full tile, if it was collected
		fmt.Sprintf("/tile/0/001.p/%d", size-256):       http.StatusOK,
		fmt.Sprintf("/tile/entries/001.p/%d", size-256): http.StatusOK,
		fmt.Sprintf("/tile/0/001.p/%d", size-256+1):     http.StatusNotFound,
		"/tile/0/001":                 http.StatusNotFound,
		"/tile/1/000.p/1":             http.StatusOK,
		"/tile/1/000":                 http.StatusNotFound,
		"/tile/0/000.p/0":             http.StatusNotFound,
		"/tile/0/000.p/256":           http.StatusNotFound,
		"/tile/0/000.p/05":            http.StatusNotFound,
		"/tile/0/0":                   http.StatusNotFound,
		"/tile/0/x000/000":            http.StatusNotFound,
		"/tile/00/000":                http.StatusNotFound,
		"/tile/64/000":                http.StatusNotFound,
		"/tile/-1/000":                http.StatusNotFound,
		"/tile/entries/../../log.key": http.StatusNotFound,
		"/tile/entries/x999/x999/x999/x999/x999/x999/999": http.StatusNotFound,
		"/log.key":       http.StatusNotFound,
		"/v1/statements": http.StatusMethodNotAllowed,
	} {
		status, header, body := l.get(path)
		if status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
		if want != http.StatusOK {
			continue
		}
		if !strings.Contains(header.Get("Cache-Control"), "immutable") || header.Get("ETag") == "" ||
			header.Get("Content-Type") != "application/octet-stream" || header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: headers %v", path, header)
		}
		if w := 256; strings.HasPrefix(path, "/tile/0/") {
			fmt.Sscanf(path[strings.LastIndex(path, "/")+1:], "%d", &w)
			if !strings.Contains(path, ".p/") {
				w = 256
			}
			if len(body) != 32*w {
				t.Errorf("%s: %d bytes, want %d", path, len(body), 32*w)
			}
		}
	}
}

func TestCheckpointAndConditionalRequests(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	l.settle()
	for _, path := range []string{"/checkpoint", "/tile/0/000.p/1"} {
		_, header, _ := l.get(path)
		req := want(http.NewRequest(http.MethodGet, l.http.URL+path, nil))(t)
		req.Header.Set("If-None-Match", header.Get("ETag"))
		resp := want(http.DefaultClient.Do(req))(t)
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotModified {
			t.Errorf("%s: %d, want 304", path, resp.StatusCode)
		}
	}
	_, header, _ := l.get("/checkpoint")
	if header.Get("Content-Type") != "text/plain; charset=utf-8" || !strings.Contains(header.Get("Cache-Control"), "max-age=1") {
		t.Errorf("headers %v", header)
	}
}

func TestProofIsATlogProof(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	o := l.operator("alice")
	leaf := o.Builds(0, 1)[0]
	a := l.must(leaf)
	status, _, body := l.get("/v1/proof?id=" + a.Results[0].ID)
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	top, cp, _ := strings.Cut(string(body), "\n\n")
	lines := strings.Split(top, "\n")
	if lines[0] != "c2sp.org/tlog-proof@v1" || lines[1] != fmt.Sprintf("index %d", *a.Results[0].Index) {
		t.Errorf("proof begins %q", lines[:2])
	}
	var proof []tlog.Hash
	for _, s := range lines[2:] {
		proof = append(proof, tlog.Hash(want(base64.StdEncoding.DecodeString(s))(t)))
	}
	head := want(policy.ParseCheckpoint(cp[:strings.Index(cp, "\n\n")+1]))(t)
	if err := tlog.CheckRecord(proof, int64(head.Size), head.Root, int64(*a.Results[0].Index), tlog.RecordHash(leaf)); err != nil {
		t.Error(err)
	}
	for query, want := range map[string]int{
		"?id=" + strings.Repeat("ab", 32):        http.StatusNotFound,
		"?id=xyz":                                http.StatusBadRequest,
		"":                                       http.StatusBadRequest,
		"?id=" + a.Results[0].ID + "&wait=1000h": http.StatusBadRequest,
	} {
		if status, _, _ := l.get("/v1/proof" + query); status != want {
			t.Errorf("%s: %d, want %d", query, status, want)
		}
	}
}

// lookupNow posts a lookup. The answer is nil if the status is not 200.
func (l *testLog) lookupNow(body string) (int, *lookup.Answer) {
	l.t.Helper()
	resp := want(http.Post(l.http.URL+"/v1/lookup", "application/json", strings.NewReader(body)))(l.t)
	defer resp.Body.Close()
	b := want(io.ReadAll(resp.Body))(l.t)
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, nil
	}
	if got := resp.Header.Get("Content-Type"); got != lookup.ContentType {
		l.t.Errorf("content type %q", got)
	}
	a := want(lookup.Parse(b))(l.t)
	l.checkAnswer(a)
	return resp.StatusCode, a
}

// checkAnswer verifies that every entry of an answer is in the tree of its
// checkpoint, and every list in the trie of its revision.
func (l *testLog) checkAnswer(a *lookup.Answer) {
	l.t.Helper()
	head := want(policy.ParseCheckpoint(string(a.Note[:bytes.Index(a.Note, []byte("\n\n"))+1])))(l.t)
	for _, b := range append([]lookup.Body{a.Revision}, a.Bodies...) {
		if err := tlog.CheckRecord(b.Inclusion, int64(head.Size), head.Root, int64(b.Index), tlog.RecordHash(b.Leaf)); err != nil {
			l.t.Errorf("entry %d: %v", b.Index, err)
		}
	}
	rev := want(statement.Parse(a.Revision.Leaf))(l.t).Body.(*statement.Revision)
	if a.Trie.Hash() != rev.Root || rev.Size > a.Revision.Index {
		l.t.Errorf("a trie with root %v and the revision %+v at %d", a.Trie.Hash(), rev, a.Revision.Index)
	}
}

func TestLookupAnswersInTheOrderAsked(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	alice, bob := l.operator("alice"), l.operator("bob")
	both := sample.Build(1)
	a := l.must(alice.Claim(both), bob.Claim(sample.Again(1, 5)), alice.Claim(sample.Build(2)))
	l.settle()
	out := index.Out(both.Outputs[0].Path)
	drv := index.Drv(both.DrvPath)
	aliceKey := alice.Build.PublicKey().ID().String()
	keys := []string{out, "out:/nix/store/nothing", drv, "key:" + aliceKey}
	q := fmt.Sprintf(`{"keys":[{"key":%q},{"key":%q},{"key":%q},{"key":%q}],"signers":[%q]}`, keys[0], keys[1], keys[2], keys[3], aliceKey)
	status, got := l.lookupNow(q)
	if status != http.StatusOK || len(got.Lists) != 4 {
		t.Fatalf("status %d, %+v", status, got)
	}
	i, j, k := *a.Results[0].Index, *a.Results[1].Index, *a.Results[2].Index
	for n, want := range []int{2, 0, 2, 3} { // the third is the key-add that names alice's key
		list := got.Lists[n]
		if len(list.Items) != want || list.Present != (want > 0) {
			t.Errorf("answer %d (%s): %+v, want %d items", n, keys[n], list, want)
		}
		head, present, err := got.Trie.Find(index.KeyHash(keys[n]))
		if err != nil || present != list.Present {
			t.Errorf("%s: %v, %v", keys[n], present, err)
		}
		if err := list.Check(head, 1<<40); present && err != nil {
			t.Errorf("%s: %v", keys[n], err)
		}
	}
	if it := got.Lists[0].Items; it[0].Index != i || it[1].Index != j || it[1].Signer != bob.Build.PublicKey().ID() {
		t.Errorf("items %v, want %d and %d", it, i, j)
	}
	if len(got.Bodies) != 2 || got.Bodies[0].Index != i || got.Bodies[1].Index != k || got.Tail != nil {
		t.Errorf("bodies %v, want those of alice's claims: %d, %d", got.Bodies, i, k)
	}
	_, got = l.lookupNow(fmt.Sprintf(`{"keys":[{"key":%q,"from":1}],"tail":true}`, out))
	if list := got.Lists[0]; len(list.Items) != 1 || list.Prefix.Count() != 1 || len(got.Bodies) != 1 || got.Tail == nil {
		t.Errorf("from the second on: %+v, tail %v", list, got.Tail)
	}
	_, got = l.lookupNow(fmt.Sprintf(`{"keys":[{"key":%q,"to":1}],"signers":[]}`, out))
	if list := got.Lists[0]; len(list.Items) != 1 || list.Items[0].Index != i || len(got.Bodies) != 0 {
		t.Errorf("no signers, the first: %+v, %v", list, got.Bodies)
	}
	if status, _ := l.lookupNow(fmt.Sprintf(`{"keys":[{"key":%q,"from":3}]}`, out)); status != http.StatusBadRequest {
		t.Errorf("from beyond its end: %d", status)
	}
}

func TestBadRequestsAreRefusedWhole(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	size := l.settle()
	leaf := []byte("x")
	many := bytes.Repeat(frame([][]byte{leaf}), maxLeaves+1)
	for _, tt := range []struct {
		name, path, contentType string
		body                    []byte
		status                  int
		code                    string
	}{
		{"no leaves", "/v1/statements", leavesType, nil, 400, "no-leaves"},
		{"cut off", "/v1/statements", leavesType, []byte{0, 9, 1}, 400, "bad-framing"},
		{"half a length", "/v1/statements", leavesType, []byte{0}, 400, "bad-framing"},
		{"too many", "/v1/statements", leavesType, many, 413, "too-many-leaves"},
		{"too large", "/v1/statements", leavesType, make([]byte, maxBody+1), 413, "request-too-large"},
		{"no type", "/v1/statements", "", frame([][]byte{leaf}), 415, "wrong-content-type"},
		{"JSON", "/v1/statements", "application/json", []byte("{}"), 415, "wrong-content-type"},
		{"bad wait", "/v1/statements?wait=soon", leavesType, frame([][]byte{leaf}), 400, "bad-wait"},
		{"negative wait", "/v1/statements?wait=-1s", leavesType, frame([][]byte{leaf}), 400, "bad-wait"},
		{"lookup of nothing", "/v1/lookup", "", []byte(`{"keys":[]}`), 400, "bad-lookup"},
		{"lookup of too many keys", "/v1/lookup", "", []byte(`{"keys":[` + strings.Repeat(`{"key":"a"},`, lookup.MaxKeys) + `{"key":"a"}]}`), 400, "bad-lookup"},
		{"lookup larger than any", "/v1/lookup", "", []byte(`{"keys":[` + strings.Repeat(" ", lookup.MaxRequest) + `{"key":"a"}]}`), 400, "bad-lookup"},
		{"lookup of a prefix longer than a hash", "/v1/lookup", "", []byte(`{"prefix":{"bits":257,"prefix":"` + strings.Repeat("0", 64) + `"}}`), 400, "bad-lookup"},
		{"lookup that is no JSON", "/v1/lookup", "", []byte(`keys`), 400, "bad-lookup"},
		{"lookup with more", "/v1/lookup", "", []byte(`{"keys":[{"key":"a"}]}{}`), 400, "bad-lookup"},
		{"lookup with a bad signer", "/v1/lookup", "", []byte(`{"keys":[{"key":"a"}],"signers":["AB"]}`), 400, "bad-lookup"},
		{"lookup with an unknown field", "/v1/lookup", "", []byte(`{"keys":[{"key":"a"}],"more":true}`), 400, "bad-lookup"},
		{"lookup of a list's end before its beginning", "/v1/lookup", "", []byte(`{"keys":[{"key":"a","from":2,"to":2}]}`), 400, "bad-lookup"},
		{"lookup of a prefix and keys", "/v1/lookup", "", []byte(`{"keys":[{"key":"a"}],"prefix":{"bits":0,"prefix":"` + strings.Repeat("0", 64) + `"}}`), 400, "bad-lookup"},
		{"lookup of a prefix with bits behind it", "/v1/lookup", "", []byte(`{"prefix":{"bits":4,"prefix":"` + strings.Repeat("1", 64) + `"}}`), 400, "bad-lookup"},
		{"lookup of a short prefix", "/v1/lookup", "", []byte(`{"prefix":{"bits":0,"prefix":"00"}}`), 400, "bad-lookup"},
		{"lookup of a long key", "/v1/lookup", "", []byte(`{"keys":[{"key":"` + strings.Repeat("a", 600) + `"}]}`), 400, "bad-lookup"},
	} {
		resp := want(http.Post(l.http.URL+tt.path, tt.contentType, bytes.NewReader(tt.body)))(t)
		var e struct {
			Schema         int
			Error, Message string
		}
		if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status || e.Error != tt.code || e.Schema != 1 || e.Message == "" {
			t.Errorf("%s: %d %+v, want %d %s", tt.name, resp.StatusCode, e, tt.status, tt.code)
		}
	}
	if l.db.State().Size != size {
		t.Error("something was added")
	}
}

func TestAddressesAreLimited(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := newLimits(LimitsConfig{LeavesPerMinute: 60, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8")}}, func() time.Time { return now })
	take := func(from, forwarded string, n int) bool {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.RemoteAddr = from
		if forwarded != "" {
			r.Header.Set("X-Forwarded-For", forwarded)
		}
		return l.take(r, n) == nil
	}
	for _, st := range []struct {
		name, from, forwarded string
		n                     int
		ok                    bool
	}{
		{"a full bucket", "192.0.2.1:1", "", 60, true},
		{"an empty one", "192.0.2.1:2", "", 1, false},
		{"an untrusted X-Forwarded-For", "192.0.2.1:3", "198.51.100.7", 1, false},
		{"another address", "192.0.2.2:1", "", 30, true},
		{"this machine", "127.0.0.1:1", "", 1000, true},
		{"this machine, v6", "[::1]:1", "", 1000, true},
		{"through a trusted proxy", "10.0.0.1:1", "203.0.113.9", 60, true},
		{"the same through another", "10.0.0.2:1", "203.0.113.9", 1, false},
		{"the last untrusted hop counts", "10.0.0.2:1", "192.0.2.77, 203.0.113.9, 10.0.0.3", 1, false},
		{"a forged first hop", "10.0.0.2:1", "127.0.0.1, 203.0.113.9", 1, false},
		{"loopback behind a proxy", "10.0.0.2:1", "127.0.0.1", 60, true},
		{"loopback behind a proxy is limited", "10.0.0.2:1", "127.0.0.1", 1, false},
		{"an IPv6 address", "[2001:db8::1]:1", "", 60, true},
		{"its neighbour", "[2001:db8::2]:1", "", 1, false},
		{"another /64", "[2001:db8:0:1::2]:1", "", 1, true},
		{"a hop that is no address", "10.0.0.3:1", "203.0.113.9:4711", 60, true},
		{"then the proxy counts", "10.0.0.3:1", "unknown", 1, false},
		{"a proxy here whose hop is no address", "127.0.0.2:1", "203.0.113.9:4711", 60, true},
		{"is limited too", "127.0.0.2:1", "unknown", 1, false},
		{"a proxy here that nobody told of", "[::1]:1", "203.0.113.9", 60, true},
		{"is limited as one", "[::1]:1", "203.0.113.10", 1, false},
		{"more than a bucket holds", "192.0.2.3:1", "", 1000, true},
	} {
		if got := take(st.from, st.forwarded, st.n); got != st.ok {
			t.Errorf("%s: %v, want %v", st.name, got, st.ok)
		}
	}
	now = now.Add(10 * time.Second)
	if !take("192.0.2.1:1", "", 10) || take("192.0.2.1:1", "", 1) {
		t.Error("ten seconds fill ten of sixty")
	}
	now = now.Add(5 * time.Minute)
	take("192.0.2.9:1", "", 1)
	if len(l.buckets) != 1 {
		t.Errorf("%d buckets after five minutes, want the one just used", len(l.buckets))
	}
}

func TestLimitedAddressGetsA429(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, func(c *Config) {
		c.Limits.LeavesPerMinute = 2
		c.Limits.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	for i, want := range []int{200, 429} {
		r := httptest.NewRequest(http.MethodPost, "/v1/statements?wait=0s", bytes.NewReader(frame([][]byte{{1}, {2}})))
		r.RemoteAddr = "192.0.2.1:5"
		r.Header.Set("Content-Type", leavesType)
		w := httptest.NewRecorder()
		l.Handler().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("request %d: %d %s", i, w.Code, w.Body)
		}
		if want == 429 && w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
}

func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	l.operator("alice")
	families := want(l.metrics.registry.Gather())(t)
	for _, f := range families {
		if f.GetHelp() == "" || strings.HasPrefix(f.GetName(), "firn_") && !strings.HasSuffix(f.GetHelp(), ".") {
			t.Errorf("%s: help %q", f.GetName(), f.GetHelp())
		}
	}
	if problems, err := testutil.GatherAndLint(l.metrics.registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if size := l.settle(); testutil.ToFloat64(l.metrics.size) != float64(size) {
		t.Errorf("tree size %v, want %d", testutil.ToFloat64(l.metrics.size), size)
	}
}

func TestHealthAndLog(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	size := l.settle()
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if status, _, body := l.get(path); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	_, _, body := l.get("/v1/log")
	var log struct {
		Schema       int
		Origin, VKey string
		Mode         statement.Mode
		Size         uint64
	}
	if err := json.Unmarshal(body, &log); err != nil || log.Schema != 1 || log.Origin != l.Origin() || log.VKey != l.VKey() || log.Mode != "vouched" || log.Size != size {
		t.Errorf("%s: %v", body, err)
	}
}

func TestTooManySubmissionsAtOnceAreBusy(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, func(c *Config) { c.Limits.RequestsAtOnce = 1 })
	l.working <- struct{}{}
	status, header, body := l.postRaw("", []byte("x"))
	if status != http.StatusServiceUnavailable || !strings.Contains(body, `"busy"`) || header.Get("Retry-After") == "" {
		t.Errorf("status %d: %s", status, body)
	}
	<-l.working
	if !l.bodies.TryAcquire(maxBodies) {
		t.Fatal("room was not given back")
	}
	if status, _, body := l.postRaw("", []byte("x")); status != http.StatusServiceUnavailable || !strings.Contains(body, `"busy"`) {
		t.Errorf("without room for the body: status %d: %s", status, body)
	}
	l.bodies.Release(maxBodies)
	if status, _, body := l.postRaw("", []byte("x")); status != http.StatusOK {
		t.Errorf("afterwards: status %d: %s", status, body)
	}
}
