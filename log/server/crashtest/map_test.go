package crashtest

import (
	"io"
	"net/http"
	"testing"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// client returns a client that believes the log in dir alone.
func (p *process) client(t *testing.T, dir string) *log.Client {
	t.Helper()
	vkey, err := command(t, "vkey", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	pol, err := policy.Parse([]byte("log " + string(vkey) + "quorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := log.NewClient(p.url, pol, log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checkFound looks acknowledged leaves up: each has to be under each of its keys, in
// answers that are proven to be whole.
func checkFound(t *testing.T, p *process, dir string, acks []ack) {
	t.Helper()
	if len(acks) == 0 {
		return
	}
	last, keys := acks[0], []string(nil)
	for _, a := range acks {
		if a.index > last.index {
			last = a
		}
		keys = append(keys, index.Keys(a.leaf)...)
	}
	st, err := statement.Parse(last.leaf)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(p.url + "/v1/proof?wait=30s&id=" + st.ID().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	a, err := p.client(t, dir).Lookup(t.Context(), log.Query{Keys: keys, Signers: []statement.KeyID{}})
	if err != nil {
		t.Fatalf("looking up %d keys: %v: %s", len(keys), err, p.output())
	}
	if a.Incomplete != "" || a.Read <= last.index {
		t.Fatalf("read to %d of %d: %s", a.Read, last.index, a.Incomplete)
	}
	for _, ack := range acks {
		for _, key := range index.Keys(ack.leaf) {
			found := false
			for _, f := range a.Of(key) {
				found = found || f.Index == ack.index
			}
			if !found {
				t.Fatalf("the entry %d is not found under %s", ack.index, key)
			}
		}
	}
}

// checkRevisions computes every revision again from the entries of the log, and returns
// how many there are.
func checkRevisions(t *testing.T, p *process, dir string) (n int) {
	t.Helper()
	c := p.client(t, dir)
	cp, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var m index.Memory
	roots := []index.Hash{index.EmptyRoot}
	var last uint64
	for e, err := range c.Entries(t.Context(), cp, 0, cp.Size) {
		if err != nil {
			t.Fatal(err)
		}
		if st, err := statement.Parse(e.Leaf); err == nil && st.Kind == statement.KindRevision {
			r := st.Body.(*statement.Revision)
			if r.Size > e.Index || r.Size <= last || roots[r.Size] != r.Root {
				t.Errorf("entry %d: a revision of size %d after one of %d; its root is right: %v", e.Index, r.Size, last, roots[r.Size] == r.Root)
			}
			last = r.Size
			n++
		}
		m.Add(e.Index, e.Leaf)
		roots = append(roots, m.Root())
	}
	if n == 0 {
		t.Error("there is no revision")
	}
	return n
}

// idle waits until the log has nothing to add by itself: from the size of the newest
// revision on there are revisions alone, and they are public.
func (p *process) idle(t *testing.T, dir string) {
	t.Helper()
	c := p.client(t, dir)
	for range 10_000 {
		cp, err := c.Checkpoint(t.Context())
		if err != nil {
			t.Fatalf("%v: %s", err, p.output())
		}
		var stated, news uint64
		for e, err := range c.Entries(t.Context(), cp, 0, cp.Size) {
			if err != nil {
				t.Fatal(err)
			}
			if st, err := statement.Parse(e.Leaf); err == nil && st.Kind == statement.KindRevision {
				stated = st.Body.(*statement.Revision).Size
			} else {
				news = e.Index + 1
			}
		}
		if stated >= news {
			return
		}
	}
	t.Fatalf("the log goes on adding: %s", p.output())
}
