package fraud

import (
	"fmt"
	"maps"
	"slices"

	"github.com/firn-log/firn/log/evidence"
	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/policy"
)

// A Map is what somebody has in hand of the map of one revision.
type Map struct {
	Key        policy.Key        // of the log; its name is the origin
	Checkpoint []byte            // a note that it signed; other signatures do not matter
	Revision   evidence.Included // in the tree of the checkpoint
	// Trie begins at the root of the revision. What index.ParsePruned returns
	// with ErrShape belongs here, too.
	Trie *index.Node
	// Lists holds lists of the trie, or the last part of them, by key hash. They
	// were checked with index.CheckList, or refused by it with ErrShape.
	Lists map[index.Hash]index.List
}

// FromRevisions makes evidence of two revisions, in any order, of one size and
// map version. Errors match those of [VerifySelf].
func FromRevisions(key policy.Key, a, b []byte) (*evidence.Evidence, error) {
	one, err := revision(key, a)
	if err != nil {
		return nil, err
	}
	other, err := revision(key, b)
	if err != nil {
		return nil, err
	}
	if compare(one.Root, other.Root) > 0 {
		a, b = b, a
	}
	e := &evidence.Evidence{Kind: evidence.KindIndex, Key: key, Index: &evidence.Index{Revisions: [][]byte{slices.Clone(a), slices.Clone(b)}}}
	return verified(e)
}

// FromEntry makes evidence of an entry that the map contradicts: one of its keys
// is absent, or a list lacks it, has it under another signer, or has it although
// it does not belong there. Errors match those of [VerifySelf]:
// evidence.ErrNotEvidence if what is in hand of the map agrees with the entry.
func FromEntry(m *Map, entry evidence.Included) (*evidence.Evidence, error) {
	keys, signer, err := read(entry.Leaf)
	if err != nil {
		return nil, err
	}
	var mine []index.Hash
	for _, k := range keys {
		kh := index.KeyHash(k)
		mine = append(mine, kh)
		path := m.walk(kh)
		switch {
		case path.End.Kind == evidence.EndStub:
			continue
		case path.End.Kind == evidence.EndEmpty || path.End.Key != kh:
			return m.evidence(&evidence.Index{Entry: &entry, Path: path})
		}
		if items := m.lacks(&path, index.Item{Index: entry.Index, Signer: signer}); items != nil {
			return m.evidence(&evidence.Index{Entry: &entry, Path: path, Items: items})
		}
	}
	for _, kh := range slices.SortedFunc(maps.Keys(m.Lists), func(a, b index.Hash) int { return compare(a, b) }) {
		l := m.Lists[kh]
		at := slices.IndexFunc(l.Items, func(it index.Item) bool { return it.Index == entry.Index })
		if at < 0 || slices.Contains(mine, kh) {
			continue
		}
		if path := m.walk(kh); path.End.Kind == evidence.EndLeaf && path.End.Key == kh {
			return m.evidence(&evidence.Index{Entry: &entry, Path: path, Items: []evidence.Item{item(l, at)}})
		}
	}
	return nil, innocent("the entry %d and the map agree", entry.Index)
}

// walk follows a key hash down the trie.
func (m *Map) walk(kh index.Hash) (p evidence.Path) {
	n := m.Trie
	for {
		depth, l, r, ok := n.AsBranch()
		if !ok {
			p.End = end(n)
			return p
		}
		right := index.Bit(kh, int(depth)) == 1
		p.Steps = append(p.Steps, step(depth, l, r, right))
		if n = l; right {
			n = r
		}
	}
}

func step(depth uint8, l, r *index.Node, right bool) evidence.Step {
	if right {
		return evidence.Step{Right: true, Depth: depth, Other: l.Hash()}
	}
	return evidence.Step{Depth: depth, Other: r.Hash()}
}

func end(n *index.Node) evidence.End {
	if kh, h, ok := n.AsLeaf(); ok {
		return evidence.End{Kind: evidence.EndLeaf, Key: kh, Count: h.Count, Root: h.Root}
	}
	if n.Hash() == index.EmptyRoot {
		return evidence.End{Kind: evidence.EndEmpty}
	}
	return evidence.End{Kind: evidence.EndStub, Root: n.Hash()}
}

// lacks returns the items that show that a list lacks want, or has it with another
// signer; nil if what is in hand of the list does not show it.
func (m *Map) lacks(p *evidence.Path, want index.Item) []evidence.Item {
	l, ok := m.Lists[p.End.Key]
	if !ok || len(l.Items) == 0 {
		return nil
	}
	at := slices.IndexFunc(l.Items, func(it index.Item) bool { return it.Index >= want.Index })
	switch {
	case at < 0:
		return []evidence.Item{item(l, len(l.Items)-1)}
	case l.Items[at] == want:
		return nil
	case l.Items[at].Index == want.Index, at == 0 && l.Prefix.Count() == 0:
		return []evidence.Item{item(l, at)}
	case at == 0:
		return nil // what comes before is not in hand
	}
	return []evidence.Item{item(l, at-1), item(l, at)}
}

// FromMap makes evidence of a map that is wrong in itself, whatever the entries
// are: nodes or lists that no map has. Errors match those of [VerifySelf]:
// evidence.ErrNotEvidence if all that is in hand has the shape of a map.
func FromMap(m *Map) (*evidence.Evidence, error) {
	rev, err := revision(m.Key, m.Revision.Leaf)
	if err != nil {
		return nil, err
	}
	f := &finder{m: m, size: rev.Size}
	f.visit(m.Trie, nil)
	if f.found == nil {
		return nil, innocent("all that is known of the map has the shape of one")
	}
	return m.evidence(f.found)
}

// A finder looks for the first fault in the shape of a map.
type finder struct {
	m     *Map
	size  uint64
	found *evidence.Index
}

// visit looks below a node and returns the path to a leaf there, nil if none is
// known or a fault is found.
func (f *finder) visit(n *index.Node, above []evidence.Step) *evidence.Path {
	depth, l, r, ok := n.AsBranch()
	if !ok {
		return f.visitEnd(n, above)
	}
	if k := len(above); k > 0 && above[k-1].Depth >= depth {
		s := append(slices.Clone(above), step(depth, l, r, false))
		f.found = &evidence.Index{Path: evidence.Path{Steps: s, End: evidence.End{Kind: evidence.EndStub, Root: l.Hash()}}}
		return nil
	}
	p := f.visit(l, append(slices.Clone(above), step(depth, l, r, false)))
	if f.found != nil {
		return nil
	}
	q := f.visit(r, append(slices.Clone(above), step(depth, l, r, true)))
	switch {
	case f.found != nil:
		return nil
	case p == nil:
		return q
	case q != nil && index.CommonBits(p.End.Key, q.End.Key) < int(depth):
		f.found = &evidence.Index{Path: *p, Second: q}
		return nil
	}
	return p
}

func (f *finder) visitEnd(n *index.Node, steps []evidence.Step) *evidence.Path {
	p := &evidence.Path{Steps: steps, End: end(n)}
	switch p.End.Kind {
	case evidence.EndStub:
		return nil
	case evidence.EndEmpty:
		if len(steps) > 0 {
			f.found = &evidence.Index{Path: *p}
		}
		return nil
	}
	if !leads(steps, p.End.Key) || p.End.Count == 0 || p.End.Count > f.size {
		f.found = &evidence.Index{Path: *p}
		return nil
	}
	if items := f.badItems(p.End.Key); items != nil {
		f.found = &evidence.Index{Path: *p, Items: items}
		return nil
	}
	return p
}

// badItems returns the items that show that a list is not one of a map.
func (f *finder) badItems(kh index.Hash) []evidence.Item {
	l := f.m.Lists[kh]
	for i, it := range l.Items {
		switch {
		case it.Index >= f.size:
			return []evidence.Item{item(l, i)}
		case i > 0 && it.Index <= l.Items[i-1].Index:
			return []evidence.Item{item(l, i-1), item(l, i)}
		}
	}
	return nil
}

// evidence completes x and verifies it.
func (m *Map) evidence(x *evidence.Index) (*evidence.Evidence, error) {
	n, err := policy.ParseNote(m.Checkpoint)
	if err != nil {
		return nil, malformed("%w", err)
	}
	i := slices.IndexFunc(n.Signatures, func(s policy.Signature) bool {
		return s.Name == m.Key.Name && s.ID == m.Key.ID && m.Key.Verify(n.Text, s.Sig)
	})
	if i < 0 {
		return nil, innocent("the checkpoint is not signed by %s", m.Key.Name)
	}
	x.Checkpoint = (&policy.Note{Text: n.Text, Signatures: n.Signatures[i : i+1]}).Marshal()
	x.Revision = m.Revision
	return verified(&evidence.Evidence{Kind: evidence.KindIndex, Key: m.Key, Index: x})
}

func verified(e *evidence.Evidence) (*evidence.Evidence, error) {
	if _, err := VerifySelf(e); err != nil {
		return nil, fmt.Errorf("making evidence: %w", err)
	}
	return e, nil
}
