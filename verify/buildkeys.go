package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// Speaker is an operator as one log shows it: whose claims are its own.
type Speaker struct {
	ID   statement.ID
	Keys map[statement.KeyID]SpeakerKey // its build keys

	retracted map[statement.ID]bool
}

// SpeakerKey is a build key of a Speaker.
type SpeakerKey struct {
	Key statement.PublicKey
	// Below is the index from which on its claims do not count, because the key was
	// revoked or the operator's statements fork; ^uint64(0) if nothing ends them.
	Below uint64
}

// Counts reports whether a claim at an index of the log is this operator's: made by a
// live build key, with its signature, and not retracted.
func (s *Speaker) Counts(claim *statement.Statement, index uint64) bool {
	k, ok := s.Keys[claim.Signer]
	return ok && index < k.Below && !s.retracted[claim.ID()] && claim.Verify(k.Key) == nil
}

// FindSpeaker asks a log who speaks for the operator id, by the rules of
// spec/policy.md#who-speaks-for-an-operator. It is for whoever follows an operator
// without a firn.policy, in one log. An answer that is not proven to be whole is an error: a
// revocation might be missing. A key that another operator claims too counts for neither.
// It returns nil if the log does not know the operator.
func FindSpeaker(ctx context.Context, c *log.Client, id statement.ID) (*Speaker, error) {
	key := "operator:" + id.String()
	found, err := peopleUnder(ctx, c, []string{key})
	if err != nil {
		return nil, err
	}
	chain := buildChain(id, found, func(_ string, p Place) (int, uint64) { return 0, p.Index })
	if chain == nil {
		return nil, nil
	}
	s := &Speaker{ID: id, Keys: make(map[statement.KeyID]SpeakerKey), retracted: chain.retract}
	for k, pub := range chain.buildKeys() {
		s.Keys[k] = SpeakerKey{Key: pub, Below: chain.liveBelow(k, "", c.Origin())}
	}
	return s, s.dropShared(ctx, c)
}

// dropShared leaves out keys that are also proven to be another operator's.
func (s *Speaker) dropShared(ctx context.Context, c *log.Client) error {
	keys := slices.Collect(maps.Keys(s.Keys))
	uses, incomplete, err := usesOf(ctx, c, s.ID, keys)
	if err != nil {
		return err
	}
	if incomplete != "" {
		return fmt.Errorf("what the log says of keys may not be whole: %s", incomplete)
	}
	for i, k := range keys {
		if len(uses[i].Others) > 0 {
			delete(s.Keys, k)
		}
	}
	return nil
}

// peopleUnder returns the people statements under keys.
func peopleUnder(ctx context.Context, c *log.Client, keys []string) ([]found, error) {
	a, err := c.Lookup(ctx, log.Query{Keys: keys})
	if err != nil {
		return nil, err
	}
	if a.Incomplete != "" {
		return nil, fmt.Errorf("what the log says of people may not be whole: %s", a.Incomplete)
	}
	trust, err := c.IndexTrust(ctx, nil)
	if err != nil {
		return nil, err
	}
	if len(trust.Faults) > 0 {
		return nil, fmt.Errorf("the index of log %s is wrong: %s; the evidence is in %s", c.Origin(), trust.Faults[0].What, trust.Faults[0].File)
	}
	p := make(pool)
	for _, key := range keys {
		for _, f := range a.Of(key) {
			if f.Leaf != nil && f.Leaf.Statement.Kind.Class() == statement.People {
				p.add(f.Leaf.Statement, Place{Index: f.Index})
			}
		}
	}
	all := make([]found, 0, len(p))
	for _, f := range p {
		all = append(all, *f)
	}
	return all, nil
}
