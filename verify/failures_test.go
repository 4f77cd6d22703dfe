package verify

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// failing is a world in which hello was verified once, a day's max-age, two witnesses and one
// auditor, all of whom are needed.
type failing struct {
	*world
	pol   *Policy
	start time.Time
	at    time.Time
	ctx   context.Context
	ps    map[string]*person
}

func newFailing(t *testing.T) *failing {
	l := logtest.New(t, logtest.Witnesses(2, 2), logtest.Auditors(1, 1))
	f := &failing{world: newWorld(t, l), start: time.Unix(1_800_000_000, 0), ctx: t.Context()}
	f.at = f.start
	f.now = func() time.Time { return f.at }
	l.SetTime(f.start)
	f.files = map[string]string{"ix": l.IndexPolicyText()}
	f.lines = []string{"index ix max-age 24h"}
	f.ps = f.people("a")
	f.ps["a"].builds("hello", "hello")
	f.ps["a"].builds("other", "other")
	f.pol = f.policy(f.ps, "completeness proven", "group g 1 a")
	f.noRevision(true) // from here on the log ends with what it was told
	f.expect(f.pol, helloSubject(t), Trusted, "")
	return f
}

// judge verifies hello, which is remembered, and other, which is not.
func (f *failing) judge() *Report {
	f.t.Helper()
	r, err := Verify(f.ctx, f.pol, []Subject{helloSubject(f.t), subject(f.t, "other", "other")}, f.options())
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// shows makes the log show this checkpoint from now on.
func (f *failing) shows(note string) {
	f.logs[0].Lie(func(l *logtest.Lies) { l.Checkpoint = []byte(note) })
}

// publishAt publishes the log again, cosigned at some time after the start.
func (f *failing) publishAt(later time.Duration) string {
	f.logs[0].SetTime(f.start.Add(later))
	return string(f.logs[0].Publish())
}

// noWitnesses makes the log go on without its witnesses.
func (f *failing) noWitnesses() {
	f.ps["a"].builds("more", "more")
	var kept strings.Builder
	for line := range strings.Lines(f.publishAt(time.Hour)) {
		if !strings.HasPrefix(line, "— witness.example/") {
			kept.WriteString(line)
		}
	}
	f.shows(kept.String())
}

// oneWitness is the checkpoint that one witness cosigned at the start, and the other just now.
func (f *failing) oneWitness(later time.Duration) {
	old := f.publishAt(0)
	var mixed strings.Builder
	for line := range strings.Lines(f.publishAt(later)) {
		if strings.HasPrefix(line, "— witness.example/w1 ") {
			line = old[strings.Index(old, "— witness.example/w1 "):]
			line = line[:strings.Index(line, "\n")+1]
		}
		mixed.WriteString(line)
	}
	f.shows(mixed.String())
}

// freezes ends the log, and has that seen when the last checkpoint is older than the policy allows.
func (f *failing) freezes() {
	own, err := statement.NewEd25519Signer(f.logs[0].Key())
	if err != nil {
		f.t.Fatal(err)
	}
	f.put(0, f.sign(own, &statement.Freeze{Origin: f.logs[0].Origin()}, nil))
	f.at = f.start.Add(1000 * time.Hour)
	f.expect(f.pol, helloSubject(f.t), Trusted, "")
}

// What is remembered counts as long as the policy says, then the verdict is inconclusive and never
// trusted, and each failure has a sentence (spec/policy.md#when-something-fails).
func TestWhatFailsIsNeverTrustedForLongerThanThePolicySays(t *testing.T) {
	gone := func(f *failing) { down(f.logs[0], true) }
	slow := func(f *failing) { // a deadline that is over at once
		var end context.CancelFunc
		f.ctx, end = context.WithDeadline(f.ctx, time.Unix(0, 0))
		end()
	}
	noRevision := func(f *failing) {
		f.logs[0].Lie(func(l *logtest.Lies) {
			l.Edit = func(path string, status int, body []byte) (int, []byte) {
				if path == "v1/lookup" {
					return 503, []byte(`{"schema":1,"error":"no-revision","message":"none yet"}`)
				}
				return status, body
			}
		})
	}
	noAuditors := func(f *failing) {
		f.noRevision(false)
		f.logs[0].Lie(func(l *logtest.Lies) { l.NoAuditors = true })
		f.ps["a"].builds("more", "more")
	}
	const year = 365 * 24 * time.Hour
	tooOld := "is 25h old; the policy allows 24h"
	for _, tt := range []struct {
		name          string
		fail          func(f *failing)
		at            time.Duration // after the start; 0 leaves it to fail
		hello, other  Verdict
		helloSays     string // "" if it is trusted
		otherSays     string
		state         string // of the log, for people
		rememberedFor string // how the log answered
	}{
		{"log down", gone, 23 * time.Hour, Trusted, Inconclusive, "", "log log0 did not answer and nothing is remembered about this path", "answered 503", "remembered"},
		{"log down for long", gone, 25 * time.Hour, Inconclusive, Inconclusive, "log log0 did not answer and what is remembered " + tooOld, "what is remembered " + tooOld, "answered 503", "nothing"},
		{"log slow", slow, 23 * time.Hour, Trusted, Inconclusive, "", "log log0 did not answer in time and nothing is remembered about this path", "log log0 did not answer in time", "remembered"},
		{"log slow for long", slow, 25 * time.Hour, Inconclusive, Inconclusive, "log log0 did not answer in time and what is remembered " + tooOld, "did not answer in time", "log log0 did not answer in time", "nothing"},
		{"index not there", noRevision, time.Hour, Trusted, Inconclusive, "", "log log0 has no index to answer from yet and nothing is remembered about this path", "--full reads the whole log instead", "remembered"},
		{"auditors down", noAuditors, time.Hour, Inconclusive, Inconclusive, "the index quorum of log log0 is not there", "the index quorum of log log0 is not there", "the index quorum of log log0 is not there", "lookups"},
		{"auditors down, and the log answers as they last vouched", func(f *failing) {
			f.vouchedUntilNow()
			f.ps["a"].builds("more", "more")
		}, time.Hour, Trusted, Trusted, "", "", "answers from lookups", "lookups"},
		{"witnesses down", (*failing).noWitnesses, 2 * time.Hour, Trusted, Inconclusive, "", "too few witnesses cosigned log log0 and nothing is remembered about this path", "does not satisfy the quorum", "remembered"},
		{"witnesses down for long", (*failing).noWitnesses, 25 * time.Hour, Inconclusive, Inconclusive, "too few witnesses cosigned log log0 and what is remembered " + tooOld, "too few witnesses cosigned log log0", "does not satisfy the quorum", "nothing"},
		{"one witness stopped", func(f *failing) { f.oneWitness(25 * time.Hour) }, 25 * time.Hour, Inconclusive, Inconclusive, "the newest checkpoint of log log0 " + tooOld, "the newest checkpoint of log log0 " + tooOld, tooOld, "lookups"},
		{"log stands still", func(*failing) {}, 25 * time.Hour, Inconclusive, Inconclusive, "the newest checkpoint of log log0 " + tooOld, "the newest checkpoint of log log0 " + tooOld, tooOld, "lookups"},
		{"log stands still, not yet too long", func(*failing) {}, 24 * time.Hour, Trusted, Trusted, "", "", "24h old", "lookups"},
		{"clock a year ahead", func(*failing) {}, year, Inconclusive, Inconclusive, "the newest checkpoint of log log0 is 365 days old by the clock of this machine, which says 2028-01-15; the policy allows 24h", "365 days old", "365 days old by the clock", "lookups"},
		{"clock a year ahead, log down", gone, year, Inconclusive, Inconclusive, "what is remembered is 365 days old by the clock of this machine, which says 2028-01-15; the policy allows 24h", "365 days old", "answered 503", "nothing"},
		{"clock a year behind", func(*failing) {}, -year, Inconclusive, Inconclusive, "the newest checkpoint of log log0 is 365 days ahead of the clock of this machine, which says 2026-01-15; one of them is wrong", "365 days ahead", "one of them is wrong", "lookups"},
		{"clock a year behind, log down", gone, -year, Inconclusive, Inconclusive, "what is remembered is 365 days ahead of the clock of this machine, which says 2026-01-15; one of them is wrong", "365 days ahead", "answered 503", "nothing"},
		{"clock a little behind", func(*failing) {}, -maxAhead, Trusted, Trusted, "", "", "0s old", "lookups"},
		{"clock a little more behind", func(*failing) {}, -maxAhead - time.Second, Inconclusive, Inconclusive, "10m ahead of the clock", "10m ahead of the clock", "one of them is wrong", "lookups"},
		{"archived log", (*failing).freezes, 2000 * time.Hour, Trusted, Trusted, "", "", "because the log is frozen", "lookups"},
		{"archived log, clock a year behind", (*failing).freezes, -year, Trusted, Trusted, "", "", "because the log is frozen", "lookups"},
		{"archived log that is gone", func(f *failing) { f.freezes(); gone(f) }, 2000 * time.Hour, Trusted, Inconclusive, "", "log log0 did not answer and nothing is remembered about this path", "because the log is frozen", "remembered"},
		{"archived log that is gone, and forgotten", func(f *failing) { f.freezes(); gone(f); f.state = f.t.TempDir() }, 2000 * time.Hour, Inconclusive, Inconclusive, "log log0 did not answer and nothing is remembered", "nothing is remembered", "answered 503", "nothing"},
		{"archived log that goes on", func(f *failing) { f.freezes(); f.ps["a"].builds("more", "more") }, 2000 * time.Hour, Inconclusive, Inconclusive, "the newest checkpoint of log log0 is 83 days old", "83 days old", "83 days old by the clock", "lookups"},
		{"archived log of which the tree is left", func(f *failing) { f.freezes(); noRevision(f); f.full = true }, 2000 * time.Hour, Trusted, Trusted, "", "", "because the log is frozen", "whole log"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFailing(t)
			tt.fail(f)
			f.at = f.start.Add(tt.at)
			for range 2 { // failing twice makes nothing truer
				r := f.judge()
				for i, want := range []Verdict{tt.hello, tt.other} {
					if p := r.Paths[i]; p.Verdict != want || !strings.Contains(p.Reason, []string{tt.helloSays, tt.otherSays}[i]) {
						t.Errorf("%s: %v (%s), want %v", p.Subject.Info.Path.Name(), p.Verdict, p.Reason, want)
					}
				}
				if l := &r.Logs[0]; !strings.Contains(l.State(), tt.state) || string(l.Answered) != tt.rememberedFor {
					t.Errorf("the log answered by %s: %s", l.Answered, l.State())
				}
			}
		})
	}
}
