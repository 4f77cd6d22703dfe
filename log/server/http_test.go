package server

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/statement"
)

func TestTilesEndAtTheCheckpoint(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	l.must(o.Builds(0, 300)...)
	size := int(l.publisher.latest().head.Size) // 303
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

// lookupNow posts a lookup.
func (l *testLog) lookupNow(body string, gzipped bool) (int, *lookupAnswer) {
	l.t.Helper()
	req := want(http.NewRequest(http.MethodPost, l.http.URL+"/v1/lookup", strings.NewReader(body)))(l.t)
	if gzipped {
		req.Header.Set("Accept-Encoding", "gzip")
	}
	resp := want((&http.Transport{DisableCompression: true}).RoundTrip(req))(l.t)
	defer resp.Body.Close()
	var r io.Reader = resp.Body
	if (resp.Header.Get("Content-Encoding") == "gzip") != (gzipped && resp.StatusCode == http.StatusOK) {
		l.t.Errorf("content encoding %q", resp.Header.Get("Content-Encoding"))
	} else if gzipped && resp.StatusCode == http.StatusOK {
		r = want(gzip.NewReader(resp.Body))(l.t)
	}
	a := new(lookupAnswer)
	if err := json.NewDecoder(r).Decode(a); err != nil {
		l.t.Fatal(err)
	}
	return resp.StatusCode, a
}

func TestLookupAnswersInTheOrderAsked(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	alice, bob := l.operator("alice"), l.operator("bob")
	both := sample.Build(1)
	a := l.must(alice.Claim(both), bob.Claim(sample.Again(1, 5)), alice.Claim(sample.Build(2)))
	out := index.Out(both.Outputs[0].Path)
	drv := index.Drv(both.DrvPath)
	aliceKey := alice.Build.PublicKey().ID().String()
	q := fmt.Sprintf(`{"keys":[%q,"out:/nix/store/nothing",%q,%q],"signers":[%q]}`, out, drv, "key:"+aliceKey, aliceKey)
	for _, gzipped := range []bool{false, true} {
		status, got := l.lookupNow(q, gzipped)
		if status != http.StatusOK || len(got.Answers) != 4 {
			t.Fatalf("status %d, %+v", status, got)
		}
		i, j, k := *a.Results[0].Index, *a.Results[1].Index, *a.Results[2].Index
		want := [][]uint64{{i, j}, nil, {i, j}, {2, i, k}} // entry 2 is the key-add that names alice's key
		for n, ka := range got.Answers {
			var indexes []uint64
			for _, e := range ka.Entries {
				indexes = append(indexes, e.Index)
			}
			if !slices.Equal(indexes, want[n]) {
				t.Errorf("answer %d (%s): %v, want %v", n, ka.Key, indexes, want[n])
			}
		}
		if len(got.Leaves) != 2 || got.Leaves[fmt.Sprint(i)] == nil || got.Leaves[fmt.Sprint(k)] == nil {
			t.Errorf("leaves %v, want those of alice's claims: %d, %d", got.Leaves, i, k)
		}
		checkLeaves(t, got)
	}
	_, got := l.lookupNow(fmt.Sprintf(`{"keys":[%q],"signers":null,"after":%d}`, out, *a.Results[1].Index), false)
	if len(got.Answers[0].Entries) != 1 || len(got.Leaves) != 1 {
		t.Errorf("after: %+v", got.Answers)
	}
	_, got = l.lookupNow(fmt.Sprintf(`{"keys":[%q],"signers":[]}`, out), false)
	if len(got.Answers[0].Entries) != 2 || len(got.Leaves) != 0 {
		t.Errorf("no signers: %+v, %v", got.Answers, got.Leaves)
	}
}

// checkLeaves verifies every leaf of an answer against its checkpoint.
func checkLeaves(t *testing.T, a *lookupAnswer) {
	t.Helper()
	head := want(policy.ParseCheckpoint(a.Checkpoint[:strings.Index(a.Checkpoint, "\n\n")+1]))(t)
	if head.Size != a.Size {
		t.Errorf("size %d with a checkpoint of %d", a.Size, head.Size)
	}
	for name, la := range a.Leaves {
		var i int64
		fmt.Sscan(name, &i)
		var proof []tlog.Hash
		for _, s := range la.Inclusion {
			proof = append(proof, tlog.Hash(want(base64.StdEncoding.DecodeString(s))(t)))
		}
		leaf := want(base64.StdEncoding.DecodeString(la.Leaf))(t)
		if err := tlog.CheckRecord(proof, int64(head.Size), head.Root, i, tlog.RecordHash(leaf)); err != nil {
			t.Errorf("leaf %d: %v", i, err)
		}
	}
}

func TestBadRequestsAreRefusedWhole(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
	size := l.db.State().Size
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
		{"lookup that is no JSON", "/v1/lookup", "", []byte(`keys`), 400, "bad-lookup"},
		{"lookup with more", "/v1/lookup", "", []byte(`{"keys":["a"]}{}`), 400, "bad-lookup"},
		{"lookup with a bad signer", "/v1/lookup", "", []byte(`{"keys":["a"],"signers":["AB"]}`), 400, "bad-lookup"},
		{"lookup with an unknown field", "/v1/lookup", "", []byte(`{"keys":["a"],"prefix":true}`), 400, "bad-lookup"},
		{"lookup of a long key", "/v1/lookup", "", []byte(`{"keys":["` + strings.Repeat("a", 600) + `"]}`), 400, "bad-lookup"},
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
	if got := testutil.ToFloat64(l.metrics.size); got != 3 {
		t.Errorf("tree size %v, want 3", got)
	}
}

func TestHealthAndLog(t *testing.T) {
	t.Parallel()
	l := newQuickLog(t, nil)
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
	if err := json.Unmarshal(body, &log); err != nil || log.Schema != 1 || log.Origin != l.Origin() || log.VKey != l.VKey() || log.Mode != "vouched" || log.Size != 1 {
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
