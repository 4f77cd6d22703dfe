package submit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/durable"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

func TestUnprovenStatementsStayUntilTheyAreProven(t *testing.T) {
	for name, c := range map[string]struct {
		lie  func(*logtest.Lies)
		want string
	}{
		"log is down":            {func(l *logtest.Lies) { l.Down = true }, "503"},
		"no checkpoint yet":      {func(l *logtest.Lies) { l.Late = true }, "not proven it yet"},
		"inclusion proof is bad": {func(l *logtest.Lies) { l.WrongInclusion = true }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			drv, _ := w.drv("a", "out")
			other, _ := w.drv("b", "out")
			w.public(drv, other)
			w.log.Add(logtest.Leaf(t, logtest.Signer(t, "x"), logtest.Closure("x")))
			w.log.Publish()
			build := w.spooled(drv)
			w.log.Lie(c.lie)
			out := w.once(w.options())
			if out.Sent != 0 || out.Waiting != 1 || out.Why == nil || !strings.Contains(out.Why.Error(), c.want) {
				t.Fatalf("%+v", out)
			}
			if state, why := w.where(build); state != Waiting || !strings.Contains(why, c.want) {
				t.Errorf("status: %s, %q", state, why)
			}
			if _, err := os.Stat(filepath.Join(w.conf.Spool, "pending", build)); err == nil {
				t.Error("it was not resolved though the store is here")
			}
			first, err := os.ReadFile(filepath.Join(w.conf.Spool, "signed", build))
			if err != nil {
				t.Fatal(err)
			}
			w.log.Lie(func(l *logtest.Lies) { *l = logtest.Lies{} })
			if out := w.once(w.options()); out.Sent != 1 || out.Waiting != 0 || w.log.Size() != 2 {
				t.Errorf("afterwards: %+v, log has %d", out, w.log.Size())
			}
			w.checkProof(build)
			sent, err := os.ReadFile(filepath.Join(w.conf.Spool, "sent", build))
			if err != nil || string(sent) != string(first) || w.signer.calls != 1 {
				t.Errorf("sent again with other bytes, %d signatures, %v", w.signer.calls, err)
			}
		})
	}
}

func TestRejections(t *testing.T) {
	w := newWorld(t)
	for code, want := range map[string]State{
		"too-many-claims": Failed, "path-does-not-follow": Failed, "unlisted": Failed,
		"wrong-role": Waiting, "revoked-key": Waiting,
		"budget-unvouched": Waiting, "unknown-key": Waiting, "internal-error": Waiting,
	} {
		drv, _ := w.drv("rejected-"+code, "out")
		w.public(drv)
		build := w.spooled(drv)
		w.log.Lie(func(l *logtest.Lies) {
			l.Edit = func(path string, status int, body []byte) (int, []byte) {
				if path != "v1/statements" {
					return status, body
				}
				return 202, fmt.Appendf(nil, `{"schema":1,"results":[{"status":"rejected","error":%q,"message":"No, because."}]}`, code)
			}
		})
		out := w.once(w.options())
		state, why := w.where(build)
		if state != want || state == Failed && why != code || state == Waiting && !strings.Contains(why, code) {
			t.Errorf("%s: %+v; it is %s: %s", code, out, state, why)
		}
		w.spooledAway(build)
	}
}

// spooledAway forgets a build, so that the next one is alone.
func (w *world) spooledAway(name string) {
	os.Remove(filepath.Join(w.conf.Spool, "unsigned", name))
}

func TestMoreThanOneRequest(t *testing.T) {
	w := newWorld(t)
	drv, _ := w.drv("a", "out")
	w.public(drv)
	for range 8 {
		w.spooled(drv)
	}
	requests := 0
	w.log.Lie(func(l *logtest.Lies) {
		l.Edit = func(path string, status int, body []byte) (int, []byte) {
			if path == "v1/statements" {
				requests++
			}
			return status, body
		}
	})
	opts := w.options()
	opts.most = 3
	if out := w.once(opts); out.Sent != 8 || out.Waiting != 0 || w.log.Size() != 8 || requests != 3 {
		t.Errorf("%+v, log has %d, %d requests", out, w.log.Size(), requests)
	}
}

// A batch of nothing but files that are no statements does not stop the rest.
func TestDamagedStatementsAreSetAside(t *testing.T) {
	w := newWorld(t)
	drv, _ := w.drv("a", "out")
	w.public(drv)
	w.log.Lie(func(l *logtest.Lies) { l.Down = true })
	names := []string{w.spooled(drv), w.spooled(drv), w.spooled(drv)}
	opts := w.options()
	opts.most = 2
	w.once(opts)
	for _, name := range names[:2] {
		w.write("spool/unsigned/"+name, "junk")
	}
	w.log.Lie(func(l *logtest.Lies) { l.Down = false })
	if out := w.once(opts); out.Sent != 1 || out.Waiting != 0 {
		t.Errorf("%+v", out)
	}
	if state, code := w.where(names[0]); state != Failed || code != CodeBadRecord {
		t.Errorf("%s %s", state, code)
	}
}

func TestWithoutAKeyBuildsAreResolvedAndWait(t *testing.T) {
	w := newWorld(t)
	drv, _ := w.drv("a", "out")
	w.public(drv)
	name := w.spooled(drv)
	opts := w.options()
	opts.Signer = func(context.Context, string) (statement.Signer, error) { return nil, errors.New("no such key file") }
	out := w.once(opts)
	var wrong *send.ConfigError
	if out.Waiting != 1 || !errors.As(out.Why, &wrong) {
		t.Errorf("%+v", out)
	}
	if state, why := w.where(name); state != Waiting || !strings.Contains(why, "no such key file") {
		t.Errorf("%s: %s", state, why)
	}
}

// Another key is another signer: the statement is signed anew, and only then.
func TestAnotherKeySignsAnew(t *testing.T) {
	w := newWorld(t)
	drv, _ := w.drv("a", "out")
	w.public(drv)
	name := w.spooled(drv)
	w.log.Lie(func(l *logtest.Lies) { l.Down = true })
	w.once(w.options())
	w.log.Lie(func(l *logtest.Lies) { l.Down = false })
	w.signer = &countingSigner{Signer: logtest.Signer(t, "another builder")}
	if out := w.once(w.options()); out.Sent != 1 || w.signer.calls != 1 {
		t.Errorf("%+v, signed %d times", out, w.signer.calls)
	}
	w.checkProof(name)
	w.logged() // verifies with the new key
}

func TestOneSubmitterAtATime(t *testing.T) {
	w := newWorld(t)
	s := w.open(w.options())
	defer s.Close()
	var locked *durable.LockedError
	if _, err := Open(w.conf, w.options()); !errors.As(err, &locked) {
		t.Errorf("a second submitter: %v", err)
	}
}

// A log with two histories is left alone, with the evidence on disk.
func TestTwoHistoriesStopTheSubmitter(t *testing.T) {
	w := newWorld(t)
	drv, _ := w.drv("a", "out")
	w.public(drv)
	w.spooled(drv)
	if out := w.once(w.options()); out.Sent != 1 {
		t.Fatalf("%+v", out)
	}
	other := logtest.New(t) // of the same origin and key
	other.Add(logtest.Leaf(t, logtest.Signer(t, "x"), logtest.Closure("x")))
	other.Publish()
	w.conf.Log = other.URL()
	hooked := filepath.Join(t.TempDir(), "hooked")
	w.conf.Evidence.Command = []string{"tee", hooked}
	name := w.spooled(drv)
	s := w.open(w.options())
	err := s.Loop(t.Context())
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	fork := send.ForkOf(err)
	if fork == nil {
		t.Fatalf("got %v, want a ForkError", err)
	}
	if b, err := os.ReadFile(fork.Path); err != nil || len(b) == 0 {
		t.Errorf("evidence: %d bytes, %v", len(b), err)
	} else if got, err := os.ReadFile(hooked); err != nil || !bytes.Equal(got, b) {
		t.Errorf("the hook got %q, %v", got, err)
	}
	if state, why := w.where(name); state != Waiting || !strings.Contains(why, "two histories") {
		t.Errorf("%s: %s", state, why)
	}
}
