package federation

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

func ofLog(t testing.TB, l *logtest.Log) (*Hub, Options) {
	t.Helper()
	dir := t.TempDir()
	o := Options{
		Dir: filepath.Join(dir, "hub"), Evidence: evidence.NewStore(filepath.Join(dir, "evidence"), evidence.WithJudge(fraud.Judge)),
		Logs: []Log{{Policy: l.Policy(), Origin: l.Origin()}},
	}
	h, err := NewHub(o)
	if err != nil {
		t.Fatal(err)
	}
	return h, o
}

// signedNote returns a checkpoint of l that no tree has.
func signedNote(t testing.TB, l *logtest.Log, size uint64, root byte, extensions ...string) *signed {
	t.Helper()
	s, _, err := readSigned(l.Policy(), l.Sign(policy.Head{Origin: l.Origin(), Size: size, Root: [32]byte{root}, Extensions: extensions}), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Evidence, forks of one size and comparisons all write the state of a log, and
// do not wait for each other.
func TestStateIsNeverOlderThanWhatWasWrittenBefore(t *testing.T) {
	l := logtest.New(t)
	for range 20 {
		h, opts := ofLog(t, l)
		o := h.origins[0]
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				o.mu.Lock()
				o.postpone(signedNote(t, l, uint64(10+i), 1), time.Now())
				o.mu.Unlock()
				if err := h.commit(o); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		again, err := NewHub(opts)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(again.origins[0].pending); got != 8 {
			t.Fatalf("%d checkpoints wait after a restart, want 8", got)
		}
	}
}

// Whoever read the evidence before the latest was kept does not undo what follows
// from it.
func TestConvictionIsNotUndoneByAnEarlierLook(t *testing.T) {
	l := logtest.New(t)
	all, err := evidence.FromNotes(l.Policy(), signedNote(t, l, 5, 1).note, signedNote(t, l, 5, 2).note, [32]byte{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		h, _ := ofLog(t, l)
		var wg sync.WaitGroup
		var added atomic.Bool
		for range 8 {
			wg.Go(func() {
				for !added.Load() {
					if err := h.judge(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		if _, err := h.AddEvidence(all[0].Marshal(), "test"); err != nil {
			t.Fatal(err)
		}
		added.Store(true)
		wg.Wait()
		if !h.Convicted(l.Origin()) {
			t.Fatal("evidence is held, and the log is not convicted")
		}
	}
}

// A log may sign checkpoints of 128 KiB, and all that waits is written each time.
func TestWhatWaitsIsBoundedInBytes(t *testing.T) {
	l := logtest.New(t)
	h, _ := ofLog(t, l)
	o := h.origins[0]
	long := strings.Repeat("x", 100<<10)
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range 40 {
		o.postpone(signedNote(t, l, uint64(1000+i), 1, long), time.Now())
	}
	if got := size(o.pending); got > maxBytes || len(o.pending) < 8 {
		t.Errorf("%d checkpoints with %d bytes wait", len(o.pending), got)
	}
	if first, last := o.pending[0].head.Size, o.pending[len(o.pending)-1].head.Size; first != 1000 || last != 1039 {
		t.Errorf("from size %d to %d, want the smallest and the largest", first, last)
	}
	for i := range 40 {
		o.proven(signedNote(t, l, uint64(10+i), 1, fmt.Sprint(long, i)), time.Now())
	}
	if got := size(o.recent); got > maxBytes || o.latest.head.Size != 49 {
		t.Errorf("%d bytes of proven ones, the largest of size %d", got, o.latest.head.Size)
	}
}

func TestCosignaturesThatCameMeanwhileStay(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(2, 2))
	l.Add([]byte("leaf"))
	h, _ := ofLog(t, l)
	o := h.origins[0]
	whole, _, err := readSigned(l.Policy(), l.Publish(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	one, other := *whole, *whole
	one.cosigned = map[string]policy.Signature{"w1": whole.cosigned["w1"]}
	other.cosigned = map[string]policy.Signature{"w2": whole.cosigned["w2"]}
	one.note, other.note = one.marshal(l.Policy()), other.marshal(l.Policy())
	o.mu.Lock()
	defer o.mu.Unlock()
	o.postpone(&other, time.Now()) // while one is compared
	s, ok := o.decided(&one, time.Now())
	if !ok || len(s.cosigned) != 2 || o.best == nil || len(o.pending) > 0 {
		t.Errorf("%v, %v, best %v, waiting %d", ok, s.witnesses(), o.best, len(o.pending))
	}
}
