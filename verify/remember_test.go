package verify

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
)

// lookups records the lookups that a log answers.
type lookups struct {
	mu     sync.Mutex
	bodies int // leaves sent
	n      int
}

func watch(l *logtest.Log) *lookups {
	seen := &lookups{}
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = func(path string, status int, body []byte) (int, []byte) {
			if path == "v1/lookup" {
				if a, err := lookup.Parse(body); err == nil {
					seen.mu.Lock()
					seen.n++
					seen.bodies += len(a.Bodies)
					seen.mu.Unlock()
				}
			}
			return status, body
		}
	})
	return seen
}

func stateFiles(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "verify", "*.answers"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestASecondRunAsksOnlyForWhatIsNew(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	ps["a"].builds("hello", "hello")
	w.logs[0].Revise()
	pol := w.policy(ps, "group g all a b")
	seen := watch(w.logs[0])
	w.expect(pol, helloSubject(t), Untrusted, "1 found")
	if seen.bodies == 0 {
		t.Fatal("nothing was asked for")
	}
	seen.bodies = 0
	before, err := os.Stat(stateFiles(t, w.state)[0])
	if err != nil {
		t.Fatal(err)
	}
	w.expect(pol, helloSubject(t), Untrusted, "1 found")
	if seen.bodies != 0 {
		t.Errorf("%d bodies were sent again", seen.bodies)
	}
	if after, err := os.Stat(stateFiles(t, w.state)[0]); err != nil || !os.SameFile(before, after) {
		t.Errorf("what did not change was written again: %v", err)
	}
	ps["b"].builds("hello", "hello")
	w.expect(pol, helloSubject(t), Trusted, "2 found")
	if seen.bodies != 1 {
		t.Errorf("%d bodies were sent for one new statement", seen.bodies)
	}
	// Another path is asked from the start, and the first stays known.
	ps["a"].builds("other", "other")
	ps["b"].builds("other", "other")
	seen.bodies = 0
	r := w.verify(pol, helloSubject(t), subject(t, "other", "other"))
	if r.Paths[0].Verdict != Trusted || r.Paths[1].Verdict != Trusted || seen.bodies != 2 {
		t.Errorf("%v %v, %d bodies", r.Paths[0].Verdict, r.Paths[1].Verdict, seen.bodies)
	}
}

func TestAKeyAddedLaterIsAskedForFromTheStart(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	fresh := signer(t, "fresh")
	w.put(0, w.sign(fresh, buildOf(t, "hello", "hello"), nil))
	w.put(0, w.sign(fresh, buildOf(t, "other", "other"), nil))
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, helloSubject(t), Untrusted, "0 found")
	w.expect(pol, subject(t, "other", "other"), Untrusted, "0 found")
	ps["a"].addKey(fresh, statement.RoleBuild)
	w.expect(pol, helloSubject(t), Trusted, "1 found")
	w.expect(pol, subject(t, "other", "other"), Trusted, "1 found") // not asked for in between
}

func TestARevocationReachesRememberedClaims(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	claim := ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "")
	ps["a"].say(&statement.Retract{OperatorID: ps["a"].id, Statement: claim.ID(), Reason: "no"})
	w.expect(pol, helloSubject(t), Untrusted, "0 found")
}

func TestRememberedAnswersCountWithinMaxAgeOnly(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	now := start
	w := newWorld(t, logtest.New(t, logtest.Witnesses(1, 1)))
	w.now = func() time.Time { return now }
	w.logs[0].SetTime(start)
	w.lines = []string{"max-age 24h"}
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "")

	down(w.logs[0], true)
	now = start.Add(24 * time.Hour)
	r := w.verify(pol, helloSubject(t), subject(t, "other", "other"))
	if r.Paths[0].Verdict != Trusted || r.Logs[0].Answered != Remembered || r.Logs[0].Age != 24*time.Hour {
		t.Errorf("%v %s, %+v", r.Paths[0].Verdict, r.Paths[0].Reason, r.Logs[0])
	}
	if p := r.Paths[1]; p.Verdict != Inconclusive || !strings.Contains(p.Reason, "nothing is remembered about this path") {
		t.Errorf("a path that was never asked for: %v %s", p.Verdict, p.Reason)
	}
	now = start.Add(24*time.Hour + time.Minute)
	w.expect(pol, helloSubject(t), Inconclusive, "log log0 did not answer and what is remembered is 24.0h old; the policy allows 24h")

	down(w.logs[0], false) // it answers, with the same old checkpoint
	w.expect(pol, helloSubject(t), Inconclusive, "the newest checkpoint of log log0 is 24.0h old; the policy allows 24h")
	w.logs[0].SetTime(now)
	w.logs[0].Publish()
	w.expect(pol, helloSubject(t), Trusted, "")

	// Without max-age nothing says how old is too old.
	w.lines = nil
	down(w.logs[0], true)
	w.expect(w.policy(ps, "group g 1 a"), helloSubject(t), Inconclusive, "remembered answers count only if the policy gives the log a max-age")
}

func TestWithoutWitnessesRememberedAnswersHaveNoAge(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	r := w.verify(pol, helloSubject(t))
	if !strings.Contains(r.Logs[0].State(), "without witnesses, so nothing says how old that is") {
		t.Error(r.Logs[0].State())
	}
	down(w.logs[0], true)
	w.expect(pol, helloSubject(t), Inconclusive, "remembered answers do not count without witnesses who say how old they are")
}

func TestRememberedAnswersNeedEveryKeyOfTheOperators(t *testing.T) {
	w := newWorld(t, logtest.New(t, logtest.Witnesses(1, 1)))
	w.lines = []string{"max-age 1h"}
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	w.expect(w.policy(ps, "group g 1 a"), helloSubject(t), Trusted, "")
	other := w.person("b")
	down(w.logs[0], true)
	w.expect(w.policy(ps, "group g 1 a"), helloSubject(t), Trusted, "")
	ps["b"] = other
	w.expect(w.policy(ps, "group g 1 a b"), helloSubject(t), Inconclusive, "log log0 did not answer and nothing is remembered")
}

// silent is a log that is gone when it is asked about paths.
type silent struct{ Log }

func (s silent) Lookup(ctx context.Context, q log.Query) (*log.Answers, error) {
	if strings.HasPrefix(q.Keys[0], "out:") {
		return nil, log.ErrUnreachable
	}
	return s.Log.Lookup(ctx, q)
}

// The log tells about a new key and is gone before it tells what that key claims.
func TestRememberedClaimsAreNotEnoughForANewKey(t *testing.T) {
	w := newWorld(t, logtest.New(t, logtest.Witnesses(1, 1)))
	w.lines = []string{"max-age 1h"}
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	pol := w.policy(ps, "group g 1 a")
	w.expect(pol, helloSubject(t), Trusted, "")
	fresh := signer(t, "fresh")
	ps["a"].addKey(fresh, statement.RoleBuild)
	w.put(0, w.sign(fresh, buildOf(t, "hello", "evil"), nil))
	w.wrap = func(l Log) Log { return silent{l} }
	w.expect(pol, helloSubject(t), Inconclusive, "log log0 did not answer and not every key of the operators is remembered")
}

func TestDamagedStateIsThrownAwayWithAWarning(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	w.logs[0].Revise()
	pol := w.policy(ps, "group g 1 a")
	w.verify(pol, helloSubject(t))
	files := stateFiles(t, w.state)
	if len(files) != 1 {
		t.Fatalf("state files: %v", files)
	}
	if st, err := os.Stat(files[0]); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	// The last claim is turned into one for other content: only the checksum shows it.
	flipped := bytes.Clone(good)
	flipped[len(flipped)-70] ^= 1
	for name, bad := range map[string][]byte{"flipped": flipped, "cut": good[:len(good)-1], "empty": {}, "longer": append(bytes.Clone(good), 0)} {
		if err := os.WriteFile(files[0], bad, 0o600); err != nil {
			t.Fatal(err)
		}
		r := w.verify(pol, helloSubject(t))
		if r.Paths[0].Verdict != Trusted || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "remembered answers are damaged: "+files[0]) {
			t.Errorf("%s: %v %v", name, r.Paths[0].Verdict, r.Warnings)
		}
		if again, err := os.ReadFile(files[0]); err != nil || !bytes.Equal(again, good) {
			t.Errorf("%s: the file was not written again: %v", name, err)
		}
	}
}

// Answers remembered from another history of the log must not count, even if
// the remembered checkpoints were lost.
func TestAnswersOfAnotherHistoryAreEvidence(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	w.verify(w.policy(ps, "group g 1 a"), helloSubject(t))
	if err := os.RemoveAll(filepath.Join(w.state, "checkpoints")); err != nil {
		t.Fatal(err)
	}
	other := newWorld(t, logtest.New(t))
	others := other.people("x a")
	others["a"].builds("hello", "evil")
	others["a"].builds("more", "more")
	w.logs[0] = other.logs[0]
	r := w.verify(w.policy(ps, "group g 1 a"), helloSubject(t))
	if r.ExitStatus() != 5 {
		t.Errorf("exit %d, %v, %+v", r.ExitStatus(), r.Paths[0].Judgement, r.Logs[0])
	}
}

func TestStateThatCannotBeWrittenIsAWarning(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a")
	ps["a"].builds("hello", "hello")
	if err := os.WriteFile(filepath.Join(w.state, "verify"), nil, 0o600); err != nil { // a file where the folder goes
		t.Fatal(err)
	}
	r := w.verify(w.policy(ps, "group g 1 a"), helloSubject(t))
	if r.Paths[0].Verdict != Trusted || !slices.ContainsFunc(r.Warnings, func(s string) bool { return strings.Contains(s, "could not be remembered") }) {
		t.Errorf("%v, %v", r.Paths[0].Verdict, r.Warnings)
	}
}

func TestOtherOperatorsHaveOtherState(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	one := w.policy(map[string]*person{"a": ps["a"]}, "group g 1 a")
	renamed := w.policy(map[string]*person{"z": ps["a"]}, "group g 1 z")
	both := w.policy(ps, "group g 1 a b")
	if stateFile("d", one, one.Logs[0]) != stateFile("d", renamed, renamed.Logs[0]) {
		t.Error("a new name for an operator forgets what is known")
	}
	if stateFile("d", one, one.Logs[0]) == stateFile("d", both, both.Logs[0]) {
		t.Error("other operators share answers that were not asked for them")
	}
}

// sampleMemory is a memory with everything in it.
func sampleMemory(t testing.TB) *memory {
	m := newMemory()
	m.note, m.size = []byte("note\n"), 7
	m.vouched = [][]byte{[]byte("vouched\n"), []byte("vouched again\n")}
	m.signers = []statement.KeyID{{1}, {2}}
	m.people["operator:x"] = remembered[leaf]{upTo: 7, entries: []leaf{{Index: 1, Leaf: []byte("leaf")}}}
	s := subject(t, "hello", "hello")
	other := s.Fingerprint()
	other.Path = mustPath("/nix/store/11111111111111111111111111111111-f")
	m.claims[s.keys()[0]] = remembered[record]{upTo: 7, entries: []record{{
		Index: 3, Signer: statement.KeyID{2}, ID: statement.ID{4}, Class: Built, Implementation: "nix", About: s.Fingerprint(),
	}}}
	m.people["key:x"] = remembered[leaf]{upTo: 7, head: log.Known{Head: index.Head{Count: 1 << 40, Root: index.Hash{1}}, Size: 6}}
	m.claims["real:sha256:01!out"] = remembered[record]{upTo: 7, head: log.Known{Head: index.Head{Count: 1}, Size: 7}}
	m.claims["real:sha256:00!out"] = remembered[record]{upTo: 5, entries: []record{{Signer: statement.KeyID{1}, Class: Signed, About: other}}}
	return m
}

func TestMemoryReadsBack(t *testing.T) {
	m := sampleMemory(t)
	got, err := decodeMemory(m.encode())
	if err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("%v\n%+v\n%+v", err, got, m)
	}
	missing, err := loadMemory(filepath.Join(t.TempDir(), "none"))
	if err != nil || missing.note != nil {
		t.Errorf("a missing file: %+v, %v", missing, err)
	}
	if _, err := loadMemory(t.TempDir()); err == nil {
		t.Error("a folder was read as a file")
	}
}

func FuzzMemory(f *testing.F) {
	good := sampleMemory(f).encode()
	f.Add(good[len(stateMagic) : len(good)-32])
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := decodeMemory(sealed(body))
		if err == nil && !bytes.Equal(m.encode(), sealed(body)) {
			t.Error("it is written in another way than it was read")
		}
	})
}

func sealed(body []byte) []byte {
	e := append([]byte(stateMagic), body...)
	return append(e, checksum(e)...)
}

// chatty is a log that sends the bodies of everybody, asked for or not.
type chatty struct{ Log }

func (c chatty) Lookup(ctx context.Context, q log.Query) (*log.Answers, error) {
	if len(q.Signers) > 0 {
		q.Signers = nil
	}
	return c.Log.Lookup(ctx, q)
}

// A stranger's claim that nobody asked for is not kept, and least of all as that
// of somebody else.
func TestBodiesThatNobodyAskedForAreNotRemembered(t *testing.T) {
	w := newWorld(t)
	s := subject(t, "hello", "hello")
	cache := cacheKey("cache.example-1")
	for i := range 8 { // key ids on both sides of the cache's
		w.put(0, cacheSig(t, cacheKey(fmt.Sprintf("stranger-%d", i)), s.Info))
	}
	pol := w.policy(nil, "operator cache key "+keyID(t, cache).String(), "group g any cache signed")
	w.wrap = func(l Log) Log { return chatty{l} }
	for run := range 2 {
		r := w.verify(pol, s)
		if p := r.Paths[0]; p.Verdict != Untrusted || len(p.Claims) != 0 || len(r.Warnings) != 0 {
			t.Errorf("run %d: %v (%s), claims %+v, warnings %q", run, p.Verdict, p.Reason, p.Claims, r.Warnings)
		}
	}
}
