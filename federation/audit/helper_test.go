package audit

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/witness"
)

// testAudit is a running auditor of a log of logtest.
type testAudit struct {
	t testing.TB
	*Auditor
	o    Options
	stop func()
}

func startAudit(t testing.TB, l *logtest.Log, change func(*Options)) *testAudit {
	t.Helper()
	key, err := policy.ParseKey(l.VKey())
	if err != nil {
		t.Fatal(err)
	}
	a := &testAudit{t: t, o: Options{Dir: t.TempDir(), Key: key, URL: l.URL(), Wait: 30 * time.Second, Poll: time.Hour, Logger: slog.New(slog.NewTextHandler(logWriter{t}, nil))}}
	if change != nil {
		change(&a.o)
	}
	a.open()
	t.Cleanup(func() { a.close() })
	return a
}

func (a *testAudit) open() {
	a.t.Helper()
	var err error
	if a.Auditor, err = New(a.o); err != nil {
		a.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { a.Run(ctx); close(done) }()
	a.stop = func() { cancel(); <-done }
}

func (a *testAudit) close() {
	if a.stop == nil {
		return
	}
	a.stop()
	a.stop = nil
	if err := a.Close(); err != nil {
		a.t.Errorf("closing: %v", err)
	}
}

func (a *testAudit) restart() { a.t.Helper(); a.close(); a.open() }

type logWriter struct{ t testing.TB }

func (w logWriter) Write(b []byte) (int, error) {
	if testing.Verbose() {
		w.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

// gate asks about a signed checkpoint and returns the status that a witness would
// answer with.
func (a *testAudit) gate(note []byte) int {
	a.t.Helper()
	n, err := policy.ParseNote(note)
	if err != nil {
		a.t.Fatal(err)
	}
	head, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		a.t.Fatal(err)
	}
	err = a.Gate(context.Background(), &witness.Request{Note: n, Head: head})
	var r *witness.Refusal
	switch {
	case err == nil:
		return 200
	case errors.As(err, &r):
		a.t.Logf("size %d: %d %v", head.Size, r.Status, r)
		return r.Status
	}
	a.t.Fatalf("an error that is no refusal: %v", err)
	return 0
}

func (a *testAudit) want(note []byte, status int) {
	a.t.Helper()
	if got := a.gate(note); got != status {
		a.t.Errorf("the gate answered %d, want %d", got, status)
	}
}

// until waits for something to be so.
func (a *testAudit) until(what string, so func() bool) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for {
		a.mu.Lock()
		changed := a.changed
		a.mu.Unlock()
		if so() {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			a.t.Fatalf("it was waited in vain for: %s (%+v)", what, a.Status())
		}
	}
}

// held returns the verdicts of the evidence that is kept against the index.
func (a *testAudit) held() []evidence.Verdict {
	a.t.Helper()
	all, err := a.memory.Evidence().List()
	if err != nil {
		a.t.Fatal(err)
	}
	var out []evidence.Verdict
	for _, h := range all {
		v, err := fraud.Verify(h.Evidence, a.pol)
		if err != nil {
			a.t.Errorf("evidence that does not convict: %v", err)
		}
		out = append(out, v)
	}
	return out
}

// convicted waits for evidence and returns what it says.
func (a *testAudit) convicted() string {
	a.t.Helper()
	a.until("evidence", func() bool { return len(a.held()) > 0 })
	return a.held()[0].Why
}

// fill adds n closures to a log, publishes them, and returns the checkpoint.
func fill(t testing.TB, l *logtest.Log, name string, n int) []byte {
	s := logtest.Signer(t, "somebody")
	for i := range n {
		l.Add(logtest.Leaf(t, s, logtest.Closure(name+string(rune('a'+i%26))+strings.Repeat("x", i/26))))
	}
	return l.Publish()
}

// revise states a revision and returns the checkpoint that holds it.
func revise(l *logtest.Log) []byte { l.Revise(); return l.Publish() }

func reset(l *logtest.Log, size uint64) []byte {
	l.Add(l.State(&statement.IndexReset{Origin: l.Origin(), MapVersion: index.MapVersion, Size: size}))
	return l.Publish()
}

func headOf(t testing.TB, note []byte) policy.Head {
	n, err := policy.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	head, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// request is what a witness is asked about a checkpoint.
func request(t testing.TB, note []byte) *witness.Request {
	n, err := policy.ParseNote(note)
	if err != nil {
		t.Fatal(err)
	}
	return &witness.Request{Note: n, Head: headOf(t, note)}
}
