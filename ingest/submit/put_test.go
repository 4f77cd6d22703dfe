package submit

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// difference is a claim of another kind than build, whose report is a blob.
func difference(t testing.TB, n byte, report []byte) []byte {
	t.Helper()
	drv, hash := pathOf(t, "a.drv"), hashOf(report)
	d := &statement.Diff{
		StoreDir: nix.DefaultStoreDir, Drv: &drv, Output: "out", Path: pathOf(t, "a"), A: nix.Hash{1}, B: nix.Hash{2, n},
		Files: []statement.DiffFile{{Name: []byte("bin/a"), What: "content"}}, Total: 1, Tool: "firn-1",
	}
	if report != nil {
		d.Report = &hash
	}
	payload, err := statement.EncodePayload(d, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func nameOf(n byte) string { return Name(time.Unix(1732540000, 0), [16]byte{n}) }

// logged returns the statements in the log, of any kind.
func (w *world) loggedAny() []*statement.Statement {
	w.t.Helper()
	c := w.log.Client("")
	cp, err := c.Checkpoint(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var all []*statement.Statement
	if cp.Size == 0 {
		return nil
	}
	for e, err := range c.Entries(w.t.Context(), cp, 0, cp.Size) {
		if err != nil {
			w.t.Fatal(err)
		}
		st, err := statement.Parse(e.Leaf)
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, st)
	}
	return all
}

// Whoever puts a claim and dies anywhere, puts it again when it is back: it is
// sent once, wherever the submitter had got to.
func TestPutKilledAnywhereIsSentExactlyOnce(t *testing.T) {
	killed := new(int)
	for at := 1; ; at++ {
		w := newWorld(t)
		w.once(w.options())
		payload, steps, died := difference(t, 0, []byte("report")), 0, false
		s := spool{dir: w.conf.Spool, step: func() {
			if steps++; steps == at {
				panic(killed)
			}
		}}
		func() {
			defer func() {
				if r := recover(); r != nil {
					if r != any(killed) {
						panic(r)
					}
					died = true
				}
			}()
			if err := s.put(nameOf(1), payload, [][]byte{[]byte("report")}); err != nil {
				t.Error(err)
			}
		}()
		w.once(w.options()) // a submitter that runs before the putter is back
		for range 2 {
			if err := Put(w.conf.Spool, nameOf(1), payload, []byte("report")); err != nil {
				t.Errorf("died at %d: again: %v", at, err)
			}
			w.once(w.options())
			if err := Put(w.conf.Spool, nameOf(1), payload); err != nil || s.exists(unsignedDir, nameOf(1)) {
				t.Errorf("died at %d: after it was sent it is put again: %v", at, err)
			}
		}
		if got := w.loggedAny(); len(got) != 1 || !bytes.Equal(got[0].Payload, payload) {
			t.Errorf("died at %d: the log has %d statements", at, len(got))
		}
		if state, why := w.where(nameOf(1)); state != Sent {
			t.Errorf("died at %d: %s, %s", at, state, why)
		}
		w.checkProof(nameOf(1))
		if !died {
			if at < 3 {
				t.Errorf("only %d places to die", at)
			}
			return
		}
	}
}

// A submitter that dies in any place while it sends claims that were put.
func TestCrashWhileSendingWhatWasPut(t *testing.T) {
	crash := new(int)
	for at := 1; ; at++ {
		w := newWorld(t)
		for n := range byte(3) {
			if err := Put(w.conf.Spool, nameOf(n), difference(t, n, nil)); err != nil {
				t.Fatal(err)
			}
		}
		opts, steps := w.options(), 0
		opts.step = func() {
			if steps++; steps == at {
				panic(crash)
			}
		}
		died := w.runAndDie(t, opts, crash)
		opts.step = nil
		w.once(opts)
		if n := len(w.loggedAny()); n != 3 {
			t.Errorf("died at %d: %d statements in the log", at, n)
		}
		for n := range byte(3) {
			if state, why := w.where(nameOf(n)); state != Sent {
				t.Errorf("died at %d: %s, %s", at, state, why)
			}
			w.checkProof(nameOf(n))
		}
		if !died {
			return
		}
	}
}

func TestPutRefusesWhatNobodyShouldSend(t *testing.T) {
	dir := t.TempDir()
	good := difference(t, 0, []byte("report"))
	people, err := statement.EncodePayload(&statement.Operator{Name: "a", Contact: "a@example.org", HomeLog: "log.example/3f9a01bc", Identity: logtest.Signer(t, "a").PublicKey()}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		name    string
		payload []byte
		blob    []byte
		say     string
	}{
		"a name that leads elsewhere": {"../x", good, nil, "its name is not"},
		"a name without a time":       {"0-" + strings.Repeat("0", 32), good, nil, "its name is not"},
		"no statement":                {nameOf(1), []byte("junk"), nil, ""},
		"a statement about people":    {nameOf(1), people, nil, "of the kind operator, which no build key signs"},
		"a blob not named by it":      {nameOf(1), good, []byte("another"), "is not one that the statement names"},
	} {
		var blobs [][]byte
		if c.blob != nil {
			blobs = append(blobs, c.blob)
		}
		if err := Put(dir, c.name, c.payload, blobs...); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := Put(dir, nameOf(1), good); err != nil {
		t.Fatal(err)
	}
	if err := Put(dir, nameOf(1), difference(t, 1, nil)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("another statement under the same name: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "unsigned", nameOf(1))); err != nil || !bytes.Equal(got, good) {
		t.Errorf("the first one is gone: %v", err)
	}
}

// Submitters start and putters put at the same time, and nothing is lost.
func TestPutBesideSubmittersThatStart(t *testing.T) {
	w := newWorld(t)
	w.once(w.options())
	const n = 40
	var wg sync.WaitGroup
	for i := range byte(n) {
		wg.Go(func() {
			for range 2 { // the same claim, by two
				wg.Go(func() {
					if err := Put(w.conf.Spool, nameOf(i), difference(t, i, []byte{i}), []byte{i}); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
	for range 10 {
		s := w.open(w.options())
		s.Close()
	}
	wg.Wait()
	w.once(w.options())
	if got := len(w.loggedAny()); got != n {
		t.Errorf("the log has %d of %d", got, n)
	}
}

// A claim that the log will never take is set aside with its kind and its reason.
func TestAClaimOfAnyKindCanFail(t *testing.T) {
	w := newWorld(t)
	if err := Put(w.conf.Spool, nameOf(1), difference(t, 0, nil)); err != nil {
		t.Fatal(err)
	}
	w.log.Lie(func(l *logtest.Lies) {
		l.Edit = func(path string, status int, body []byte) (int, []byte) {
			if path != "v1/statements" {
				return status, body
			}
			return 202, []byte(`{"schema":1,"results":[{"status":"rejected","error":"too-many-claims","message":"No."}]}`)
		}
	})
	if out := w.once(w.options()); out.Rejected != 1 {
		t.Errorf("%+v", out)
	}
	st, err := ReadStatus(w.conf)
	if err != nil || len(st.Builds) != 1 {
		t.Fatalf("%+v, %v", st, err)
	}
	if b := st.Builds[0]; b.State != Failed || b.Code != "too-many-claims" || b.Kind != "diff" || b.What() != "diff a.drv" {
		t.Errorf("%+v: %s", b, b.What())
	}
}

// A blob that no statement in the spool names is removed, once it is old enough
// not to be one whose statement is on its way.
func TestBlobsWithoutAStatementAreRemoved(t *testing.T) {
	w := newWorld(t)
	s := spool{dir: w.conf.Spool}
	if err := s.put(nameOf(1), difference(t, 0, []byte("named")), [][]byte{[]byte("named")}); err != nil {
		t.Fatal(err)
	}
	if err := s.writeBlob([]byte("orphan")); err != nil {
		t.Fatal(err)
	}
	there := func(b string) bool { return s.exists(blobDir, hashOf([]byte(b)).Hex()) }
	now := time.Now()
	if err := s.sweepBlobs(now); err != nil || !there("orphan") {
		t.Errorf("a young one: %v", err)
	}
	if err := s.sweepBlobs(now.Add(2 * orphanAge)); err != nil || there("orphan") || !there("named") {
		t.Errorf("orphan %v, named %v, %v", there("orphan"), there("named"), err)
	}
	w.once(w.options())
	if err := s.sweepBlobs(now.Add(2 * orphanAge)); err != nil || there("named") {
		t.Errorf("after it was sent: %v", err)
	}
}

// blobLog is a log that keeps what comes with blobs, or refuses it.
type blobLog struct {
	sender
	got    [][]byte
	refuse error
}

func (b *blobLog) SubmitWithBlobs(ctx context.Context, leaf []byte, blobs [][]byte, wait time.Duration) (*log.SubmitResult, error) {
	if b.refuse != nil {
		return nil, b.refuse
	}
	b.got = append(b.got, blobs...)
	return b.Submit(ctx, [][]byte{leaf}, wait)
}

func TestBlobsGoWithTheStatementThatNamesThem(t *testing.T) {
	for what, c := range map[string]struct {
		refuse    error
		damage    bool
		sent, got int
	}{
		"a log that takes them": {sent: 3, got: 1},
		"a log that does not":   {refuse: &log.RequestError{Status: 404}, sent: 3},
		"a log that is down":    {refuse: &log.RequestError{Status: 503}, sent: 2},
		"a damaged file":        {damage: true, sent: 3},
	} {
		w := newWorld(t)
		for n, report := range [][]byte{nil, []byte("report"), nil} {
			var blobs [][]byte
			if report != nil {
				blobs = append(blobs, report)
			}
			if err := Put(w.conf.Spool, nameOf(byte(n)), difference(t, byte(n), report), blobs...); err != nil {
				t.Fatal(err)
			}
		}
		if c.damage {
			w.write("spool/blobs/"+hashOf([]byte("report")).Hex(), "rewritten")
		}
		opts := w.options()
		b := &blobLog{sender: newLogSender(w.conf, opts.Signer), refuse: c.refuse}
		opts.client = b
		out := w.once(opts)
		if out.Sent != c.sent || out.Waiting != 3-c.sent || len(w.loggedAny()) != c.sent {
			t.Errorf("%s: %+v", what, out)
		}
		if len(b.got) != c.got || c.got > 0 && string(b.got[0]) != "report" {
			t.Errorf("%s: the log got %q", what, b.got)
		}
	}
}
