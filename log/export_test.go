package log

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

// RawLookup returns the log's answer to a lookup of all bodies, unverified.
func (c *Client) RawLookup(t testing.TB, keys []string) (*Checkpoint, []byte) {
	t.Helper()
	cp, err := c.Checkpoint(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(lookupRequest{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := c.src.call(context.Background(), request{method: http.MethodPost, path: "v1/lookup", body: body, limit: maxLookupAnswer})
	if err != nil {
		t.Fatal(err)
	}
	return cp, b
}

// CheckRawLookup parses and verifies what RawLookup returned.
func (c *Client) CheckRawLookup(cp *Checkpoint, keys []string, b []byte) (map[string][]Found, error) {
	answer, err := c.parseLookup(b)
	if err != nil {
		return nil, err
	}
	a := &Answers{lists: make(map[string][]Found)}
	return a.lists, c.checkLookup(a, cp, &lookupRequest{Keys: keys}, answer)
}

// Shrink makes lookups of at most batch keys with answers of at most limit bytes.
func (c *Client) Shrink(batch int, limit int64) { c.batch, c.limit = batch, limit }

// SetPatience sets how much longer than the log mirrors may take.
func (c *Client) SetPatience(d time.Duration) { c.patience = d }

// Swap is the compare-and-swap of a remembered note.
func (m *Memory) Swap(origin string, old, note []byte) (bool, error) {
	return m.swap(origin, old, note)
}
