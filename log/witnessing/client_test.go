package witnessing

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/witnessing/witnesstest"
)

const testOrigin = "log.example/0123abcd"

// testLog is a growing tree and the key that signs it.
type testLog struct {
	mu     sync.Mutex // guards hashes and size
	hashes []tlog.Hash
	size   uint64
	priv   ed25519.PrivateKey
	key    policy.Key
}

func newTestLog(t testing.TB) *testLog {
	t.Helper()
	seed := sha256.Sum256([]byte("the log"))
	l := &testLog{priv: ed25519.NewKeyFromSeed(seed[:])}
	var err error
	if l.key, err = policy.NewKey(testOrigin, policy.TypeEd25519, l.priv.Public().(ed25519.PublicKey)); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *testLog) reader() tlog.HashReaderFunc {
	return func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = l.hashes[x]
		}
		return out, nil
	}
}

// grow adds n leaves that follow from name and returns the checkpoint.
func (l *testLog) grow(t testing.TB, n int, name string) Checkpoint {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		hashes, err := tlog.StoredHashes(int64(l.size), []byte(name), l.reader())
		if err != nil {
			t.Fatal(err)
		}
		l.hashes = append(l.hashes, hashes...)
		l.size++
	}
	root, err := tlog.TreeHash(int64(l.size), l.reader())
	if err != nil {
		t.Fatal(err)
	}
	return l.sign(t, policy.Head{Origin: testOrigin, Size: l.size, Root: root})
}

func (l *testLog) sign(t testing.TB, head policy.Head) Checkpoint {
	t.Helper()
	text := head.Text()
	n := policy.Note{Text: text, Signatures: []policy.Signature{{Name: l.key.Name, ID: l.key.ID, Sig: ed25519.Sign(l.priv, []byte(text))}}}
	return Checkpoint{Head: head, Note: n.Marshal()}
}

func (l *testLog) prove(_ context.Context, old, size uint64) ([]tlog.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return tlog.ProveTree(int64(size), int64(old), l.reader())
}

// newTestClient returns a client of w that needs no network.
func newTestClient(t testing.TB, l *testLog, w *witnesstest.Witness, o Options) *Client {
	t.Helper()
	w.Know(l.key.String())
	o.Transport = w
	c, err := NewClient("http://witness.example/w", []policy.Witness{{Name: "w1", Key: w.Key()}}, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustAdd(t testing.TB, c *Client, cp Checkpoint, l *testLog) []Cosignature {
	t.Helper()
	cosigs, err := c.Add(t.Context(), cp, l.prove)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range cosigs {
		if _, ok := c.witnesses[0].Key.VerifyCosignature(cp.Head.Text(), s.Line.Sig); !ok {
			t.Fatal("a cosignature that does not verify was returned")
		}
	}
	return cosigs
}

func TestWitnessCosignsAGrowingLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w := newTestLog(t), witnesstest.New("witness.example/w1")
		c := newTestClient(t, l, w, Options{})
		for i := range 70 {
			mustAdd(t, c, l.grow(t, i+1, "x"), l)
		}
		if got := w.Requests(); got != 70 {
			t.Errorf("%d requests for 70 checkpoints: the size was not remembered", got)
		}
		// The same one again, for a fresh time.
		time.Sleep(time.Minute)
		cosigs := mustAdd(t, c, l.grow(t, 0, ""), l)
		if !cosigs[0].Time.Equal(time.Now().Truncate(time.Second)) {
			t.Errorf("cosigned at %v, want %v", cosigs[0].Time, time.Now())
		}
	})
}

// 409 says only from where to prove.
func TestConflictIsAnsweredWithAnotherProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w := newTestLog(t), witnesstest.New("witness.example/w1")
		mustAdd(t, newTestClient(t, l, w, Options{}), l.grow(t, 9, "x"), l)
		fresh := newTestClient(t, l, w, Options{})
		mustAdd(t, fresh, l.grow(t, 30, "x"), l)
		if got := w.Requests(); got != 3 {
			t.Errorf("%d requests, want 3: one, and two by the client that did not know", got)
		}
		// One that believes too much is corrected too.
		fresh.Knows(testOrigin, 20)
		mustAdd(t, fresh, l.grow(t, 1, "x"), l)
	})
}

func TestMisbehavingWitnessIsContainedAndNamed(t *testing.T) {
	long := strings.Repeat("x", maxAnswer+1)
	tests := map[string]struct {
		faults witnesstest.Faults
		want   Outcome
	}{
		"down":                       {witnesstest.Faults{Down: true}, Unreachable},
		"hangs":                      {witnesstest.Faults{}, TimedOut},
		"wrong signature":            {witnesstest.Faults{WrongKey: true}, WrongSignature},
		"signs something else":       {witnesstest.Faults{OtherText: true}, WrongSignature},
		"time 0":                     {witnesstest.Faults{ClockOff: -time.Duration(946684800) * time.Second}, WrongSignature},
		"larger size, unsigned":      {witnesstest.Faults{Claim: 1 << 40}, ClaimsLarger},
		"the size that was sent":     {witnesstest.Faults{Status: 409, Type: sizeType, Body: "0\n"}, Conflict},
		"409 without a type":         {witnesstest.Faults{Status: 409, Body: "3\n"}, Garbage},
		"409 with a leading zero":    {witnesstest.Faults{Status: 409, Type: sizeType, Body: "03\n"}, Garbage},
		"409 without a newline":      {witnesstest.Faults{Status: 409, Type: sizeType, Body: "3"}, Garbage},
		"409 that overflows":         {witnesstest.Faults{Status: 409, Type: sizeType, Body: "18446744073709551616\n"}, Garbage},
		"garbage":                    {witnesstest.Faults{Body: "<html>"}, Garbage},
		"empty":                      {witnesstest.Faults{Body: "\n"}, Garbage},
		"another note smuggled in":   {witnesstest.Faults{Body: "evil\n1\nAAAA\n\n— x AAAAAAAA\n"}, Garbage},
		"cut off":                    {witnesstest.Faults{Body: "— witness.example/w1 AAAAAAAAAAAA"}, Garbage},
		"only lines of unknown keys": {witnesstest.Faults{Body: "— somebody.example AAAAAAAAAAAA\n"}, NoCosignature},
		"too long":                   {witnesstest.Faults{Body: long}, Garbage},
		"not found":                  {witnesstest.Faults{Status: 404}, Refused},
		"forbidden":                  {witnesstest.Faults{Status: 403}, Refused},
		"redirect":                   {witnesstest.Faults{Status: 307}, Refused},
		"internal error":             {witnesstest.Faults{Status: 500, Body: "\x1b[31m"}, Refused},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, w := newTestLog(t), witnesstest.New("witness.example/w1")
				c := newTestClient(t, l, w, Options{})
				if tt.want == TimedOut {
					tt.faults.Hang = make(chan struct{})
				}
				w.SetFaults(tt.faults)
				cp := l.grow(t, 5, "x")
				cosigs, err := c.Add(t.Context(), cp, l.prove)
				var e *Error
				if !errors.As(err, &e) || e.Outcome != tt.want || len(cosigs) > 0 {
					t.Fatalf("%v and %d cosignatures, want the outcome %s", err, len(cosigs), tt.want)
				}
				if !strings.Contains(err.Error(), "http://witness.example/w/") || strings.Contains(err.Error(), "\x1b") {
					t.Errorf("%q does not name the witness, or repeats its bytes", err)
				}
				// Nothing of it is remembered once it behaves.
				w.SetFaults(witnesstest.Faults{})
				mustAdd(t, c, cp, l)
			})
		})
	}
}

// A lying size costs one request, however often it is repeated, and the next
// honest answer is believed.
func TestUnsignedSizesCostAtMostThreeRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w := newTestLog(t), witnesstest.New("witness.example/w1")
		c := newTestClient(t, l, w, Options{})
		cp := l.grow(t, 50, "x")
		var n atomic.Uint64
		w.SetFaults(witnesstest.Faults{Before: func(*http.Request) { w.SetFaults(witnesstest.Faults{Claim: 1 + n.Add(1)%40}) }, Claim: 7})
		if _, err := c.Add(t.Context(), cp, l.prove); err == nil {
			t.Fatal("no error")
		}
		if w.Requests() > attempts {
			t.Errorf("%d requests", w.Requests())
		}
	})
}

func TestSizeZeroIsNeverSubmitted(t *testing.T) {
	l, w := newTestLog(t), witnesstest.New("witness.example/w1")
	c := newTestClient(t, l, w, Options{})
	cp := l.sign(t, policy.Head{Origin: testOrigin, Root: sha256.Sum256(nil)})
	if _, err := c.Add(t.Context(), cp, l.prove); err == nil || w.Requests() > 0 {
		t.Errorf("error %v, %d requests", err, w.Requests())
	}
	if _, err := NewCheckpoint(cp.Note); err == nil {
		t.Error("NewCheckpoint took a checkpoint of size 0")
	}
}

// Pauses double, have jitter and a bound, and end with success.
func TestPauseAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w := newTestLog(t), witnesstest.New("witness.example/w1")
		c := newTestClient(t, l, w, Options{BackoffMin: time.Second, BackoffMax: 16 * time.Second})
		w.SetFaults(witnesstest.Faults{Status: 503})
		cp := l.grow(t, 5, "x")
		bound := time.Second
		for i := range 9 {
			if _, err := c.Add(t.Context(), cp, l.prove); err == nil {
				t.Fatal("no error")
			}
			begin := time.Now()
			if err := c.Wait(t.Context(), testOrigin); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(begin); d < bound/2 || d > bound {
				t.Errorf("failure %d: a pause of %v, want %v to %v", i, d, bound/2, bound)
			}
			bound = min(2*bound, 16*time.Second)
		}
		w.SetFaults(witnesstest.Faults{})
		mustAdd(t, c, cp, l)
		begin := time.Now()
		mustAdd(t, c, cp, l)
		if time.Since(begin) > 0 {
			t.Error("a pause after success")
		}
	})
}

// What a witness says of one log does not hold back another.
func TestRefusalOfOneLogIsNoPauseForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w := newTestLog(t), witnesstest.New("witness.example/w1")
		c := newTestClient(t, l, w, Options{})
		cp := l.grow(t, 5, "x")
		other := l.sign(t, policy.Head{Origin: "other.example/0123abcd", Size: 3})
		if _, err := c.Add(t.Context(), other, l.prove); OutcomeOf(err) != Refused {
			t.Fatalf("%v, want refused", err)
		}
		begin := time.Now()
		mustAdd(t, c, cp, l)
		if time.Since(begin) > 0 {
			t.Error("waited")
		}
	})
}

func TestRetryAfterIsHeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b backoff
		o := withDefaults(Options{})
		now := time.Now()
		b.fail(now, o, time.Minute)
		if got := b.until.Sub(now); got != time.Minute {
			t.Errorf("waits %v, want the minute that was asked for", got)
		}
		b.fail(now, o, 1000*time.Hour)
		if got := b.until.Sub(now); got > DefaultBackoffMax {
			t.Errorf("waits %v", got)
		}
	})
}

func TestBudgetOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w := newTestLog(t), witnesstest.New("witness.example/w1")
		c := newTestClient(t, l, w, Options{QueriesPerDay: 2400})
		begin := time.Now()
		for range 100 { // an hour's worth at once
			mustAdd(t, c, l.grow(t, 1, "x"), l)
		}
		if d := time.Since(begin); d > 0 {
			t.Errorf("waited %v for what the budget covers", d)
		}
		for time.Since(begin) < 24*time.Hour {
			mustAdd(t, c, l.grow(t, 1, "x"), l)
		}
		if n := w.Requests(); n < 2300 || n > 2502 {
			t.Errorf("%d requests in a day, want about 2400 and an hour's worth", n)
		}
	})
}

func TestOneRequestAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w := newTestLog(t), witnesstest.New("witness.example/w1")
		c := newTestClient(t, l, w, Options{})
		var now, most atomic.Int64
		w.SetFaults(witnesstest.Faults{Before: func(*http.Request) {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second)
			now.Add(-1)
		}})
		cp := l.grow(t, 5, "x")
		done := make(chan error, 8)
		for range 8 {
			go func() {
				_, err := c.Add(t.Context(), cp, l.prove)
				done <- err
			}()
		}
		for range 8 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if most.Load() != 1 {
			t.Errorf("%d requests at once", most.Load())
		}
	})
}

func TestLatestShowsWhatWasCosigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w := newTestLog(t), witnesstest.New("witness.example/w1")
		c := newTestClient(t, l, w, Options{})
		if _, err := c.Latest(t.Context(), testOrigin); !errors.Is(err, ErrNothing) {
			t.Fatalf("%v, want ErrNothing", err)
		}
		cp := l.grow(t, 5, "x")
		mustAdd(t, c, cp, l)
		note, err := c.Latest(t.Context(), testOrigin)
		if err != nil || !strings.HasPrefix(string(note), cp.Head.Text()+"\n") {
			t.Errorf("%s, %v", note, err)
		}
	})
}

func TestCancelledRequestSaysNothingAboutTheWitness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w := newTestLog(t), witnesstest.New("witness.example/w1")
		c := newTestClient(t, l, w, Options{})
		w.SetFaults(witnesstest.Faults{Hang: make(chan struct{})})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Add(ctx, l.grow(t, 5, "x"), l.prove); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v", err)
		}
		if !c.down.until.IsZero() {
			t.Error("a pause for what the witness did not do")
		}
	})
}

func FuzzAnswer(f *testing.F) {
	l, w := newTestLog(f), witnesstest.New("witness.example/w1")
	c := newTestClient(f, l, w, Options{})
	cp := l.grow(f, 5, "x")
	body, err := requestBody(f.Context(), 0, cp, l.prove)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("— witness.example/w1 AAAAAAAAAAAA\n"), "text/x.tlog.size")
	f.Add([]byte("17\n"), "text/x.tlog.size; x=y")
	f.Add(body, "")
	f.Fuzz(func(t *testing.T, b []byte, contentType string) {
		if cosigs, err := c.read(cp, b); err == nil {
			for _, s := range cosigs {
				if _, ok := w.Key().VerifyCosignature(cp.Head.Text(), s.Line.Sig); !ok {
					t.Errorf("took %q", b)
				}
			}
		}
		if n, err := claimedSize(contentType, b); err == nil && string(b) != strconv.FormatUint(n, 10)+"\n" {
			t.Errorf("%q became %d", b, n)
		}
	})
}
