package log

import (
	"context"
	"slices"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// IndexTrust is what this machine holds for and against the index of a log,
// whatever the log says.
type IndexTrust struct {
	// Auditors is the index policy without those auditors that evidence is held
	// against; nil if there is none.
	Auditors *policy.Policy
	// Faults are what the index of the log's origin was convicted of in the map
	// version that this firn reads, and has not taken back.
	Faults []IndexFault
}

// An IndexFault is evidence on disk that convicts the index of a log. It ends
// trust in its answers being whole, not in the log.
type IndexFault struct {
	File       string
	MapVersion uint64
	// What is wrong with it, in a clause of its own that names the key and the entry
	// if there are: "the list of out:/nix/store/… lacks the entry 17".
	What string
}

// IndexTrust returns what is held for and against the index of the log. auditors is the
// index policy, nil for none. The log is asked only if evidence is held against its
// index: whether it has taken that index back (spec/evidence.md#answering).
func (c *Client) IndexTrust(ctx context.Context, auditors *policy.Policy) (*IndexTrust, error) {
	trust := new(IndexTrust)
	var err error
	if auditors != nil {
		if trust.Auditors, err = c.mem.store.Apply(auditors); err != nil {
			return nil, err
		}
	}
	held, err := c.mem.store.AgainstIndex(c.pol, c.origin, index.MapVersion)
	if err != nil || len(held) == 0 {
		return trust, err
	}
	resets := c.resets(ctx)
	for _, h := range held {
		cleared := slices.ContainsFunc(resets, func(f Found) bool { return fraud.ClearedBy(h.Evidence, f.Leaf.Bytes, f.Index) })
		if !cleared {
			trust.Faults = append(trust.Faults, IndexFault{File: h.Path, MapVersion: h.Verdict.MapVersion, What: h.Verdict.Why})
		}
	}
	return trust, nil
}

// resets returns the index-reset statements of the log, each proven to be in it.
// That none is left out does not matter: one that is seen takes evidence away.
func (c *Client) resets(ctx context.Context) []Found {
	id := c.logKeyID()
	key := index.Key(id)
	a, err := c.Lookup(ctx, Query{Keys: []string{key}, Signers: []statement.KeyID{id}})
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(a.Of(key)), func(f Found) bool {
		return f.Leaf == nil || f.Leaf.Statement.Kind != statement.KindIndexReset
	})
}
