package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/blobs"
	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/statement"
)

// putBlobs submits a leaf with blobs, and returns the status and the answer as text too.
func (l *testLog) putBlobs(leaf []byte, all ...[]byte) (int, submitAnswer, string) {
	l.t.Helper()
	return l.putBody(want(log.MarshalBlobs(leaf, all))(l.t))
}

func (l *testLog) putBody(body []byte) (int, submitAnswer, string) {
	l.t.Helper()
	resp, err := http.Post(l.http.URL+"/v1/blobs", blobsType, bytes.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	b := want(io.ReadAll(resp.Body))(l.t)
	var a submitAnswer
	if err := json.Unmarshal(b, &a); err != nil {
		l.t.Fatalf("status %d: %v: %s", resp.StatusCode, err, b)
	}
	return resp.StatusCode, a, string(b)
}

// mustPut submits a leaf with blobs that has to become what is said.
func (l *testLog) mustPut(status string, leaf []byte, all ...[]byte) {
	l.t.Helper()
	code, a, body := l.putBlobs(leaf, all...)
	if code/100 != 2 || a.Results[0].Status != status {
		l.t.Fatalf("%d %s, want %s", code, body, status)
	}
}

// refusedPut submits a leaf with blobs that has to be refused with a code, and leaves
// nothing behind.
func (l *testLog) refusedPut(code string, leaf []byte, all ...[]byte) {
	l.t.Helper()
	status, a, body := l.putBlobs(leaf, all...)
	if status != http.StatusOK || len(a.Results) != 1 || a.Results[0].Status != statusRejected || a.Results[0].Error != code {
		l.t.Errorf("%d %s, want rejected with %s", status, body, code)
	}
	l.nothingWaits()
}

func (l *testLog) nothingWaits() {
	l.t.Helper()
	if left := want(os.ReadDir(l.path(filepath.Join(blobsName, "waiting"))))(l.t); len(left) > 0 {
		l.t.Errorf("%d folders are left waiting", len(left))
	}
}

func blobURL(blob []byte) string { return "/" + log.BlobPath(sha256.Sum256(blob)) }

// holds says whether a blob is served, and fails if other bytes are.
func (l *testLog) holds(blob []byte) bool {
	l.t.Helper()
	status, _, body := l.get(blobURL(blob))
	if status == http.StatusOK && !bytes.Equal(body, blob) {
		l.t.Errorf("%d other bytes are served", len(body))
	}
	return status == http.StatusOK
}

// newBlobLog returns a log that takes all blobs and signatures of one cache, with an
// operator of its own.
func newBlobLog(t *testing.T, change func(*Config)) (*testLog, *sample.Operator) {
	t.Helper()
	l := newQuickLog(t, func(c *Config) {
		takesBlobs(c)
		if change != nil {
			change(c)
		}
	})
	return l, l.operator("alice")
}

func takesBlobs(c *Config) {
	c.Blobs.Enabled = true
	c.Admission.CacheKeys = []string{sample.CacheKey("cache.example-1")}
	c.Admission.Mode = statement.ModeOpen
}

var (
	drvText = []byte("Derive([...])")
	logText = []byte("<html><script>alert(1)</script>building\n")
)

func TestBlobsComeWithTheStatementThatNamesThem(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, nil)
	leaf := alice.Claim(sample.Failed(1, drvText, logText))
	l.mustPut(statusAccepted, leaf, logText, drvText)
	if !l.holds(logText) || !l.holds(drvText) {
		t.Error("a blob is not served")
	}
	l.mustPut(statusDuplicate, leaf, logText)
	l.nothingWaits()
	if u := l.blobs.dir.Usage(); u.Rest != 2 || u.RestBytes != uint64(len(logText)+len(drvText)) || u.Lists != 0 {
		t.Errorf("%+v", u)
	}
	_, a, body := l.putBlobs(alice.Claim(sample.Failed(2, drvText, logText)))
	checkInclusion(t, l, &a, 0, alice.Claim(sample.Failed(2, drvText, logText)))
	if a.Results[0].Status != statusAccepted {
		t.Errorf("without the blobs that are held: %s", body)
	}
}

func TestBlobsThatNobodyNamesAreRefused(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, nil)
	leaf := alice.Claim(sample.Failed(1, drvText, logText))
	l.refusedPut("blob-not-named", leaf, []byte("something else"))
	l.refusedPut("blob-not-named", leaf, logText, []byte("something else"))
	l.refusedPut("blob-not-named", leaf, logText, logText)
	l.refusedPut("blob-not-named", alice.Claim(&statement.Closure{
		Name: "c", StoreDir: nix.DefaultStoreDir, Count: 1,
		Paths: []nix.StorePath{sample.Build(1).DrvPath}, Digest: statement.PathsDigest([]nix.StorePath{sample.Build(1).DrvPath}),
	}), logText)
	if l.holds(logText) || l.holds([]byte("something else")) {
		t.Error("a blob of a refused statement is served")
	}
	if got := l.code(leaf); got != "" {
		t.Errorf("the statement alone afterwards: %s", got)
	}
}

func TestBlobsOfRefusedStatementsAreNotRead(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, nil)
	forged := alice.Claim(sample.Failed(1, drvText, logText))
	forged[len(forged)-1] ^= 1
	for code, leaf := range map[string][]byte{
		"bad-signature": forged,
		"unknown-key":   sample.NewOperator("stranger", l.Origin()).Claim(sample.Failed(1, drvText, logText)),
		"bad-form":      []byte("no statement"),
	} {
		body := &counting{r: bytes.NewReader(want(log.MarshalBlobs(leaf, [][]byte{make([]byte, 1<<20)}))(t))}
		r := httptest.NewRequest(http.MethodPost, "/v1/blobs", body)
		r.ContentLength = int64(2 + len(leaf) + 4 + 1<<20)
		r.Header.Set("Content-Type", blobsType)
		w := httptest.NewRecorder()
		l.Handler().ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), code) || body.n > 128<<10 {
			t.Errorf("%s: %d bytes were read: %s", code, body.n, w.Body)
		}
	}
	l.nothingWaits()
}

type counting struct {
	r io.Reader
	n int
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += n
	return n, err
}

func TestBudgetIsAskedBeforeBlobsAreRead(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, func(c *Config) { c.Admission.KeyBytes = 100_000; c.Admission.Mode = statement.ModeOpen })
	big := bytes.Repeat([]byte("log "), 30_000)
	leaf := alice.Claim(sample.Failed(1, drvText, big))
	body := &counting{r: bytes.NewReader(want(log.MarshalBlobs(leaf, [][]byte{big}))(t))}
	r := httptest.NewRequest(http.MethodPost, "/v1/blobs", body)
	r.ContentLength = int64(2 + len(leaf) + 4 + len(big))
	r.Header.Set("Content-Type", blobsType)
	w := httptest.NewRecorder()
	l.Handler().ServeHTTP(w, r)
	if !strings.Contains(w.Body.String(), "budget-key") || body.n > 70<<10 {
		t.Errorf("%d of %d bytes were read: %s", body.n, len(big), w.Body)
	}
	// What is taken counts: half of the budget, twice, and then no more.
	for i, code := range []string{"", "budget-key"} {
		blob := bytes.Repeat([]byte{byte(i)}, 50_000)
		_, a, _ := l.putBlobs(alice.Claim(sample.Failed(10+i, drvText, blob)), blob)
		if a.Results[0].Error != code {
			t.Errorf("put %d: %q, want %q", i, a.Results[0].Error, code)
		}
	}
	l.nothingWaits()
}

// What only the sequencer can refuse is refused after the blobs were read.
func TestBlobsOfStatementsRefusedLastAreDropped(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, func(c *Config) { c.Admission.ClaimsPerSubject = 1 })
	l.mustPut(statusAccepted, alice.Claim(sample.Failed(1, drvText, logText)), logText)
	other := []byte("another log\n")
	l.refusedPut("too-many-claims", alice.Claim(sample.Failed(1, drvText, other)), other)
	if l.holds(other) {
		t.Error("its blob is served")
	}
}

func TestLateBlobsCountAgainstTheSharedBudget(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, func(c *Config) { c.Admission.UnvouchedBytes = 100_000 })
	first, second := bytes.Repeat([]byte("a"), 60_000), bytes.Repeat([]byte("b"), 60_000)
	one, two := alice.Claim(sample.Failed(1, drvText, first)), alice.Claim(sample.Failed(2, drvText, second))
	l.must(one, two)
	_, before := l.budget.Used(map[string]bool{alice.Build.PublicKey().ID().String(): true})
	l.mustPut(statusDuplicate, one, first, drvText)
	l.mustPut(statusDuplicate, one, first, drvText) // they are there: nothing is counted
	l.refusedPut("budget-unvouched", two, second)
	if !l.holds(first) || l.holds(second) {
		t.Error("the first is to be held, and the second is not")
	}
	if _, after := l.budget.Used(map[string]bool{alice.Build.PublicKey().ID().String(): true}); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the signer paid for what somebody else may have sent: %v, before %v", after, before)
	}
}

func TestLogsAreTakenOnlyWhereTheyAreWanted(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, func(c *Config) { c.Blobs.Enabled = false })
	l.refusedPut("blobs-off", alice.Claim(sample.Failed(1, drvText, logText)), logText)
	leaf, list := sample.CacheSigByDigest("cache.example-1", 1)
	l.mustPut(statusAccepted, leaf, list)
	build := sample.Build(3)
	digest := nix.Hash(sha256.Sum256(list))
	build.Outputs[0].References, build.Outputs[0].RefsDigest, build.DrvHash = nil, &digest, sha256.Sum256(drvText)
	l.refusedPut("blobs-off", alice.Claim(build), drvText)
	l.mustPut(statusAccepted, alice.Claim(build), list)
}

func TestCacheSigWithADigestNeedsItsList(t *testing.T) {
	t.Parallel()
	l, _ := newBlobLog(t, nil)
	leaf, list := sample.CacheSigByDigest("cache.example-1", 1)
	_, other := sample.CacheSigByDigest("cache.example-1", 2)
	if got := l.code(leaf); got != "needs-blob" {
		t.Errorf("as a statement alone: %q", got)
	}
	l.refusedPut("needs-blob", leaf)
	l.refusedPut("blob-not-named", leaf, other)
	forged := bytes.Clone(leaf)
	forged[len(forged)-1] ^= 1
	l.refusedPut("bad-signature", forged, list)
	if l.holds(list) {
		t.Fatal("the list of a refused statement is served")
	}
	l.mustPut(statusAccepted, leaf, list)
	if status, a := l.post("", leaf); status != http.StatusOK || a.Results[0].Status != statusDuplicate {
		t.Errorf("as a statement alone, once it is there: %d %+v", status, a)
	}
	// Another signature about the same list needs only the leaf.
	l.refusedPut("unlisted-cache", func() []byte { b, _ := sample.CacheSigByDigest("other.example-1", 1); return b }())
	if b := want(os.ReadFile(l.path("public/" + log.BlobPath(sha256.Sum256(list)))))(t); !bytes.Equal(b, list) {
		t.Error("the list is not in the static tree")
	}
}

// Lists are kept for ever and mirrored, so nothing else may pass for one.
func TestOnlyListsAreKeptAsLists(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, nil)
	closure := func(blob []byte, count uint64) []byte {
		return alice.Claim(&statement.Closure{Name: "c", StoreDir: nix.DefaultStoreDir, Digest: sha256.Sum256(blob), Count: count})
	}
	page := []byte("<html>\n")
	l.refusedPut("not-a-list", closure(page, 1), page)
	build, digest := sample.Build(3), nix.Hash(sha256.Sum256(page))
	build.Outputs[0].References, build.Outputs[0].RefsDigest = nil, &digest
	l.refusedPut("not-a-list", alice.Claim(build), page)
	one := []byte(sample.Build(1).DrvPath.Base() + "\n")
	l.refusedPut("not-a-list", closure(one, 2), one)
	l.refusedPut("not-a-list", closure(one[:len(one)-1], 1), one[:len(one)-1])
	l.mustPut(statusAccepted, closure(one, 1), one)
	if u := l.blobs.dir.Usage(); u.Lists != 1 || u.Rest != 0 {
		t.Errorf("%+v", u)
	}
}

func TestBlobsAreServedInert(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, nil)
	leaf, list := sample.CacheSigByDigest("cache.example-1", 1)
	l.mustPut(statusAccepted, leaf, list)
	l.mustPut(statusAccepted, alice.Claim(sample.Failed(1, drvText, logText)), logText)
	for _, blob := range [][]byte{logText, list} {
		status, h, _ := l.get(blobURL(blob))
		for name, value := range map[string]string{
			"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff",
			"Content-Security-Policy": "default-src 'none'; sandbox", "Access-Control-Allow-Origin": "*",
			"Content-Disposition": `attachment; filename="` + strings.TrimPrefix(blobURL(blob), "/v1/blob/") + `"`,
		} {
			if status != http.StatusOK || h.Get(name) != value {
				t.Errorf("%d, %s: %q, want %q", status, name, h.Get(name), value)
			}
		}
		if !strings.Contains(h.Get("Cache-Control"), "immutable") {
			t.Errorf("Cache-Control %q", h.Get("Cache-Control"))
		}
		for header, want := range map[[2]string]int{{"If-None-Match", h.Get("ETag")}: 304, {"Range", "bytes=2-5"}: 206, {"Range", "bytes=99999999-"}: 416} {
			r := httptest.NewRequest(http.MethodGet, blobURL(blob), nil)
			r.Header.Set(header[0], header[1])
			w := httptest.NewRecorder()
			l.Handler().ServeHTTP(w, r)
			if w.Code != want || want == 206 && w.Body.String() != string(blob[2:6]) {
				t.Errorf("%v: %d %q, want %d", header, w.Code, w.Body, want)
			}
		}
	}
	for _, name := range []string{
		"", "x", strings.Repeat("0", 63), strings.Repeat("0", 64), strings.ToUpper(strings.TrimPrefix(blobURL(list), "/v1/blob/")),
		"..%2f..%2flog.key", "%2e%2e/record", strings.TrimPrefix(blobURL(list), "/v1/blob/") + "/", "lists",
	} {
		if status, _, body := l.get("/v1/blob/" + name); status != http.StatusNotFound {
			t.Errorf("%q: %d %s", name, status, body)
		}
	}
}

func TestDeletedBlobsAreGoneForGood(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, nil)
	leaf := alice.Claim(sample.Failed(1, drvText, logText))
	l.mustPut(statusAccepted, leaf, logText, drvText)
	hash := nix.Hash(sha256.Sum256(logText))
	if err := DeleteBlob(l.dir, hash); err != nil {
		t.Fatal(err)
	}
	if status, _, body := l.get(blobURL(logText)); status != http.StatusGone || !strings.Contains(string(body), `"deleted"`) {
		t.Errorf("%d %s", status, body)
	}
	l.refusedPut("blob-deleted", leaf, logText)
	l.refusedPut("blob-deleted", alice.Claim(sample.Failed(2, drvText, logText)), logText)
	if err := DeleteBlob(l.dir, hash); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := DeleteBlob(l.dir, nix.Hash{}); !errors.Is(err, blobs.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
	sig, list := sample.CacheSigByDigest("cache.example-1", 1)
	l.mustPut(statusAccepted, sig, list)
	var kept *blobs.KeptError
	if err := DeleteBlob(l.dir, sha256.Sum256(list)); !errors.As(err, &kept) || !l.holds(list) {
		t.Errorf("a list: %v", err)
	}
	// A request that was on its way meanwhile does not bring it back.
	p := want(l.blobs.dir.Begin(statement.ID{}))(t)
	want(p.Add(bytes.NewReader(logText), int64(len(logText))))(t)
	if err := errors.Join(p.Sync(), p.Keep()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(l.path("blobs/rest/" + hash.Hex())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is back: %v", err)
	}
	// Bytes that are still there after a delete that was interrupted are not served either.
	if err := os.WriteFile(l.path("blobs/rest/"+hash.Hex()), logText, 0o644); err != nil {
		t.Fatal(err)
	}
	if l.holds(logText) {
		t.Error("a deleted blob is served")
	}
	l.pruneBlobs()
	if _, err := os.Stat(l.path("blobs/rest/" + hash.Hex())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its bytes are still there: %v", err)
	}
	if all := want(ListBlobs(l.dir))(t); len(all) != 2 || all[0].Hash != sha256.Sum256(drvText) || !all[1].List {
		t.Errorf("%+v", all)
	}
}

func TestOldBlobsGoFirst(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, func(c *Config) { c.Blobs.Keep = Days{10} })
	sig, list := sample.CacheSigByDigest("cache.example-1", 1)
	l.mustPut(statusAccepted, sig, list)
	var all [][]byte
	age := func(blob []byte, folder string, days int) {
		when := l.now().Add(-time.Duration(days) * 24 * time.Hour)
		if err := os.Chtimes(l.path(fmt.Sprintf("blobs/%s/%x", folder, sha256.Sum256(blob))), when, when); err != nil {
			t.Fatal(err)
		}
	}
	age(list, "lists", 1000)
	for i, days := range []int{11, 9, 3, 1} {
		blob := bytes.Repeat([]byte{byte(i)}, 1000)
		l.mustPut(statusAccepted, alice.Claim(sample.Failed(i, drvText, blob)), blob)
		age(blob, "rest", days)
		all = append(all, blob)
	}
	l.pruneBlobs()
	l.config.Blobs.MaxBytes = 2000
	l.pruneBlobs() // 3,000 are above it, so 1/16 more goes
	if l.holds(all[0]) || l.holds(all[1]) || l.holds(all[2]) || !l.holds(all[3]) || !l.holds(list) {
		t.Error("the newest and the list are to be held, and nothing else")
	}
	l.config.Blobs.MaxBytes = minMaxBytes
	l.mustPut(statusDuplicate, alice.Claim(sample.Failed(0, drvText, all[0])), all[0])
	if !l.holds(all[0]) {
		t.Error("what was too old may come again")
	}
}

// Whatever a process that was killed has left: the blobs of a statement in the log are
// served, and no others.
func TestBlobsOfAnInterruptedRunAreSettled(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, nil)
	in, out := alice.Claim(sample.Failed(1, drvText, logText)), alice.Claim(sample.Failed(2, drvText, []byte("never added")))
	put := func(leaf, blob []byte, sync bool) {
		p := want(l.blobs.dir.Begin(want(statement.Parse(leaf))(t).ID()))(t)
		want(p.Add(bytes.NewReader(blob), int64(len(blob))))(t)
		if sync {
			if err := p.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(in, logText, true)
	put(out, []byte("never added"), true)
	put(in, drvText, false)
	if err := os.Mkdir(l.path("blobs/waiting/no statement"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.must(in)
	l.close()
	l.open()
	l.nothingWaits()
	if !l.holds(logText) || l.holds([]byte("never added")) || l.holds(drvText) {
		t.Error("the blob that was durable before its statement is to be served, and no other")
	}
}

// A request that ended without an answer is settled when it is sent again.
func TestSendingAgainSettlesWhatWasLeft(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, func(c *Config) { c.Admission.UnvouchedBytes = 1 })
	leaf := alice.Claim(sample.Failed(1, drvText, logText))
	p := want(l.blobs.dir.Begin(want(statement.Parse(leaf))(t).ID()))(t)
	want(p.Add(bytes.NewReader(logText), int64(len(logText))))(t)
	want(p.Add(bytes.NewReader(drvText), int64(len(drvText))))(t)
	if err := p.Sync(); err != nil {
		t.Fatal(err)
	}
	p.Leave()
	l.must(leaf)
	l.mustPut(statusDuplicate, leaf, logText, drvText) // nothing is charged: it is there
	if !l.holds(logText) {
		t.Error("it is not served")
	}
}

func TestBadPutsAreRefusedWhole(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, nil)
	leaf := alice.Claim(sample.Failed(1, drvText, logText))
	whole := want(log.MarshalBlobs(leaf, [][]byte{logText}))(t)
	head := whole[:2+len(leaf)]
	nine := bytes.Clone(head)
	for range 9 {
		nine = append(nine, 0, 0, 0, 1, 'x')
	}
	size := l.settle()
	for name, tt := range map[string]struct {
		body   []byte
		status int
		code   string
	}{
		"nothing":                  {nil, 400, "bad-framing"},
		"no leaf":                  {[]byte{0, 0, 0, 0, 0, 1, 'x'}, 400, "no-leaves"},
		"a leaf that is cut off":   {whole[:20], 400, "bad-framing"},
		"a blob that is cut off":   {whole[:len(whole)-1], 400, "bad-framing"},
		"half a length":            {append(bytes.Clone(head), 0, 0), 400, "bad-framing"},
		"an empty blob":            {append(bytes.Clone(head), 0, 0, 0, 0), 400, "bad-framing"},
		"a blob that is too large": {append(bytes.Clone(head), 1, 0, 0, 1), 413, "blob-too-large"},
		"something after it":       {append(bytes.Clone(whole), 1), 400, "bad-framing"},
	} {
		status, _, body := l.putBody(tt.body)
		if status != tt.status || !strings.Contains(body, `"`+tt.code+`"`) {
			t.Errorf("%s: %d %s, want %d %s", name, status, body, tt.status, tt.code)
		}
	}
	if status, _, body := l.putBody(nine); status != http.StatusOK || !strings.Contains(body, "blob-not-named") {
		t.Errorf("nine blobs: %d %s", status, body)
	}
	for name, tt := range map[string]struct {
		contentType string
		length      int64
		body        []byte
		status      int
		code        string
	}{
		"no type":         {"", int64(len(whole)), whole, 415, "wrong-content-type"},
		"no length":       {blobsType, -1, whole, 411, "length-required"},
		"too long":        {blobsType, maxPutBytes + 1, whole, 413, "request-too-large"},
		"ends early":      {blobsType, int64(len(whole)), whole[:len(whole)-3], 400, "cut-off"},
		"leaf ends early": {blobsType, int64(len(whole)), whole[:9], 400, "cut-off"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/v1/blobs", bytes.NewReader(tt.body))
		r.ContentLength = tt.length
		r.Header.Set("Content-Type", tt.contentType)
		w := httptest.NewRecorder()
		l.Handler().ServeHTTP(w, r)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), `"`+tt.code+`"`) {
			t.Errorf("%s: %d %s, want %d %s", name, w.Code, w.Body, tt.status, tt.code)
		}
	}
	l.nothingWaits()
	if l.settle() != size {
		t.Error("something was added")
	}
}

func TestFullDiskTakesNoBlobsAndLeavesNothing(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, nil)
	leaf := alice.Claim(sample.Failed(1, drvText, logText))
	l.blobs.dir.Free = func(string) (uint64, error) { return 256<<20 + uint64(len(logText)), nil }
	status, _, body := l.putBlobs(leaf, logText) // the length before it does not fit
	if status != http.StatusServiceUnavailable || !strings.Contains(body, `"storage"`) || !strings.Contains(body, "are left to the log itself") {
		t.Errorf("%d %s", status, body)
	}
	l.nothingWaits()
	if got := l.code(leaf); got != "" {
		t.Errorf("a statement alone is %s", got)
	}
	l.blobs.dir.Free = func(string) (uint64, error) { return math.MaxUint64, nil }
	l.mustPut(statusDuplicate, leaf, logText)
}

func TestFewUploadsAtOnce(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, nil)
	for range uploadsAtOnce {
		l.blobs.uploads <- struct{}{}
	}
	leaf := alice.Claim(sample.Failed(1, drvText, logText))
	if status, _, body := l.putBlobs(leaf, logText); status != http.StatusServiceUnavailable || !strings.Contains(body, `"busy"`) {
		t.Errorf("%d %s", status, body)
	}
	<-l.blobs.uploads
	l.mustPut(statusAccepted, leaf, logText)
	if n := len(l.blobs.uploads); n != uploadsAtOnce-1 {
		t.Errorf("%d places are taken", n)
	}
}

// Whoever hangs up in the middle leaves nothing behind.
func TestHangingUpLeavesNothing(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, nil)
	big := bytes.Repeat([]byte("log "), 100_000)
	leaf := alice.Claim(sample.Failed(1, drvText, big))
	body := want(log.MarshalBlobs(leaf, [][]byte{big}))(t)
	conn := want(net.Dial("tcp", strings.TrimPrefix(l.http.URL, "http://")))(t)
	fmt.Fprintf(conn, "POST /v1/blobs HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", blobsType, len(body))
	want(conn.Write(body[:len(body)/2]))(t)
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer := want(io.ReadAll(conn))(t)
	if !bytes.Contains(answer, []byte(`"cut-off"`)) {
		t.Errorf("%s", answer)
	}
	l.nothingWaits()
	if l.holds(big) {
		t.Error("half a blob is served")
	}
}

func TestNoMoreBlobsThanAreTaken(t *testing.T) {
	t.Parallel()
	body := append([]byte{0, 1, 'x'}, bytes.Repeat([]byte{0, 0, 0, 1, 'y'}, maxBlobs+1)...)
	f := newFrames(bytes.NewReader(body), int64(len(body)))
	want(f.leaf())(t)
	var refused *httpError
	for n := 0; ; n++ {
		if _, err := f.next(); errors.As(err, &refused) {
			if n != maxBlobs || refused.code != "too-many-blobs" {
				t.Errorf("%s at blob %d", refused.code, n)
			}
			return
		}
		want(io.ReadFull(f, make([]byte, 1)))(t)
	}
}

func FuzzBlobFrames(f *testing.F) {
	f.Add(want(log.MarshalBlobs([]byte("leaf"), [][]byte{[]byte("one"), []byte("two")}))(f))
	f.Add([]byte{0, 1, 'x'})
	f.Add([]byte{0, 1, 'x', 0, 0, 0, 0})
	f.Add([]byte{0, 1, 'x', 0, 0, 0, 9, 'y'})
	f.Fuzz(func(t *testing.T, body []byte) {
		fr := newFrames(bytes.NewReader(body), int64(len(body)))
		leaf, err := fr.leaf()
		if err != nil {
			return
		}
		var all [][]byte
		for {
			n, err := fr.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return
			}
			blob := make([]byte, n)
			if _, err := io.ReadFull(fr, blob); err != nil {
				t.Fatalf("a blob of %d bytes was announced: %v", n, err)
			}
			all = append(all, blob)
		}
		if again, err := log.MarshalBlobs(leaf, all); err != nil || !bytes.Equal(again, body) {
			t.Errorf("%q encodes to %q, %v", body, again, err)
		}
	})
}

func TestClientAndServerOfBlobsAgree(t *testing.T) {
	t.Parallel()
	l, alice := newBlobLog(t, nil)
	c := blobClient(t, l)
	leaf := alice.Claim(sample.Failed(1, drvText, logText))
	res, err := c.SubmitWithBlobs(context.Background(), leaf, [][]byte{logText}, 10*time.Second)
	if err != nil || res.Results[0].Status != log.Accepted || res.Results[0].Proof == nil {
		t.Fatalf("%+v, %v", res, err)
	}
	// A refusal comes through although the server reads nothing of what follows.
	big := bytes.Repeat([]byte("x"), statement.MaxBlob)
	res, err = c.SubmitWithBlobs(context.Background(), []byte("no statement"), [][]byte{big, big, big}, 0)
	if err != nil || res.Results[0].Status != log.Rejected || res.Results[0].Code == "" {
		t.Errorf("%+v, %v", res, err)
	}
	got, err := c.Blob(context.Background(), sha256.Sum256(logText), 1<<20)
	if err != nil || !bytes.Equal(got, logText) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := c.Blob(context.Background(), sha256.Sum256(logText), 3); !errors.Is(err, log.ErrTooLarge) {
		t.Errorf("more than asked for: %v", err)
	}
	if _, err := c.Blob(context.Background(), nix.Hash{}, 1<<20); !errors.Is(err, log.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
	if err := DeleteBlob(l.dir, sha256.Sum256(logText)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Blob(context.Background(), sha256.Sum256(logText), 1<<20); !errors.Is(err, log.ErrDeleted) {
		t.Errorf("what was deleted: %v", err)
	}
}

func blobClient(t *testing.T, l *testLog) *log.Client {
	t.Helper()
	pol := want(policy.Parse([]byte("log " + l.VKey() + "\nquorum none\n")))(t)
	return want(log.NewClient(l.http.URL, pol, log.Options{}))(t)
}

// Lists come back with the tree; what the mirror has not got is said and stops nothing.
func TestRestoredLogHasItsLists(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, takesBlobs)
	alice := l.operator("alice")
	sig, list := sample.CacheSigByDigest("cache.example-1", 1)
	other, lost := sample.CacheSigByDigest("cache.example-1", 2)
	l.mustPut(statusAccepted, sig, list)
	l.mustPut(statusAccepted, other, lost)
	l.mustPut(statusAccepted, alice.Claim(sample.Failed(1, drvText, logText)), logText)
	l.settle()
	l.close()
	mirror := mirrorOf(t, l.dir)
	file := filepath.Join(mirror, filepath.FromSlash(log.BlobPath(sha256.Sum256(list))))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, list, 0o644); err != nil {
		t.Fatal(err)
	}
	r := &testLog{t: t, dir: backupOf(t, l.dir), o: Options{NoWitnessCheck: true}}
	res := want(Restore(t.Context(), r.dir, mirror, nil))(t)
	if res.Lists != 1 || res.MissingLists != 1 {
		t.Errorf("%+v", res)
	}
	r.open()
	defer r.close()
	if !r.holds(list) || r.holds(lost) || r.holds(logText) {
		t.Error("the list of the mirror is to be held, and nothing else")
	}
	r.mustPut(statusDuplicate, other, lost)
	if !r.holds(lost) {
		t.Error("a list that was lost may come again")
	}
	// A mirror with something else under the name of a list is refused.
	if err := os.WriteFile(file, lost, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), backupOf(t, l.dir), mirror, nil); err == nil || !strings.Contains(err.Error(), "serves something else") {
		t.Errorf("another list: %v", err)
	}
}
