package fraud

import (
	"fmt"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/policy"
	"github.com/firn-log/firn/log/statement"
)

// judgeMap judges what a revision in a checkpoint committed to.
func judgeMap(key policy.Key, x *evidence.Index) (*statement.Revision, string, error) {
	head, err := checkpoint(key, x.Checkpoint)
	if err != nil {
		return nil, "", err
	}
	rev, err := revision(key, x.Revision.Leaf)
	if err != nil {
		return nil, "", err
	}
	if err := included(head, &x.Revision, "revision"); err != nil {
		return nil, "", err
	}
	if x.Revision.Index < rev.Size {
		return nil, "", innocent("a revision of size %d at index %d counts for nothing", rev.Size, x.Revision.Index)
	}
	if err := knownVersion(rev); err != nil {
		return nil, "", err
	}
	if rootOf(&x.Path) != rev.Root || x.Second != nil && rootOf(x.Second) != rev.Root {
		return nil, "", innocent("the way down does not begin at the root of the revision")
	}
	var why string
	switch {
	case x.Second != nil:
		why, err = judgePair(x)
	case x.Entry != nil:
		if err = entryAt(head, rev, x.Entry); err == nil {
			why, err = judgeEntry(x)
		}
	case len(x.Items) > 0:
		why, err = judgeList(rev, x)
	default:
		why, err = judgePath(rev, &x.Path)
	}
	return rev, why, err
}

func entryAt(head policy.Head, rev *statement.Revision, in *evidence.Included) error {
	if in.Index >= rev.Size {
		return innocent("the entry %d is not among the %d that the revision is about", in.Index, rev.Size)
	}
	return included(head, in, "entry")
}

// rootOf returns the root of the map that has this path.
func rootOf(p *evidence.Path) index.Hash {
	var h index.Hash
	switch p.End.Kind {
	case evidence.EndLeaf:
		h = index.LeafHash(p.End.Key, listHead(p))
	case evidence.EndStub:
		h = p.End.Root
	default:
		h = index.EmptyRoot
	}
	for i := len(p.Steps) - 1; i >= 0; i-- {
		s := p.Steps[i]
		if s.Right {
			h = index.BranchHash(s.Depth, s.Other, h)
		} else {
			h = index.BranchHash(s.Depth, h, s.Other)
		}
	}
	return h
}

func listHead(p *evidence.Path) index.Head { return index.Head{Count: p.End.Count, Root: p.End.Root} }

// deepens reports whether the depths of all but the last n steps increase.
func deepens(steps []evidence.Step, but int) bool {
	for i := 1; i < len(steps)-but; i++ {
		if steps[i].Depth <= steps[i-1].Depth {
			return false
		}
	}
	return true
}

// leads reports whether a key hash is looked up along these steps.
func leads(steps []evidence.Step, kh index.Hash) bool {
	for _, s := range steps {
		if (index.Bit(kh, int(s.Depth)) == 1) != s.Right {
			return false
		}
	}
	return true
}

// judgePath says what no map has about a path by itself. A branch that is not
// deeper than the one above it is the last of its path, which ends at a stub: so
// the fault has one form.
func judgePath(rev *statement.Revision, p *evidence.Path) (string, error) {
	n := len(p.Steps)
	switch {
	case !deepens(p.Steps, 0):
		if p.End.Kind != evidence.EndStub || !deepens(p.Steps, 1) {
			return "", malformed("a way down ends below the first branch that is not deeper than the one before")
		}
		return fmt.Sprintf("a branch of depth %d is below one of depth %d", p.Steps[n-1].Depth, p.Steps[n-2].Depth), nil
	case p.End.Kind == evidence.EndEmpty && n > 0:
		return "there is nothing below a branch", nil
	case p.End.Kind != evidence.EndLeaf:
		return "", innocent("the map has the shape of one")
	case !leads(p.Steps, p.End.Key):
		return fmt.Sprintf("the leaf of %s is where its key does not lead", p.End.Key), nil
	case p.End.Count == 0:
		return fmt.Sprintf("the list of %s is empty", p.End.Key), nil
	case p.End.Count > rev.Size:
		return fmt.Sprintf("the list of %s has %d items of %d entries", p.End.Key, p.End.Count, rev.Size), nil
	}
	return "", innocent("the map has the shape of one")
}

// sound reports whether a path shows no fault by itself; then it may show one
// together with other things.
func sound(p *evidence.Path) bool {
	return deepens(p.Steps, 0) &&
		(p.End.Kind == evidence.EndEmpty && len(p.Steps) == 0 || p.End.Kind == evidence.EndLeaf && leads(p.Steps, p.End.Key))
}

// judgePair judges two leaves of one map: that they part at a branch must mean
// that they differ there first.
func judgePair(x *evidence.Index) (string, error) {
	p, q := &x.Path, x.Second
	if x.Entry != nil || len(x.Items) > 0 || !sound(p) || !sound(q) || p.End.Kind != evidence.EndLeaf || q.End.Kind != evidence.EndLeaf {
		return "", malformed("two ways down come alone, and both end at leaves that are in their place")
	}
	n := 0
	for n < len(p.Steps) && n < len(q.Steps) && p.Steps[n].Depth == q.Steps[n].Depth && p.Steps[n].Right == q.Steps[n].Right {
		n++
	}
	// Both have the same root, so if they part there is a branch of both.
	if n == len(p.Steps) || n == len(q.Steps) || p.Steps[n].Depth != q.Steps[n].Depth {
		return "", innocent("two ways down that do not part at a branch")
	}
	if p.Steps[n].Right {
		return "", malformed("of two ways down the left one comes first")
	}
	depth := int(p.Steps[n].Depth)
	if index.CommonBits(p.End.Key, q.End.Key) >= depth {
		return "", innocent("two leaves that part where they differ first")
	}
	return fmt.Sprintf("the leaves of %s and %s part at depth %d and differ before", p.End.Key, q.End.Key, depth), nil
}

// checkItems checks that the items are in the list at the end of the path, of
// two that the second follows the first.
func checkItems(x *evidence.Index) error {
	for i, it := range x.Items {
		item := index.Item{Index: it.Index, Signer: it.Signer}
		if err := index.CheckItem(listHead(&x.Path), it.Position, item, it.Proof); err != nil {
			return innocent("%w", err)
		}
		if i > 0 && it.Position != x.Items[i-1].Position+1 {
			return innocent("two items of a list that do not follow each other")
		}
	}
	return nil
}

// judgeList judges items of one list by themselves.
func judgeList(rev *statement.Revision, x *evidence.Index) (string, error) {
	if !sound(&x.Path) || x.Path.End.Kind != evidence.EndLeaf {
		return "", malformed("items of a list come with a way down to a leaf that is in its place")
	}
	if err := checkItems(x); err != nil {
		return "", err
	}
	kh, first := x.Path.End.Key, x.Items[0]
	if len(x.Items) == 1 {
		if first.Index < rev.Size {
			return "", innocent("the item %d is among the entries that the revision is about", first.Index)
		}
		return fmt.Sprintf("the list of %s has the entry %d, beyond size %d", kh, first.Index, rev.Size), nil
	}
	if second := x.Items[1]; second.Index <= first.Index {
		return fmt.Sprintf("the list of %s has the entry %d after %d", kh, second.Index, first.Index), nil
	}
	return "", innocent("two items of a list that are in order")
}

// judgeEntry holds an entry against the map.
func judgeEntry(x *evidence.Index) (string, error) {
	if !sound(&x.Path) && x.Path.End.Kind != evidence.EndStub {
		return "", malformed("a map without the shape of one convicts without an entry")
	}
	if x.Path.End.Kind == evidence.EndStub {
		return "", innocent("the map is cut off before it says anything about the entry")
	}
	keys, signer, err := read(x.Entry.Leaf)
	if err != nil {
		return "", err
	}
	if len(x.Items) == 0 {
		return judgeAbsent(x, keys)
	}
	if x.Path.End.Kind != evidence.EndLeaf {
		return "", malformed("items of a list that is not there")
	}
	if err := checkItems(x); err != nil {
		return "", err
	}
	key, has := "", false
	for _, k := range keys {
		if index.KeyHash(k) == x.Path.End.Key {
			key, has = k, true
		}
	}
	i, first, last := x.Entry.Index, x.Items[0], x.Items[len(x.Items)-1]
	switch {
	case len(x.Items) == 2 && has && first.Index < i && i < last.Index,
		len(x.Items) == 1 && has && first.Position == 0 && i < first.Index,
		len(x.Items) == 1 && has && last.Position == x.Path.End.Count-1 && last.Index < i:
		return fmt.Sprintf("the list of %s lacks the entry %d", key, i), nil
	case len(x.Items) != 1 || first.Index != i:
		return "", innocent("these items say nothing about the entry %d", i)
	case !has:
		return fmt.Sprintf("the list of %s has the entry %d, which does not belong there", x.Path.End.Key, i), nil
	case first.Signer != signer:
		return fmt.Sprintf("the list of %s has the entry %d under another key than its signer's", key, i), nil
	}
	return "", innocent("the list has the entry %d", i)
}

// judgeAbsent judges a path that ends where a key of the entry is not.
func judgeAbsent(x *evidence.Index, keys []string) (string, error) {
	for _, k := range keys {
		kh := index.KeyHash(k)
		if leads(x.Path.Steps, kh) && (x.Path.End.Kind == evidence.EndEmpty || x.Path.End.Key != kh) {
			return fmt.Sprintf("the map has no %s, under which the entry %d is", k, x.Entry.Index), nil
		}
	}
	return "", innocent("the way down is that of no key of the entry %d that is absent", x.Entry.Index)
}

// read returns the keys and the signer of a leaf. A leaf that a later firn may be
// able to read is refused with evidence.ErrReserved: it may have keys.
func read(leaf []byte) (keys []string, signer statement.KeyID, err error) {
	s, err := statement.Parse(leaf)
	if err == nil {
		return index.StatementKeys(s), s.Signer, nil
	}
	switch statement.CodeOf(err) {
	case statement.CodeNotYet, statement.CodeUnknownKind, statement.CodeVersion, statement.CodeInternalError, "":
		return nil, signer, fmt.Errorf("%w: the entry is of a kind that this firn does not know: %w", evidence.ErrReserved, err)
	}
	return nil, signer, nil
}
