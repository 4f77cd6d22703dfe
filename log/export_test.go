package log

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
)

// WithHeaderBound is a transport as clients use it.
var WithHeaderBound = withHeaderBound

// RawLookup returns the log's answer to a lookup of all bodies, unverified.
func (c *Client) RawLookup(t testing.TB, keys []string) (*Checkpoint, []byte) {
	t.Helper()
	return c.RawAnswer(t, Query{Keys: keys})
}

// RawAnswer returns the log's answer to a query about whole lists, unverified.
func (c *Client) RawAnswer(t testing.TB, q Query) (*Checkpoint, []byte) {
	t.Helper()
	var r lookup.Request
	for _, k := range q.Keys {
		r.Keys = append(r.Keys, lookup.Asked{Key: k})
	}
	if q.Signers != nil {
		hex := []string{}
		for _, s := range q.Signers {
			hex = append(hex, s.String())
		}
		r.Signers = &hex
	}
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := c.src.call(context.Background(), request{method: http.MethodPost, path: "v1/lookup", body: body, limit: lookup.MaxAnswer})
	if err != nil {
		t.Fatal(err)
	}
	cp, err := c.Checkpoint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return cp, b
}

// CheckRawLookup parses and verifies what RawLookup returned.
func (c *Client) CheckRawLookup(cp *Checkpoint, keys []string, b []byte) (*Answers, error) {
	return c.CheckRawAnswer(cp, Query{Keys: keys}, b)
}

// CheckRawAnswer parses and verifies the answer to a query.
func (c *Client) CheckRawAnswer(cp *Checkpoint, q Query, b []byte) (*Answers, error) {
	answer, err := lookup.Parse(b)
	if err != nil {
		return nil, err
	}
	l := newLooking(c, q)
	return l.a, l.take(context.Background(), cp, l.queue, answer)
}

// Shrink makes lookups of at most batch keys.
func (c *Client) Shrink(batch int) { c.batch = batch }

// SetPatience sets how much longer than the log mirrors may take.
func (c *Client) SetPatience(d time.Duration) { c.patience = d }

// Swap is the compare-and-swap of a remembered note.
func (m *Memory) Swap(origin string, old, note []byte) (bool, error) {
	return m.swap(origin, old, note)
}

// AskRaw returns the log's answer to a lookup of all bodies and the tail, unverified.
func (c *Client) AskRaw(t testing.TB, keys ...string) *lookup.Answer {
	t.Helper()
	r := lookup.Request{Tail: true}
	for _, k := range keys {
		r.Keys = append(r.Keys, lookup.Asked{Key: k})
	}
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := c.src.call(context.Background(), request{method: http.MethodPost, path: "v1/lookup", body: body, limit: lookup.MaxAnswer})
	if err != nil {
		t.Fatal(err)
	}
	a, err := lookup.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Take checks an answer to the question for everything under keys, and returns with it
// what is still to be asked for.
func (c *Client) Take(ctx context.Context, keys []string, b []byte) (*Answers, []lookup.Asked, error) {
	answer, err := lookup.Parse(b)
	if err != nil {
		return nil, nil, err
	}
	cp, err := c.Accept(ctx, answer.Note)
	if err != nil {
		return nil, nil, err
	}
	l := newLooking(c, Query{Keys: keys})
	if err := l.take(ctx, cp, l.queue, answer); err != nil {
		return nil, nil, err
	}
	l.trim()
	var rest []lookup.Asked
	for _, q := range l.queue {
		rest = append(rest, q.Asked)
	}
	return l.a, rest, nil
}

// LookupAfter is Lookup by one that has taken in answers of a number of bytes already.
func (c *Client) LookupAfter(ctx context.Context, q Query, bytes int) (*Answers, error) {
	l := newLooking(c, q)
	l.a.bytes = bytes
	return l.run(ctx)
}

// Pruned is a pruned trie of which only the way to one key is left.
func Pruned(n *index.Node, key string) *index.Node {
	kh := index.KeyHash(key)
	d, left, right, ok := n.AsBranch()
	switch {
	case !ok:
		return n
	case index.Bit(kh, int(d)) == 0:
		return index.Branch(d, Pruned(left, key), index.Stub(right.Hash()))
	}
	return index.Branch(d, index.Stub(left.Hash()), Pruned(right, key))
}
