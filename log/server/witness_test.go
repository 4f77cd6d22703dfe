package server

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/witnessing/witnesstest"
)

// witnessed is a log under a quorum of 3 of 4 witnesses; a fifth is outside it.
type witnessed struct {
	*testLog
	w   []*witnesstest.Witness
	pol *policy.Policy
}

// newWitnessedLog makes one and opens it, with the witnesses up.
func newWitnessedLog(t *testing.T, change func(*Config)) *witnessed {
	t.Helper()
	l := &witnessed{testLog: &testLog{t: t, dir: t.TempDir()}}
	l.init(func(c *Config) {
		c.Admission.Mode = "open"
		if change != nil {
			change(c)
		}
	})
	l.addWitnesses(5, 3)
	l.open()
	t.Cleanup(l.close)
	return l
}

// addWitnesses writes the policy of a closed log and turns witnessing on.
func (l *witnessed) addWitnesses(n, k int) {
	l.t.Helper()
	vkey := want(VKey(l.dir))(l.t)
	l.writePolicy(n, k, func(i int) (string, http.Handler) {
		w := witnesstest.New(fmt.Sprintf("witness.example/w%d", i+1))
		w.Know(vkey)
		l.w = append(l.w, w)
		return w.VKey(), w
	})
}

// writePolicy writes a policy of n witnesses, of which k of the first four make up
// the quorum.
func (l *witnessed) writePolicy(n, k int, witness func(i int) (vkey string, h http.Handler)) {
	l.t.Helper()
	var text, names strings.Builder
	fmt.Fprintf(&text, "log %s\n", want(VKey(l.dir))(l.t))
	for i := range n {
		vkey, h := witness(i)
		srv := httptest.NewServer(h)
		l.t.Cleanup(srv.Close)
		fmt.Fprintf(&text, "witness w%d %s %s\n", i+1, vkey, srv.URL)
		if i < 4 {
			fmt.Fprintf(&names, " w%d", i+1)
		}
	}
	fmt.Fprintf(&text, "group g %d%s\nquorum g\n", k, names.String())
	l.pol = want(policy.Parse([]byte(text.String())))(l.t)
	if err := os.WriteFile(filepath.Join(l.dir, "witness.policy"), []byte(text.String()), 0o644); err != nil {
		l.t.Fatal(err)
	}
	c := want(LoadConfig(l.dir))(l.t)
	c.Witnessing.Policy = "witness.policy"
	c.Witnessing.Interval.Duration = minInterval
	c.Witnessing.Timeout.Duration = 2 * time.Second
	l.o.Config = c
}

// faults makes the witnesses named by number misbehave, and the others not.
func (l *witnessed) faults(f witnesstest.Faults, numbers ...int) {
	for _, w := range l.w {
		w.SetFaults(witnesstest.Faults{})
	}
	for _, n := range numbers {
		l.w[n-1].SetFaults(f)
	}
}

// cosigned returns the public checkpoint, which must satisfy the policy.
func (l *witnessed) cosigned() *policy.Verified {
	l.t.Helper()
	status, _, b := l.get("/checkpoint")
	if status != http.StatusOK {
		l.t.Fatalf("checkpoint: %d %s", status, b)
	}
	v, err := l.pol.Verify(b, time.Now())
	if err != nil {
		l.t.Fatalf("public without a quorum: %v\n%s", err, b)
	}
	onDisk := want(os.ReadFile(filepath.Join(l.dir, publicName, checkpointName)))(l.t)
	if _, err := l.pol.Verify(onDisk, time.Now()); err != nil {
		l.t.Fatalf("public/checkpoint has no quorum: %v", err)
	}
	return v
}

// until asks path until its answer contains say.
func (l *witnessed) until(path, say string) {
	l.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, _, b := l.get(path)
		if strings.Contains(string(b), say) {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: %s; want %q", path, b, say)
		}
		<-time.After(10 * time.Millisecond)
	}
}

var down = witnesstest.Faults{Down: true}

func TestAnswersWaitForTheQuorum(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	o := l.operator("alice")
	a := l.must(o.Builds(0, 5)...)
	v, err := l.pol.Verify([]byte(a.Checkpoint), time.Now())
	if err != nil || v.Size < 8 {
		t.Fatalf("answered with %s: %v", a.Checkpoint, err)
	}
	_, _, proof := l.get("/v1/proof?wait=5s&id=" + a.Results[0].ID)
	_, note, _ := strings.Cut(string(proof), "\n\n")
	if _, err := l.pol.Verify([]byte(note), time.Now()); err != nil {
		t.Errorf("proof with %s: %v", note, err)
	}
	l.cosigned()
	for i, w := range l.w {
		for _, note := range w.Seen() {
			if strings.Contains(string(note), "\n0\n") {
				t.Errorf("w%d was shown an empty tree", i+1)
			}
		}
	}
}

// Without a quorum what was cosigned last stays up, statements are taken and are
// durable, and nobody is told of a checkpoint that is not cosigned.
func TestWithoutQuorumTheLastCosignedCheckpointStays(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	o := l.operator("alice")
	before := l.settle()
	l.faults(down, 1, 2) // w5 answers, and is outside the quorum
	b := o.Builds(0, 5)
	status, a := l.post("?wait=1s", b...)
	if status != http.StatusAccepted || a.Checkpoint != "" || *a.Results[4].Index != before+4 {
		t.Fatalf("status %d, %+v; want 202 and an index", status, a)
	}
	if status, _, body := l.get("/v1/proof?wait=0s&id=" + a.Results[0].ID); status != http.StatusAccepted {
		t.Errorf("proof: %d %s", status, body)
	}
	if got := l.cosigned().Size; got != before {
		t.Errorf("public at %d, want %d", got, before)
	}
	// A restart changes nothing of it.
	l.close()
	l.open()
	if got := l.cosigned().Size; got != before {
		t.Errorf("after a restart public at %d, want %d", got, before)
	}
	l.until("/readyz", "witnesses that make up the quorum have answered since start; missing are w1, w2")
	_, a = l.post("?wait=0s", append(b, o.Builds(5, 6)...)...)
	if a.Results[4].Status != statusDuplicate || a.Results[5].Status != statusAccepted {
		t.Errorf("after a restart: %+v", a.Results)
	}
	l.faults(down)
	l.until("/readyz", "ok\n")
	if cp := want(l.publisher.wait(t.Context(), before+6))(t); cp.head.Size < before+6 {
		t.Errorf("public at %d", cp.head.Size)
	}
	l.cosigned()
}

func TestReadyzAndMetricsNameTheMissingWitness(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	o := l.operator("alice")
	l.faults(witnesstest.Faults{Claim: 1 << 40}, 4)
	l.must(o.Builds(0, 1)...)
	l.until("/readyz", "ok\nwitnesses missing: w4 (claims-larger: ")
	l.until("/metrics", `firn_log_witness_missing{witness="w4"} 1`)
	l.until("/metrics", `firn_log_witness_missing{witness="w1"} 0`)
	l.until("/metrics", `firn_log_witness_requests_total{outcome="claims-larger",witness="w4"} `)
	l.until("/metrics", "firn_log_signing 1\n")
	l.cosigned()
}

// What witnesses say without a signature, or sign wrongly, stops nothing.
func TestLyingWitnessesStopNothing(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]witnesstest.Faults{
		"larger size":     {Claim: 1 << 40},
		"garbage":         {Body: "?", Monitoring: func([]byte) []byte { return []byte("?") }},
		"wrong signature": {WrongKey: true},
		"other text":      {OtherText: true},
		"hangs":           {Hang: make(chan struct{})},
		"unsigned larger checkpoint": {Claim: 99, Monitoring: func(note []byte) []byte {
			return []byte(strings.Replace(string(note), "\n3\n", "\n99\n", 1))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newWitnessedLog(t, nil)
			o := l.operator("alice")
			l.faults(f, 3)
			l.must(o.Builds(0, 1)...)
			l.close()
			l.open()
			l.must(o.Builds(1, 2)...)
			l.cosigned()
			l.until("/metrics", fmt.Sprintf(`firn_log_witness_requests_total{outcome="%s",witness="w3"} `, map[string]string{
				"larger size": "claims-larger", "garbage": "garbage", "wrong signature": "wrong-signature",
				"other text": "wrong-signature", "hangs": "timeout", "unsigned larger checkpoint": "claims-larger",
			}[name]))
		})
	}
}

// A log that got witnesses later shows what it had until they have cosigned.
func TestWitnessesMayBeAddedLater(t *testing.T) {
	t.Parallel()
	l := &witnessed{testLog: newTestLog(t, nil)}
	id := idOf(t, l.operator("alice").Registration()[0])
	size := l.settle()
	l.close()
	l.addWitnesses(5, 3)
	l.faults(down, 1, 2)
	l.open()
	if cp := l.publisher.latest(); cp.head.Size != size || cp.cosigned {
		t.Errorf("public: %+v", cp)
	}
	if status, _, b := l.get("/v1/proof?id=" + id); status != http.StatusAccepted {
		t.Errorf("proof by a checkpoint that nobody has cosigned: %d %s", status, b)
	}
	l.faults(down)
	l.until("/readyz", "ok\n")
	if got := l.cosigned().Size; got != size {
		t.Errorf("public at %d, want %d", got, size)
	}
}

func TestNewLogWaitsForWitnessesAndShowsThemGenesisFirst(t *testing.T) {
	t.Parallel()
	l := &witnessed{testLog: &testLog{t: t, dir: t.TempDir()}}
	l.init(nil)
	l.addWitnesses(5, 3)
	l.faults(down, 1, 2)
	l.open()
	t.Cleanup(l.close)
	if status, _, b := l.get("/checkpoint"); status != http.StatusNotFound {
		t.Errorf("status %d %s", status, b)
	}
	l.until("/readyz", "missing are w1, w2")
	l.faults(down)
	l.until("/readyz", "ok\n")
	l.cosigned()
	for _, w := range l.w {
		if seen := w.Seen(); len(seen) > 0 && !strings.Contains(string(seen[0]), "\n1\n") {
			t.Errorf("the first that a witness saw is %s", seen[0])
		}
	}
}

func TestBudgetCoversWhatTheSettingsNeed(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	c.Witnessing.Policy = "witness.policy"
	for _, d := range []time.Duration{minInterval, time.Second, time.Hour} {
		c.Witnessing.Interval.Duration = d
		need := uint64(24*time.Hour/max(d, c.CheckpointInterval.Duration)) + 24*60
		if got := c.queriesPerDay(); got < need || got > 4*need {
			t.Errorf("interval %v: %d requests a day, and %d are needed", d, got, need)
		}
	}
}

func TestPolicyMustHaveThisLogsLine(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.close()
	other := &testLog{t: t, dir: t.TempDir()}
	other.init(nil)
	path := filepath.Join(l.dir, "witness.policy")
	good := string(want(os.ReadFile(path))(t))
	vkey, foreign := want(VKey(l.dir))(t), want(VKey(other.dir))(t)
	for name, text := range map[string]string{
		"another log's": strings.Replace(good, vkey, foreign, 1),
		"two logs":      "log " + foreign + "\n" + good,
		"none":          strings.Replace(good, "log ", "# ", 1),
		"no quorum":     strings.Replace(good, "quorum g", "", 1),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := Check(Options{Dir: l.dir, Config: l.o.Config}); err == nil || !strings.Contains(err.Error(), "witness.policy") {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
	remove(t, l.dir, "witness.policy")
	if err := Check(Options{Dir: l.dir, Config: l.o.Config}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
