package server

import (
	"testing"

	"github.com/firn-log/firn/log/statement"
)

// A log whose map was long in the making states no revision that is far behind, but the
// next one.
func TestNoRevisionIsStatedFarBehind(t *testing.T) {
	defer func(n uint64) { statedWithin = n }(statedWithin)
	statedWithin = 20
	l := newTestLog(t, nil)
	l.settle()
	l.stopFollowing()
	<-l.followerDone
	l.grow("alice", 3)
	old := l.published()
	stated := l.mapper.stated
	l.grow("bob", 21)
	l.published()
	if err := l.followTo(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if l.mapper.stated != stated {
		t.Errorf("a revision of size %d was stated, %d entries behind", l.mapper.stated, l.db.State().Size-l.mapper.stated)
	}
	now := l.published()
	if err := l.followTo(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if l.mapper.stated != now.head.Size {
		t.Errorf("a revision of size %d was stated, want %d", l.mapper.stated, now.head.Size)
	}
}

// published waits until all entries are and returns the checkpoint.
func (l *testLog) published() published {
	for {
		cp, changed := l.publisher.watch()
		if cp.head.Size == l.db.State().Size {
			return cp
		}
		<-changed
	}
}

// What waits in line counts when the revision gets in line: nothing comes between.
func TestWhatWaitsInLineMakesARevisionLate(t *testing.T) {
	l := newTestLog(t, nil)
	l.settle()
	l.seq.mu.Lock()
	defer l.seq.mu.Unlock()
	size := l.db.State().Size
	if l.tooLate(size) {
		t.Error("late with nothing in line")
	}
	for i := range statedWithin + 1 {
		l.seq.inflight[statement.ID{byte(i), byte(i >> 8), 1}] = nil
	}
	defer clear(l.seq.inflight)
	if !l.tooLate(size) || l.tooLate(size+1) {
		t.Error("what is in line does not count, or for more than it is")
	}
}
