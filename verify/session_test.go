package verify

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// cable is a log whose network can be pulled out; it counts what is asked.
type cable struct {
	Log
	out     *bool
	asked   *int // items of lists that were sent
	lookups *int
}

func (c cable) Checkpoint(ctx context.Context) (*log.Checkpoint, error) {
	if *c.out {
		return nil, fmt.Errorf("%w: no cable", log.ErrUnreachable)
	}
	return c.Log.Checkpoint(ctx)
}

func (c cable) Lookup(ctx context.Context, q log.Query) (*log.Answers, error) {
	if *c.out {
		return nil, fmt.Errorf("%w: no cable", log.ErrUnreachable)
	}
	*c.lookups++
	a, err := c.Log.Lookup(ctx, q)
	if err == nil {
		for _, k := range a.Keys {
			if strings.HasPrefix(k, "out:") {
				*c.asked += len(a.Of(k))
			}
		}
	}
	return a, err
}

// sitting is a session of a world, with everything that its caller keeps.
type sitting struct {
	*world
	s       *Session
	kept    map[string][]byte
	out     bool
	asked   int
	lookups int
	at      time.Time
}

func newSitting(w *world) *sitting {
	return &sitting{world: w, kept: make(map[string][]byte), at: time.Now()}
}

func (x *sitting) begin(pol *Policy) {
	x.t.Helper()
	now := func() time.Time { return x.at }
	o := Options{StateDir: x.state, Now: now, Open: func(ref *LogRef) (Log, error) {
		l, err := log.NewClient(ref.URL, ref.Policy, log.Options{Memory: log.NewMemory(x.state), Now: now})
		return cable{l, &x.out, &x.asked, &x.lookups}, err
	}}
	var err error
	if x.s, err = NewSession(pol, o); err != nil {
		x.t.Fatal(err)
	}
}

// expect judges subjects in one batch.
func (x *sitting) expect(want Verdict, reason string, subjects ...Subject) {
	x.t.Helper()
	known := make([][]byte, len(subjects))
	for i, s := range subjects {
		known[i] = x.kept[s.Info.Path.String()]
	}
	rep, kept, err := x.s.Verify(context.Background(), subjects, known)
	if err != nil {
		x.t.Fatal(err)
	}
	for i, p := range rep.Paths {
		x.kept[subjects[i].Info.Path.String()] = kept[i]
		if p.Verdict != want || !strings.Contains(p.Reason, reason) {
			x.t.Errorf("%s: %v (%s), want %v (…%s…)", p.Subject.Info.Path.Name(), p.Verdict, p.Reason, want, reason)
		}
	}
}

// What was answered once is not sent again, and what is new is seen: a claim, a revocation.
func TestSessionAsksForWhatIsNew(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	for n := range ps {
		ps[n].builds("app", "x")
	}
	w.logs[0].Revise()
	pol := w.policy(ps, "completeness proven", "group g 2 a b")
	x := newSitting(w)
	x.begin(pol)
	app := subject(t, "app", "x")
	x.expect(Trusted, "", app)
	first := x.asked
	if first != 2 {
		t.Errorf("%d items were sent", first)
	}
	x.expect(Trusted, "", app)
	x.begin(pol) // the program was started again
	x.expect(Trusted, "", app)
	if x.asked != first {
		t.Errorf("%d items were sent again", x.asked-first)
	}
	// A byte that is not as it was costs a question, and changes no verdict.
	kept := x.kept[app.Info.Path.String()]
	for i := range kept {
		x.kept[app.Info.Path.String()] = append(append(append([]byte{}, kept[:i]...), kept[i]^1), kept[i+1:]...)
		if i%40 == 0 {
			x.expect(Trusted, "", app)
		}
	}
	ps["b"].say(ps["b"].revoke(ps["b"].build.PublicKey().ID(), nil, statement.Drop))
	w.logs[0].Revise()
	x.expect(Untrusted, "2 of 2 needed, 1 found", app)
}

// While a log does not answer, each path rests on what it rested on when it was asked, and its
// age is that.
func TestSessionWithoutItsLog(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(1, 1))
	w := newWorld(t, l)
	w.lines = []string{"required max-age 24h"}
	x := newSitting(w)
	l.SetTime(x.at)
	ps := w.people("a")
	ps["a"].builds("old", "x")
	pol := w.policy(ps, "group g 1 a")
	x.begin(pol)
	old, fresh, unknown := subject(t, "old", "x"), subject(t, "new", "x"), subject(t, "unknown", "x")
	x.expect(Trusted, "", old)
	x.at = x.at.Add(10 * time.Hour)
	l.SetTime(x.at)
	ps["a"].builds("new", "x")
	x.expect(Trusted, "", fresh)
	x.out = true
	for _, again := range []bool{false, true} {
		if again {
			x.begin(pol)
		}
		x.expect(Trusted, "", old, fresh)
		x.expect(Inconclusive, "nothing is remembered about this path", unknown)
	}
	x.at = x.at.Add(15 * time.Hour)
	x.expect(Inconclusive, "what is remembered is 25.0h old; the policy allows 24h", old)
	x.expect(Trusted, "", fresh)
	x.at = x.at.Add(10 * time.Hour)
	x.expect(Inconclusive, "is 25.0h old; the policy allows 24h", fresh)
	// A log that is down is not asked at every turn, and is when its pause is over.
	x.out = false
	x.expect(Inconclusive, "", fresh)
	l.SetTime(x.at)
	l.Publish()
	x.at = x.at.Add(downPause)
	x.expect(Trusted, "", fresh, old)
}

func FuzzAnswers(f *testing.F) {
	w := newWorld(f)
	ps := w.people("a")
	ps["a"].builds("app", "x")
	s, err := NewSession(w.policy(ps, "group g 1 a"), Options{})
	if err != nil {
		f.Fatal(err)
	}
	app := subject(f, "app", "x")
	_, kept, err := s.Verify(context.Background(), []Subject{app}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(kept[0][:len(kept[0])-8])
	other := bytes.Clone(kept[0][:len(kept[0])-8])
	other[1] = 2 // in place of 1, which says that there is something
	f.Add(other)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append(b, checksum(b)[:8]...)
		a := s.decodeAnswers(b, app.keys())
		for _, of := range a {
			if of.claims == nil {
				return // a log that is not known
			}
		}
		if again := s.encodeAnswers(a, app.keys()); string(again) != string(b) {
			t.Errorf("%x was read, and written as %x", b, again)
		}
	})
}
