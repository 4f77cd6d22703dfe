package witness

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/witness/sample"
)

// files returns the evidence that a witness keeps.
func (w *world) files() []string {
	return want(filepath.Glob(filepath.Join(w.dir, evidenceName, "*"+evidence.Suffix)))(w.t)
}

// refusedForGood checks that nothing of the log is cosigned, now and later.
func (w *world) refusedForGood(old, size uint64) {
	w.t.Helper()
	for range 2 {
		w.must(403, w.log.Request(old, size))
		w.must(403, w.log.Request(old, old))
		w.again()
	}
	if len(w.files()) == 0 {
		w.t.Error("no evidence on disk")
	}
	for _, name := range w.files() {
		e := want(evidence.Parse(want(os.ReadFile(name))(w.t)))(w.t)
		if v, err := e.VerifyKey(w.log.Key); err != nil || v.Origin != testOrigin {
			w.t.Errorf("%s convicts nobody: %v", name, err)
		}
	}
}

func TestW9AnotherRootAtOneSizeIsKeptAsEvidence(t *testing.T) {
	for name, old := range map[string]uint64{"with the right old size": 5, "with a wrong old size": 0} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.cosigned(w.log.Request(0, 5))
			status := map[uint64]int{5: 422, 0: 409}[old]
			w.must(status, sample.Body(old, nil, w.log.Fork("fork", 2).Note(5)))
			contains(t, w.words.String(), "shown two histories")
			w.refusedForGood(5, 9)
		})
	}
}

func TestW9AProofFromAnotherRootIsKeptAsEvidence(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	w.must(422, w.log.Fork("fork", 2).Request(5, 9))
	w.refusedForGood(5, 9)
}

func TestWhatIsNoEvidenceRefusesNobody(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 8))
	fork := w.log.Fork("fork", 2)
	w.must(422, sample.Body(8, w.log.Proof(7, 9), w.log.Note(9)))   // a proof of something else
	w.must(422, sample.Body(8, nil, fork.Note(9)))                  // no proof
	w.must(422, fork.Request(8, 9))                                 // from a power of two the proof holds no root
	w.must(409, fork.Request(3, 9))                                 // from another size
	w.must(409, fork.Request(0, 7))                                 // smaller
	w.must(409, sample.Body(0, nil, w.log.Note(0)))                 // empty
	w.must(403, sample.Body(8, nil, beta.SignedNote(fork.Text(8)))) // not signed by the log
	w.cosigned(w.log.Request(8, 9))
	if len(w.files()) > 0 {
		t.Errorf("evidence against an honest log: %v", w.files())
	}
}

// Two keys of one log that disagree convict neither.
func TestTwoKeysThatDisagreeAreNoEvidence(t *testing.T) {
	w := newWorld(t)
	w.logs[0].Keys = append(w.logs[0].Keys, beta.Key)
	w.again()
	w.cosigned(w.log.Request(0, 5))
	w.must(422, sample.Body(5, nil, beta.SignedNote(w.log.Fork("fork", 2).Text(5))))
	contains(t, w.words.String(), "different keys")
	w.cosigned(w.log.Request(5, 6))
}

func TestEvidenceFromOutsideRefusesTheOriginForGood(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	e := want(evidence.New(evidence.KindLog, w.log.Key, w.log.Note(9), w.log.Fork("fork", 2).Note(9), tlog.Hash{}, nil))(t)
	for range 2 {
		if origin, err := w.Evidence(t.Context(), e.Marshal()); err != nil || origin != testOrigin {
			t.Fatalf("%q, %v", origin, err)
		}
	}
	w.refusedForGood(5, 9)
	if len(w.files()) != 1 {
		t.Errorf("%d files, want 1", len(w.files()))
	}
	// What was cosigned stays readable.
	contains(t, w.latest(), w.log.Text(5))
}

func TestEvidenceBeforeTheFirstCheckpoint(t *testing.T) {
	w := newWorld(t)
	e := want(evidence.New(evidence.KindLog, w.log.Key, w.log.Note(9), w.log.Fork("fork", 2).Note(9), tlog.Hash{}, nil))(t)
	if _, err := w.Evidence(t.Context(), e.Marshal()); err != nil {
		t.Fatal(err)
	}
	w.refusedForGood(0, 3)
}

func TestForgedEvidenceRefusesNobody(t *testing.T) {
	w := newWorld(t)
	e := want(evidence.New(evidence.KindLog, w.log.Key, w.log.Note(9), w.log.Fork("fork", 2).Note(9), tlog.Hash{}, nil))(t)
	bad := strings.Replace(string(e.Marshal()), "\n9\n", "\n8\n", 1)
	for _, b := range []string{"", "garbage", bad, strings.ReplaceAll(string(e.Marshal()), "kind log", "kind index")} {
		if _, err := w.Evidence(t.Context(), []byte(b)); !errors.Is(err, ErrNotEvidence) {
			t.Errorf("%.40q: %v, want ErrNotEvidence", b, err)
		}
	}
	stranger := sample.New("stranger.example/log")
	stranger.Grow(9)
	theirs := want(evidence.New(evidence.KindLog, stranger.Key, stranger.Note(9), stranger.Fork("fork", 2).Note(9), tlog.Hash{}, nil))(t)
	if _, err := w.Evidence(t.Context(), theirs.Marshal()); !errors.Is(err, ErrNotOurs) {
		t.Errorf("%v, want ErrNotOurs", err)
	}
	// A stranger's key that signs for a known origin convicts only itself.
	impostor := sample.Impostor(testOrigin)
	impostor.Grow(9)
	framed := want(evidence.New(evidence.KindLog, impostor.Key, impostor.Note(9), impostor.Fork("fork", 2).Note(9), tlog.Hash{}, nil))(t)
	if _, err := w.Evidence(t.Context(), framed.Marshal()); !errors.Is(err, ErrNotOurs) {
		t.Errorf("%v, want ErrNotOurs", err)
	}
	w.cosigned(w.log.Request(0, 5))
}

// A witness signs for the history of a log, and takes no evidence against its index.
func TestEvidenceAgainstAnIndexIsNotForAWitness(t *testing.T) {
	w := newWorld(t)
	b := want(os.ReadFile(filepath.Join(testreq.Root(), "spec", "vectors", "evidence", "index", "accept-two-revisions"+evidence.Suffix)))(t)
	key := want(evidence.Parse(b))(t).Key
	w.logs[0].Keys = append(w.logs[0].Keys, key) // of the same origin
	w.again()
	if _, err := w.Evidence(t.Context(), b); !errors.Is(err, ErrNotOurs) || !strings.Contains(err.Error(), "against the index of "+key.Name) {
		t.Errorf("%v", err)
	}
	if w.State(key.Name).Refused != "" || len(w.files()) > 0 {
		t.Errorf("the origin is refused: %q, %v", w.State(key.Name).Refused, w.files())
	}
	w.cosigned(w.log.Request(0, 5))
}

func TestProvenRootAgreesWithTheTree(t *testing.T) {
	l := sample.New(testOrigin)
	l.Grow(40)
	for size := uint64(2); size <= 40; size++ {
		for old := uint64(1); old < size; old++ {
			root, ok := provenRoot(l.Proof(old, size), size, l.Root(size), old)
			if isPower := old&(old-1) == 0; ok == isPower || ok && root != l.Root(old) {
				t.Fatalf("from %d to %d: %v, %v", old, size, root, ok)
			}
			if _, ok := provenRoot(l.Proof(old, size), size, l.Root(size-1), old); ok {
				t.Fatalf("from %d to %d: holds for another root", old, size)
			}
		}
	}
}

func TestOwnContradictionIsKeptAndNothingIsSigned(t *testing.T) {
	w := newWorld(t)
	w.cosigned(w.log.Request(0, 5))
	text := w.log.Fork("fork", 2).Text(5)
	mine := want(w.key.cosign(text, w.clock()))(t)
	other := (&policy.Note{Text: text, Signatures: []policy.Signature{w.log.Sign(text), mine}}).Marshal()
	peer := newPeer(t, map[string][]byte{testOrigin: other})
	if err := w.AskPeers(t.Context(), peer.Client(), []string{peer.URL}); err != nil {
		t.Fatal(err)
	}
	w.must(403, w.log.Request(5, 9))
	if len(w.files()) != 1 {
		t.Errorf("%d files of evidence, want 1", len(w.files()))
	}
	contains(t, w.words.String(), "two roots of one size")
}

// A log that shows two histories and hangs up is refused all the same.
func TestWhoeverHangsUpDoesNotStopAConviction(t *testing.T) {
	for range 20 { // a select between two that are ready is a matter of luck
		w := newWorld(t)
		w.cosigned(w.log.Request(0, 5))
		e := want(evidence.New(evidence.KindLog, w.log.Key, []byte(w.latest()), w.log.Fork("fork", 2).Note(5), tlog.Hash{}, nil))(t)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		_, _ = w.Evidence(gone, e.Marshal())
		if w.State(testOrigin).Refused == "" {
			t.Fatal("evidence is held, and the log is not refused")
		}
	}
}
