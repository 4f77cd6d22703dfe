package log_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server"
	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/statement"
)

// The client against the real log, so that both read one specification.
func TestClientAgainstTheRealLog(t *testing.T) {
	dir := t.TempDir()
	vkey, err := server.Init(dir, server.InitOptions{Name: "log.example", Mode: statement.ModeOpen, Change: func(c *server.Config) {
		c.CheckpointInterval.Duration = 100 * time.Millisecond
	}})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(t.Context(), server.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close(context.WithoutCancel(t.Context()))
	web := httptest.NewServer(srv.Handler())
	defer web.Close()
	pol, err := policy.Parse([]byte("log " + vkey + "\nquorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := log.NewClient(web.URL, pol, log.Options{Memory: log.NewMemory(t.TempDir())})
	if err != nil {
		t.Fatal(err)
	}

	op := sample.NewOperator("op", c.Origin())
	a, leaves := op.Build, op.Registration()
	first := len(leaves) // of the closures
	var keys []string
	for i := range 40 {
		leaves = append(leaves, logtest.Leaf(t, a, logtest.Closure(fmt.Sprint("c", i))))
		keys = append(keys, logtest.ClosureKey(fmt.Sprint("c", i)))
	}
	res, err := c.Submit(t.Context(), append(leaves, []byte("junk")), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range res.Results[:len(leaves)] {
		if r.Status != log.Accepted || r.Proof == nil {
			t.Fatalf("leaf %d: %+v", i, r)
		}
		if _, err := r.Proof.Verify(pol, leaves[i], time.Now()); err != nil {
			t.Errorf("leaf %d: %v", i, err)
		}
	}
	if r := res.Results[len(leaves)]; r.Status != log.Rejected || r.Code == "" || r.Message == "" {
		t.Errorf("junk: %+v", r)
	}
	again, err := c.Submit(t.Context(), leaves[3:4], 10*time.Second)
	if err != nil || again.Results[0].Status != log.Duplicate || again.Results[0].Index != res.Results[3].Index || again.Results[0].Proof == nil {
		t.Errorf("again: %+v, %v", again, err)
	}

	answers, err := c.Lookup(t.Context(), log.Query{Keys: append(keys, index.Key(a.PublicKey().ID()), "out:/nix/store/none")})
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range keys {
		if list := answers.Of(k); len(list) != 1 || list[0].Leaf == nil || list[0].Index != res.Results[i+first].Index {
			t.Errorf("%s: %+v", k, list)
		}
	}
	if n := len(answers.Of(index.Key(a.PublicKey().ID()))); n != 41 { // the closures and the key-add
		t.Errorf("%d entries of the signer, want 41", n)
	}
	for answers.Heads[keys[18]].Count == 0 && t.Context().Err() == nil { // it was read in the tail
		if answers, err = c.Lookup(t.Context(), log.Query{Keys: keys}); err != nil {
			t.Fatal(err)
		}
	}
	answers, err = c.Lookup(t.Context(), log.Query{Keys: keys, Signers: []statement.KeyID{}, Known: map[string]log.Known{keys[18]: answers.Heads[keys[18]]}})
	if err != nil || len(answers.Of(keys[18])) != 0 || len(answers.Of(keys[19])) != 1 || answers.Of(keys[19])[0].Leaf != nil {
		t.Errorf("what is new, without bodies: %v", err)
	}

	p, err := c.Proof(t.Context(), res.Results[7].ID, nil, 0)
	if err != nil || p.Index != res.Results[7].Index {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := c.Proof(t.Context(), statement.ID{1}, nil, 0); !errors.Is(err, log.ErrNotFound) {
		t.Errorf("unknown id: %v", err)
	}
	cp, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	audit, err := c.Audit(t.Context(), cp, nil)
	if err != nil || len(audit.Faults) != 0 || len(audit.Unknown) != 0 || audit.Verified != cp.Size {
		t.Errorf("%+v, %v", audit, err)
	}
	for _, url := range []string{web.URL, "file://" + filepath.Join(dir, "public")} {
		c, err := log.NewClient(url, pol, log.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if res, err := c.Fsck(t.Context(), nil); err != nil || len(res.Faults) != 0 || res.Entries != cp.Size {
			t.Errorf("%s: %+v, %v", url, res, err)
		}
	}
	if stray, err := log.StrayFiles(filepath.Join(dir, "public")); err != nil || len(stray) != 0 {
		t.Errorf("%v, %v", stray, err)
	}
}
