package server

import (
	"log/slog"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/witnessing/witnesstest"
	witnessserver "github.com/firn-log/firn/witness/server"
)

// rollBack puts the whole directory back to what it is now, in place, after grow
// has run: no sign of what came after is left in it.
func (l *witnessed) rollBack(grow func()) {
	l.t.Helper()
	l.close()
	backup := l.t.TempDir()
	copyDir(l.t, l.dir, backup)
	l.open()
	grow()
	l.close()
	for _, name := range []string{treeName, publicName, recordName, indexName} {
		remove(l.t, l.dir, name)
		if out, err := exec.Command("cp", "-a", filepath.Join(backup, name), l.dir).CombinedOutput(); err != nil {
			l.t.Fatalf("cp: %v: %s", err, out)
		}
	}
}

func TestRestoredOlderCopyIsRefusedByWitnesses(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.grow("alice", 3)
	l.rollBack(func() { l.grow("bob", 5) })
	l.refused("the witness w")
	l.o.NoWitnessCheck = true
	l.refused("the witness w") // what is known is never overridden
	// One is enough.
	l.o.NoWitnessCheck = false
	l.faults(down, 1, 2, 3, 4)
	l.refused("the witness w5")
	l.faults(down)
}

// With the witnesses down nothing new is signed and reads go on; when one comes
// back and shows what it knows, that stays so.
func TestRestoredOlderCopySignsNothingWhileWitnessesAreDown(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.grow("alice", 3)
	old := l.settle()
	l.rollBack(func() { l.grow("bob", 5) })
	seen := len(l.w[0].Seen())
	l.faults(down, 1, 2, 3, 4, 5)
	l.open()
	if got := l.cosigned().Size; got != old {
		t.Errorf("public at %d, want %d", got, old)
	}
	if status, _, _ := l.get("/tile/entries/000.p/1"); status != http.StatusOK {
		t.Errorf("reading stopped: %d", status)
	}
	if status, _, b := l.get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(string(b), "w1, w2, w3, w4") {
		t.Errorf("readyz: %d %s", status, b)
	}
	l.until("/metrics", "firn_log_signing 0\n")
	// Its operator cannot be there yet: this is the older copy, which grows by others.
	status, a := l.post("?wait=0s", l.operatorLeaves("carol")...)
	if status != http.StatusAccepted {
		t.Fatalf("status %d %+v", status, a)
	}
	if got := l.signerSize(); got != old {
		t.Errorf("the record is at %d, want %d: something was signed", got, old)
	}
	l.faults(witnesstest.Faults{Blind: true}, 2, 3, 4, 5)
	l.until("/readyz", "older copy")
	l.until("/metrics", "firn_log_rollback 1\n")
	if got := l.signerSize(); got != old {
		t.Errorf("the record is at %d, want %d: something was signed", got, old)
	}
	if status, _, b := l.postRaw("?wait=0s", l.operatorLeaves("dave")...); status != http.StatusServiceUnavailable || !strings.Contains(b, "older copy") {
		t.Errorf("status %d %s", status, b)
	}
	l.cosigned()
	for _, note := range l.w[0].Seen()[seen:] {
		if v := want(l.pol.VerifyLog(note))(t); v.Size != old {
			t.Errorf("a checkpoint of size %d was signed in an older copy", v.Size)
		}
	}
}

func (l *witnessed) operatorLeaves(name string) [][]byte {
	return sample.NewOperator(name, l.Origin()).Registration()
}

// Witnesses that have no monitoring interface are no less safe: they do not cosign
// what is smaller than they know, and until enough have nothing new is signed.
func TestRestoredOlderCopyBeforeBlindWitnesses(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.grow("alice", 3)
	old := l.settle()
	l.rollBack(func() { l.grow("bob", 5) })
	l.faults(witnesstest.Faults{Blind: true}, 1, 2, 3, 4, 5)
	l.open()
	l.post("?wait=0s", l.operatorLeaves("carol")...)
	l.until("/metrics", `firn_log_witness_requests_total{outcome="claims-larger",witness="w1"} `)
	if got := l.signerSize(); got != old {
		t.Errorf("the record is at %d, want %d: something was signed", got, old)
	}
	if status, _, b := l.get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d %s", status, b)
	}
	l.close()
}

// If nothing is left but the tree there is no checkpoint to show to witnesses. What
// counts then is what they show, and that a submission prefix has nothing at that
// path says nothing.
func TestTreeAloneBeforeBlindWitnesses(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.grow("alice", 3)
	l.close()
	remove(t, l.dir, recordName, filepath.Join(publicName, checkpointName), filepath.Join(treeName, checkpointName))
	l.faults(witnesstest.Faults{Blind: true}, 1, 2, 3, 4, 5)
	l.open()
	if err := l.gate.reason(); err == nil {
		t.Error("signing because five addresses answered 404")
	}
	l.close()
	l.faults(down)
	l.open()
	l.until("/readyz", "ok\n")
	l.grow("bob", 1)
}

// In another place, or without a record, all witnesses have to answer, and until
// then nothing is taken.
func TestMovedLogWaitsForAllWitnesses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(l *witnessed){
		"moved": func(l *witnessed) {
			moved := l.t.TempDir()
			copyDir(l.t, l.dir, moved)
			l.dir = moved
		},
		"no record": func(l *witnessed) { remove(l.t, l.dir, recordName) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newWitnessedLog(t, nil)
			l.grow("alice", 3)
			size := l.settle()
			l.close()
			change(l)
			l.faults(down, 5)
			for range 2 { // a second start is as careful as the first
				l.open()
				l.until("/readyz", "all witnesses have answered; missing are w5")
				if status, _, b := l.postRaw("?wait=0s", l.operatorLeaves("bob")...); status != http.StatusServiceUnavailable || !strings.Contains(b, "not-ready") {
					t.Errorf("status %d %s", status, b)
				}
				if got := l.cosigned().Size; got != size {
					t.Errorf("public at %d, want %d", got, size)
				}
				l.close()
			}
			l.open()
			l.faults(down)
			l.until("/readyz", "ok\n")
			l.grow("bob", 1)
			l.cosigned()
			l.close()
			l.faults(down, 4, 5)
			l.open() // now it lives here: the quorum is enough
			l.until("/readyz", "ok\n")
			l.grow("carol", 1)
		})
	}
}

func TestNoWitnessCheckSignsAtOnce(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.grow("alice", 3)
	l.close()
	remove(t, l.dir, recordName)
	l.faults(down, 1, 2, 3, 4, 5)
	l.o.NoWitnessCheck = true
	l.open()
	status, a := l.post("?wait=0s", l.operatorLeaves("bob")...)
	if status != http.StatusAccepted || a.Results[0].Status != statusAccepted {
		t.Fatalf("status %d %+v", status, a)
	}
	for l.signerSize() < *a.Results[1].Index+1 {
		l.get("/healthz")
	}
	l.cosigned() // still the old one
}

// The same with the program that is made for it: firn-witness cosigns a growing log,
// its restarts and moves, and notices an older copy.
func TestRealWitnessesCosignAndNoticeAnOlderCopy(t *testing.T) {
	t.Parallel()
	l := &witnessed{testLog: &testLog{t: t, dir: t.TempDir()}}
	l.init(func(c *Config) { c.Admission.Mode = "open" })
	vkey := want(VKey(l.dir))(t)
	l.writePolicy(4, 3, func(i int) (string, http.Handler) {
		dir := filepath.Join(t.TempDir(), "witness")
		key := want(witnessserver.Init(dir, witnessserver.InitOptions{
			Name:   "witness.example/w" + string(rune('1'+i)),
			Change: func(c *witnessserver.Config) { c.Logs = []witnessserver.LogConfig{{VKey: vkey}} },
		}))(t)
		config := want(witnessserver.ReadConfig(filepath.Join(dir, witnessserver.ConfigName)))(t)
		w := want(witnessserver.New(t.Context(), witnessserver.Options{Dir: dir, Config: config, Logger: slog.New(slog.DiscardHandler)}))(t)
		t.Cleanup(func() { w.Close() })
		return key, w.Handler()
	})
	l.open()
	t.Cleanup(l.close)
	l.grow("alice", 300)
	if v := l.cosigned(); v.Size < 303 {
		t.Errorf("public at %d", v.Size)
	}
	l.rollBack(func() { l.grow("bob", 5) })
	l.refused("the witness w")
}
