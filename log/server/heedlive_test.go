package server

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// arrivals are the ways in which evidence against a witness comes to a running log.
var arrivals = map[string]func(l *witnessed, n int){
	"as a file": func(l *witnessed, n int) {
		l.convictWitness(n)
		l.readEvidence() // as every few seconds
	},
	"as a leaf": func(l *witnessed, n int) {
		l.t.Helper()
		if status, a := l.post("?wait=0s", l.witnessLeaf(n)); len(a.Results) != 1 || a.Results[0].Status != statusAccepted {
			l.t.Fatalf("%d %+v", status, a)
		}
	},
}

func held(t testing.TB, dir string) []string {
	return want(filepath.Glob(filepath.Join(dir, "evidence", "*"+evidence.Suffix)))(t)
}

func TestEvidenceAgainstAWitnessIsHeededLive(t *testing.T) {
	t.Parallel()
	for name, bring := range arrivals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newWitnessedLog(t, nil)
			l.grow("alice", 1)
			l.until("/checkpoint", "witness.example/w1 ")
			size := l.publisher.latest().head.Size
			bring(l, 1)
			l.until("/metrics", `firn_log_witness_convicted{witness="w1"} 1`)
			if got := held(t, l.dir); len(got) != 1 {
				t.Errorf("kept: %q", got)
			}
			l.grow("bob", 1)
			asked := l.w[0].Requests()
			l.grow("carol", 1)
			if got := l.w[0].Requests(); got != asked {
				t.Errorf("the convicted witness was asked %d times", got-asked)
			}
			_, _, cp := l.get("/checkpoint")
			if strings.Contains(string(cp), "witness.example/w1 ") {
				t.Errorf("its cosignature is public:\n%s", cp)
			}
			if v := l.cosigned(); v.Size <= size {
				t.Errorf("public is size %d, before it was %d", v.Size, size)
			}
			l.until("/readyz", "ok\n")
			l.close()
			l.open()
			l.until("/metrics", `firn_log_witness_convicted{witness="w1"} 1`)
		})
	}
}

// Without the convicted witnesses no quorum is left: what was public stays as it is,
// nothing new is signed, and it is said who is missing.
func TestEvidenceThatBreaksTheQuorumLeavesWhatIsPublic(t *testing.T) {
	t.Parallel()
	for name, bring := range arrivals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newWitnessedLog(t, nil)
			a := l.must(l.operatorLeaves("alice")...)
			bring(l, 1)
			l.until("/metrics", `firn_log_witness_convicted{witness="w1"} 1`)
			l.grow("bob", 1)
			bring(l, 2)
			l.until("/readyz", "w1 (evidence is held against it), w2 (evidence is held against it)")
			l.until("/metrics", "firn_log_signing 0\n")
			before := l.publisher.latest()
			signed := l.signerSize()
			if status, a := l.post("?wait=0s", l.operatorLeaves("dave")...); status != http.StatusAccepted || a.Results[0].Status != statusAccepted {
				t.Fatalf("%d %+v", status, a)
			}
			size := l.db.State().Size
			head := policy.Head{Origin: l.Origin(), Size: size, Root: want(l.tree.Root(t.Context(), size))(t)}
			if _, err := l.signer.Sign([]byte(head.Text())); err == nil {
				t.Error("it signs what nobody can cosign")
			}
			if got := l.signerSize(); got != signed {
				t.Errorf("signed at %d, before at %d", got, signed)
			}
			now := l.publisher.latest()
			if now.head.Size != before.head.Size || now.cosigned {
				t.Errorf("public: size %d, before %d; cosigned: %v", now.head.Size, before.head.Size, now.cosigned)
			}
			// Whoever holds no evidence still believes it: it lost no line that it needs.
			if v := l.cosigned(); v.Size != before.head.Size {
				t.Errorf("size %d", v.Size)
			}
			if status, _, _ := l.get("/v1/proof?id=" + a.Results[0].ID); status != http.StatusAccepted {
				t.Errorf("a proof is given under a checkpoint without a quorum: %d", status)
			}
		})
	}
}

// A leaf that was in the log before the witness was in the policy, or whose file is lost.
func TestEvidenceInTheLogIsFoundAtTheStart(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.grow("alice", 1)
	arrivals["as a leaf"](l, 3)
	l.until("/metrics", `firn_log_witness_convicted{witness="w3"} 1`)
	l.close()
	if err := os.RemoveAll(filepath.Join(l.dir, "evidence")); err != nil {
		t.Fatal(err)
	}
	l.open()
	if got := l.witnesses.Policy().Ignored(); len(got) != 1 || got[0] != "w3" {
		t.Errorf("ignored: %q", got)
	}
	if got := held(t, l.dir); len(got) != 1 {
		t.Errorf("kept: %q", got)
	}
}

// Evidence against a witness of others is a leaf as any.
func TestEvidenceAgainstStrangersIsNotKept(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.grow("alice", 1)
	l.must(l.witnessLeaf(77))
	l.readEvidence()
	if got := held(t, l.dir); len(got) != 0 {
		t.Errorf("kept: %q", got)
	}
	l.until("/readyz", "ok\n")
}

// It is admitted as any leaf is, and is the last one.
func TestALeafAgainstTheLogItselfEndsIt(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.grow("alice", 1)
	key := want(policy.ParseKey(l.VKey()))(t)
	e := want(evidence.New(evidence.KindLog, key, signedHead(t, l.dir, 1), signedHead(t, l.dir, 2), tlog.Hash{}, nil))(t)
	if status, a := l.post("?wait=0s", evidenceLeaf(t, e)); len(a.Results) != 1 || a.Results[0].Status != statusAccepted {
		t.Fatalf("%d %+v", status, a)
	}
	l.until("/readyz", "signed two histories")
	l.until("/metrics", "firn_log_convicted 1\n")
	if got := held(t, l.dir); len(got) != 1 {
		t.Errorf("kept: %q", got)
	}
	l.close()
	if err := os.RemoveAll(filepath.Join(l.dir, "evidence")); err != nil {
		t.Fatal(err)
	}
	l.open()
	l.until("/readyz", "signed two histories")
	if status, _, b := l.postRaw("?wait=0s", []byte("x")); status != http.StatusServiceUnavailable {
		t.Errorf("submitting: %d %s", status, b)
	}
}

// What cannot be written is tried again.
func TestEvidenceOfALeafWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.grow("alice", 1)
	folder := filepath.Join(l.dir, "evidence")
	if err := os.WriteFile(folder, nil, 0o600); err != nil { // in its place
		t.Fatal(err)
	}
	arrivals["as a leaf"](l, 1)
	l.readEvidence()
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	l.readEvidence()
	l.until("/metrics", `firn_log_witness_convicted{witness="w1"} 1`)
	if w := l.w[1]; w.Requests() == 0 {
		t.Error("the others are not asked")
	}
}

// What the log holds against its own index keeps nobody from finding, after the folder
// was lost, that it has shown two histories; of the index the largest revisions count.
func TestEvidenceOfTwoHistoriesIsFoundBehindThatAgainstTheIndex(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.grow("alice", 1)
	key := want(policy.ParseKey(l.VKey()))(t)
	revision := func(size uint64, root byte) []byte {
		body := &statement.Revision{Origin: l.Origin(), Size: size, Root: [32]byte{root}, MapVersion: 1}
		return want(statement.Sign(t.Context(), l.key.statement, body, "", nil))(t).Leaf()
	}
	for i := range uint64(evidence.MaxHeld + 2) {
		l.must(evidenceLeaf(t, want(fraud.FromRevisions(key, revision(1+i, 1), revision(1+i, 2)))(t)))
	}
	e := want(evidence.New(evidence.KindLog, key, signedHead(t, l.dir, 1), signedHead(t, l.dir, 2), tlog.Hash{}, nil))(t)
	if status, a := l.post("?wait=0s", evidenceLeaf(t, e)); len(a.Results) != 1 || a.Results[0].Status != statusAccepted {
		t.Fatalf("%d %+v", status, a)
	}
	l.until("/metrics", "firn_log_convicted 1\n")
	l.close()
	if err := os.RemoveAll(filepath.Join(l.dir, "evidence")); err != nil {
		t.Fatal(err)
	}
	l.open()
	l.until("/readyz", "signed two histories")
	sizes := make(map[uint64]int)
	for _, h := range want(l.evidence.List())(t) {
		sizes[h.Verdict.Size]++
	}
	if len(sizes) != 1+evidence.MaxHeld || sizes[0] != 1 || sizes[1] != 0 || sizes[evidence.MaxHeld+2] != 1 {
		t.Errorf("kept, by the size of the revision: %v", sizes)
	}
}
