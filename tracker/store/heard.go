package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/firn-log/firn/log/statement"
)

// maxSaid is how many different things an operator may claim about one output. Who claims more contradicts itself,
// from the beginning, whatever it is that it claims (spec/tracker.md#states).
const maxSaid = 16

// heard is a row of the table claim: of the claims in which an operator says one thing about an output the first
// by time. The others are in the table further. Of an operator that says too much maxSaid+1 things have rows, no matter which.
type heard struct {
	claim
	k      int64 // its number among those of the operator about the output
	stored bool
	moved  bool // it is stored, but not with this statement
}

// same reports whether two claims of one operator say the same thing.
func (c *claim) same(d *claim) bool {
	return c.class == d.class && c.nar == d.nar && c.rest == d.rest && c.impl == d.impl && c.path == d.path
}

// what is a digest of what a claim says.
func (c *claim) what() []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d %x %x %q %q", c.class, c.nar[:], c.rest[:], c.impl, c.path)
	return h.Sum(nil)[:16]
}

// furtherRow is the key of a claim in the table further. Of claims that do not count there is nothing to find out but what they are.
func (c *claim) furtherRow(out int64) []any {
	if c.op == 0 {
		return []any{out, c.op, []byte{}, int64(0), c.stmt, c.n}
	}
	return []any{out, c.op, c.what(), c.time, c.stmt, c.n}
}

// hear takes over what changes about the claims that count of an output, and returns what is heard then.
// What it reads is bounded, however much was said before.
func (f *flushing) hear(ctx context.Context, out int64, has []*heard, ch *outChange) ([]*heard, error) {
	by := make(map[int64][]*heard)
	for _, h := range has {
		by[h.op] = append(by[h.op], h)
	}
	for i := range ch.del {
		c := &ch.del[i]
		var err error
		if by[c.op], err = f.unhear(ctx, out, by[c.op], c); err != nil {
			return nil, err
		}
	}
	for i := range ch.add {
		c := &ch.add[i]
		by[c.op] = f.add(out, by[c.op], *c)
	}
	var all []*heard
	for _, op := range slices.Sorted(maps.Keys(by)) {
		for _, h := range by[op] {
			if !h.stored {
				f.claims.add(out, op, h.k, h.stmt, h.n, int64(h.class), h.time, h.nar[:], h.rest[:], h.impl, h.path)
			} else if h.moved {
				if err := f.tx.exec(ctx, "UPDATE claim SET stmt = $1, n = $2, time = $3 WHERE out = $4 AND op = $5 AND k = $6", h.stmt, h.n, h.time, out, op, h.k); err != nil {
					return nil, err
				}
			}
			all = append(all, h)
		}
	}
	return all, nil
}

// add adds a claim to what its operator says.
func (f *flushing) add(out int64, list []*heard, c claim) []*heard {
	i := slices.IndexFunc(list, func(h *heard) bool { return h.same(&c) })
	switch {
	case i < 0 && len(list) <= maxSaid:
		return append(list, &heard{claim: c, k: freeNumber(list)})
	case i >= 0 && c.time < list[i].time:
		c, list[i].claim, list[i].moved = list[i].claim, c, true
	}
	f.further.add(c.furtherRow(out)...)
	return list
}

func freeNumber(list []*heard) (k int64) {
	for slices.ContainsFunc(list, func(h *heard) bool { return h.k == k }) {
		k++
	}
	return k
}

// unhear takes a claim back, which is in the database.
func (f *flushing) unhear(ctx context.Context, out int64, list []*heard, c *claim) ([]*heard, error) {
	i := slices.IndexFunc(list, func(h *heard) bool { return h.stmt == c.stmt && h.n == c.n })
	if i < 0 {
		return list, f.tx.deleteFurther(ctx, c.furtherRow(out))
	}
	h, what := list[i], c.what()
	next := claim{op: c.op, class: c.class, nar: c.nar, rest: c.rest, impl: c.impl, path: c.path}
	found, err := f.tx.one(ctx, "SELECT time, stmt, n FROM further WHERE out = $1 AND op = $2 AND what = $3 ORDER BY time, stmt, n LIMIT 1", []any{out, c.op, what}, &next.time, &next.stmt, &next.n)
	if err != nil {
		return nil, err
	}
	if found {
		h.claim, h.moved = next, true
		return list, f.tx.deleteFurther(ctx, next.furtherRow(out))
	}
	if err := f.tx.exec(ctx, "DELETE FROM claim WHERE out = $1 AND op = $2 AND k = $3", out, c.op, h.k); err != nil {
		return nil, err
	}
	list = slices.Delete(list, i, i+1)
	if len(list) < maxSaid {
		return list, nil
	}
	return f.another(ctx, out, c.op, list)
}

// another looks for something else that an operator says of which there were too many things.
func (f *flushing) another(ctx context.Context, out, op int64, list []*heard) ([]*heard, error) {
	for what := []byte{}; ; {
		var at, stmt, n int64
		found, err := f.tx.one(ctx, "SELECT what, time, stmt, n FROM further WHERE out = $1 AND op = $2 AND what > $3 ORDER BY what, time, stmt, n LIMIT 1", []any{out, op, what}, &what, &at, &stmt, &n)
		if err != nil || !found {
			return list, err
		}
		if slices.ContainsFunc(list, func(h *heard) bool { return slices.Equal(h.what(), what) }) {
			continue
		}
		c, err := f.tx.claimOf(ctx, stmt, n)
		if err != nil {
			return nil, err
		}
		c.op = op
		return append(list, &heard{claim: *c, k: freeNumber(list)}), f.tx.deleteFurther(ctx, c.furtherRow(out))
	}
}

func (tx *Tx) deleteFurther(ctx context.Context, key []any) error {
	return tx.exec(ctx, "DELETE FROM further WHERE out = $1 AND op = $2 AND what = $3 AND time = $4 AND stmt = $5 AND n = $6", key...)
}

// claimOf reads a claim from its statement.
func (tx *Tx) claimOf(ctx context.Context, stmt, n int64) (*claim, error) {
	var leaf []byte
	if _, err := tx.one(ctx, "SELECT leaf FROM stmt WHERE id = $1", []any{stmt}, &leaf); err != nil {
		return nil, err
	}
	s, err := statement.Parse(leaf)
	if err != nil {
		return nil, err
	}
	all := claimsOf(s)
	if n >= int64(len(all)) {
		return nil, fmt.Errorf("a statement in the database makes %d claims, and not %d", len(all), n+1)
	}
	c := &all[n].claim
	c.stmt = stmt
	return c, nil
}
