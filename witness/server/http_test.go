package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/witness"
	"github.com/firn-log/firn/witness/sample"
)

func TestAddCheckpointOverHTTP(t *testing.T) {
	w := newWorld(t)
	a := w.add(200, w.log.Request(0, 5))
	if !strings.HasPrefix(a.body, "— witness.example/w1 ") || strings.Count(a.body, "\n") != 1 || !strings.HasSuffix(a.body, "\n") {
		t.Errorf("%q is not one signature line", a.body)
	}
	stranger := sample.New("other.example/x")
	for want, body := range map[int][]byte{
		404: stranger.Request(0, 0),
		403: sample.Body(5, nil, stranger.SignedNote(w.log.Text(9))),
		400: []byte("old 0600\n\n" + string(w.log.Note(9))),
		422: sample.Body(5, nil, w.log.Note(9)),
	} {
		a := w.add(want, body)
		if ct := a.header.Get("Content-Type"); ct != "text/plain; charset=utf-8" || strings.Count(a.body, "\n") != 1 {
			t.Errorf("status %d: %s: %q, want one sentence", want, ct, a.body)
		}
	}
}

func TestW4ConflictHasTheSizeAndItsContentType(t *testing.T) {
	w := newWorld(t)
	for _, want := range []string{"0\n", "5\n"} {
		a := w.add(409, w.log.Request(3, 5))
		if a.body != want || a.header.Get("Content-Type") != "text/x.tlog.size" {
			t.Errorf("%s: %q; want text/x.tlog.size: %q", a.header.Get("Content-Type"), a.body, want)
		}
		if want == "0\n" {
			w.add(200, w.log.Request(0, 5))
		}
	}
}

func TestW10MonitoringOverHTTP(t *testing.T) {
	w := newWorld(t)
	if a := w.get(w.monitoring()); a.status != 404 {
		t.Errorf("status %d before anything was cosigned, want 404", a.status)
	}
	line := w.add(200, w.log.Request(0, 5)).body
	a := w.get(w.monitoring())
	if a.status != 200 || a.body != string(w.log.Note(5))+line || a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("status %d, %v: %q", a.status, a.header, a.body)
	}
	for _, path := range []string{"/" + strings.ToUpper(witness.OriginHash(w.log.Origin)) + "/checkpoint", "/x/checkpoint"} {
		if a := w.get(path); a.status != 404 {
			t.Errorf("%s: status %d, want 404", path, a.status)
		}
	}
}

func TestOnlyPOSTAddsACheckpoint(t *testing.T) {
	w := newWorld(t)
	if a := w.get("/add-checkpoint"); a.status != http.StatusMethodNotAllowed {
		t.Errorf("status %d, want 405", a.status)
	}
}

func TestW12BodiesUpTo128KiBAndNoLonger(t *testing.T) {
	w := newWorld(t)
	body := []byte("old 0\n\n" + strings.Repeat("x", witness.MaxBody))[:witness.MaxBody]
	w.add(400, body)
	long := append(body, 'x')
	w.add(413, long)
	// Without a length beforehand.
	for want, b := range map[int][]byte{400: body, 413: long} {
		a := w.do(http.NewRequest(http.MethodPost, w.http.URL+"/add-checkpoint", io.MultiReader(bytes.NewReader(b))))
		if a.status != want {
			t.Errorf("%d bytes in chunks: status %d, want %d", len(b), a.status, want)
		}
	}
	w.add(200, w.log.Request(0, 5))
}

func TestRequestsBeyondTheMemoryAreAskedToComeBack(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Budgets.BodyMemory = minBodyMemory })
	if !w.bodies.TryAcquire(minBodyMemory) {
		t.Fatal("no memory at the start")
	}
	if a := w.add(503, w.log.Request(0, 5)); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	w.bodies.Release(minBodyMemory)
	for range 40 {
		w.add(400, bytes.Repeat([]byte("x"), witness.MaxBody)) // all of it is given back
	}
	w.add(200, w.log.Request(0, 5))
}

func TestBudgetOverHTTPIs429WithRetryAfter(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Budgets.QPD = 2 })
	w.add(200, w.log.Request(0, 5))
	w.add(200, w.log.Request(5, 6))
	if a := w.add(429, w.log.Request(6, 7)); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestPrefixes(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.SubmissionPrefix, c.MonitoringPrefix = "/w/sub", "/w/mon" })
	if a := w.post("/w/sub/add-checkpoint", w.log.Request(0, 5)); a.status != 200 {
		t.Errorf("status %d", a.status)
	}
	if a := w.get("/w/mon" + w.monitoring()); a.status != 200 {
		t.Errorf("status %d", a.status)
	}
	if a := w.post("/add-checkpoint", w.log.Request(5, 6)); a.status == 200 {
		t.Error("taken without the prefix")
	}
	contains(t, w.get("/").body, `href="/w/mon/`)
}

func forkEvidence(t *testing.T, l *sample.Log) []byte {
	t.Helper()
	e, err := evidence.New(evidence.KindLog, l.Key, l.Note(9), l.Fork("fork", 2).Note(9), tlog.Hash{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e.Marshal()
}

func TestEvidenceRefusesTheOriginAndRunsTheHook(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	w := newWorld(t, func(c *Config) { c.Evidence.Command = []string{"tee", out} })
	w.add(200, w.log.Request(0, 5))
	b := forkEvidence(t, w.log)
	if a := w.post("/evidence", b); a.status != 200 || !strings.Contains(a.body, w.log.Origin) {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	w.add(403, w.log.Request(5, 6))
	contains(t, w.get("/").body, `class="refused">refused`)
	w.again() // waits for the hook
	w.add(403, w.log.Request(5, 6))
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, b) {
		t.Errorf("the command read %q, %v", got, err)
	}
	if a := w.get(w.monitoring()); a.status != 200 {
		t.Errorf("what was cosigned is gone: status %d", a.status)
	}
}

func TestEvidenceOfNothingIsRefused(t *testing.T) {
	w := newWorld(t)
	stranger := sample.New("other.example/x")
	stranger.Grow(9)
	for want, b := range map[int][]byte{
		422: []byte("garbage"), 404: forkEvidence(t, stranger), 413: bytes.Repeat([]byte("x"), evidence.MaxSize+1),
	} {
		if a := w.post("/evidence", b); a.status != want {
			t.Errorf("status %d: %s; want %d", a.status, a.body, want)
		}
	}
	index, err := os.ReadFile(filepath.Join(testreq.Root(), "spec", "vectors", "evidence", "index", "accept-two-revisions"+evidence.Suffix))
	if err != nil {
		t.Fatal(err)
	}
	if a := w.post("/evidence", index); a.status != 404 || !strings.Contains(a.body, "hand it to a firn-peer") {
		t.Errorf("against an index: status %d: %s", a.status, a.body)
	}
	w.add(200, w.log.Request(0, 5))
}

func TestEvidenceIsTakenFromThisMachineOnly(t *testing.T) {
	w := newWorld(t)
	for _, h := range []string{"X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"} {
		req, err := http.NewRequest(http.MethodPost, w.http.URL+"/evidence", bytes.NewReader(forkEvidence(t, w.log)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(h, "192.0.2.1")
		if a := w.do(req, nil); a.status != 403 {
			t.Errorf("%s: status %d, want 403", h, a.status)
		}
	}
	for addr, want := range map[string]bool{"127.0.0.1:5": true, "[::1]:5": true, "[::ffff:127.0.0.1]:5": true, "192.0.2.1:5": false, "@": false} {
		if got := fromThisMachine(&http.Request{RemoteAddr: addr}); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

func TestStatusPage(t *testing.T) {
	w := newWorld(t)
	w.add(200, w.log.Request(0, 5))
	a := w.get("/")
	if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Fatalf("status %d, %v", a.status, a.header)
	}
	for _, part := range []string{
		"witness.example/w1", w.log.Origin, w.monitoring(), `name="viewport"`, "prefers-color-scheme: dark", `class="following"`,
	} {
		contains(t, a.body, part)
	}
	contains(t, a.header.Get("Content-Security-Policy"), "default-src 'none'")
	if strings.Contains(a.body, "<script") || strings.Contains(a.body, "http://") || strings.Contains(a.body, "https://") {
		t.Error("the page has a script or loads something")
	}
	if a := w.get("/nothing"); a.status != 404 {
		t.Errorf("status %d", a.status)
	}
}

func TestStatusPageEscapesWhatLogsAreCalled(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Logs[0].Origin = `<script>alert("x")</script>` })
	if body := w.get("/").body; strings.Contains(body, "<script") || !strings.Contains(body, "&lt;script&gt;") {
		t.Error("an origin is markup")
	}
}

func TestStatusForPrograms(t *testing.T) {
	w := newWorld(t)
	w.add(200, w.log.Request(0, 5))
	var st status
	if err := json.Unmarshal([]byte(w.get("/v1/witness").body), &st); err != nil {
		t.Fatal(err)
	}
	if st.Schema != 1 || st.VKey != w.VKey() || st.State != "cosigning" || len(st.Shown) != 1 || st.Shown[0].Size != 5 || st.Shown[0].Cosigned == 0 {
		t.Errorf("%+v", st)
	}
	logs, skipped, err := witness.ParseLogList([]byte(w.get("/logs.v0").body))
	if err != nil || len(skipped) > 0 || len(logs) != 1 || logs[0].Origin != w.log.Origin {
		t.Errorf("%v, %v, %v", logs, skipped, err)
	}
}

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	w.add(200, w.log.Request(0, 5))
	w.add(409, w.log.Request(0, 5))
	w.add(422, sample.Body(5, nil, w.log.Note(9)))
	body := w.get("/metrics").body
	for _, line := range []string{
		"firn_witness_cosigned_total 1\n", `firn_witness_refused_total{rule="W4"} 1`, `firn_witness_refused_total{rule="W6"} 1`,
		"firn_witness_open 1\n", "firn_witness_logs 1\n", "firn_witness_refused_logs 0\n", "firn_witness_synced_total 1\n",
	} {
		contains(t, body, line)
	}
	if a := w.get("/readyz"); a.status != 200 {
		t.Errorf("status %d", a.status)
	}
	if a := w.get("/healthz"); a.status != 200 {
		t.Errorf("status %d", a.status)
	}
}
