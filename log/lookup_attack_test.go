package log_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
)

// takenBack is a log that has stated a wrong index, has taken it back, and still answers
// with it.
func takenBack(t *testing.T) (l *logtest.Log, key string) {
	l, _, _ = library(t)
	key = logtest.ClosureKey("x")
	l.Lie(func(lies *logtest.Lies) { lies.Hide = map[string]bool{key: true} })
	l.Revise()
	l.Lie(func(lies *logtest.Lies) { lies.Hide, lies.NoRevision = nil, true })
	l.Add(l.State(&statement.IndexReset{Origin: l.Origin(), MapVersion: 1, Size: l.Size() - 1}))
	l.Publish()
	return l, key
}

// What a log has taken back below the checkpoint that auditors cosigned, they say nothing
// about: whoever lets a tail stay unread must read that far.
func TestAnIndexThatWasTakenBackIsSeenWhereATailMayStayUnread(t *testing.T) {
	l, key := takenBack(t)
	a, err := l.Client("").Lookup(t.Context(), log.Query{Keys: []string{key}, Tail: 100, Audited: true})
	if err != nil || !strings.Contains(a.Incomplete, "has taken its index back at entry 6") {
		t.Fatalf("%+v, %v", a, err)
	}
	l.Lie(func(lies *logtest.Lies) { lies.NoTail = true }) // it is read through tiles
	a, err = l.Client("").Lookup(t.Context(), log.Query{Keys: []string{key}, Tail: 100, Audited: true})
	if err != nil || !strings.Contains(a.Incomplete, "has taken its index back at entry 6") {
		t.Fatalf("%+v, %v", a, err)
	}
}

// Beyond the checkpoint that auditors cosigned a tail may stay unread.
func TestATailBeyondWhatAuditorsCosignedMayStayUnread(t *testing.T) {
	l, a, _ := library(t)
	l.Revise() // entry 5, about the first 5
	vouched := l.Publish()
	l.Lie(func(lies *logtest.Lies) { lies.NoRevision, lies.NoTail = true, true })
	sa := logtest.Signer(t, "a")
	for _, name := range []string{"p", "q"} {
		l.Add(logtest.Leaf(t, sa, logtest.Closure(name)))
	}
	l.Publish()
	vouch, err := l.Consistency(t.Context(), 6, 8)
	if err != nil {
		t.Fatal(err)
	}
	l.Lie(func(lies *logtest.Lies) {
		lies.Answer = func(answer *lookup.Answer) { answer.Vouched, answer.Vouch = vouched, vouch }
	})
	key := index.Key(a)
	for tail, want := range map[uint64]string{0: "0 1 2 6 7", 2: "0 1 2 6 7", 3: "0 1 2"} {
		answers, err := l.Client("").Lookup(t.Context(), log.Query{Keys: []string{key}, Signers: []statement.KeyID{}, Tail: tail, Audited: true})
		if err != nil {
			t.Fatal(err)
		}
		read := uint64(8)
		if tail == 3 {
			read = 5
		}
		if got := indexes(answers.Of(key)); got != want || answers.Read != read || answers.Incomplete != "" {
			t.Errorf("tail %d: %q, read %d, %q", tail, got, answers.Read, answers.Incomplete)
		}
	}
}

// Only what withdraws the revision of the answer makes it unusable.
func TestAnIndexResetWithdrawsOnlyWhatItNames(t *testing.T) {
	for what, c := range map[string]struct {
		body func(l *logtest.Log) []byte
		want bool
	}{
		"the revision": {func(l *logtest.Log) []byte {
			return l.State(&statement.IndexReset{Origin: l.Origin(), MapVersion: 1, Size: 5})
		}, true},
		"smaller ones": {func(l *logtest.Log) []byte {
			return l.State(&statement.IndexReset{Origin: l.Origin(), MapVersion: 1, Size: 4})
		}, false},
		"of another map version": {func(l *logtest.Log) []byte {
			return l.State(&statement.IndexReset{Origin: l.Origin(), MapVersion: 2, Size: 5})
		}, false},
		"of another log": {func(l *logtest.Log) []byte {
			return l.State(&statement.IndexReset{Origin: "other.example/00000001", MapVersion: 1, Size: 5})
		}, false},
		"by somebody else": {func(l *logtest.Log) []byte {
			return logtest.Leaf(t, logtest.Signer(t, "a"), &statement.IndexReset{Origin: l.Origin(), MapVersion: 1, Size: 5})
		}, false},
	} {
		l, _, _ := library(t)
		l.Revise()
		l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
		l.Add(c.body(l))
		l.Publish()
		a, err := l.Client("").Lookup(t.Context(), log.Query{Keys: []string{logtest.ClosureKey("x")}})
		if err != nil || (a.Incomplete != "") != c.want {
			t.Errorf("%s: %+v, %v", what, a, err)
		}
	}
}

// A reset between what a revision is about and the revision itself withdraws it, too: its
// size must be larger, or the reset would answer for what it hides. A reset that claims
// more entries than came before it counts for nothing.
func TestAnIndexResetWithdrawsWhatIsStatedAgain(t *testing.T) {
	for size, want := range map[uint64]string{4: "", 5: "has taken its index back at entry 5", 6: ""} {
		l, _, _ := library(t)
		l.Add(l.State(&statement.IndexReset{Origin: l.Origin(), MapVersion: 1, Size: size})) // not published yet
		l.Revise()                                                                           // of size 5
		l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
		a, err := l.Client("").Lookup(t.Context(), log.Query{Keys: []string{logtest.ClosureKey("x")}})
		if err != nil || !strings.Contains(a.Incomplete, want) || want == "" && a.Incomplete != "" {
			t.Errorf("size %d: %+v, %v", size, a, err)
		}
	}
}

// The items of a list increase over its parts, too.
func TestAListThatIsOutOfOrderInPartsIsRefused(t *testing.T) {
	l, a, b := library(t)
	x := logtest.ClosureKey("x")
	l.Lie(func(lies *logtest.Lies) {
		lies.Cut = 1
		lies.Index = func(key string, it index.Item) (index.Item, bool) {
			switch {
			case key == x && it.Index == 0:
				return index.Item{Index: 4, Signer: b}, true
			case key == x:
				return index.Item{Index: 0, Signer: a}, true
			}
			return it, true
		}
	})
	var bad *log.ProofError
	if got, err := l.Client("").Lookup(t.Context(), log.Query{Keys: []string{x}}); !errors.As(err, &bad) || !errors.Is(err, index.ErrShape) {
		t.Errorf("%+v, %v", got, err)
	}
}

// overtaken serves a log whose first answer under a path is kept back until another request
// has seen it grow.
func overtaken(t *testing.T, l *logtest.Log, path string) (url string, held, release chan struct{}) {
	held, release = make(chan struct{}), make(chan struct{})
	h := l.Handler()
	var once sync.Once
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first := false
		if r.URL.Path == path {
			once.Do(func() { first = true })
		}
		if !first {
			h.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		r.Header.Del("Accept-Encoding")
		h.ServeHTTP(rec, r)
		close(held)
		<-release
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	}))
	t.Cleanup(srv.Close)
	return srv.URL, held, release
}

func TestAnAnswerThatIsOvertakenByAnotherIsNotStale(t *testing.T) {
	for _, path := range []string{"/v1/lookup", "/checkpoint"} {
		l, a, _ := library(t)
		url, held, release := overtaken(t, l, path)
		c, err := log.NewClient(url, l.Policy(), log.Options{Memory: log.NewMemory(t.TempDir())})
		if err != nil {
			t.Fatal(err)
		}
		ask := func(ctx context.Context) (uint64, error) {
			if path == "/checkpoint" {
				cp, err := c.Checkpoint(ctx)
				if err != nil {
					return 0, err
				}
				return cp.Size, nil
			}
			got, err := c.Lookup(ctx, log.Query{Keys: []string{index.Key(a)}})
			if err != nil {
				return 0, err
			}
			return got.Checkpoint.Size, nil
		}
		type result struct {
			size uint64
			err  error
		}
		slow := make(chan result)
		go func() {
			size, err := ask(t.Context())
			slow <- result{size, err}
		}()
		<-held
		before, early := l.Size(), l.Publish()
		l.Add(logtest.Leaf(t, logtest.Signer(t, "a"), logtest.Closure("new")))
		l.Publish()
		if size, err := ask(t.Context()); err != nil || size <= before {
			t.Fatalf("%s: the fast one: %d, %v", path, size, err)
		}
		close(release)
		if got := <-slow; got.err != nil || got.size != before {
			t.Errorf("%s: the slow one: %+v, want size %d", path, got, before)
		}
		// What was remembered before a request is older for good.
		l.Lie(func(lies *logtest.Lies) { lies.Checkpoint = early })
		if _, err := ask(t.Context()); !errors.Is(err, log.ErrStale) {
			t.Errorf("%s: an old answer: %v", path, err)
		}
	}
}

func TestAnswersThatTakeTooMuchMemoryAreRefused(t *testing.T) {
	l, a, _ := library(t)
	q := log.Query{Keys: []string{index.Key(a)}}
	if _, err := l.Client("").LookupAfter(t.Context(), q, 1<<30-1<<16); err != nil {
		t.Error(err)
	}
	var bad *log.ProofError
	if _, err := l.Client("").LookupAfter(t.Context(), q, 1<<30-1); !errors.As(err, &bad) || !strings.Contains(err.Error(), "more than 1073741824 bytes") {
		t.Error(err)
	}
}
