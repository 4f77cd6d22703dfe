package log

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

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
func (l *looking) contradicted(answer *lookup.Answer, asked []question, leaves checkedLeaves) error {
	lists := make(map[index.Hash]*index.List, len(answer.Lists))
	for i := range answer.Lists {
		if list := &answer.Lists[i]; asked[i].To == 0 && list.Present {
			lists[asked[i].hash] = &list.List
		}
	}
	read := func(i int) (statement.KeyID, []index.Hash) {
		return leaves[i].leaf.Statement.Signer, leaves[i].hashes
	}
	if i, kh := contradiction(answer, lists, read); i >= 0 {
		return &ProofError{
			Origin: l.c.origin, Key: keyOf(leaves[i].leaf.Statement, kh), Index: answer.Bodies[i].Index, HasIndex: true,
			Reason: "its index does not list this entry under this key",
		}
	}
	return nil
}

// keyOf returns the key of a statement with a hash; "" if it has none.
func keyOf(s *statement.Statement, kh index.Hash) string {
	for _, k := range index.StatementKeys(s) {
		if index.KeyHash(k) == kh {
			return k
		}
	}
	return ""
}

// readBody returns who signed a body, and the hashes of its keys; none of what is no statement.
func readBody(b *lookup.Body) (statement.KeyID, []index.Hash) {
	st, err := statement.Parse(b.Leaf)
	if err != nil {
		return statement.KeyID{}, nil
	}
	return st.Signer, index.AppendKeyHashes(nil, st)
}

// contradiction returns which body is absent under one of its keys, or listed under another
// signer, or under a key that is not one of its own (the key hash is zero then); −1 if there is none.
// read returns the signer of a body and the hashes of its keys; it is called concurrently.
func contradiction(answer *lookup.Answer, lists map[index.Hash]*index.List, read func(i int) (statement.KeyID, []index.Hash)) (body int, under index.Hash) {
	listed := make([]int, len(answer.Bodies)) // in how many lists; a list may be long and bodies few
	for _, l := range lists {
		for _, it := range l.Items {
			if i, ok := slices.BinarySearchFunc(answer.Bodies, it.Index, func(b lookup.Body, at uint64) int { return cmp.Compare(b.Index, at) }); ok {
				listed[i]++
			}
		}
	}
	var mu sync.Mutex
	first := len(answer.Bodies)
	spread(len(answer.Bodies), func(from, to int) {
		for i := from; i < to; i++ {
			signer, hashes := read(i)
			if kh, wrong := contradicts(answer.Trie, lists, index.Item{Index: answer.Bodies[i].Index, Signer: signer}, hashes, listed[i]); wrong {
				mu.Lock()
				if i < first {
					first, under = i, kh
				}
				mu.Unlock()
				return
			}
		}
	})
	if first == len(answer.Bodies) {
		return -1, under
	}
	return first, under
}

// contradicts is contradiction about an item that is in so many of the lists, which are those
// of keys that the trie shows.
func contradicts(trie *index.Node, lists map[index.Hash]*index.List, it index.Item, hashes []index.Hash, listed int) (under index.Hash, wrong bool) {
	for _, kh := range hashes {
		_, present, covered := trie.Shows(kh)
		switch {
		case !covered:
			continue
		case !present:
			return kh, true
		}
		l := lists[kh]
		if l == nil {
			continue
		}
		have, lacks := stands(l, it)
		if lacks {
			return kh, true
		}
		if have {
			listed--
		}
	}
	return index.Hash{}, listed > 0
}

// stands reports whether a part of a list has an item, and whether it shows that the
// list lacks it, or has it under another signer.
func stands(l *index.List, want index.Item) (have, lacks bool) {
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
func listsOf(answer *lookup.Answer, asked []question) map[index.Hash]*index.List {
	lists := make(map[index.Hash]*index.List)
	for i := range min(len(answer.Lists), len(asked)) {
		list := &answer.Lists[i]
		kh := index.KeyHash(asked[i].Key)
		if asked[i].To > 0 || !list.Present {
			continue
		}
		head, present, err := answer.Trie.Find(kh)
		if err != nil || !present {
			continue
		}
		if err := index.CheckList(head, list.Prefix, list.Items); err == nil || errors.Is(err, index.ErrShape) {
			lists[kh] = &list.List
		}
	}
	return lists
}

// believed is an answer that was verified, and what it was the answer to. It is kept as long as the
// Answers are: what comes to light later may make evidence of it.
type believed struct {
	cp     *Checkpoint
	asked  []question
	answer *lookup.Answer
}

// Convict keeps evidence if a shows that the index of the log does not list, under one of the keys
// of a, an entry that the log holds and that belongs there, or that it lists one that does not, or under another
// signer (spec/index.md#convicting); and reports whether it did. The entry is read from the log,
// as it was when it gave that answer. That nothing is shown is no error; errors are those of
// [Client.Entry] and of keeping evidence.
func (c *Client) Convict(ctx context.Context, a *Answers, key string, entry uint64) (bool, error) {
	if c.mem.dir == "" {
		return false, nil
	}
	for _, s := range a.shown {
		list, held := listOf(a.shown, s, key)
		if !held || entry >= s.cp.Size {
			continue
		}
		e, err := c.Entry(ctx, s.cp, entry)
		if err != nil {
			return false, err
		}
		proof, err := c.ProveInclusion(ctx, s.cp, entry)
		if err != nil {
			return false, err
		}
		if n := list.Prefix.Count(); n > 0 && (len(list.Items) == 0 || entry < list.Items[0].Index) {
			before, err := c.earlier(ctx, s.cp, key, list)
			if err != nil {
				return false, err
			}
			list, _ = listOf(slices.Concat(a.shown, before), s, key)
		}
		lists := map[index.Hash]*index.List{index.KeyHash(key): &list}
		found, err := fraud.FromEntry(c.mapOf(s.cp, s.answer, lists), evidence.Included{Index: entry, Leaf: e.Leaf, Proof: proof.Hashes})
		if err != nil {
			return false, nil
		}
		return c.keep(found)
	}
	return false, nil
}

// earlier asks for what is known of a list by its frontier alone, because it was known before. What comes must have
// that frontier, whatever index it is answered from.
func (c *Client) earlier(ctx context.Context, cp *Checkpoint, key string, list index.List) ([]believed, error) {
	l := newLooking(c, Query{Keys: []string{key}, Signers: []statement.KeyID{}})
	l.queue = []question{{Asked: lookup.Asked{Key: key, To: list.Prefix.Count()}, head: list.Prefix.Root(), below: cp.Size}}
	_, err := l.run(ctx)
	return l.a.shown, err
}

// listOf returns the list of a key that s was asked for the end of, with those parts of it before that
// other answers held; false if s was not. What comes before these is in its frontier.
func listOf(all []believed, s believed, key string) (list index.List, held bool) {
	for i, q := range s.asked[:len(s.answer.Lists)] {
		if q.Key == key && q.To == 0 {
			list, held = s.answer.Lists[i].List, true
		}
	}
	for _, part := range all {
		for i, q := range part.asked[:len(part.answer.Lists)] {
			if held && q.Key == key && q.To > 0 && q.To == list.Prefix.Count() {
				before := part.answer.Lists[i].List
				list = index.List{Prefix: before.Prefix, Items: slices.Concat(before.Items, list.Items)}
			}
		}
	}
	return list, held
}

// restated reports whether an entry is a revision of the log's of the size of the one that an answer rests
// on and with another root, and keeps evidence of both: whatever entries there are, one is wrong.
func (l *looking) restated(on *basis, leaf []byte, st *statement.Statement) (bool, error) {
	r, ok := st.Body.(*statement.Revision)
	if !ok || r.Size != on.Size || r.MapVersion != on.MapVersion || r.Root == on.Root {
		return false, nil
	}
	e, err := fraud.FromRevisions(l.c.vkey(), on.leaf, leaf)
	if err != nil {
		return false, nil // a stranger's, or of another origin
	}
	_, err = l.c.keep(e)
	return true, err
}

// keep keeps evidence, and reports whether it is held now; not if nothing is remembered at all, or if it was
// set aside.
func (c *Client) keep(e *evidence.Evidence) (bool, error) {
	if c.mem.dir == "" {
		return false, nil
	}
	_, _, err := c.mem.AddEvidence(e, c.pol)
	if errors.Is(err, evidence.ErrSetAside) {
		return false, nil
	}
	return err == nil, err
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
	_, err := l.c.keep(e)
	return err
}

// vkey returns the log's Ed25519 key; the zero Key if the policy has none.
func (c *Client) vkey() policy.Key {
	for _, line := range c.pol.Logs {
		if line.Key.Name == c.origin && line.Key.Type == policy.TypeEd25519 {
			return line.Key
		}
	}
	return policy.Key{}
}

// mapOf is what an answer shows of the map of its revision.
func (c *Client) mapOf(cp *Checkpoint, answer *lookup.Answer, lists map[index.Hash]*index.List) *fraud.Map {
	r := &answer.Revision
	shown := make(map[index.Hash]index.List, len(lists))
	for kh, list := range lists {
		shown[kh] = *list
	}
	return &fraud.Map{
		Key: c.vkey(), Checkpoint: cp.Note, Revision: evidence.Included{Index: r.Index, Leaf: r.Leaf, Proof: r.Inclusion},
		Trie: answer.Trie, Lists: shown,
	}
}

// evidence makes evidence of an answer whose revision was verified, nil if it shows nothing.
func (l *looking) evidence(cp *Checkpoint, asked []question, answer *lookup.Answer) *evidence.Evidence {
	lists := listsOf(answer, asked)
	m := l.c.mapOf(cp, answer, lists)
	if e, err := fraud.FromMap(m); err == nil {
		return e
	}
	i, _ := contradiction(answer, lists, func(i int) (statement.KeyID, []index.Hash) { return readBody(&answer.Bodies[i]) })
	if i < 0 {
		return nil
	}
	b := &answer.Bodies[i]
	if checkInclusion(cp, b.Index, tlog.RecordHash(b.Leaf), b.Inclusion) != nil {
		return nil
	}
	e, err := fraud.FromEntry(m, evidence.Included{Index: b.Index, Leaf: b.Leaf, Proof: b.Inclusion})
	if err != nil {
		return nil
	}
	return e
}
