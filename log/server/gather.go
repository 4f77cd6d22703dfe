package server

import (
	"cmp"
	"context"
	"slices"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/lookup"
)

// gathering is an answer to a lookup on its way, and the room that is left in it.
type gathering struct {
	s      *Server
	q      *question
	at     *answering
	items  int
	bytes  int
	lists  []lookup.List
	leaves map[uint64][]byte
}

func (s *Server) gather(q *question, at *answering) *gathering {
	return &gathering{s: s, q: q, at: at, items: s.room.entries, bytes: s.room.bytes, leaves: make(map[uint64][]byte)}
}

// keys gathers the lists of the keys that were asked for, as long as they fit, and
// returns the hashes of those.
func (g *gathering) keys(ctx context.Context) ([]index.Hash, error) {
	khs := make([]index.Hash, 0, len(g.q.keys))
	for _, asked := range g.q.keys {
		kh := index.KeyHash(asked.Key)
		fits, err := g.list(ctx, kh, asked)
		if err != nil {
			return nil, err
		}
		if !fits {
			break
		}
		khs = append(khs, kh)
	}
	return khs, nil
}

// list adds the list of a key, and reports whether it fits. The first list of an
// answer is made to fit.
func (g *gathering) list(ctx context.Context, kh index.Hash, asked lookup.Asked) (bool, error) {
	head, ok, err := g.at.view.Head(kh)
	switch {
	case err != nil:
		return false, err
	case !ok && asked.From == 0 && asked.To == 0:
		g.lists = append(g.lists, lookup.List{})
		return true, nil
	case !ok || asked.From > head.Count || asked.To > head.Count:
		return false, badLookup("the list of %q has %d items, fewer than asked for", asked.Key, head.Count)
	}
	to := asked.To
	if to == 0 {
		to = head.Count
	}
	return g.section(ctx, kh, asked.From, to, len(g.lists) == 0)
}

// section adds the items from one position of a list to before another, and reports
// whether they fit. A list that may be cut fits: it loses items at its beginning.
func (g *gathering) section(ctx context.Context, kh index.Hash, from, to uint64, cut bool) (bool, error) {
	if n := uint64(max(g.items, 0)); to-from > n {
		if !cut {
			return false, nil
		}
		from = to - n
	}
	before, items, _, err := g.at.view.List(kh, from, int(to-from))
	if err != nil {
		return false, err
	}
	leaves, begin, err := g.bodies(ctx, items)
	if err != nil {
		return false, err
	}
	if begin > 0 && !cut {
		return false, nil
	}
	for i, leaf := range leaves {
		g.leaves[i] = leaf
		g.bytes -= len(leaf) + inclusionRoom
	}
	for _, it := range items[:begin] {
		before.Append(it)
	}
	g.items -= len(items) - begin
	g.lists = append(g.lists, lookup.List{Present: true, List: index.List{Prefix: before, Items: items[begin:]}})
	return true, nil
}

// bodies returns the leaves of items of signers that were asked for and are not
// there yet, the last items first, and from which item on they fit.
func (g *gathering) bodies(ctx context.Context, items []index.Item) (leaves map[uint64][]byte, begin int, err error) {
	left := g.bytes
	leaves = make(map[uint64][]byte)
	for i, it := range slices.Backward(items) {
		if g.leaves[it.Index] != nil || g.q.signers != nil && !g.q.signers[it.Signer] {
			continue
		}
		if left <= 0 {
			return leaves, i + 1, nil
		}
		leaf, err := g.s.tree.Entry(ctx, g.at.checkpoint.head.Size, it.Index)
		if err != nil {
			return nil, 0, err
		}
		leaves[it.Index] = leaf
		left -= len(leaf) + inclusionRoom
	}
	return leaves, 0, nil
}

// inclusionRoom is what the proof of a body usually takes in an answer, in bytes.
const inclusionRoom = 512

// answer puts together what was gathered about some keys.
func (g *gathering) answer(ctx context.Context, khs []index.Hash) (*lookup.Answer, error) {
	at, size := g.at, g.at.checkpoint.head.Size
	a := &lookup.Answer{
		Note: at.checkpoint.note, Vouch: at.vouch, Lists: g.lists,
		Revision: lookup.Body{Index: at.revision.index, Leaf: at.revision.leaf, Inclusion: at.inclusion},
	}
	if at.vouched.head.Size > 0 && string(at.vouched.note) != string(at.checkpoint.note) {
		a.Vouched = at.vouched.note
	}
	var err error
	if a.Trie, err = at.view.Prove(khs); err != nil {
		return nil, err
	}
	for i, leaf := range g.leaves {
		proof, err := g.s.tree.Inclusion(ctx, size, i)
		if err != nil {
			return nil, err
		}
		a.Bodies = append(a.Bodies, lookup.Body{Index: i, Leaf: leaf, Inclusion: proof})
	}
	slices.SortFunc(a.Bodies, func(a, b lookup.Body) int { return cmp.Compare(a.Index, b.Index) })
	if g.q.tail {
		a.Tail, err = g.s.tailOf(ctx, at)
	}
	return a, err
}

// tailOf returns the entries between a revision and its checkpoint, nil if they are
// too many for an answer.
func (s *Server) tailOf(ctx context.Context, at *answering) (*lookup.Tail, error) {
	size := at.checkpoint.head.Size
	if size-at.revision.size > lookup.MaxTail {
		return nil, nil
	}
	t, total := new(lookup.Tail), 0
	for leaf, err := range s.tree.Entries(ctx, at.revision.size, size) {
		if err != nil {
			return nil, err
		}
		if total += len(leaf); total > lookup.MaxTailSize {
			return nil, nil
		}
		t.Leaves = append(t.Leaves, leaf)
	}
	var err error
	t.Peaks, err = s.tree.Peaks(ctx, at.revision.size, size)
	return t, err
}
