package follow

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// What cannot be parsed or verified is left out, and nothing else is.
func TestWhatDoesNotVerifyIsLeftOut(t *testing.T) {
	w := newWorld(t, logtest.Witnesses(2, 2))
	w.register()
	w.claims("alice", 0, 300)
	w.Add([]byte("no statement"))
	w.Add(w.spoiled("alice"))
	w.claims("nobody", 0, 2) // a key that nobody knows
	w.claims("alice", 300, 400)
	w.Publish()
	store := newFake()
	f := follow(t, t.TempDir(), store, w.log())
	replay(t, f)
	got := store.entries[w.Origin()]
	if len(got) != 706 {
		t.Fatalf("%d entries", len(got))
	}
	unverified := 0
	for _, e := range got {
		if (e.Statement == nil) != (e.Index == 302) {
			t.Fatalf("entry %d: %v", e.Index, e.Statement)
		}
		if e.Index == 302 || e.Index == 303 {
			if e.Verified {
				t.Errorf("entry %d is verified", e.Index)
			}
			continue
		}
		if e.Verified == (e.Statement.Signer == logtest.Signer(t, "nobody").PublicKey().ID()) {
			t.Errorf("entry %d: verified %v", e.Index, e.Verified)
		}
		if !e.Verified {
			unverified++
		}
	}
	s := f.Status()[0]
	if unverified != 2 || s.Left != 2 || s.Unverified != 2 || s.Entries != 706 || s.Replayed != 706 || s.Size != 706 || s.Behind != 0 {
		t.Errorf("%+v", s)
	}
	cp := store.noted[w.Origin()]
	if cp.Size != 706 || cp.CheckpointTime.IsZero() || len(cp.Witnesses) != 2 || cp.Witnesses[1].Name != "w2" || cp.Witnesses[1].Time.IsZero() {
		t.Errorf("%+v", cp)
	}
}

// The second replay believes the file about the same leaves and no others.
func TestWhatWasVerifiedIsNotVerifiedAgain(t *testing.T) {
	w := newWorld(t)
	w.register()
	w.claims("alice", 0, 600)
	w.Add(w.spoiled("alice"))
	w.Publish()
	dir := t.TempDir()
	first := newFake()
	replay(t, follow(t, dir, first, w.log()))
	second := newFake()
	f := follow(t, dir, second, w.log())
	replay(t, f)
	if first.dump() != second.dump() {
		t.Error("the second replay gives something else")
	}
	if s := f.Status()[0]; s.Kept != 512 || s.Left != 1 {
		t.Errorf("kept %d, left %d", s.Kept, s.Left)
	}
	// Another log may not profit from the file, even where somebody puts it there.
	other := newWorld(t, logtest.Origin("other.example/00000000"))
	other.Add(other.spoiled("alice"))
	other.register()
	other.claims("alice", 0, 600)
	other.Publish()
	mine := filepath.Join(dir, "logs", evidence.OriginName(w.Origin()), "verified")
	theirs := filepath.Join(dir, "logs", evidence.OriginName(other.Origin()))
	b, err := os.ReadFile(mine)
	if err != nil {
		t.Fatal(err)
	}
	of, err := openVerified(filepath.Join(t.TempDir(), "v"), other.Origin())
	if err != nil {
		t.Fatal(err)
	}
	head := make([]byte, headerSize)
	if _, err := of.f.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(theirs, 0o755), os.WriteFile(filepath.Join(theirs, "verified"), append(head, b[headerSize:]...), 0o644)); err != nil {
		t.Fatal(err)
	}
	third := newFake()
	f = follow(t, dir, third, other.log())
	replay(t, f)
	if s := f.Status()[0]; s.Kept != 0 || s.Left != 1 {
		t.Errorf("in another log: kept %d, left %d", s.Kept, s.Left)
	}
}

// A replay goes on with the entry that comes next, whatever failed, and also if
// the database took what it said that it did not.
func TestAReplayGoesOnExactly(t *testing.T) {
	w := newWorld(t)
	w.register()
	w.claims("alice", 0, 700)
	w.Publish()
	whole := newFake()
	replay(t, follow(t, t.TempDir(), whole, w.log()))

	for _, kept := range []bool{false, true} {
		store := newFake()
		f := follow(t, t.TempDir(), store, w.log())
		calls := 0
		store.fail = func(string) (error, bool) {
			if calls++; calls%2 == 0 {
				return errGone, kept
			}
			return nil, false
		}
		for range 20 {
			err := f.Replay(t.Context())
			if err == nil {
				break
			}
			if !errors.Is(err, errGone) || !strings.Contains(err.Error(), "the database does not take") {
				t.Fatal(err)
			}
		}
		store.fail = nil
		replay(t, f)
		if store.dump() != whole.dump() {
			t.Errorf("kept %v: another outcome", kept)
		}
		if f.Status()[0].Replayed != 702 {
			t.Errorf("%+v", f.Status()[0])
		}
	}

	// In the middle of a group, as the log grows.
	store := newFake()
	g := newWorld(t)
	f := follow(t, t.TempDir(), store, g.log())
	g.register()
	for n := 0; n < 700; n += 70 {
		g.claims("alice", n, 70)
		g.Publish()
		replay(t, f)
	}
	if store.dump() != whole.dump() {
		t.Error("as the log grows: another outcome")
	}
	again := newFake()
	f = follow(t, f.o.Dir, again, g.log())
	replay(t, f)
	if s := f.Status()[0]; s.Kept != 512 || again.dump() != whole.dump() {
		t.Errorf("after it grew: kept %d", s.Kept)
	}
}

func TestALogThatGoesBackIsSaidAndTheOthersGoOn(t *testing.T) {
	w, other := newWorld(t), newWorld(t, logtest.Origin("other.example/00000000"))
	w.register()
	old := w.Publish()
	w.claims("alice", 0, 10)
	w.Publish()
	other.register()
	other.Publish()
	store := newFake()
	dir := t.TempDir()
	replay(t, follow(t, dir, store, w.log(), other.log()))
	w.Lie(func(l *logtest.Lies) { l.Checkpoint = old })
	other.claims("alice", 0, 5)
	other.Publish()
	f := follow(t, dir, store, w.log(), other.log())
	err := f.Replay(t.Context())
	if !errors.Is(err, log.ErrStale) || !strings.Contains(sentence(err), "went back") {
		t.Errorf("%v", err)
	}
	if got := store.next; got[w.Origin()] != 12 || got[other.Origin()] != 7 {
		t.Errorf("%+v", got)
	}
	// It is not forgotten while the log is down.
	view := store.noted[w.Origin()]
	w.Lie(func(l *logtest.Lies) { l.Down = true })
	f = follow(t, dir, store, w.log())
	f.logs[0].tell(t.Context(), f.Replay(t.Context()))
	if got := store.noted[w.Origin()]; got.Size != view.Size || !strings.Contains(got.Error, "cannot be read") || f.Status()[0].Replayed != 12 {
		t.Errorf("%+v, before %+v", got, view)
	}
	w.Lie(func(l *logtest.Lies) { l.Down = false })
	// Without a memory, the database still knows.
	f = follow(t, t.TempDir(), store, w.log())
	var history *historyError
	if err := f.Replay(t.Context()); !errors.As(err, &history) || !strings.Contains(err.Error(), "shows only 2") {
		t.Errorf("%v", err)
	}
}

func TestTwoHistoriesAreEvidence(t *testing.T) {
	w := newWorld(t, logtest.Witnesses(2, 2))
	w.register()
	w.claims("alice", 0, 5)
	w.Publish()
	store := newFake()
	dir := t.TempDir()
	f := follow(t, dir, store, w.log())
	var found []evidence.Held
	f.o.Found = func(h evidence.Held) { found = append(found, h) }
	replay(t, f)
	forked := newWorld(t, logtest.Witnesses(2, 2))
	forked.register()
	forked.claims("mallory", 0, 9)
	forked.Publish()
	at := forked.log()
	before := store.dump()
	for range 2 { // also after a restart
		f = follow(t, dir, store, at)
		f.o.Found = func(h evidence.Held) { found = append(found, h) }
		err := f.Replay(t.Context())
		var fork *log.ForkError
		if !errors.As(err, &fork) || kindOf(err) != "fork" || !strings.Contains(sentence(err), "two histories") {
			t.Fatalf("%v", err)
		}
		if _, err := os.Stat(fork.Path); err != nil || !strings.HasPrefix(fork.Path, filepath.Join(dir, "evidence")) {
			t.Errorf("%s: %v", fork.Path, err)
		}
	}
	if len(found) != 3 { // the log and two witnesses
		t.Errorf("%d pieces of evidence", len(found))
	}
	if store.dump() != before {
		t.Error("something was taken from the second history")
	}
	// Somebody who forgets all but the database is not taken in either.
	f = follow(t, t.TempDir(), store, at)
	var history *historyError
	if err := f.Replay(t.Context()); !errors.As(err, &history) || !strings.Contains(err.Error(), "rebuild") {
		t.Errorf("%v", err)
	}
	if store.dump() != before {
		t.Error("something was taken from the second history")
	}
}

func TestWhyALogIsNotFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil      func(*world)
		kind, says string
	}{
		"down":     {func(w *world) { w.Lie(func(l *logtest.Lies) { l.Down = true }) }, "unreachable", "cannot be read"},
		"no tiles": {func(w *world) { w.Lie(func(l *logtest.Lies) { l.NoTiles = true }) }, "proof", "not followed"},
		"another entry": {func(w *world) {
			w.Lie(func(l *logtest.Lies) {
				l.Edit = func(path string, status int, b []byte) (int, []byte) {
					if strings.HasPrefix(path, "tile/entries/") {
						b[len(b)-1] ^= 1
					}
					return status, b
				}
			})
		}, "proof", "is not the one in the tree"},
	} {
		w := newWorld(t)
		w.register()
		w.claims("alice", 0, 300)
		w.Publish()
		c.spoil(w)
		store := newFake()
		f := follow(t, t.TempDir(), store, w.log())
		err := f.Replay(t.Context())
		if kindOf(err) != c.kind || !strings.Contains(sentence(err), c.says) {
			t.Errorf("%s: %s, %s", name, kindOf(err), sentence(err))
		}
		if n := len(store.entries[w.Origin()]); n != 0 {
			t.Errorf("%s: %d entries", name, n)
		}
		f.logs[0].tell(t.Context(), err)
		if got := store.noted[w.Origin()].Error; got != sentence(err) {
			t.Errorf("%s: the database is told %q", name, got)
		}
		if s := f.Status()[0]; s.Error != sentence(err) || s.Errors[c.kind] != 1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	strict, w := logtest.New(t, logtest.Witnesses(2, 2)), newWorld(t)
	w.register()
	w.Publish()
	l := w.log()
	l.Policy = strict.Policy()
	if err := follow(t, t.TempDir(), newFake(), l).Replay(t.Context()); kindOf(err) != "quorum" || !strings.Contains(sentence(err), "not followed") {
		t.Errorf("%s", sentence(err))
	}
}

func TestAFrozenLogIsAtItsEnd(t *testing.T) {
	w := newWorld(t, logtest.Witnesses(1, 1))
	w.register()
	w.Add(w.State(&statement.Freeze{Origin: w.Origin(), Reason: "moved"}))
	w.Publish()
	store := newFake()
	dir := t.TempDir()
	f := follow(t, dir, store, w.log())
	replay(t, f)
	if !f.Status()[0].Frozen || !store.noted[w.Origin()].Frozen {
		t.Errorf("%+v", f.Status()[0])
	}
	f = follow(t, dir, store, w.log()) // nothing is replayed
	replay(t, f)
	if !f.Status()[0].Frozen || !store.noted[w.Origin()].Frozen {
		t.Errorf("after a restart %+v", f.Status()[0])
	}
}

func TestPausesGrowAndEnd(t *testing.T) {
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 9: 256 * time.Second, 10: longestWait, 1000: longestWait} {
		if got := backoff(n, log.ErrUnreachable); got != want {
			t.Errorf("after %d failures %v, want %v", n, got, want)
		}
	}
	if got := backoff(1, &log.RequestError{Status: 429, RetryAfter: time.Minute}); got != time.Minute {
		t.Errorf("a log that asks for a minute gets %v", got)
	}
	if got := backoff(1, &log.RequestError{Status: 429, RetryAfter: 1000 * time.Hour}); got != longestWait {
		t.Errorf("a log that asks for long gets %v", got)
	}
	for range 1000 {
		if d := jitter(8 * time.Second); d < 6*time.Second || d > 8*time.Second {
			t.Fatalf("8s became %v", d)
		}
	}
}

// A log that is down is asked ever more seldom, and followed as soon as it is back; the
// other one does not notice.
func TestALogThatComesBackIsFollowedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, other := newWorld(t), newWorld(t, logtest.Origin("other.example/00000000"))
		w.register()
		w.Publish()
		other.register()
		other.Publish()
		logs := []Log{w.folder(), other.folder()}
		store := newFake()
		f := follow(t, t.TempDir(), store, logs...)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Run(ctx); close(done) }()
		await := func(d time.Duration) { time.Sleep(d); synctest.Wait() }
		await(time.Second)
		if s := f.Status(); s[0].Replayed != 2 || s[1].Replayed != 2 {
			t.Fatalf("%+v", s)
		}
		away := w.Dir() + ".away"
		if err := os.Rename(w.Dir(), away); err != nil {
			t.Fatal(err)
		}
		await(DefaultPoll)
		if s := f.Status()[0]; !strings.Contains(s.Error, "cannot be read") || store.noted[w.Origin()].Error != s.Error {
			t.Fatalf("%+v", s)
		}
		other.claims("alice", 0, 3)
		other.Publish()
		await(DefaultPoll)
		if s := f.Status()[1]; s.Replayed != 5 || s.Error != "" {
			t.Errorf("the other log: %+v", s)
		}
		await(time.Hour)
		if n := f.Status()[0].Errors["unreachable"]; n < 15 || n > 30 {
			t.Errorf("in an hour it was asked %d times", n)
		}
		if err := os.Rename(away, w.Dir()); err != nil {
			t.Fatal(err)
		}
		w.claims("alice", 0, 1)
		w.Publish()
		await(longestWait)
		if s := f.Status()[0]; s.Error != "" || s.Replayed != 3 || store.noted[w.Origin()].Error != "" {
			t.Errorf("after it came back: %+v", s)
		}
		cancel()
		<-done
	})
}

// A log that is too old says so, and is replayed all the same; one that has ended is not.
func TestAge(t *testing.T) {
	for _, frozen := range []bool{false, true} {
		w := newWorld(t, logtest.Witnesses(1, 1))
		w.SetTime(time.Now().Add(-48 * time.Hour))
		w.register()
		if frozen {
			w.Add(w.State(&statement.Freeze{Origin: w.Origin()}))
		}
		w.Publish()
		l := w.log()
		l.MaxAge = 24 * time.Hour
		store := newFake()
		err := follow(t, t.TempDir(), store, l).Replay(t.Context())
		if frozen != (err == nil) || !frozen && !strings.Contains(sentence(err), "its newest checkpoint is 48h") {
			t.Errorf("frozen %v: %v", frozen, err)
		}
		if store.next[w.Origin()] < 2 {
			t.Errorf("frozen %v: %d entries", frozen, store.next[w.Origin()])
		}
	}
}

// What was read before something failed is not read again.
func TestWhatCameBeforeAFailureIsKept(t *testing.T) {
	w := newWorld(t)
	w.register()
	w.claims("alice", 0, 600)
	w.Publish()
	w.Lie(func(l *logtest.Lies) {
		l.Edit = func(path string, status int, b []byte) (int, []byte) {
			if path == "tile/entries/001" {
				return 503, nil
			}
			return status, b
		}
	})
	store := newFake()
	f := follow(t, t.TempDir(), store, w.log())
	if err := f.Replay(t.Context()); kindOf(err) != "unreachable" || store.next[w.Origin()] != 256 {
		t.Errorf("%d entries, then %v", store.next[w.Origin()], err)
	}
	w.Lie(func(l *logtest.Lies) { l.Edit = nil })
	replay(t, f)
	if s := f.Status()[0]; s.Entries != 602 || s.Replayed != 602 {
		t.Errorf("%+v", s)
	}
}

// A log that takes a connection and says nothing holds nobody else up.
func TestALogThatSaysNothingHoldsNobodyUp(t *testing.T) {
	silent, w := newWorld(t), newWorld(t, logtest.Origin("other.example/00000000"))
	ends := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-ends }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(ends) })
	l := silent.log()
	l.URL = server.URL
	w.register()
	w.Publish()
	store := newFake()
	added := make(chan string, 10)
	store.fail = func(call string) (error, bool) {
		added <- call
		return nil, false
	}
	f := follow(t, t.TempDir(), store, l, w.log())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	for call := range added {
		if call == "add" {
			break
		}
	}
	cancel()
	for {
		select {
		case <-added:
			continue
		case <-done:
		}
		break
	}
	if s := f.Status()[0]; s.Size != 0 || s.Replayed != 0 {
		t.Errorf("%+v", s)
	}
}
