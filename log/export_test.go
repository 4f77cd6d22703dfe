package log

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/firn-log/firn/log/lookup"
)

// RawLookup returns the log's answer to a lookup of all bodies, unverified.
func (c *Client) RawLookup(t testing.TB, keys []string) (*Checkpoint, []byte) {
	t.Helper()
	var r lookup.Request
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
	cp, err := c.Checkpoint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return cp, b
}

// CheckRawLookup parses and verifies what RawLookup returned.
func (c *Client) CheckRawLookup(cp *Checkpoint, keys []string, b []byte) (*Answers, error) {
	answer, err := lookup.Parse(b)
	if err != nil {
		return nil, err
	}
	l := newLooking(c, Query{Keys: keys})
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
