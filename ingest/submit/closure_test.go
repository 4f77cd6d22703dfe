package submit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/ingest/send"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// manyPaths returns n store paths in order.
func manyPaths(t testing.TB, n int) []nix.StorePath {
	t.Helper()
	paths := make([]nix.StorePath, n)
	for i := range paths {
		p, err := nix.DefaultStoreDir.FromBase(fmt.Sprintf("%032d-part-%06d", i, i))
		if err != nil {
			t.Fatal(err)
		}
		paths[i] = p
	}
	return paths
}

func claimOf(t testing.TB, name string, n int) *Claim {
	t.Helper()
	c, err := ClosureClaim(name, nix.DefaultStoreDir, manyPaths(t, n))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A list goes into the leaf while it fits, beside it while a log keeps it, and nowhere else.
func TestTheListOfAClosureIsInTheLeafOrBesideIt(t *testing.T) {
	signer := logtest.Signer(t, "builder")
	inside, beside := 0, 1
	for n := 1000; beside != inside+1 || n == 1000; { // the last that fits
		if c := claimOf(t, "laptop", n); len(c.Blobs) == 0 {
			inside = n
		} else {
			beside = n
		}
		if n = (inside + beside) / 2; beside <= inside {
			n = 2 * inside
		}
	}
	for n, blobs := range map[int]int{1: 0, inside: 0, beside: 1, 20000: 1} {
		c := claimOf(t, "laptop", n)
		leaf, err := signer.Sign(t.Context(), c.Payload)
		if err != nil {
			t.Fatalf("%d paths: %v", n, err)
		}
		st, err := statement.Parse(leaf)
		if err != nil {
			t.Fatalf("%d paths: %v", n, err)
		}
		b := st.Body.(*statement.Closure)
		if len(c.Blobs) != blobs || b.Count != uint64(n) || (b.Paths == nil) != (blobs == 1) {
			t.Errorf("%d paths: %d blobs, %d stated, %d listed", n, len(c.Blobs), b.Count, len(b.Paths))
		}
		if err := onlyNamed(b, c.Blobs); err != nil {
			t.Errorf("%d paths: %v", n, err)
		}
	}
	if _, err := ClosureClaim("laptop", nix.DefaultStoreDir, manyPaths(t, statement.MaxBlob/44+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a list that no log keeps: %v", err)
	}
	for what, c := range map[string]func() (*Claim, error){
		"no name":  func() (*Claim, error) { return ClosureClaim("", nix.DefaultStoreDir, manyPaths(t, 1)) },
		"no paths": func() (*Claim, error) { return ClosureClaim("laptop", nix.DefaultStoreDir, nil) },
		"no order": func() (*Claim, error) {
			p := manyPaths(t, 2)
			slices.Reverse(p)
			return ClosureClaim("laptop", nix.DefaultStoreDir, p)
		},
		"elsewhere": func() (*Claim, error) { return ClosureClaim("laptop", "/gnu/store", manyPaths(t, 1)) },
	} {
		if got, err := c(); err == nil || got != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Whoever states a closure and dies anywhere, states it again: the log has it once.
func TestAClosureThatWasKilledAnywhereIsStatedOnce(t *testing.T) {
	killed := new(int)
	c := claimOf(t, "laptop", 2000)
	for at := 1; ; at++ {
		w := newWorld(t)
		now := time.Unix(1732540000, 0)
		steps, died := 0, false
		opts := w.options()
		opts.step = func() {
			if steps++; steps == at {
				panic(killed)
			}
		}
		state := func(opts Options) {
			s := w.open(opts)
			defer s.Close()
			defer func() {
				if r := recover(); r == any(killed) {
					died = true
				} else if r != nil {
					panic(r)
				}
			}()
			name, err := putNow(s.spool, c, now)
			if err != nil {
				t.Error(err)
				return
			}
			if out, err := s.SendOne(t.Context(), name, 0); err != nil || out.Why != nil {
				t.Errorf("died at %d: %+v, %v", at, out, err)
			}
		}
		state(opts)
		if names, _ := (spool{dir: w.conf.Spool}).list(unsignedDir); len(names) > 0 {
			if b, err := (spool{dir: w.conf.Spool}).readMost(blobDir, hashOf(c.Blobs[0]).Hex(), statement.MaxBlob); err != nil || !bytes.Equal(b, c.Blobs[0]) {
				t.Errorf("died at %d: the statement waits without its list: %v", at, err)
			}
		}
		opts.step = nil
		for range 2 { // again, later
			now = now.Add(time.Minute)
			state(opts)
		}
		if got := w.loggedAny(); len(got) != 1 || !bytes.Equal(got[0].Payload, c.Payload) {
			t.Errorf("died at %d: the log has %d statements", at, len(got))
		}
		if names, _ := (spool{dir: w.conf.Spool}).list(unsignedDir); len(names) != 0 {
			t.Errorf("died at %d: %q wait", at, names)
		}
		if !died {
			if at < 5 {
				t.Errorf("only %d places to die", at)
			}
			return
		}
	}
}

// What waits is not put again, and what one was told to send is all that is sent.
func TestAClosureThatWaitsIsPutOnce(t *testing.T) {
	w := newWorld(t)
	w.log.Lie(func(l *logtest.Lies) { l.Down = true })
	s := w.open(w.options())
	defer s.Close()
	other, err := PutNow(w.conf.Spool, claimOf(t, "other", 3), time.Unix(5, 0))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range 3 {
		name, err := PutNow(w.conf.Spool, claimOf(t, "laptop", 3), time.Unix(int64(10+i), 0))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
		out, err := s.SendOne(t.Context(), name, 0)
		if err != nil || !errors.Is(out.Why, log.ErrUnreachable) {
			t.Errorf("%+v, %v", out, err)
		}
	}
	if names[0] != names[1] || names[0] != names[2] {
		t.Errorf("put as %q", names)
	}
	w.log.Lie(func(l *logtest.Lies) { l.Down = false })
	if out, err := s.SendOne(t.Context(), names[0], time.Minute); err != nil || out.Why != nil || out.Sent != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	for name, want := range map[string]State{names[0]: Sent, other: Waiting} {
		if b, err := StatusOf(w.conf, name); err != nil || b == nil || b.State != want {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
	}
	if b, err := StatusOf(w.conf, Name(time.Unix(1, 0), [16]byte{9})); b != nil || err != nil {
		t.Errorf("what is not there: %+v, %v", b, err)
	}
	if _, err := StatusOf(w.conf, "../submit/lock"); err == nil {
		t.Error("a name that is none is looked for")
	}
}

// A log that refuses for now is not asked again and again, and one that refuses for good is told of.
func TestAClosureThatTheLogRefuses(t *testing.T) {
	for code, want := range map[string]State{"wrong-role": Waiting, "unknown-key": Waiting, "too-many-claims": Failed} {
		w := newWorld(t)
		asked := 0
		w.log.Lie(func(l *logtest.Lies) {
			l.Edit = func(path string, status int, body []byte) (int, []byte) {
				if path != "v1/statements" {
					return status, body
				}
				asked++
				return 202, fmt.Appendf(nil, `{"schema":1,"results":[{"status":"rejected","error":%q,"message":"No, because."}]}`, code)
			}
		})
		s := w.open(w.options())
		name, err := PutNow(w.conf.Spool, claimOf(t, "laptop", 3), time.Unix(5, 0))
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.SendOne(t.Context(), name, time.Hour)
		var refused *send.RejectedError
		if err != nil || errors.As(out.Why, &refused) != (want == Waiting) || asked != 1 {
			t.Errorf("%s: asked %d times, %+v, %v", code, asked, out, err)
		}
		if b, err := StatusOf(w.conf, name); err != nil || b.State != want || want == Failed && (b.Code != code || !strings.Contains(b.Reason, "because")) {
			t.Errorf("%s: %+v, %v", code, b, err)
		}
		s.Close()
	}
}

// What becomes of a claim that is set aside at this moment is never that the spool does not have it: whoever waits
// for it would take that for sent.
func TestAClaimThatMovesIsNotMissed(t *testing.T) {
	w := newWorld(t)
	name, err := PutNow(w.conf.Spool, claimOf(t, "laptop", 3), time.Unix(5, 0))
	if err != nil {
		t.Fatal(err)
	}
	s := spool{dir: w.conf.Spool}
	for range 100 {
		failed := make(chan error, 1)
		go func() { failed <- s.fail(unsignedDir, name, &Reason{"too-many-claims", "No."}) }()
		for b := (&Build{}); b.State != Failed; {
			if b, err = StatusOf(w.conf, name); err != nil || b == nil {
				t.Fatalf("%+v, %v", b, err)
			}
		}
		if err := errors.Join(<-failed, os.Rename(s.path(failedDir, name), s.path(unsignedDir, name))); err != nil {
			t.Fatal(err)
		}
	}
}

// A closure of a real store: what Nix's database says is stated, with the list in the leaf.
func TestRealClosureReachesTheLog(t *testing.T) {
	m := newMachine(t)
	root := m.run("nix-build pkgs.nix -A app --no-out-link")
	want := strings.Fields(m.run("nix-store -qR " + root))
	slices.Sort(want)
	w := onMachine(t, m)
	src, err := nixdb.Open(m.root+"/nix/var/nix/db/db.sqlite", nix.DefaultStoreDir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	p, err := nix.DefaultStoreDir.Parse(root)
	if err != nil {
		t.Fatal(err)
	}
	infos, err := src.Closure(t.Context(), []nix.StorePath{p})
	if err != nil {
		t.Fatal(err)
	}
	var paths []nix.StorePath
	for _, info := range infos {
		paths = append(paths, info.Path)
	}
	c, err := ClosureClaim("app", nix.DefaultStoreDir, paths)
	if err != nil {
		t.Fatal(err)
	}
	name, err := PutNow(w.conf.Spool, c, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := w.open(w.realOptions())
	defer s.Close()
	if out, err := s.SendOne(t.Context(), name, 0); err != nil || out.Sent != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	w.checkProof(name)
	logged := w.loggedAny()
	var got []string
	for _, p := range logged[0].Body.(*statement.Closure).Paths {
		got = append(got, p.String())
	}
	if len(logged) != 1 || !slices.Equal(got, want) {
		t.Errorf("stated %q, want %q", got, want)
	}
}
