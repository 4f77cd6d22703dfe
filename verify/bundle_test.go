package verify

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// record makes a bundle of what a policy may need, and gives it back from its bytes.
func (w *world) bundle(pol *Policy, subjects ...Subject) *log.Bundle {
	w.t.Helper()
	var logs []BundleLog
	for _, ref := range pol.Logs {
		c, err := log.NewClient(ref.URL, ref.Policy, log.Options{})
		if err != nil {
			w.t.Fatal(err)
		}
		logs = append(logs, BundleLog{Name: ref.Name, Required: ref.Required, Client: c})
	}
	b, warnings, err := RecordBundle(context.Background(), logs, subjects, pol)
	if err != nil || len(warnings) > 0 {
		w.t.Fatal(warnings, err)
	}
	if b, err = log.ParseBundle(b.Marshal()); err != nil {
		w.t.Fatal(err)
	}
	return b
}

// remembered is the files of remembered answers.
func (w *world) remembered() map[string]string {
	files, _ := filepath.Glob(filepath.Join(w.state, "verify", "*.answers"))
	out := make(map[string]string)
	for _, f := range files {
		b, _ := os.ReadFile(f)
		out[f] = string(b)
	}
	return out
}

func (w *world) down(down bool) {
	for _, l := range w.logs {
		l.Lie(func(lies *logtest.Lies) { lies.Down = down })
	}
}

// offline verifies from a bundle while no log answers.
func (w *world) offline(b *log.Bundle, pol *Policy, subjects ...Subject) *Report {
	w.t.Helper()
	w.down(true)
	defer w.down(false)
	o := w.options()
	o.Bundle, o.Open = b, nil
	r, err := Verify(context.Background(), pol, subjects, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// said is what a report says, but for where from.
func said(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	out := strings.ReplaceAll(b.String(), `"answered": "bundle"`, `"answered": "lookups"`)
	return out
}

// From a bundle the verdicts are those of the logs, to the word, for any claims by anybody,
// in any of several logs, and for operators that are nowhere.
func TestBundleGivesTheVerdictsOfTheLogs(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(t, logtest.New(t), logtest.New(t, logtest.Origin("other.example/0123abcd")))
		w.state = ""
		all := w.people("a b c d")
		names := []string{"a", "b", "c", "d"}
		subjects := []Subject{subject(t, "x", "good"), subject(t, "y", "good"), subject(t, "z", "good"), subject(t, "nobody", "good")}
		for range 4 + r.IntN(16) {
			p := all[names[r.IntN(4)]]
			switch r.IntN(8) {
			case 0:
				p.say(p.revoke(p.build.PublicKey().ID(), map[string]uint64{w.logs[0].Origin(): uint64(r.IntN(20))}, statement.Keep))
			case 1:
				if other := all[names[r.IntN(4)]]; other != p {
					p.say(&statement.Vouch{OperatorID: p.id, For: other.id})
				}
			default:
				p.buildsIn(r.IntN(2), string("xyz"[r.IntN(3)]), []string{"good", "good", "bad"}[r.IntN(3)])
			}
		}
		if r.IntN(2) == 0 {
			all["e"] = w.stranger("e")
			all["e"].id = statement.ID{7}
		}
		lines := []string{"operator k key " + all["a"].build.PublicKey().ID().String(), "completeness proven", fmt.Sprintf("group builders %d a b c", 1+r.IntN(3))}
		if r.IntN(2) == 0 {
			lines[2] = "group builders 1 k b"
			delete(all, "a")
			if r.IntN(2) == 0 {
				lines[0] = "operator k key " + statement.KeyID{9}.String()
			}
		} else {
			lines = lines[1:]
		}
		pol := w.policy(all, lines...)
		for _, l := range w.logs {
			l.Lie(func(lies *logtest.Lies) { lies.Cut = r.IntN(12) })
		}
		b := w.bundle(pol, subjects...)
		online := w.verify(pol, subjects...)
		if d := cmp.Diff(said(t, online), said(t, w.offline(b, pol, subjects...))); d != "" {
			t.Errorf("seed %d: (-logs +bundle)\n%s", seed, d)
		}
	}
}

func TestBundleWithoutAPathIsInconclusiveAboutThatPath(t *testing.T) {
	w := newWorld(t)
	all := w.people("a b")
	for _, p := range all {
		p.builds("x", "good")
		p.builds("y", "good")
	}
	pol := w.policy(all, "completeness proven", "group builders 2 a b")
	x, y := subject(t, "x", "good"), subject(t, "y", "good")
	b := w.bundle(pol, x)
	r := w.offline(b, pol, x, y)
	if r.Paths[0].Verdict != Trusted || r.Paths[1].Verdict != Inconclusive || !strings.Contains(r.Paths[1].Reason, "the bundle does not hold this path of log log0; make one that does with `firn bundle`") {
		t.Errorf("%+v", r.Paths)
	}
	if l := r.Logs[0]; l.Answered != ByBundle || !strings.Contains(l.State(), "answers from the bundle at size") {
		t.Error(l.State())
	}
	// A policy that names somebody else: nothing is known of them.
	other := w.parse("operator a id " + all["a"].id.String() + "\noperator z id " + statement.ID{8}.String() + "\ncompleteness proven\ngroup builders 1 a z\n")
	r = w.offline(b, other, x)
	if r.Paths[0].Verdict != Inconclusive || !strings.Contains(r.Paths[0].Reason, "the bundle does not hold the entries under operator:08") {
		t.Errorf("%+v", r.Paths[0].Judgement)
	}
	// No part of the log at all.
	r = w.offline(new(log.Bundle), pol, x)
	if r.Paths[0].Verdict != Inconclusive || !strings.Contains(r.Paths[0].Reason, "the bundle holds nothing of log log0") {
		t.Errorf("%+v", r.Paths[0].Judgement)
	}
}

// Whoever keeps a machine off the network and hands it an old bundle cannot undo what it
// has seen.
func TestOldBundleUndoesNoRevocationThatWasSeen(t *testing.T) {
	w := newWorld(t)
	all := w.people("a b")
	for _, p := range all {
		p.builds("x", "good")
	}
	pol := w.policy(all, "completeness proven", "group builders 2 a b")
	x := subject(t, "x", "good")
	b := w.bundle(pol, x)
	if r := w.offline(b, pol, x); r.Paths[0].Verdict != Trusted || len(w.remembered()) > 0 {
		t.Fatalf("%+v, %d files", r.Paths[0].Judgement, len(w.remembered()))
	}
	a := all["a"]
	a.say(a.revoke(a.build.PublicKey().ID(), map[string]uint64{w.logs[0].Origin(): 0}, statement.Keep))
	w.expect(pol, x, Untrusted, "1 found")
	remembered := w.remembered()
	if r := w.offline(b, pol, x); r.Paths[0].Verdict == Trusted {
		t.Errorf("%+v", r.Paths[0].Judgement)
	}
	if now := w.remembered(); len(now) != 1 || !cmp.Equal(remembered, now) {
		t.Error("the bundle changed what is remembered")
	}
}

func TestBundleIsAsOldAsItsCheckpoint(t *testing.T) {
	began := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	l := logtest.New(t, logtest.Witnesses(1, 1))
	l.SetTime(began)
	w := newWorld(t, l)
	w.lines = []string{"required max-age 2h"}
	all := w.people("a b")
	for _, p := range all {
		p.builds("x", "good")
	}
	pol := w.policy(all, "completeness proven", "group builders 2 a b")
	x := subject(t, "x", "good")
	w.now = func() time.Time { return began }
	b := w.bundle(pol, x)
	r := w.offline(b, pol, x)
	if r.Paths[0].Verdict != Trusted || !strings.Contains(r.Logs[0].State(), "the bundle of 2026-11-01T12:00:00Z at size") {
		t.Errorf("%+v %s", r.Paths[0].Judgement, r.Logs[0].State())
	}
	w.now = func() time.Time { return began.Add(3 * time.Hour) }
	if r := w.offline(b, pol, x); r.Paths[0].Verdict != Inconclusive || !strings.Contains(r.Paths[0].Reason, "3h old; the policy allows 2h") {
		t.Errorf("%+v", r.Paths[0].Judgement)
	}
}

// Evidence that this machine holds against a log counts for a bundle of it.
func TestBundleOfAConvictedLogIsRefused(t *testing.T) {
	w := newWorld(t)
	all := w.people("a b")
	for _, p := range all {
		p.builds("x", "good")
	}
	pol := w.policy(all, "completeness proven", "group builders 2 a b")
	x := subject(t, "x", "good")
	b := w.bundle(pol, x)
	size := w.verify(pol, x).Logs[0].Size // remembered now

	fork := logtest.New(t)
	honest := w.logs
	w.logs = []*logtest.Log{fork}
	others := w.people("a b")
	others["a"].builds("x", "bad")
	for fork.Size()+1 < size {
		fork.Add([]byte("another history"))
		fork.Publish()
	}
	forked := w.bundle(w.policy(others, "completeness proven", "group builders 2 a b"), x)
	w.logs = honest
	if got := forked.Holdings()[0].Size; got != size {
		t.Fatalf("size %d, want %d", got, size)
	}
	if r := w.offline(forked, pol, x); !r.Logs[0].Forked || r.ExitStatus() != 5 {
		t.Errorf("%+v", r.Logs)
	}
	if r := w.offline(b, pol, x); r.Paths[0].Verdict != Inconclusive || r.ExitStatus() != 5 {
		t.Errorf("%+v", r.Paths)
	}
}

func TestRecordingLeavesOutOptionalLogsOnly(t *testing.T) {
	w := newWorld(t, logtest.New(t), logtest.New(t, logtest.Origin("other.example/0123abcd")))
	w.lines = []string{"required", "optional"}
	all := w.people("a")
	all["a"].builds("x", "good")
	pol := w.policy(all, "completeness proven", "group builders 1 a")
	logs := func() (logs []BundleLog) {
		for _, ref := range pol.Logs {
			c, err := log.NewClient(ref.URL, ref.Policy, log.Options{})
			if err != nil {
				t.Fatal(err)
			}
			logs = append(logs, BundleLog{Name: ref.Name, Required: ref.Required, Client: c})
		}
		return logs
	}
	x := subject(t, "x", "good")
	w.logs[1].Lie(func(lies *logtest.Lies) { lies.Down = true })
	b, warnings, err := RecordBundle(t.Context(), logs(), []Subject{x}, pol)
	if err != nil || len(warnings) != 1 || !strings.HasPrefix(warnings[0], "log log1 is not in the bundle: ") || !slices.Equal(b.Origins(), []string{w.logs[0].Origin()}) {
		t.Errorf("%v, %v", warnings, err)
	}
	w.logs[0].Lie(func(lies *logtest.Lies) { lies.Down = true })
	if _, _, err := RecordBundle(t.Context(), logs(), []Subject{x}, pol); err == nil {
		t.Error("a required log is missing")
	}
}

// What a bundle says is as old as its oldest part: a new part about something else does not
// make an old answer younger.
func TestABundleIsAsOldAsItsOldestPart(t *testing.T) {
	l := logtest.New(t, logtest.Witnesses(3, 2))
	w := newWorld(t, l)
	w.lines = []string{"max-age 1h"}
	then := time.Unix(1_800_000_000, 0)
	w.now = func() time.Time { return then.Add(48 * time.Hour) }
	l.SetTime(then)
	all := w.people("a b")
	all["a"].builds("hello", "hello")
	pol := w.policy(all, "group g 1 a b")
	c, err := log.NewClient(l.URL(), pol.Logs[0].Policy, log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b log.Bundle
	s := helloSubject(t)
	if _, err := c.Record(t.Context(), &b, s.keys()); err != nil {
		t.Fatal(err)
	}
	l.SetTime(w.now())
	all["b"].builds("hello", "evil")
	if _, err := c.RecordPeople(t.Context(), &b, append(peopleKeys(pol), personKeys(all)...)); err != nil {
		t.Fatal(err)
	}
	r := w.offline(&b, pol, s)
	if p := r.Paths[0]; p.Verdict != Inconclusive || !strings.Contains(p.Reason, "the newest checkpoint of log log0 is 2 days old") {
		t.Errorf("%v %s", p.Verdict, p.Reason)
	}
	// So it is if the log has ended meanwhile.
	l.Add(l.State(&statement.Freeze{Origin: l.Origin()}))
	l.Publish()
	l.Lie(func(lies *logtest.Lies) { lies.NoRevision = true })
	if _, err := c.Record(t.Context(), &b, []string{"out:/nix/store/last"}); err != nil {
		t.Fatal(err)
	}
	w.now = func() time.Time { return then.Add(96 * time.Hour) }
	r = w.offline(&b, pol, s)
	if p := r.Paths[0]; p.Verdict != Inconclusive {
		t.Errorf("of a frozen log: %v %s", p.Verdict, p.Reason)
	}
}

// personKeys are the keys under which people are looked up.
func personKeys(all map[string]*person) []string {
	var keys []string
	for _, p := range all {
		for _, s := range []statement.Signer{p.identity, p.build} {
			keys = append(keys, "key:"+s.PublicKey().ID().String())
		}
	}
	return keys
}
