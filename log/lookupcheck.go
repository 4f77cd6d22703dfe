package log

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"sort"
	"sync/atomic"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
	"github.com/firn-log/firn/log/statement"
)

// checkedLeaf is a leaf of an answer with the keys that it maps to.
type checkedLeaf struct {
	leaf   *Leaf
	hashes []index.Hash // of its keys, sorted
	used   atomic.Bool  // by a list
	err    error
}

// checkedLeaves are by index.
type checkedLeaves []checkedLeaf

// at returns the leaf with an index; nil if there is none.
func (l checkedLeaves) at(i uint64) *checkedLeaf {
	n := sort.Search(len(l), func(n int) bool { return l[n].leaf.Index >= i })
	if n == len(l) || l[n].leaf.Index != i {
		return nil
	}
	return &l[n]
}

// checkedList is a list of an answer and what was verified about it.
type checkedList struct {
	head  Known
	found []Found    // nil if there is no list
	rest  []question // for what it does not hold
	err   error
}

func (l *looking) bad(key string, format string, args ...any) error {
	return &ProofError{Origin: l.c.origin, Key: key, Reason: fmt.Sprintf(format, args...)}
}

func (l *looking) badErr(key, reason string, err error) error {
	return &ProofError{Origin: l.c.origin, Key: key, Reason: reason, Err: err}
}

// take verifies an answer to what was asked, adds it to the answers, and takes
// from the queue what it holds.
func (l *looking) take(ctx context.Context, cp *Checkpoint, asked []question, answer *lookup.Answer) error {
	if len(answer.Lists) == 0 || len(answer.Lists) > len(asked) {
		return l.bad("", "%d lists for %d keys", len(answer.Lists), len(asked))
	}
	on, err := l.checkRevision(cp, answer)
	if err != nil {
		return err
	}
	if err := l.checkTail(cp, on.Revision, answer.Tail); err != nil {
		return err
	}
	leaves := l.checkLeaves(cp, answer.Bodies)
	lists := make([]checkedList, len(answer.Lists))
	spread(len(lists), func(from, to int) {
		items := 0
		for i := from; i < to; i++ {
			items += len(answer.Lists[i].Items)
		}
		room := make([]Found, 0, items)
		for i := from; i < to; i++ {
			asked[i].hash = index.KeyHash(asked[i].Key)
			n := len(answer.Lists[i].Items)
			lists[i] = l.checkList(on.Revision, answer.Trie, &asked[i], &answer.Lists[i], leaves, room[:0:n])
			room = room[n:n:cap(room)]
		}
	})
	var rests []question
	for i := range lists {
		if err := l.takeList(&asked[i], &lists[i]); err != nil {
			return err
		}
		rests = append(rests, lists[i].rest...)
	}
	for i := range leaves {
		if c := &leaves[i]; !c.used.Load() {
			return &ProofError{Origin: l.c.origin, Index: c.leaf.Index, HasIndex: true, Reason: "it came with an answer without being listed in it"}
		}
	}
	if err := l.contradicted(answer, asked, leaves); err != nil {
		return err
	}
	l.queue = append(rests, l.queue[len(answer.Lists):]...)
	l.noteAnswer(cp, answer)
	return l.readTail(ctx, cp, on, answer.Tail, asked[:len(answer.Lists)])
}

// noteAnswer keeps of an answer what concerns all of them.
func (l *looking) noteAnswer(cp *Checkpoint, answer *lookup.Answer) {
	if l.a.Checkpoint == nil || cp.Size < l.a.Checkpoint.Size {
		l.a.Checkpoint = cp
	}
	vouched := answer.Vouched
	if vouched == nil {
		vouched = answer.Note
	}
	l.a.Vouched = append(l.a.Vouched, vouched)
}

// basis is the revision that an answer rests on.
type basis struct {
	*statement.Revision
	leaf    []byte
	at      uint64 // its index
	vouched uint64 // size of the checkpoint that vouches for it, above at
}

// checkRevision verifies the revision that an answer rests on: that the log stated it
// in the tree of cp, that it is about a part of that tree, that the trie is of its map,
// and that what vouches for it holds it.
func (l *looking) checkRevision(cp *Checkpoint, answer *lookup.Answer) (*basis, error) {
	r := &answer.Revision
	if err := checkInclusion(cp, r.Index, tlog.RecordHash(r.Leaf), r.Inclusion); err != nil {
		return nil, err
	}
	st, err := statement.Parse(r.Leaf)
	if err != nil {
		return nil, l.badErr("", "the revision of its index is not a statement", err)
	}
	rev, ok := st.Body.(*statement.Revision)
	if !ok {
		return nil, l.bad("", "entry %d is a %s statement and not the revision of its index", r.Index, st.Kind)
	}
	key, err := l.c.logKey()
	if err == nil {
		err = st.Verify(key)
	}
	switch {
	case err != nil:
		return nil, l.badErr("", "the revision of its index is not signed by the log", err)
	case rev.Origin != l.c.origin:
		return nil, l.bad("", "the revision of its index is that of the log %q", words(rev.Origin))
	case rev.MapVersion != index.MapVersion:
		return nil, l.bad("", "its index is of map version %d, and this firn reads version %d", rev.MapVersion, index.MapVersion)
	case rev.Size > r.Index:
		return nil, l.bad("", "the revision at entry %d is about %d entries, more than there were", r.Index, rev.Size)
	case answer.Trie.Hash() != rev.Root:
		return nil, l.bad("", "the proof does not belong to the revision of its index at entry %d", r.Index)
	}
	vouched, err := l.checkVouched(cp, r.Index, answer)
	return &basis{rev, r.Leaf, r.Index, vouched}, err
}

// checkVouched verifies that the checkpoint which vouches for a revision holds it
// and belongs to the history of cp, and returns its size.
func (l *looking) checkVouched(cp *Checkpoint, revision uint64, answer *lookup.Answer) (uint64, error) {
	if answer.Vouched == nil {
		return cp.Size, nil
	}
	v, err := l.c.pol.VerifyLog(answer.Vouched)
	switch {
	case err != nil:
		return 0, l.badErr("", "the checkpoint that auditors vouch for", err)
	case v.Origin != l.c.origin:
		return 0, l.bad("", "the checkpoint that auditors vouch for is that of the log %q", words(v.Origin))
	case v.Size <= revision || v.Size > cp.Size:
		return 0, l.bad("", "the checkpoint that auditors vouch for has size %d, and the revision is entry %d of %d", v.Size, revision, cp.Size)
	case v.Size == cp.Size && tlog.Hash(v.Root) != tlog.Hash(cp.Root), v.Size == cp.Size && len(answer.Vouch) > 0:
		return 0, l.bad("", "the checkpoint that auditors vouch for is not that of the answer, at the same size")
	case v.Size == cp.Size:
		return cp.Size, nil
	}
	if err := tlog.CheckTree(answer.Vouch, int64(cp.Size), cp.Root, int64(v.Size), v.Root); err != nil {
		return 0, l.badErr("", "the checkpoint that auditors vouch for is not proven to belong to its history", err)
	}
	return v.Size, nil
}

// checkTail verifies that a tail is what lies between a revision and cp.
func (l *looking) checkTail(cp *Checkpoint, rev *statement.Revision, t *lookup.Tail) error {
	if t == nil {
		return nil
	}
	if uint64(len(t.Leaves)) != cp.Size-rev.Size {
		return l.bad("", "%d entries between size %d and %d", len(t.Leaves), rev.Size, cp.Size)
	}
	root, ok := foldTail(rev.Size, t)
	if !ok || root != tlog.Hash(cp.Root) {
		return l.bad("", "the entries that it sent after the revision of its index are not those of its tree")
	}
	return nil
}

// foldTail returns the root of the tree whose first size entries have the peaks of t
// and go on with its leaves.
func foldTail(size uint64, t *lookup.Tail) (root tlog.Hash, ok bool) {
	peaks := slices.Clone(t.Peaks)
	if len(peaks) != bits.OnesCount64(size) {
		return root, false
	}
	for _, leaf := range t.Leaves {
		h := tlog.RecordHash(leaf)
		for c := size; c&1 == 1; c >>= 1 {
			h = tlog.NodeHash(peaks[len(peaks)-1], h)
			peaks = peaks[:len(peaks)-1]
		}
		peaks = append(peaks, h)
		size++
	}
	if len(peaks) == 0 {
		return root, false
	}
	root = peaks[len(peaks)-1]
	for i := len(peaks) - 2; i >= 0; i-- {
		root = tlog.NodeHash(peaks[i], root)
	}
	return root, true
}

// takeList adds a list that was verified to the answers.
func (l *looking) takeList(q *question, list *checkedList) error {
	if list.err != nil {
		return list.err
	}
	if q.To == 0 {
		l.a.Heads[q.Key] = list.head
	}
	if list.found != nil {
		l.a.lists[q.Key] = append(list.found, l.a.lists[q.Key]...)
	}
	return l.count(len(list.found))
}

// checkList verifies a list against the trie, and its bodies. What it finds it puts into room.
func (l *looking) checkList(rev *statement.Revision, trie *index.Node, q *question, list *lookup.List, leaves checkedLeaves, room []Found) (c checkedList) {
	head, below := q.head, q.below
	if q.To == 0 {
		below = rev.Size
		var present bool
		if head, present, c.err = trie.Find(q.hash); c.err != nil {
			c.err = l.badErr(q.Key, "the proof says nothing about this key", c.err)
			return c
		}
		if present != list.Present {
			c.err = l.bad(q.Key, "the proof says whether it has entries, and the answer says otherwise")
			return c
		}
		c.head = Known{head, rev.Size}
		if !present {
			if q.From > 0 {
				c.err = &PrefixError{l.c.origin, q.Key}
			}
			return c
		}
	} else if !list.Present {
		c.err = l.bad(q.Key, "a part of its list is missing")
		return c
	}
	if err := list.Check(head, below); err != nil {
		c.err = l.badErr(q.Key, "its list does not belong to the revision of its index", err)
		return c
	}
	if c.rest, c.err = l.before(q, list); c.err != nil {
		return c
	}
	c.found, c.err = l.checkBodies(q, list, leaves, room)
	return c
}

// before returns the question for the items before those of a list that were asked for and
// are not in it; if all are, it checks that those before are what is known.
func (l *looking) before(q *question, list *lookup.List) ([]question, error) {
	have := list.Prefix.Count()
	switch {
	case have < q.From:
		return nil, l.bad(q.Key, "its list comes from position %d on, and was asked for from %d on", have, q.From)
	case have > q.From && len(list.Items) == 0:
		return nil, l.bad(q.Key, "its list is cut short before it begins")
	case have > q.From:
		return []question{{Asked: lookup.Asked{Key: q.Key, From: q.From, To: have}, head: list.Prefix.Root(), below: list.Items[0].Index}}, nil
	case have > 0 && list.Prefix.Root() != l.q.Known[q.Key].Head:
		return nil, &PrefixError{l.c.origin, q.Key}
	}
	return nil, nil
}

// checkBodies verifies that the bodies of a list are those that were asked for.
func (l *looking) checkBodies(q *question, list *lookup.List, leaves checkedLeaves, found []Found) ([]Found, error) {
	for _, it := range list.Items {
		bad := func(reason string) error {
			return &ProofError{Origin: l.c.origin, Key: q.Key, Index: it.Index, HasIndex: true, Reason: reason}
		}
		f := Found{Index: it.Index, Signer: it.Signer}
		wanted := l.q.Signers == nil || l.wanted[it.Signer]
		switch c := leaves.at(it.Index); {
		case c == nil && wanted:
			return nil, bad("its body is missing")
		case c == nil:
		case c.err != nil:
			return nil, withKey(c.err, q.Key)
		case c.leaf.Statement.Signer != it.Signer:
			return nil, bad("it is signed by " + c.leaf.Statement.Signer.String() + ", not by the signer in the list")
		case !has(c.hashes, q.hash):
			return nil, bad("it does not belong under this key")
		case !wanted:
			return nil, bad("nobody asked for its body")
		default:
			f.Leaf = c.leaf
			c.used.Store(true)
		}
		found = append(found, f)
	}
	return found, nil
}

func has(sorted []index.Hash, kh index.Hash) bool {
	_, ok := slices.BinarySearchFunc(sorted, kh, index.CompareHashes)
	return ok
}

// withKey names the key in an error about a leaf.
func withKey(err error, key string) error {
	p, ok := err.(*ProofError)
	if !ok {
		return err
	}
	named := *p
	named.Key = key
	return &named
}

// checkLeaves verifies all bodies of an answer, on all processors. The error of
// each stays with it, so that it is reported with the key that it concerns.
func (l *looking) checkLeaves(cp *Checkpoint, bodies []lookup.Body) checkedLeaves {
	all, kept, proofs := make(checkedLeaves, len(bodies)), make([]Leaf, len(bodies)), make([]Proof, len(bodies))
	for i := range bodies {
		b := &bodies[i]
		kept[i] = Leaf{Index: b.Index, Bytes: b.Leaf}
		proofs[i] = Proof{Index: b.Index, Hashes: b.Inclusion, Note: cp.Note}
		all[i].leaf = &kept[i]
	}
	spread(len(bodies), func(from, to int) {
		included := &inclusions{cp: cp}
		hashes := make([]index.Hash, 0, 8*(to-from))
		for i := from; i < to; i++ {
			if all[i].err = all[i].check(&proofs[i], included); all[i].err != nil {
				continue
			}
			n := len(hashes)
			hashes = index.AppendKeyHashes(hashes, kept[i].Statement)
			all[i].hashes = hashes[n:len(hashes):len(hashes)]
		}
	})
	return all
}

func (c *checkedLeaf) check(p *Proof, included *inclusions) error {
	if err := included.check(p.Index, tlog.RecordHash(c.leaf.Bytes), p.Hashes); err != nil {
		return err
	}
	c.leaf.Proof = p
	var err error
	if c.leaf.Statement, err = statement.Parse(c.leaf.Bytes); err != nil {
		return &ProofError{Origin: included.cp.Origin, Index: p.Index, HasIndex: true, Reason: "it is listed and is not a statement", Err: err}
	}
	return nil
}
