package server

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/server/sample"
	"github.com/firn-log/firn/log/statement"
)

// The client of this project believes everything this log answers, over HTTP
// and from the folder that a static server would serve.
func TestClientBelievesTheLog(t *testing.T) {
	t.Parallel()
	l := newTestLog(t, nil)
	ctx := t.Context()
	pol := want(policy.Parse([]byte("log " + l.VKey() + "\nquorum none\n")))(t)
	c := want(log.NewClient(l.http.URL, pol, log.Options{}))(t)
	o := sample.NewOperator("alice", l.Origin())
	leaves := append(o.Registration(), o.Builds(0, 600)...)
	res, err := c.Submit(ctx, leaves, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Results) != len(leaves) {
		t.Fatalf("%d results", len(res.Results))
	}
	id := want(statement.ParseID(idOf(t, leaves[5])))(t)
	if _, err := c.Proof(ctx, id, leaves[5], 0); err != nil {
		t.Errorf("proof: %v", err)
	}
	b := sample.Build(3)
	answers, err := c.Lookup(ctx, log.Query{Keys: []string{index.Out(b.Outputs[0].Path), index.Operator(o.ID)}})
	if err != nil {
		t.Fatalf("lookup: %v", err)
	}
	if n := len(answers.Of(index.Out(b.Outputs[0].Path))); n != 1 {
		t.Errorf("%d claims about the path, want 1", n)
	}
	for name, url := range map[string]string{"http": l.http.URL, "files": "file://" + filepath.Join(l.dir, publicName)} {
		c := want(log.NewClient(url, pol, log.Options{}))(t)
		cp := want(c.Checkpoint(ctx))(t)
		n := 0
		for e, err := range c.Entries(ctx, cp, 0, cp.Size) {
			if err != nil {
				t.Fatalf("%s: entry %d: %v", name, n, err)
			}
			if st, err := statement.Parse(e.Leaf); err == nil && st.Kind == statement.KindRevision {
				continue
			}
			if n > 0 && !bytes.Equal(e.Leaf, leaves[n-1]) {
				t.Errorf("%s: entry %d is another", name, n)
			}
			n++
		}
		if n != len(leaves)+1 {
			t.Errorf("%s: %d entries, want %d", name, n, len(leaves)+1)
		}
	}
}
