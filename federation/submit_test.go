package federation_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/federation"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// carried is a new Ed25519 signer whose statements carry its key.
func carried(t testing.TB) statement.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "submit.key")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := statement.OpenSigner(t.Context(), path, statement.SignerOptions{CarryKey: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// submits makes what submits the evidence of a peer.
func (p *peer) submits(signer statement.Signer) *federation.Submitter {
	p.t.Helper()
	s, err := federation.NewSubmitter(federation.SubmitterOptions{Hub: p.Hub, Signer: signer, Path: filepath.Join(p.dir, "submitted.json")})
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// convict returns evidence that a log signed two roots at one size, and how long its lines are
// beyond that.
func convict(t testing.TB, l *logtest.Log, extension string) []byte {
	t.Helper()
	key, err := policy.ParseKey(l.VKey())
	if err != nil {
		t.Fatal(err)
	}
	var notes [][]byte
	for i := range byte(2) {
		h := policy.Head{Origin: l.Origin(), Size: 7, Root: [32]byte{i}}
		if extension != "" {
			h.Extensions = []string{extension}
		}
		notes = append(notes, l.Sign(h))
	}
	e, err := evidence.New(evidence.KindLog, key, notes[0], notes[1], tlog.Hash{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e.Marshal()
}

func (p *peer) holding(b []byte) *peer {
	p.t.Helper()
	if added, err := p.AddEvidence(b, "test"); err != nil || !added {
		p.t.Fatal(added, err)
	}
	return p
}

// notebook is what a peer says.
type notebook struct {
	mu sync.Mutex
	b  strings.Builder
}

func (n *notebook) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(b)
}

func (n *notebook) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.String()
}

// heard restarts a peer and returns what it says from then on.
func (p *peer) heard() *notebook {
	p.t.Helper()
	n := new(notebook)
	p.o.Logger = slog.New(slog.NewTextHandler(n, nil))
	p.restart()
	return n
}

// eventually waits for what happens by itself.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	late := time.After(time.Minute)
	for !ok() {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-late:
			t.Fatal("not after a minute: " + what)
		}
	}
}

// requests counts what a log is asked.
func requests(l *logtest.Log) *atomic.Int64 {
	n := new(atomic.Int64)
	l.Lie(func(lies *logtest.Lies) {
		lies.Edit = func(_ string, status int, body []byte) (int, []byte) {
			n.Add(1)
			return status, body
		}
	})
	return n
}

func newPair(t testing.TB) (bad, good *logtest.Log) {
	return logtest.New(t, logtest.Origin("bad.example/00000001")), logtest.New(t)
}

func TestEvidenceIsSubmittedToEveryOtherLog(t *testing.T) {
	bad, good := newPair(t)
	p := multi(t, bad, good)
	e := convict(t, bad, "")
	p.holding(e)
	s := p.submits(carried(t))
	for _, l := range []*logtest.Log{bad, good} {
		s.Submit(t.Context(), l.Origin())
	}
	if bad.Size() != 0 {
		t.Errorf("the convicted log was sent %d entries", bad.Size())
	}
	answers, err := good.Client("").Lookup(t.Context(), log.Query{Keys: []string{"digest:sha256:" + hashOf(t, p)}})
	if err != nil {
		t.Fatal(err)
	}
	found := answers.Of(answers.Keys[0])
	if len(found) != 1 || string(found[0].Leaf.Statement.Body.(*statement.Evidence).Bytes) != string(e) || found[0].Leaf.Statement.SignerKey == nil {
		t.Fatalf("found %+v", found)
	}
	if got := p.counted("firn_peer_submissions_total", `"accepted"`); got != 1 {
		t.Errorf("metrics: %v", got)
	}
	st, err := s.Status()
	if err != nil || len(st) != 2 || st[0].Done+st[0].Waiting != 0 || st[1].Done != 1 {
		t.Errorf("%+v %v", st, err)
	}
	// It is remembered, over a restart too.
	asked := requests(good)
	s.Submit(t.Context(), good.Origin())
	p.restart()
	p.submits(carried(t)).Submit(t.Context(), good.Origin())
	if n := asked.Load(); n != 0 {
		t.Errorf("asked %d times more", n)
	}
	// What somebody else brought is there already.
	other := multi(t, bad, good).holding(e)
	other.submits(carried(t)).Submit(t.Context(), good.Origin())
	if got := other.counted("firn_peer_submissions_total", `"present"`); got != 1 || entries(t, good, e) != 1 {
		t.Errorf("present %v times, %d entries", got, entries(t, good, e))
	}
}

// entries returns how many entries of a log hold this evidence.
func entries(t testing.TB, l *logtest.Log, e []byte) int {
	t.Helper()
	key := fmt.Sprintf("digest:sha256:%x", sha256.Sum256(e))
	answers, err := l.Client("").Lookup(t.Context(), log.Query{Keys: []string{key}})
	if err != nil {
		t.Fatal(err)
	}
	return len(answers.Of(key))
}

func hashOf(t testing.TB, p *peer) string {
	t.Helper()
	all, err := p.Evidence()
	if err != nil || len(all) != 1 {
		t.Fatal(len(all), err)
	}
	return all[0].Hash
}

// A log that is down, does not prove, or refuses is asked again, later and later.
func TestEvidenceIsSentAgain(t *testing.T) {
	reject := func(path string, status int, body []byte) (int, []byte) {
		if path == "v1/statements" {
			return 200, []byte(`{"schema":1,"results":[{"status":"rejected","error":"budget-unvouched","message":"later"}]}`)
		}
		if path == "v1/lookup" { // the other end of this test did take it
			return 404, []byte("{}")
		}
		return status, body
	}
	for name, lie := range map[string]logtest.Lies{
		"failed":   {Down: true},
		"unproven": {Late: true},
		"refused":  {Edit: reject},
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := newPair(t)
			p := multi(t, bad, good)
			now := time.Now()
			p.o.Now = func() time.Time { return now }
			p.restart()
			p.holding(convict(t, bad, ""))
			s := p.submits(carried(t))
			good.Lie(func(lies *logtest.Lies) { *lies = lie })
			var last time.Duration
			for range 5 {
				wait := s.Submit(t.Context(), good.Origin())
				if wait <= last*6/5 {
					t.Errorf("waits %v after %v", wait, last)
				}
				last = wait
				n := p.counted("firn_peer_submissions_total", `"`+name+`"`)
				s.Submit(t.Context(), good.Origin()) // too early
				if again := p.counted("firn_peer_submissions_total"); again != n {
					t.Error("it is sent again at once")
				}
				now = now.Add(wait)
			}
			if st, err := s.Status(); err != nil || st[1].Waiting != 1 || st[1].Error == "" {
				t.Errorf("%+v %v", st, err)
			}
			good.Lie(func(lies *logtest.Lies) { *lies = logtest.Lies{} })
			s.Submit(t.Context(), good.Origin())
			if st, err := s.Status(); err != nil || st[1].Done != 1 || st[1].Error != "" {
				t.Errorf("%+v %v", st, err)
			}
		})
	}
}

// That a log has it is its word until it is proven.
func TestALogThatOnlySaysThatItHasEvidence(t *testing.T) {
	bad, good := newPair(t)
	p := multi(t, bad, good).holding(convict(t, bad, ""))
	s := p.submits(carried(t))
	good.Lie(func(lies *logtest.Lies) { lies.WrongInclusion = true })
	s.Submit(t.Context(), good.Origin())
	if st, err := s.Status(); err != nil || st[1].Done != 0 {
		t.Errorf("%+v %v", st, err)
	}
	if b, err := os.ReadFile(filepath.Join(p.dir, "submitted.json")); err == nil {
		t.Errorf("remembered: %s", b)
	}
}

func TestOversizedEvidenceStaysAFile(t *testing.T) {
	bad, good := newPair(t)
	p := multi(t, bad, good)
	words := p.heard()
	p.holding(convict(t, bad, strings.Repeat("x", 20<<10)))
	s := p.submits(carried(t))
	asked := requests(good)
	s.Submit(t.Context(), good.Origin())
	s.Submit(t.Context(), good.Origin())
	if n := strings.Count(words.String(), "stays a file"); n != 1 || asked.Load() != 0 {
		t.Errorf("said %d times, asked %d times", n, asked.Load())
	}
	if st, err := s.Status(); err != nil || st[1].Large != 1 {
		t.Errorf("%+v %v", st, err)
	}
}

func TestALogWithoutAURLIsSkipped(t *testing.T) {
	bad, good := newPair(t)
	p := multi(t, bad, good)
	p.o.Logs[1].URL = ""
	words := p.heard()
	p.holding(convict(t, bad, ""))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	s := p.submits(carried(t))
	go func() { defer close(done); s.Run(ctx) }()
	eventually(t, "it is said", func() bool { return strings.Contains(words.String(), "no URL says where it is") })
	stop()
	<-done
	if good.Size() != 0 {
		t.Error("it was sent")
	}
}

// New evidence is sent by itself while Run runs.
func TestNewEvidenceIsSubmittedByItself(t *testing.T) {
	bad, good := newPair(t)
	p := multi(t, bad, good)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	s := p.submits(carried(t))
	go func() { defer close(done); s.Run(ctx) }()
	e := convict(t, bad, "")
	p.holding(e)
	eventually(t, "the log has it", func() bool { return entries(t, good, e) == 1 })
	stop()
	<-done
}
