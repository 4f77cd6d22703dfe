package log_test

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
)

// A log may sign any size, and the arithmetic on trees must hold up to the
// largest one that is read: at 2^63-1 it would never end.
func TestHugeTrees(t *testing.T) {
	huge := func(l *logtest.Log, size uint64) []byte {
		return l.Sign(policy.Head{Origin: l.Origin(), Size: size, Root: tlog.Hash{1}})
	}
	for _, size := range []uint64{policy.MaxSize + 1, 1<<62 + 1, 1<<63 - 1} {
		l := logtest.New(t)
		p := &log.Proof{Index: 1, Hashes: make([]tlog.Hash, 60), Note: huge(l, size)}
		if _, err := p.Verify(l.Policy(), nil, time.Time{}); !errors.Is(err, policy.ErrMalformed) {
			t.Errorf("size %d: %v, want ErrMalformed", size, err)
		}
		_, err := evidence.New(evidence.KindLog, l.Policy().Logs[0].Key, grow(l, 0, 3, "leaf"), p.Note, tlog.Hash{2}, make([]tlog.Hash, 60))
		if !errors.Is(err, policy.ErrMalformed) {
			t.Errorf("size %d: %v, want ErrMalformed", size, err)
		}
	}
	for _, size := range []uint64{policy.MaxSize - 1, policy.MaxSize} {
		l := logtest.New(t)
		grow(l, 0, 3, "leaf")
		c := l.Client("")
		small := checkpoint(t, c)
		note := huge(l, size)
		cp, err := log.VerifyCheckpoint(l.Policy(), note, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Accept(t.Context(), note); !errors.Is(err, log.ErrUnproven) {
			t.Errorf("size %d after size 3: %v, want ErrUnproven", size, err)
		}
		for _, index := range []uint64{0, small.Size, size / 2, size - 1} {
			if _, err := c.ProveInclusion(t.Context(), cp, index); err == nil {
				t.Errorf("size %d: entry %d has a proof", size, index)
			}
			if _, err := c.Entry(t.Context(), cp, index); err == nil {
				t.Errorf("size %d: there is an entry %d", size, index)
			}
			for n := range 64 {
				p := &log.Proof{Index: index, Hashes: make([]tlog.Hash, n), Note: note}
				if _, err := p.Verify(l.Policy(), nil, time.Time{}); err == nil {
					t.Errorf("size %d: %d zero hashes prove entry %d", size, n, index)
				}
			}
			if _, _, err := c.ProveConsistency(t.Context(), index+1, cp); err == nil {
				t.Errorf("size %d: consistent with size %d", size, index+1)
			}
		}
	}
}
