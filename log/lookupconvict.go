package log

import (
	"cmp"
	"errors"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/fraud"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// contradicted compares the bodies of an answer, whose lists and bodies were verified, with
// everything that it shows of the map, and returns a *ProofError about one that is not where it
// belongs.
func (l *looking) contradicted(answer *lookup.Answer, asked []question, leaves map[uint64]*checkedLeaf) error {
	lists := make(map[index.Hash]index.List)
	for i, list := range answer.Lists {
		if asked[i].To == 0 && list.Present {
			lists[index.KeyHash(asked[i].Key)] = list.List
		}
	}
	read := func(b *lookup.Body) (statement.KeyID, []string) {
		c := leaves[b.Index]
		return c.leaf.Statement.Signer, c.keys
	}
	if b, key := contradiction(answer, lists, read); b != nil {
		return &ProofError{Origin: l.c.origin, Key: key, Index: b.Index, HasIndex: true, Reason: "its index does not list this entry under this key"}
	}
	return nil
}

// readBody returns who signed a body and its keys; none of what is no statement.
func readBody(b *lookup.Body) (statement.KeyID, []string) {
	st, err := statement.Parse(b.Leaf)
	if err != nil {
		return statement.KeyID{}, nil
	}
	return st.Signer, index.StatementKeys(st)
}

// contradiction returns a body that is absent under one of its keys, or listed under another
// signer, or under a key that is not one of its own (the key is "" then); nil if there is none.
// read returns the signer and the keys of a body.
func contradiction(answer *lookup.Answer, lists map[index.Hash]index.List, read func(*lookup.Body) (statement.KeyID, []string)) (*lookup.Body, string) {
	listed := make(map[uint64]int) // in how many lists
	for _, l := range lists {
		for _, it := range l.Items {
			listed[it.Index]++
		}
	}
	for i := range answer.Bodies {
		b := &answer.Bodies[i]
		signer, keys := read(b)
		for _, key := range keys {
			kh := index.KeyHash(key)
			_, present, err := answer.Trie.Find(kh)
			have, lacks := stands(lists[kh], index.Item{Index: b.Index, Signer: signer})
			if err == nil && (!present || lacks) {
				return b, key
			}
			if have {
				listed[b.Index]--
			}
		}
		if listed[b.Index] > 0 {
			return b, ""
		}
	}
	return nil, ""
}

// stands reports whether a part of a list has an item, and whether it shows that the
// list lacks it, or has it under another signer.
func stands(l index.List, want index.Item) (have, lacks bool) {
	i, found := slices.BinarySearchFunc(l.Items, want.Index, func(it index.Item, at uint64) int { return cmp.Compare(it.Index, at) })
	switch {
	case found:
		return true, l.Items[i] != want
	case len(l.Items) == 0, i == 0 && l.Prefix.Count() > 0:
		return false, false
	}
	return false, true
}

// listsOf returns the ends of the lists of an answer that belong to its trie.
func listsOf(answer *lookup.Answer, asked []question) map[index.Hash]index.List {
	lists := make(map[index.Hash]index.List)
	for i, list := range answer.Lists[:min(len(answer.Lists), len(asked))] {
		kh := index.KeyHash(asked[i].Key)
		if asked[i].To > 0 || !list.Present {
			continue
		}
		head, present, err := answer.Trie.Find(kh)
		if err != nil || !present {
			continue
		}
		if err := index.CheckList(head, list.Prefix, list.Items); err == nil || errors.Is(err, index.ErrShape) {
			lists[kh] = list.List
		}
	}
	return lists
}

// convict keeps evidence if an answer that is refused shows that the log has signed a
// wrong map (spec/index.md#convicting). That it shows nothing is no error.
func (l *looking) convict(cp *Checkpoint, asked []question, answer *lookup.Answer) error {
	if l.c.mem.dir == "" {
		return nil // nothing is kept
	}
	if _, err := l.checkRevision(cp, answer); err != nil {
		return nil // it does not show what the log has signed
	}
	e := l.evidence(cp, asked, answer)
	if e == nil {
		return nil
	}
	_, _, err := l.c.mem.AddEvidence(e, l.c.pol)
	if errors.Is(err, evidence.ErrSetAside) {
		return nil
	}
	return err
}

// evidence makes evidence of an answer whose revision was verified, nil if it shows nothing.
func (l *looking) evidence(cp *Checkpoint, asked []question, answer *lookup.Answer) *evidence.Evidence {
	r := &answer.Revision
	m := &fraud.Map{
		Checkpoint: cp.Note, Revision: evidence.Included{Index: r.Index, Leaf: r.Leaf, Proof: r.Inclusion},
		Trie: answer.Trie, Lists: listsOf(answer, asked),
	}
	for _, line := range l.c.pol.Logs {
		if line.Key.Name == l.c.origin && line.Key.Type == policy.TypeEd25519 {
			m.Key = line.Key
			break
		}
	}
	if e, err := fraud.FromMap(m); err == nil {
		return e
	}
	b, _ := contradiction(answer, m.Lists, readBody)
	if b == nil || checkInclusion(cp, b.Index, tlog.RecordHash(b.Leaf), b.Inclusion) != nil {
		return nil
	}
	e, err := fraud.FromEntry(m, evidence.Included{Index: b.Index, Leaf: b.Leaf, Proof: b.Inclusion})
	if err != nil {
		return nil
	}
	return e
}
