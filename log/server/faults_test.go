package server

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/firn-log/firn/log/server/store"
)

// newFaultyLog is a log on a tree in memory that can be told to fail.
func newFaultyLog(t *testing.T) (*testLog, *store.Memory) {
	t.Helper()
	m := new(store.Memory)
	l := &testLog{t: t, dir: t.TempDir(), o: Options{openStore: m.Open}}
	l.init(nil)
	l.open()
	t.Cleanup(l.close)
	return l, m
}

// appendFault fails every Append until it is told to stop.
func appendFault(f store.Fault) func(string) store.Fault {
	return func(op string) store.Fault {
		if op == "append" {
			return f
		}
		return store.Fault{}
	}
}

func TestFullDiskIsA503ThatRecovers(t *testing.T) {
	t.Parallel()
	l, m := newFaultyLog(t)
	o := l.operator("alice")
	b := o.Builds(0, 4)
	l.must(b[0])
	m.SetFault(appendFault(store.Fault{Err: syscall.ENOSPC}))
	for range 2 {
		status, header, body := l.postRaw("", b[1], b[2])
		if status != http.StatusServiceUnavailable || !strings.Contains(body, `"storage"`) ||
			!strings.Contains(body, "no space left on device") || header.Get("Retry-After") == "" {
			t.Fatalf("status %d, %s; want 503 that says why and when to come back", status, body)
		}
	}
	m.SetFault(nil)
	status, a := l.post("", b...)
	if status != http.StatusOK || a.Results[0].Status != statusDuplicate || a.Results[1].Status != statusAccepted {
		t.Errorf("after the disk has room: status %d, %+v", status, a.Results)
	}
	if size := l.count(); size != 7 {
		t.Errorf("%d entries, want 7: a failed one must not be there twice", size)
	}
	if _, used := l.budget.Used(map[string]bool{"unvouched": true}); used["unvouched"].Statements != 6 {
		t.Errorf("%d statements counted, want 6: failed ones are given back", used["unvouched"].Statements)
	}
}

// An Append that says it failed may have been written whole or in part. What
// is there is acknowledged when it is sent again, at the index that it has.
func TestFailedButPersistedIsFoundAgain(t *testing.T) {
	t.Parallel()
	for keep := range 4 {
		l, m := newFaultyLog(t)
		o := l.operator("alice")
		b := o.Builds(0, 3)
		before := l.settle()
		m.SetFault(appendFault(store.Fault{Err: errors.New("the cable was pulled"), Keep: keep}))
		status, _, body := l.postRaw("", b...)
		if keep == 3 {
			// All of it is there: the log found out by itself.
			if status != http.StatusOK && status != http.StatusAccepted {
				t.Errorf("keep %d: status %d, %s", keep, status, body)
			}
		} else if status != http.StatusServiceUnavailable {
			t.Errorf("keep %d: status %d, %s", keep, status, body)
		}
		m.SetFault(nil)
		_, a := l.post("", b...)
		for i, r := range a.Results {
			want := statusAccepted
			if i < keep {
				want = statusDuplicate
			}
			if r.Status != want || *r.Index < before+uint64(i) || i < keep && *r.Index != before+uint64(i) {
				t.Errorf("keep %d: leaf %d: %+v, want %s at %d", keep, i, r, want, before+uint64(i))
			}
		}
	}
}

// While the tree cannot be read after a failure, nothing is taken, and reading
// goes on; then all is as before.
func TestIntakeIsClosedUntilTheTreeIsReadAgain(t *testing.T) {
	t.Parallel()
	l, m := newFaultyLog(t)
	o := l.operator("alice")
	b := o.Builds(0, 2)
	l.must(b[0])
	m.SetFault(func(op string) store.Fault {
		if op == "append" || op == "size" {
			return store.Fault{Err: syscall.EIO}
		}
		return store.Fault{}
	})
	go l.postRaw("", b[1])
	for l.seq.reason() == nil {
		l.get("/healthz") // let the log work
	}
	if status, _, body := l.postRaw("", b[1]); status != http.StatusServiceUnavailable || !strings.Contains(body, "input/output error") {
		t.Errorf("status %d, %s", status, body)
	}
	if status, _, _ := l.get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d", status)
	}
	if status, _, _ := l.get("/checkpoint"); status != http.StatusOK {
		t.Errorf("reading stopped too: %d", status)
	}
	m.SetFault(nil)
	for l.seq.reason() != nil {
		l.get("/healthz")
	}
	if status, a := l.post("", b...); status != http.StatusOK || a.Results[0].Status != statusDuplicate {
		t.Errorf("after recovery: %d %+v", status, a)
	}
}

// A tree that gives unexpected indexes has another writer: nothing may be
// acknowledged by what it says.
func TestUnexpectedIndexIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	l, m := newFaultyLog(t)
	o := l.operator("alice")
	b := o.Builds(0, 1)
	l.settle()
	m.SetFault(appendFault(store.Fault{Skip: 7}))
	_, a := l.post("", b...)
	if at := want(l.tree.Entry(t.Context(), l.db.State().Size, *a.Results[0].Index))(t); !bytes.Equal(at, b[0]) {
		t.Errorf("acknowledged index %d, where another entry is", *a.Results[0].Index)
	}
}

// A slow disk holds back the acknowledgement; a second sender of the same
// statement waits for the same entry.
func TestSlowDiskHoldsTheAcknowledgementBack(t *testing.T) {
	t.Parallel()
	l, m := newFaultyLog(t)
	o := l.operator("alice")
	b := o.Builds(0, 1)
	slow := make(chan struct{})
	m.SetFault(appendFault(store.Fault{Until: slow}))
	answers := make(chan string, 2)
	for range 2 {
		go func() {
			_, a := l.post("", b...)
			answers <- a.Results[0].Status
		}()
	}
	for l.inflight() == 0 {
		l.get("/healthz")
	}
	select {
	case s := <-answers:
		t.Fatalf("answered %q before the disk did", s)
	default:
	}
	close(slow)
	got := map[string]int{<-answers: 1}
	got[<-answers]++
	if got[statusAccepted] != 1 || got[statusDuplicate] != 1 {
		t.Errorf("answers %v, want one accepted and one duplicate", got)
	}
}

func (l *testLog) inflight() int {
	l.seq.mu.Lock()
	defer l.seq.mu.Unlock()
	return len(l.seq.inflight)
}

// The public checkpoint may not run ahead of the index.
func TestCheckpointWaitsForTheIndex(t *testing.T) {
	t.Parallel()
	l, m := newFaultyLog(t)
	o := l.operator("alice")
	old := l.settle()
	changeIndexNow(t, l, "CREATE TRIGGER full BEFORE INSERT ON ids BEGIN SELECT RAISE(ABORT, 'disk full'); END")
	go l.postRaw("", o.Builds(0, 1)...)
	for l.seq.reason() == nil {
		l.get("/healthz")
	}
	if size := want(m.Size(t.Context()))(t); size != old+1 {
		t.Fatalf("tree of %d, want %d", size, old+1)
	}
	for l.signerSize() != old+1 {
		l.get("/healthz")
	}
	if err := l.publisher.publish(); err != nil { // as its own goroutine does
		t.Error(err)
	}
	if got := l.publisher.latest().head.Size; got != old {
		t.Errorf("published %d while the index has %d", got, old)
	}
	// What is signed is fixed, and auditors read it; what is beyond is not served.
	for _, path := range []string{"/tile/0/000.p/%d", "/tile/entries/000.p/%d"} {
		for size, want := range map[uint64]int{old + 1: http.StatusOK, old + 2: http.StatusNotFound} {
			if status, _, _ := l.get(fmt.Sprintf(path, size)); status != want {
				t.Errorf(path+": status %d, want %d", size, status, want)
			}
		}
	}
	changeIndexNow(t, l, "DROP TRIGGER full")
	if _, err := l.publisher.wait(t.Context(), old+1); err != nil {
		t.Error(err)
	}
}

func (l *testLog) signerSize() uint64 {
	l.signer.mu.Lock()
	defer l.signer.mu.Unlock()
	return l.signer.rec.head.Size
}

// An acknowledged entry survives the loss of everything but the tree.
func TestTreeAloneIsEnough(t *testing.T) {
	t.Parallel()
	l, m := newFaultyLog(t)
	o := l.operator("alice")
	b := o.Builds(0, 20)
	first := l.must(b...)
	l.crash()
	m.Close(t.Context())
	remove(t, l.dir, indexName, indexName+"-wal", indexName+"-shm")
	l.open()
	_, a := l.post("", b...)
	for i, r := range a.Results {
		if r.Status != statusDuplicate || *r.Index != *first.Results[i].Index {
			t.Errorf("leaf %d: %+v", i, r)
		}
	}
}

func TestTruncatedTreeIsRefused(t *testing.T) {
	t.Parallel()
	l, m := newFaultyLog(t)
	l.grow("alice", 5)
	l.close()
	m.Truncate(3)
	l.refused("the tree here has only 3")
}
