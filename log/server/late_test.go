package server

import "testing"

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
