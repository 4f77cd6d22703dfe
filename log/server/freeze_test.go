package server

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// otherLog returns the verifier key of a log that might go on.
func otherLog(t *testing.T) string {
	t.Helper()
	return want(Init(filepath.Join(t.TempDir(), "next"), InitOptions{Name: "next.example"}))(t)
}

// freeze freezes a log that is closed.
func (l *testLog) freeze(o FreezeOptions) error {
	c := want(LoadConfig(l.dir))(l.t)
	if o.Origin == "" {
		o.Origin = c.Origin
	}
	_, err := Freeze(context.Background(), l.dir, o)
	return err
}

// A frozen log has said its last word: whatever is sent is refused with a code and
// the successor, what is there is answered, before and after a restart.
func TestFrozenLogTakesNothingAndAnswersReaders(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	o := l.operator("alice")
	l.must(o.Builds(0, 3)...)
	known := idOf(t, o.Builds(0, 1)[0])
	size := l.settle()
	next := otherLog(t)
	l.close()
	if err := l.freeze(FreezeOptions{Successor: next, Reason: "The disk is too small."}); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"at first", "after a restart"} {
		l.open()
		status, _, body := l.postRaw("", o.Builds(3, 4)...)
		if status != http.StatusGone || !strings.Contains(body, `"frozen"`) || !strings.Contains(body, next) || !strings.Contains(body, "too small") {
			t.Errorf("%s: %d %s", when, status, body)
		}
		if status, _, body := l.get("/readyz"); status != http.StatusOK || !strings.Contains(string(body), next) {
			t.Errorf("%s: ready: %d %s", when, status, body)
		}
		if status, _, body := l.get("/v1/proof?id=" + known); status != http.StatusOK {
			t.Errorf("%s: proof: %d %s", when, status, body)
		}
		var about struct {
			Size   uint64
			Frozen struct {
				Index     uint64
				Successor string
				Reason    string
			}
		}
		if _, _, body := l.get("/v1/log"); json.Unmarshal(body, &about) != nil || about.Size != size+1 || about.Frozen.Index != size || about.Frozen.Successor != next {
			t.Errorf("%s: %+v, want the freeze at %d", when, about, size)
		}
		if st := want(statement.Parse(want(l.tree.Entry(t.Context(), size+1, size))(t)))(t); st.Kind != statement.KindFreeze {
			t.Errorf("%s: the last entry is a %s", when, st.Kind)
		}
		if _, err := os.Stat(l.path(freezeName)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the file is still there: %v", when, err)
		}
		l.close()
	}
	if err := l.freeze(FreezeOptions{}); err == nil || !strings.Contains(err.Error(), "frozen already, since entry") {
		t.Errorf("frozen again: %v", err)
	}
	// A change of the rules is not written any more.
	c := want(LoadConfig(l.dir))(t)
	c.Admission.Mode = statement.ModeOpen
	if err := os.WriteFile(filepath.Join(l.dir, ConfigName), want(c.marshal())(t), 0o644); err != nil {
		t.Fatal(err)
	}
	l.open()
	if got := l.db.State().Size; got != size+1 {
		t.Errorf("size %d after the end, want %d", got, size+1)
	}
}

// Whatever is killed between adding the statement and forgetting the file, it is
// there once.
func TestFreezeIsAddedOnce(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	l.close()
	if err := l.freeze(FreezeOptions{}); err != nil {
		t.Fatal(err)
	}
	leaf := want(os.ReadFile(filepath.Join(l.dir, freezeName)))(t)
	l.open()
	size := l.db.State().Size
	l.close()
	if err := os.WriteFile(filepath.Join(l.dir, freezeName), leaf, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(l.dir, indexName)); err != nil {
		t.Fatal(err)
	}
	l.open()
	if got := l.db.State().Size; got != size {
		t.Errorf("size %d, want %d: the statement was added again", got, size)
	}
	if status, _, body := l.postRaw("", leaf); status != http.StatusGone {
		t.Errorf("%d %s", status, body)
	}
}

// A log that never ran ends with its genesis and this.
func TestNewLogCanBeFrozen(t *testing.T) {
	t.Parallel()
	l := &testLog{t: t, dir: t.TempDir()}
	l.init(nil)
	t.Cleanup(l.close)
	if err := l.freeze(FreezeOptions{}); err != nil {
		t.Fatal(err)
	}
	l.open()
	if got := l.publisher.latest().head.Size; got != 2 {
		t.Errorf("size %d, want genesis and freeze", got)
	}
}

func TestFreezeIsRefused(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	origin, own := l.Origin(), l.VKey()
	var locked *durable.LockedError
	if err := l.freeze(FreezeOptions{}); !errors.As(err, &locked) {
		t.Errorf("while it runs: %v", err)
	}
	l.close()
	k := want(policy.ParseKey(own))(t)
	cosigner := want(policy.NewKey("witness.example/w", policy.TypeCosignature, k.Public))(t)
	renamed := want(policy.NewKey("other.example/01234567", policy.TypeEd25519, k.Public))(t)
	unlike := want(policy.NewKey("no-suffix", policy.TypeEd25519, want(policy.ParseKey(otherLog(t)))(t).Public))(t)
	same := want(policy.NewKey(origin, policy.TypeEd25519, unlike.Public))(t)
	for name, c := range map[string]struct {
		o    FreezeOptions
		want string
	}{
		"another origin":      {FreezeOptions{Origin: "other.example/01234567"}, "not \"other.example/01234567\""},
		"no verifier key":     {FreezeOptions{Successor: "next.example/01234567"}, "not a verifier key"},
		"a witness":           {FreezeOptions{Successor: cosigner.String()}, "not the key of a log"},
		"the same key":        {FreezeOptions{Successor: renamed.String()}, "own key"},
		"an origin of others": {FreezeOptions{Successor: unlike.String()}, "successor"},
		"itself":              {FreezeOptions{Successor: same.String()}, "succeeds itself"},
		"a reason too long":   {FreezeOptions{Reason: strings.Repeat("r", 257)}, "reason"},
	} {
		if err := l.freeze(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if _, err := os.Stat(filepath.Join(l.dir, freezeName)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a file was written: %v", name, err)
		}
	}
	if err := l.freeze(FreezeOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := l.freeze(FreezeOptions{}); err == nil || !strings.Contains(err.Error(), "frozen already") {
		t.Errorf("twice: %v", err)
	}
}

// A file that is no freeze statement of this log's key ends the start: it is neither
// passed over nor added.
func TestWrongFreezeFileEndsTheStart(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	config := l.config
	key := l.key
	l.close()
	sign := func(s statement.Signer, b statement.Body) []byte {
		return want(statement.Sign(t.Context(), s, b, "", nil))(t).Leaf()
	}
	stranger := want(statement.NewEd25519Signer(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))))(t)
	for name, leaf := range map[string][]byte{
		"garbage":        []byte("freeze"),
		"another key":    sign(stranger, &statement.Freeze{Origin: config.Origin}),
		"another origin": sign(key.statement, &statement.Freeze{Origin: "other.example/01234567"}),
		"another kind":   sign(key.statement, &statement.LogConfig{Origin: config.Origin, Rules: want(config.Rules())(t)}),
	} {
		if err := os.WriteFile(filepath.Join(l.dir, freezeName), leaf, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := l.tryOpen(); err == nil || !strings.Contains(err.Error(), "reading the freeze statement") {
			t.Errorf("%s: %v", name, err)
		}
		if err := Check(Options{Dir: l.dir}); err == nil {
			t.Errorf("%s: --check finds nothing", name)
		}
	}
	// Taking it back before the start is removing the file.
	if err := os.Remove(filepath.Join(l.dir, freezeName)); err != nil {
		t.Fatal(err)
	}
	l.open()
	l.operator("alice")
}

// With witnesses a frozen log is ready only when its last checkpoint has its quorum.
func TestFrozenLogHasItsLastCheckpointCosigned(t *testing.T) {
	t.Parallel()
	l := newWitnessedLog(t, nil)
	l.operator("alice")
	size := l.settle()
	l.close()
	if err := l.freeze(FreezeOptions{}); err != nil {
		t.Fatal(err)
	}
	l.open()
	cp := want(l.publisher.wait(t.Context(), size+1))(t)
	if _, err := l.witnesses.Policy().Verify(cp.note, cp.at); err != nil || cp.head.Size != size+1 {
		t.Errorf("size %d, %v", cp.head.Size, err)
	}
	if status, _, body := l.get("/readyz"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}

// A client of the running log finds the end in the tree.
func TestClientFindsTheFreeze(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	l.operator("alice")
	pol := want(policy.Parse([]byte("log " + l.VKey() + "\nquorum none\n")))(t)
	read := func() *statement.Freeze {
		c := want(log.NewClient(l.http.URL, pol, log.Options{}))(t)
		return want(c.Freeze(t.Context(), want(c.Checkpoint(t.Context()))(t)))(t)
	}
	if f := read(); f != nil {
		t.Errorf("not frozen, and %s", f.Words())
	}
	l.close()
	if err := l.freeze(FreezeOptions{Reason: "done"}); err != nil {
		t.Fatal(err)
	}
	l.open()
	if f := read(); f == nil || f.Reason != "done" {
		t.Errorf("frozen, and %+v", f)
	}
}
