package verify

import (
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// A frozen log has no age: its last checkpoint counts however old it is. One that just
// stopped does not, and neither does one that somebody else calls frozen, or that
// goes on after its end.
func TestFrozenLogHasNoAge(t *testing.T) {
	later := func() time.Time { return time.Now().Add(1000 * time.Hour) }
	freeze := &statement.Freeze{Origin: logtest.DefaultOrigin}
	for name, c := range map[string]struct {
		end    func(w *world, own statement.Signer)
		counts bool
	}{
		"frozen": {func(w *world, own statement.Signer) { w.put(0, w.sign(own, freeze, nil)) }, true},
		"silent": {func(*world, statement.Signer) {}, false},
		"called frozen by a stranger": {func(w *world, _ statement.Signer) {
			w.put(0, w.sign(signer(w.t, "stranger"), freeze, nil))
		}, false},
		"frozen for another log": {func(w *world, own statement.Signer) {
			w.put(0, w.sign(own, &statement.Freeze{Origin: "other.example/01234567"}, nil))
		}, false},
		"going on after its end": {func(w *world, own statement.Signer) {
			w.put(0, w.sign(own, freeze, nil))
			w.people("late")
		}, false},
		"frozen with a wrong signature": {func(w *world, own statement.Signer) {
			w.logs[0].Add(spoiled(w.t, w.sign(own, freeze, nil)))
			w.logs[0].Publish()
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, logtest.New(t, logtest.Witnesses(1, 1)))
			w.lines = []string{"max-age 24h"}
			own, err := statement.NewEd25519Signer(w.logs[0].Key())
			if err != nil {
				t.Fatal(err)
			}
			ps := w.people("a")
			ps["a"].builds("hello", "hello")
			w.noRevision(true) // a log ends with its freeze statement
			c.end(w, own)
			pol := w.policy(ps, "group g 1 a")
			w.expect(pol, helloSubject(t), Trusted, "1 found") // fresh, and remembered from now on
			w.now = later
			if !c.counts {
				w.expect(pol, helloSubject(t), Inconclusive, "the policy allows 24h")
				return
			}
			w.expect(pol, helloSubject(t), Trusted, "1 found")
			r := w.verify(pol, helloSubject(t))
			var b strings.Builder
			if err := r.WriteJSON(&b); err != nil || !r.Logs[0].Frozen || !strings.Contains(b.String(), `"frozen": true`) || !strings.Contains(r.Logs[0].State(), "the log is frozen") {
				t.Errorf("%v %+v\n%s", err, r.Logs[0], r.Logs[0].State())
			}
			// It may be switched off then: what is remembered of it has no age either. Where that is lost,
			// nothing says that it had ended.
			down(w.logs[0], true)
			w.expect(pol, helloSubject(t), Trusted, "1 found")
			w.expect(pol, subject(t, "other", "other"), Inconclusive, "nothing is remembered about this path")
			w.state = t.TempDir()
			w.expect(pol, helloSubject(t), Inconclusive, "log log0 did not answer and nothing is remembered")
		})
	}
}
