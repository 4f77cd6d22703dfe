package verify

import (
	"context"
	"errors"
	"slices"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// maxLists bounds the lists of references that one run fetches from one log, in bytes.
// Whoever signed what names them is known only afterwards, so without a bound a log could
// make a reader fetch as much as it likes (spec/policy.md#how-a-verdict-is-found).
const maxLists = 64 << 20

// tooManyLists is why a signature cannot be checked once the bound is reached.
const tooManyLists = "signed other references than those in the store, and their lists are more than the 64 MiB that one run reads"

// lister is a log that has lists of references as blobs; a *log.Client is one.
type lister interface {
	Blob(ctx context.Context, hash nix.Hash, limit int64) ([]byte, error)
}

// fetchLists decides about those in order that need a list that the store does not have.
// Each list is fetched once, and one is in memory at a time.
func (r *reading) fetchLists(ctx context.Context, order []*checked) {
	from, ok := r.log.(lister)
	if !ok {
		return
	}
	digest := func(c *checked) nix.Hash { return *c.statement.Body.(*statement.CacheSig).RefsDigest }
	var need []*checked
	for _, c := range order {
		if c.unknown == noList {
			need = append(need, c)
		}
	}
	slices.SortStableFunc(need, func(a, b *checked) int {
		x, y := digest(a), digest(b)
		return slices.Compare(x[:], y[:])
	})
	var blob []byte
	var why string
	for i, c := range need {
		if i == 0 || digest(c) != digest(need[i-1]) {
			blob, why = r.fetchList(ctx, from, digest(c))
		}
		if c.unknown = why; why != "" {
			continue
		}
		refs, err := statement.ParsePathsBlob(c.statement.Body.(*statement.CacheSig).StoreDir, blob)
		c.good = err == nil && c.statement.VerifyWithReferences(*c.statement.SignerKey, refs) == nil
	}
}

// fetchList returns the list of a digest, or why it cannot be had.
func (r *reading) fetchList(ctx context.Context, from lister, digest nix.Hash) (blob []byte, why string) {
	limit := min(r.listLeft, statement.MaxBlob)
	if limit == 0 {
		return nil, tooManyLists
	}
	blob, err := from.Blob(ctx, digest, limit)
	switch {
	case err == nil:
		r.listLeft -= int64(len(blob))
		return blob, ""
	case errors.Is(err, log.ErrNotFound), errors.Is(err, log.ErrDeleted):
		return nil, noList
	}
	r.listLeft -= limit // whatever was sent in its place
	if errors.Is(err, log.ErrTooLarge) && limit < statement.MaxBlob {
		return nil, tooManyLists
	}
	return nil, noList
}
