package interop

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"

	"github.com/firn-log/firn/log/policy"
)

// A log that is Tessera and nothing of firn shows nothing that firn-witness has
// not cosigned. It begins with the empty tree and grows; both readings of the
// result agree.
func TestFirnWitnessCosignsATesseraLog(t *testing.T) {
	const origin = "tessera.example/log"
	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	w := startWitness(t, "witness.example/tessera", vkey)
	text := "log " + vkey + "\n" + w.policyLine("w1") + "group all-of-them all w1\nquorum all-of-them\n"
	witnesses, err := tessera.NewWitnessGroupFromPolicy([]byte(strings.Replace(text, "log "+vkey+"\n", "", 1)))
	if err != nil {
		t.Fatalf("Tessera refuses the policy: %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dir := t.TempDir()
	driver, err := posix.New(ctx, posix.Config{Path: dir})
	if err != nil {
		t.Fatal(err)
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).WithBatching(64, 10*time.Millisecond).WithCheckpointInterval(100*time.Millisecond).
		WithWitnesses(witnesses, &tessera.WitnessOptions{Timeout: patience}))
	if err != nil {
		t.Fatal(err)
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 10*time.Millisecond)
	for round := range 3 {
		var last tessera.IndexFuture
		for i := range 100 {
			last = appender.Add(ctx, tessera.NewEntry(fmt.Appendf(nil, "round %d, entry %d", round, i)))
		}
		if _, _, err := awaiter.Await(ctx, last); err != nil {
			t.Fatalf("round %d was not published: %v", round, err)
		}
	}
	if err := shutdown(ctx); err != nil {
		t.Fatal(err)
	}

	cp, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	v, err := pol.Verify(cp, time.Now())
	if err != nil {
		t.Fatalf("the checkpoint does not satisfy the policy: %v\n%s", err, cp)
	}
	if v.Size < 201 {
		t.Errorf("size %d, want more than two rounds", v.Size)
	}
	body, _, _ := strings.Cut(string(cp), "\n\n")
	if _, err := cosignature(w.vkey, body+"\n", string(cp)); err != nil {
		t.Error(err)
	}
}
