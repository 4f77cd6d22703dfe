package witness

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness/sample"
)

// cosignedHead is a checkpoint that was signed.
type cosignedHead struct {
	size uint64
	root tlog.Hash
}

// oneTree reports whether one of the histories holds every head.
func oneTree(histories []*sample.Log, heads []cosignedHead) bool {
	return slices.ContainsFunc(histories, func(l *sample.Log) bool {
		return !slices.ContainsFunc(heads, func(h cosignedHead) bool { return l.Root(h.size) != h.root })
	})
}

// However requests of several histories of one log interleave, and wherever the
// witness is killed in between, one tree holds everything that it signed.
func TestRandomInterleavingsNeverGiveTwoInconsistentCosignatures(t *testing.T) {
	refused := 0
	for seed := range uint64(40) {
		refused += interleave(t, rand.New(rand.NewPCG(seed, 1)))
	}
	if refused == 0 {
		t.Error("no fork was ever noticed: the test shows nothing")
	}
}

func interleave(t *testing.T, rnd *rand.Rand) (refused int) {
	t.Helper()
	main := sample.New(testOrigin)
	main.Grow(24)
	histories := []*sample.Log{main, main.Fork("a", rnd.Uint64N(12)), main.Fork("b", 4+rnd.Uint64N(16))}
	histories = append(histories, histories[1].Fork("aa", 12+rnd.Uint64N(8)))
	w := newWorld(t)
	var mu sync.Mutex // guards heads
	var heads []cosignedHead
	for range 3 {
		var wg sync.WaitGroup
		for range 6 {
			r := rand.New(rand.NewPCG(rnd.Uint64(), 2))
			wg.Go(func() {
				for range 30 {
					l := histories[r.IntN(len(histories))]
					old := w.store.Latest(testOrigin).Size
					if r.IntN(4) == 0 {
						old = r.Uint64N(25)
					}
					size := min(24, old+r.Uint64N(4))
					if status, _, _ := w.AddCheckpoint(t.Context(), l.Request(old, size)); status == 200 {
						mu.Lock()
						heads = append(heads, cosignedHead{size, l.Root(size)})
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		// Killed: what is in the files is all that is left.
		dir := crash(t, w.store)
		w.store.Close()
		w.dir = dir
		w.open()
		if err := w.store.Confirm(false); err != nil {
			t.Fatal(err)
		}
	}
	if !oneTree(histories, heads) {
		t.Errorf("signed, and no single tree holds it: %v", heads)
	}
	if w.store.Latest(testOrigin).Refused != "" {
		refused++
	}
	w.store.Close()
	return refused
}

func TestOneTreeCanSayNo(t *testing.T) {
	main := sample.New(testOrigin)
	main.Grow(9)
	fork := main.Fork("fork", 5)
	both := []*sample.Log{main, fork}
	if !oneTree(both, []cosignedHead{{4, fork.Root(4)}, {9, main.Root(9)}}) {
		t.Error("a common beginning is called two trees")
	}
	if oneTree(both, []cosignedHead{{7, fork.Root(7)}, {9, main.Root(9)}}) {
		t.Error("two trees are called one")
	}
}

func FuzzParseRequest(f *testing.F) {
	l := sample.New(testOrigin)
	l.Grow(9)
	f.Add(l.Request(0, 0))
	f.Add(l.Request(0, 9))
	f.Add(l.Request(3, 9))
	f.Add(sample.Body(0, nil, l.SignedNote(l.Text(5, "an extension"))))
	f.Add(sample.Body(0, nil, l.SignedNote(policy.Head{Origin: testOrigin, Root: tlog.Hash{1}}.Text())))
	for _, s := range readVectors(f).Steps {
		f.Add(s.body())
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseRequest(body)
		if err != nil {
			return
		}
		if again := r.Marshal(); !bytes.Equal(again, body) {
			t.Errorf("%q is written as %q", body, again)
		}
		if len(r.Proof) > MaxProof || r.Head.Size > policy.MaxSize {
			t.Errorf("%d hashes, size %d", len(r.Proof), r.Head.Size)
		}
		if r.WrongEmpty == (r.Head.Text() == r.Note.Text && r.Head.Size > 0) && r.WrongEmpty {
			t.Error("a tree that is not empty is called empty")
		}
	})
}

func FuzzParseLogList(f *testing.F) {
	l := sample.New(testOrigin)
	f.Add(FormatLogList([]Log{{Origin: "other", Keys: []policy.Key{l.Key}, QPD: 7, Contact: "a@example.org"}}))
	f.Add([]byte(goodList))
	f.Fuzz(func(t *testing.T, b []byte) {
		logs, _, err := ParseLogList(b)
		if err != nil {
			return
		}
		again, skipped, err := ParseLogList(FormatLogList(logs))
		if err != nil || len(skipped) > 0 || fmt.Sprint(again) != fmt.Sprint(logs) {
			t.Errorf("%v is read again as %v, %v, %v", logs, again, skipped, err)
		}
	})
}
