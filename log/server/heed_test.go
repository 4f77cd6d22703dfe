package server

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/log/witnessing/witnesstest"
)

// signedHead is a checkpoint of size 7 with some root, signed by the log's own key.
func signedHead(t testing.TB, dir string, root byte) []byte {
	t.Helper()
	c := want(LoadConfig(dir))(t)
	k := want(readKey(inDir(dir, c.Key), c.Origin))(t)
	return want(note.Sign(&note.Note{Text: policy.Head{Origin: c.Origin, Size: 7, Root: [32]byte{root}}.Text()}, k.note))(t)
}

// hold puts evidence of two checkpoints into the folder of a log.
func hold(t testing.TB, dir string, kind evidence.Kind, key policy.Key, a, b []byte) {
	t.Helper()
	e := want(evidence.New(kind, key, a, b, tlog.Hash{}, nil))(t)
	folder := filepath.Join(dir, "evidence")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, evidence.FileName(e.Origin(), e.Marshal())), e.Marshal(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// convictWitness puts evidence against one of the witnesses into the folder.
func (l *witnessed) convictWitness(n int) {
	l.t.Helper()
	key, both := l.twoCosigned(n)
	hold(l.t, l.dir, evidence.KindWitness, key, both[0], both[1])
}

// witnessLeaf returns a leaf with the same evidence, signed by nobody in particular.
func (l *witnessed) witnessLeaf(n int) []byte {
	l.t.Helper()
	key, both := l.twoCosigned(n)
	return evidenceLeaf(l.t, want(evidence.New(evidence.KindWitness, key, both[0], both[1], tlog.Hash{}, nil))(l.t))
}

func evidenceLeaf(t testing.TB, e *evidence.Evidence) []byte {
	t.Helper()
	return want(statement.Sign(t.Context(), stranger(t), &statement.Evidence{Bytes: e.Marshal()}, "", nil))(t).Leaf()
}

// twoCosigned returns two checkpoints that exclude each other, cosigned by a witness.
func (l *witnessed) twoCosigned(n int) (policy.Key, [][]byte) {
	l.t.Helper()
	name := fmt.Sprintf("witness.example/w%d", n)
	both := make([][]byte, 2)
	for i := range both {
		w := witnesstest.New(name) // the same key, and another memory
		w.Know(want(VKey(l.dir))(l.t))
		own := signedHead(l.t, l.dir, byte(i))
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, httptest.NewRequest("POST", "/add-checkpoint", bytes.NewReader(append([]byte("old 0\n\n"), own...))))
		if rec.Code != 200 {
			l.t.Fatal(rec.Code, rec.Body)
		}
		both[i] = append(own, rec.Body.Bytes()...)
	}
	return witnesstest.New(name).Key(), both
}

func TestConvictedWitnessIsNeitherAskedNorCounted(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.grow("alice", 1)
	l.close()
	l.convictWitness(1)
	asked := l.w[0].Requests()
	l.open()
	l.until("/readyz", "ok\n")
	l.grow("bob", 1)
	if got := l.w[0].Requests(); got != asked {
		t.Errorf("the convicted witness was asked %d times", got-asked)
	}
	l.until("/metrics", `firn_log_witness_convicted{witness="w1"} 1`)
	_, _, cp := l.get("/checkpoint")
	if strings.Contains(string(cp), "witness.example/w1 ") {
		t.Errorf("its cosignature is public:\n%s", cp)
	}
	l.close()
	// Three of four are needed, and of the others one is down.
	l.faults(down, 2)
	l.open()
	l.until("/readyz", "missing are w2")
	l.until("/readyz", "w1 (evidence is held against it)")
	l.until("/metrics", "firn_log_signing 0\n")
}

// A quorum that cannot be met any more, and a doubt, sign nothing; reading goes on.
func TestTooManyConvictedWitnessesSignNothing(t *testing.T) {
	t.Parallel()
	for _, missing := range []bool{false, true} {
		l := newWitnessedLog(t, nil)
		l.grow("alice", 1)
		size := l.settle()
		l.close()
		l.convictWitness(1)
		l.convictWitness(2)
		if missing {
			remove(t, l.dir, recordName)
		}
		l.open()
		l.until("/readyz", "w1 (evidence is held against it), w2 (evidence is held against it)")
		if got := l.publisher.latest(); got.head.Size != size || got.cosigned {
			t.Errorf("public: size %d, cosigned %v", got.head.Size, got.cosigned)
		}
		if err := l.gate.reason(); err == nil {
			t.Error("it signs")
		}
	}
}

func TestEvidenceAgainstTheLogItselfEndsSigning(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) *testLog{
		"with witnesses":    func(t *testing.T) *testLog { return newWitnessedLog(t, nil).testLog },
		"without witnesses": func(t *testing.T) *testLog { return newTestLog(t, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := open(t)
			l.grow("alice", 1)
			key := want(policy.ParseKey(l.VKey()))(t)
			check := func() {
				t.Helper()
				status, _, b := l.get("/readyz")
				if status != http.StatusServiceUnavailable || !strings.Contains(string(b), "signed two histories") {
					t.Errorf("ready: %d %s", status, b)
				}
				if status, _, b := l.get("/checkpoint"); status != http.StatusOK {
					t.Errorf("reading: %d %s", status, b)
				}
				if status, _, b := l.postRaw("?wait=0s", []byte("x")); status != http.StatusServiceUnavailable || !strings.Contains(b, "not-ready") {
					t.Errorf("submitting: %d %s", status, b)
				}
				if _, err := l.signer.Sign([]byte(policy.Head{Origin: l.Origin(), Size: 1}.Text())); err == nil {
					t.Error("it signs")
				}
				for _, say := range []string{"firn_log_convicted 1\n", "firn_log_signing 0\n"} {
					if _, _, b := l.get("/metrics"); !strings.Contains(string(b), say) {
						t.Errorf("no %q in the metrics", say)
					}
				}
			}
			hold(t, l.dir, evidence.KindLog, key, signedHead(t, l.dir, 1), signedHead(t, l.dir, 2))
			l.readEvidence() // as every few seconds
			check()
			l.close()
			l.o.NoWitnessCheck = true // does not override it
			l.open()
			check()
		})
	}
}

// Evidence against somebody else, or of nothing, changes nothing.
func TestEvidenceAgainstNobodyHereChangesNothing(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.grow("alice", 1)
	l.close()
	other := &testLog{t: t, dir: t.TempDir()}
	other.init(nil)
	hold(t, l.dir, evidence.KindLog, want(policy.ParseKey(want(VKey(other.dir))(t)))(t), signedHead(t, other.dir, 1), signedHead(t, other.dir, 2))
	if err := os.WriteFile(filepath.Join(l.dir, "evidence", "x"+evidence.Suffix), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.open()
	l.grow("bob", 1)
	if got := l.witnesses.Policy().Ignored(); len(got) > 0 {
		t.Errorf("ignored: %q", got)
	}
}

// An old cosignature that somebody sends again, and one from a clock that is a year
// off, say nothing about what a witness knows now: nothing is signed.
func TestCosignaturesOfAnotherTimeAreNoAnswer(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{
		"a year old": -365 * 24 * time.Hour, "an hour old": -time.Hour, "from the future": 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newWitnessedLog(t, nil)
			l.grow("alice", 1)
			l.close()
			l.faults(witnesstest.Faults{ClockOff: off}, 1, 2)
			l.open()
			l.until("/readyz", "w1 (its cosignature is of ")
			l.until("/readyz", "w2 (its cosignature is of ")
			l.until("/metrics", "firn_log_signing 0\n")
			_, _, metrics := l.get("/metrics")
			if strings.Contains(string(metrics), `firn_log_witness_clock_offset_seconds{witness="w1"} 0`) {
				t.Error("the metrics do not say that the clock is off")
			}
			status, a := l.post("?wait=0s", l.operatorLeaves("bob")...)
			if status != http.StatusAccepted {
				t.Fatal(status, a)
			}
			if got := l.signerSize(); got > *a.Results[0].Index {
				t.Errorf("signed at %d", got)
			}
		})
	}
}

// A policy without a witness that can be asked is no reason to sign on doubt.
func TestNobodyToAskMeansNobodyHasAnswered(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	l.grow("alice", 1)
	l.close()
	if err := os.WriteFile(filepath.Join(l.dir, "witness.policy"), []byte("log "+want(VKey(l.dir))(t)+"\nquorum none\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := want(LoadConfig(l.dir))(t)
	c.Witnessing.Policy = "witness.policy"
	l.o.Config = c
	remove(t, l.dir, recordName)
	l.refused("is missing")
}

// Who has found out that this is an older copy is not overruled by witnesses that
// answer at that moment.
func TestARollbackIsNotTakenBack(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.grow("alice", 1)
	l.Server.refuse(&RollbackError{Why: "a test says so"})
	l.seq.refuse(nil) // what opening the gate does last
	if status, _, b := l.postRaw("?wait=0s", []byte("x")); status != http.StatusServiceUnavailable {
		t.Errorf("submitting: %d %s", status, b)
	}
}

// Evidence against the index of a log is kept and said, and ends nothing; an
// index-reset answers it.
func TestEvidenceAgainstTheIndexDoesNotStopTheLog(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	l.settle()
	revision := func(root byte) []byte {
		body := &statement.Revision{Origin: l.Origin(), Size: 2, Root: [32]byte{root}, MapVersion: 1}
		return want(statement.Sign(t.Context(), l.key.statement, body, "", nil))(t).Leaf()
	}
	key := want(policy.ParseKey(l.VKey()))(t)
	l.must(evidenceLeaf(t, want(fraud.FromRevisions(key, revision(1), revision(2)))(t)))
	l.readEvidence()
	if got := held(t, l.dir); len(got) != 1 {
		t.Fatalf("kept: %q", got)
	}
	next := 0
	says := func(value string) {
		t.Helper()
		next++
		if _, _, b := l.get("/metrics"); !strings.Contains(string(b), "firn_log_index_convicted "+value+"\n") {
			t.Errorf("the metric is not %s", value)
		}
		l.must(o.Builds(next, next+1)...)
		if status, _, b := l.get("/readyz"); status != http.StatusOK {
			t.Errorf("%d %s", status, b)
		}
		l.settle()
	}
	says("1")
	origin := l.Origin()
	l.close()
	l.open()
	says("1")
	l.close()
	if err := ResetIndex(t.Context(), l.dir, origin); err != nil {
		t.Fatal(err)
	}
	l.open()
	l.settle()
	l.readEvidence()
	says("0")
}
