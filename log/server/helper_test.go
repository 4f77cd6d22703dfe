package server

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/server/store"
	"github.com/firn-log/firn/log/statement"
)

// testLog is an open log and a server in front of it.
type testLog struct {
	t   testing.TB
	dir string
	*Server
	http *httptest.Server
	o    Options
}

// newTestLog makes a log in a temporary folder and opens it. change edits its
// configuration.
func newTestLog(t testing.TB, change func(*Config)) *testLog {
	t.Helper()
	l := &testLog{t: t, dir: t.TempDir()}
	l.init(change)
	l.open()
	t.Cleanup(l.close)
	return l
}

func (l *testLog) init(change func(*Config)) {
	l.t.Helper()
	if _, err := Init(l.dir, InitOptions{Name: "log.example", Change: func(c *Config) {
		c.CheckpointInterval.Duration = minInterval
		if change != nil {
			change(c)
		}
	}}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *testLog) open() {
	l.t.Helper()
	if err := l.tryOpen(); err != nil {
		l.t.Fatal(err)
	}
}

func (l *testLog) tryOpen() error {
	o := l.o
	o.Dir = l.dir
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(testWriter{l.t}, nil))
	}
	s, err := New(context.Background(), o)
	if err != nil {
		return err
	}
	l.Server, l.http = s, httptest.NewServer(s.Handler())
	return nil
}

// close stops the log; it may be opened again.
func (l *testLog) close() {
	l.t.Helper()
	if l.Server == nil {
		return
	}
	l.http.Close()
	if err := l.Server.Close(context.Background()); err != nil {
		l.t.Errorf("closing: %v", err)
	}
	l.Server = nil
}

// crash drops the log as a killed process would, but within this one.
func (l *testLog) crash() {
	l.http.Close()
	l.Server.signer.stop()
	if l.Server.stopWitnesses != nil {
		l.Server.stopWitnesses()
	}
	l.Server.seq.close(errStopping)
	l.Server.sequencing()
	l.Server.publishing()
	<-l.Server.seq.stopped
	<-l.Server.publisherDone
	l.Server.stopFollowing()
	<-l.Server.followerDone
	l.Server.mapper.db.Close()
	l.Server.db.Close()
	l.Server.lock.Unlock()
	l.Server = nil
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	if testing.Verbose() {
		w.t.Logf("%s", bytes.TrimSpace(b))
	}
	return len(b), nil
}

func frame(leaves [][]byte) []byte {
	var b []byte
	for _, l := range leaves {
		b = store.AppendFrame(b, l)
	}
	return b
}

// post submits leaves and returns the status and the answer.
func (l *testLog) post(query string, leaves ...[]byte) (int, *submitAnswer) {
	l.t.Helper()
	resp, err := http.Post(l.http.URL+"/v1/statements"+query, leavesType, bytes.NewReader(frame(leaves)))
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	a := new(submitAnswer)
	if err := json.Unmarshal(b, a); err != nil {
		l.t.Fatalf("status %d: %v: %s", resp.StatusCode, err, b)
	}
	return resp.StatusCode, a
}

// must submits leaves that all have to be accepted.
func (l *testLog) must(leaves ...[]byte) *submitAnswer {
	l.t.Helper()
	status, a := l.post("", leaves...)
	if status != http.StatusOK {
		l.t.Fatalf("status %d, want 200: %+v", status, a)
	}
	for i, r := range a.Results {
		if r.Status != statusAccepted {
			l.t.Fatalf("leaf %d: %s %s: %s", i, r.Status, r.Error, r.Message)
		}
	}
	return a
}

// operator registers an operator.
func (l *testLog) operator(name string) *sample.Operator {
	l.t.Helper()
	o := sample.NewOperator(name, l.Origin())
	l.must(o.Registration()...)
	return o
}

// get fetches a path.
func (l *testLog) get(path string) (int, http.Header, []byte) {
	l.t.Helper()
	resp, err := http.Get(l.http.URL + path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, b
}

func idOf(t testing.TB, leaf []byte) string {
	t.Helper()
	s, err := statement.Parse(leaf)
	if err != nil {
		t.Fatal(err)
	}
	return s.ID().String()
}

// want returns v to a test that fails on err: want(f())(t).
func want[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// changeIndex runs SQL on the index of a closed log.
func changeIndex(t testing.TB, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}

// postRaw submits leaves and returns the answer as text.
func (l *testLog) postRaw(query string, leaves ...[]byte) (int, http.Header, string) {
	l.t.Helper()
	resp, err := http.Post(l.http.URL+"/v1/statements"+query, leavesType, bytes.NewReader(frame(leaves)))
	if err != nil {
		return 0, nil, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b)
}

// changeIndexNow runs SQL on the index of an open log, from outside.
func changeIndexNow(t testing.TB, l *testLog, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(l.dir, indexName)+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}

// statements returns how many entries below size are not revisions of the index,
// which the log adds by itself.
func (l *testLog) statements(size uint64) (n uint64) {
	l.t.Helper()
	for leaf, err := range l.tree.Entries(context.Background(), 0, size) {
		if err != nil {
			l.t.Fatal(err)
		}
		if st, err := statement.Parse(leaf); err != nil || st.Kind != statement.KindRevision {
			n++
		}
	}
	return n
}

// count returns how many entries of the tree are not revisions.
func (l *testLog) count() uint64 { return l.statements(l.db.State().Size) }

// settle waits until all that is in the tree is public and in the index that lookups
// are answered with, and returns the size: the log is idle and does not grow.
func (l *testLog) settle() uint64 {
	l.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		at, changed, broken := l.mapper.answer()
		if broken != nil {
			l.t.Fatal(broken)
		}
		size := l.db.State().Size
		if at != nil && at.checkpoint.head.Size == size && l.statements(at.revision.size) == l.statements(size) {
			return size
		}
		select {
		case <-changed:
		case <-time.After(50 * time.Millisecond):
		case <-deadline:
			l.t.Fatalf("the index does not follow the log to %d: %v", size, l.mapper.health())
		}
	}
}
