package log

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
)

// LogKeyID returns the id of the key with which the log signs what it states itself;
// zero if the policy has no Ed25519 key of it.
func (c *Client) LogKeyID() statement.KeyID { return c.logKeyID() }

// maxRecordTries is how often people are asked for again because somebody new spoke
// about them meanwhile.
const maxRecordTries = 5

// Record is Lookup of all bodies under keys, and adds what the log answered to a
// bundle. No key may be in the bundle already. It fails if an answer would need more
// than itself: then the index of the log is far behind.
func (c *Client) Record(ctx context.Context, b *Bundle, keys []string) (*Answers, error) {
	return c.record(ctx, b, Query{Keys: keys}, nil)
}

// RecordPeople is Record for keys that begin with "operator:" or "key:". Of what
// a key itself signed it takes only the first statement: a build key has mostly claims,
// which are found under what they are about (spec/bundle.md#what-is-in-it). Of the
// log's own key it takes everything.
func (c *Client) RecordPeople(ctx context.Context, b *Bundle, keys []string) ([]*Answers, error) {
	var whole, named []string
	for _, k := range keys {
		if strings.HasPrefix(k, "key:") && k != index.Key(c.logKeyID()) {
			named = append(named, k)
		} else {
			whole = append(whole, k)
		}
	}
	var all []*Answers
	if len(whole) > 0 {
		a, err := c.Record(ctx, b, whole)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	if len(named) > 0 {
		a, err := c.recordNamed(ctx, b, named)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

func (c *Client) recordNamed(ctx context.Context, b *Bundle, keys []string) (*Answers, error) {
	lists, err := c.Lookup(ctx, Query{Keys: keys, Signers: []statement.KeyID{}})
	if err != nil {
		return nil, err
	}
	before, others := len(b.Parts), []statement.KeyID{}
	for range maxRecordTries {
		known := len(others)
		others = othersIn(lists, others)
		if len(others) == known && len(b.Parts) > before {
			return lists, nil
		}
		b.Parts = b.Parts[:before]
		if lists, err = c.record(ctx, b, Query{Keys: keys, Signers: others}, firstOwn(lists)); err != nil {
			return nil, err
		}
	}
	if len(othersIn(lists, others)) == len(others) {
		return lists, nil
	}
	return nil, fmt.Errorf("log %s: more is said about these people than can be recorded; try again later", c.origin)
}

// othersIn adds to known, which is sorted, who signed something in the lists of other
// keys than their own.
func othersIn(lists *Answers, known []statement.KeyID) []statement.KeyID {
	all := slices.Clone(known)
	for _, key := range lists.Keys {
		for _, f := range lists.Of(key) {
			if index.Key(f.Signer) != key {
				all = append(all, f.Signer)
			}
		}
	}
	slices.SortFunc(all, func(a, b statement.KeyID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(all)
}

// firstOwn returns the first entry that each key itself signed.
func firstOwn(lists *Answers) map[uint64]bool {
	own := make(map[uint64]bool)
	for _, key := range lists.Keys {
		for _, f := range lists.Of(key) {
			if index.Key(f.Signer) == key {
				own[f.Index] = true
				break
			}
		}
	}
	return own
}

// record adds the answers to a query to a bundle, and to them the bodies of the entries
// in also that are in their lists.
func (c *Client) record(ctx context.Context, b *Bundle, q Query, also map[uint64]bool) (*Answers, error) {
	l := newLooking(c, q)
	l.record = func(cp *Checkpoint, asked []question, answer *lookup.Answer) error {
		if answer.Tail == nil {
			return fmt.Errorf("the index of log %s is too far behind the log for a bundle; try again later", c.origin)
		}
		p := BundlePart{Origin: c.origin, parsed: answer}
		for _, q := range asked[:len(answer.Lists)] {
			p.Asked = append(p.Asked, lookup.Asked{Key: q.Key, To: q.To})
		}
		var err error
		if before := b.last(c.origin); before != nil {
			if p.Follows, err = c.follows(ctx, before, cp); err != nil {
				return err
			}
		}
		if err := c.addBodies(ctx, cp, answer, also); err != nil {
			return err
		}
		p.Answer = answer.Marshal()
		b.Parts = append(b.Parts, p)
		return nil
	}
	return l.run(ctx)
}

// follows proves that cp goes on from the checkpoint of a part.
func (c *Client) follows(ctx context.Context, before *BundlePart, cp *Checkpoint) ([]tlog.Hash, error) {
	v, err := c.pol.VerifyLog(before.parsed.Note)
	if err != nil || v.Size == cp.Size {
		return nil, err
	}
	hashes, _, err := c.ProveConsistency(ctx, v.Size, cp)
	return hashes, err
}

// addBodies adds the bodies of the entries in also that are in a list of an answer.
func (c *Client) addBodies(ctx context.Context, cp *Checkpoint, answer *lookup.Answer, also map[uint64]bool) error {
	for _, list := range answer.Lists {
		for _, it := range list.Items {
			at, have := slices.BinarySearchFunc(answer.Bodies, it.Index, compareBody)
			if have || !also[it.Index] {
				continue
			}
			e, err := c.Entry(ctx, cp, it.Index)
			if err != nil {
				return err
			}
			p, err := c.ProveInclusion(ctx, cp, it.Index)
			if err != nil {
				return err
			}
			answer.Bodies = slices.Insert(answer.Bodies, at, lookup.Body{Index: it.Index, Leaf: e.Leaf, Inclusion: p.Hashes})
		}
	}
	return nil
}

func compareBody(b lookup.Body, index uint64) int {
	switch {
	case b.Index < index:
		return -1
	case b.Index > index:
		return 1
	}
	return 0
}
