package verify

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// A wrong index that was taken back is cosigned by auditors, who say nothing about it: a
// log that goes on answering with it is found out although the tail may stay unread.
func TestATailThatMayStayUnreadHidesNoIndexReset(t *testing.T) {
	w := audited(t, "tail 100", "")
	ps := helloBuilt(w)
	ps["a"].builds("hello", "evil")
	s := helloSubject(t)
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	w.expect(pol, s, Contradicted, "a contradicts itself")
	w.absent(0, "a1 a2 a3")
	w.logs[0].Lie(func(l *logtest.Lies) { l.Hide = map[string]bool{s.keys()[0]: true} })
	w.noRevision(true)
	w.logs[0].Lie(func(l *logtest.Lies) { l.Hide = nil })
	at := w.reset(w.logs[0].Size() - 1)
	w.absent(0, "") // auditors cosign again
	w.state = t.TempDir()
	r := w.verify(pol, s)
	if r.Paths[0].Verdict != Inconclusive {
		t.Errorf("%v %s", r.Paths[0].Verdict, r.Paths[0].Reason)
	}
	says(t, r, fmt.Sprintf("has taken its index back at entry %d", at), BasisNone)
}

// An answer that shows that the log has signed a wrong map is kept as evidence, whoever vouched for it.
func TestAWrongMapThatIsSeenInAnAnswerIsFraud(t *testing.T) {
	w := audited(t, "", "")
	ps := w.people("a")
	s := helloSubject(t)
	at := w.put(0, w.sign(ps["a"].build, buildOf(t, "other", "other"), nil))
	w.logs[0].Lie(func(l *logtest.Lies) {
		l.Extra = map[string][]index.Item{s.keys()[0]: {{Index: at, Signer: ps["a"].build.PublicKey().ID()}}}
	})
	pol := w.policy(ps, "completeness proven", "group g 1 a")
	for range 2 {
		r := w.verify(pol, s)
		if r.ExitStatus() != 5 || len(r.Evidence()) != 1 || r.Paths[0].Verdict != Inconclusive {
			t.Errorf("exit %d, evidence %q, %v %s", r.ExitStatus(), r.Evidence(), r.Paths[0].Verdict, r.Paths[0].Reason)
		}
		if !strings.Contains(r.Paths[0].Reason, fmt.Sprint(at)) {
			t.Errorf("the entry is not named: %s", r.Paths[0].Reason)
		}
	}
}

// caught requires status 5 with one file, a reason that names the entry, and the same from then on,
// whatever the log says later.
func caught(t *testing.T, w *world, pol *Policy, s Subject, entry uint64) {
	t.Helper()
	for range 2 {
		r := w.verify(pol, s)
		if r.ExitStatus() != 5 || len(r.Evidence()) != 1 || r.Paths[0].Verdict != Inconclusive {
			t.Fatalf("exit %d, evidence %q, %v %s", r.ExitStatus(), r.Evidence(), r.Paths[0].Verdict, r.Paths[0].Reason)
		}
		if !strings.Contains(r.Paths[0].Reason, fmt.Sprintf("the entry %d", entry)) {
			t.Errorf("the entry is not named: %s", r.Paths[0].Reason)
		}
		w.logs[0].Lie(func(l *logtest.Lies) { l.Hide, l.Index, l.Extra = nil, nil, nil })
		w.logs[0].Add([]byte("something new, so that the index is stated again"))
		w.logs[0].Publish()
	}
}

// What was seen, in a tail or in a list, and is hidden by a later index is evidence, also if its auditors vouch.
func TestWhatTheIndexHidesOfWhatWasSeenIsFraud(t *testing.T) {
	for _, tail := range []bool{true, false} {
		for _, whole := range []bool{true, false} { // the list is hidden, or the one entry
			w := audited(t, "", "")
			ps := w.people("a b")
			ps["b"].builds("hello", "hello")
			if tail {
				w.noRevision(true)
			}
			at := w.put(0, w.sign(ps["a"].build, buildOf(t, "hello", "evil"), nil))
			ps["b"].builds("hello", "hello")
			s := helloSubject(t)
			pol := w.policy(ps, "completeness proven", "group g 1 b")
			w.expect(pol, s, Trusted, "")
			w.logs[0].Lie(func(l *logtest.Lies) {
				l.NoRevision = false
				l.Index = func(key string, it index.Item) (index.Item, bool) {
					return it, key != s.keys()[0] || it.Index != at && !(whole && it.Index > at)
				}
			})
			w.logs[0].Add([]byte("something new"))
			w.logs[0].Publish()
			r := w.verify(pol, s)
			if r.ExitStatus() != 5 {
				t.Errorf("tail %v, whole %v: exit %d, %s, %q", tail, whole, r.ExitStatus(), r.Paths[0].Reason, r.Warnings)
			}
			caught(t, w, pol, s, at)
		}
	}
}

// changing makes a log change after its n-th answer about a key.
type changing struct {
	Log
	key    string
	n      *int
	change func()
}

func (c changing) Lookup(ctx context.Context, q log.Query) (*log.Answers, error) {
	a, err := c.Log.Lookup(ctx, q)
	for _, k := range q.Keys {
		if k == c.key {
			if *c.n--; *c.n == 0 {
				c.change()
			}
		}
	}
	return a, err
}

// Two answers of one run must agree: an entry that one shows in its tail, and the next hides, is evidence.
func TestTwoAnswersOfOneRunThatDisagreeAreFraud(t *testing.T) {
	w := audited(t, "", "")
	ps := w.people("a b")
	ps["b"].builds("hello", "hello")
	named := signer(t, "named")
	key := index.Key(named.PublicKey().ID())
	w.noRevision(true)
	add := w.next(t, ps["a"], named)
	at := w.put(0, add)
	n := 1
	w.wrap = func(l Log) Log {
		return changing{l, key, &n, func() {
			w.logs[0].Lie(func(l *logtest.Lies) { l.NoRevision, l.Hide = false, map[string]bool{key: true} })
			w.logs[0].Add([]byte("something new"))
			w.logs[0].Publish()
		}}
	}
	pol := w.policy(map[string]*person{"b": ps["b"]}, fmt.Sprintf("operator o key %s", named.PublicKey().ID()), "completeness proven", "group g 1 b o")
	caught(t, w, pol, helloSubject(t), at)
}

// next is the statement by which p adds a build key.
func (w *world) next(t *testing.T, p *person, key statement.Signer) *statement.Statement {
	t.Helper()
	return p.next(p.proven(key, statement.RoleBuild))
}

// Who asks for lists alone reads the first entry of a key itself: one that the key has not signed is evidence.
func TestAnEntryThatIsListedUnderAKeyThatDidNotSignItIsFraud(t *testing.T) {
	w := audited(t, "", "")
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	named := signer(t, "named").PublicKey().ID()
	at := w.put(0, w.sign(ps["a"].build, buildOf(t, "other", "other"), nil))
	w.logs[0].Lie(func(l *logtest.Lies) {
		l.Extra = map[string][]index.Item{index.Key(named): {{Index: at, Signer: named}}}
	})
	pol := w.policy(ps, fmt.Sprintf("operator o key %s", named), "completeness proven", "group g 1 a o")
	caught(t, w, pol, helloSubject(t), at)
}
