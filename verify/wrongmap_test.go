package verify

import (
	"fmt"
	"strings"
	"testing"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
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
