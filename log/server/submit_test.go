package server

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/sample"
)

// checkInclusion verifies one result against the checkpoint that came with it.
func checkInclusion(t *testing.T, l *testLog, a *submitAnswer, i int, leaf []byte) {
	t.Helper()
	verifier, err := note.NewVerifier(l.VKey())
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open([]byte(a.Checkpoint), note.VerifierList(verifier))
	if err != nil {
		t.Fatal(err)
	}
	head, err := policy.ParseCheckpoint(n.Text)
	if err != nil {
		t.Fatal(err)
	}
	var proof []tlog.Hash
	for _, s := range a.Results[i].Inclusion {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		proof = append(proof, tlog.Hash(b))
	}
	index := int64(*a.Results[i].Index)
	if err := tlog.CheckRecord(proof, int64(head.Size), head.Root, index, tlog.RecordHash(leaf)); err != nil {
		t.Errorf("leaf %d at index %d: %v", i, index, err)
	}
}

func TestSubmitAnswersWithProofs(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := sample.NewOperator("alice", l.Origin())
	leaves := slices.Concat(o.Registration(), o.Builds(0, 300))
	a := l.must(leaves...)
	for i, leaf := range leaves {
		checkInclusion(t, l, a, i, leaf)
		if got := a.Results[i].ID; got != idOf(t, leaf) {
			t.Errorf("leaf %d: id %s, want %s", i, got, idOf(t, leaf))
		}
	}
}

func TestDuplicateHasItsExistingIndex(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	b := o.Builds(0, 3)
	first := l.must(b[0])
	status, a := l.post("", b[0], b[1], b[1], b[2])
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	want := []string{statusDuplicate, statusAccepted, statusDuplicate, statusAccepted}
	for i, r := range a.Results {
		if r.Status != want[i] {
			t.Errorf("leaf %d: %s, want %s", i, r.Status, want[i])
		}
	}
	if *a.Results[0].Index != *first.Results[0].Index || *a.Results[1].Index != *a.Results[2].Index {
		t.Errorf("a duplicate has another index than the first: %v", a.Results)
	}
	checkInclusion(t, l, a, 0, b[0])
	if size := l.count(); size != 6 {
		t.Errorf("tree of %d, want 6: genesis, two of alice's, three builds", size)
	}
}

func TestConcurrentDuplicatesBecomeOneEntry(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	leaf := o.Builds(0, 1)[0]
	before := l.settle()
	type result struct{ status, index string }
	results := make(chan result)
	for range 20 {
		go func() {
			_, a := l.post("?wait=0s", leaf)
			results <- result{a.Results[0].Status, fmt.Sprint(*a.Results[0].Index)}
		}()
	}
	accepted := 0
	for range 20 {
		r := <-results
		if r.status == statusAccepted {
			accepted++
		}
		if r.index != fmt.Sprint(before) {
			t.Errorf("%s at %s, want %d", r.status, r.index, before)
		}
	}
	if n := l.count() - l.statements(before); accepted != 1 || n != 1 {
		t.Errorf("%d accepted and %d entries, want one", accepted, n)
	}
}

func TestWithoutWaitTheAcknowledgementComesFirst(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, func(c *Config) { c.CheckpointInterval.Duration = 3e9 })
	o := sample.NewOperator("alice", l.Origin())
	status, a := l.post("?wait=0s", o.Registration()...)
	if status != http.StatusAccepted || a.Checkpoint != "" || a.Results[0].Index == nil || a.Results[0].Inclusion != nil {
		t.Fatalf("status %d, %+v; want 202 with an index and no proof", status, a)
	}
	status, _, body := l.get("/v1/proof?id=" + a.Results[0].ID)
	if status != http.StatusAccepted {
		t.Fatalf("proof: status %d, want 202: %s", status, body)
	}
	status, _, body = l.get("/v1/proof?wait=20s&id=" + a.Results[0].ID)
	if status != http.StatusOK {
		t.Fatalf("proof after waiting: status %d: %s", status, body)
	}
}

func TestOneBadLeafDoesNotTouchTheRest(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o, stranger := l.operator("alice"), sample.NewOperator("stranger", l.Origin())
	good := o.Builds(0, 4)
	forged := slices.Clone(o.Builds(10, 11)[0])
	forged[len(forged)-1] ^= 1
	status, a := l.post("", good[0], []byte("not cbor"), good[1], stranger.Builds(0, 1)[0], good[2], forged, good[3])
	if status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	want := []string{"", "bad-form", "", "unknown-key", "", "bad-signature", ""}
	for i, r := range a.Results {
		if r.Error != want[i] && !(i == 1 && r.Error != "") {
			t.Errorf("leaf %d: error %q, want %q", i, r.Error, want[i])
		}
		if (r.Status == statusRejected) != (want[i] != "") || (r.Index == nil) != (want[i] != "") {
			t.Errorf("leaf %d: %+v", i, r)
		}
	}
}
