package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/firn-log/firn/log/index"
	"github.com/firn-log/firn/log/index/triedb"
)

// Bounds of looking for a difference.
const (
	maxAsked  = 256 // requests for parts of a trie
	maxExtras = 64  // keys of the log that are looked at in one place
)

// maxParts is how many nodes the log may show: a variable for tests.
var maxParts = 1 << 18

// A comparison looks for where the map that a log shows differs from the own.
// What the log shows counts only if it hashes to the root that it signed.
type comparison struct {
	ctx   context.Context
	shown *shownIndex
	size  uint64
	view  *triedb.View // of the same size
	trie  *part        // what was shown so far
	asked int
	parts int   // that were shown
	shape error // index.ErrShape: what was shown is no map
}

// A part is a node that the log has shown, or a stub.
type part struct {
	hash  index.Hash
	node  *index.Node // if it is no branch
	depth int         // of a branch
	sides [2]*part    // of a branch
}

func newPart(n *index.Node) *part {
	p := &part{hash: n.Hash()}
	if depth, l, r, ok := n.AsBranch(); ok {
		p.depth, p.sides = int(depth), [2]*part{newPart(l), newPart(r)}
	} else {
		p.node = n
	}
	return p
}

func (p *part) branch() bool { return p.sides[0] != nil }

// count returns the number of parts.
func (p *part) count() int {
	if !p.branch() {
		return 1
	}
	return 1 + p.sides[0].count() + p.sides[1].count()
}

// tree returns what is known below p as a pruned trie.
func (p *part) tree() *index.Node {
	if p.branch() {
		return index.Branch(uint8(p.depth), p.sides[0].tree(), p.sides[1].tree())
	}
	return p.node
}

// A difference is a key hash at which the maps differ.
type difference struct {
	kh     index.Hash
	list   bool // both have it, and their lists differ
	absent bool // the log's map has not got it
	// Otherwise only the log's map has it.
}

// errNoDifference says that nothing that differs was found in what was shown.
var errNoDifference = fmt.Errorf("%w: no difference is in what it shows", errWithheld)

// begin has the log show the top of the map with this root.
func (c *comparison) begin(root index.Hash) error {
	c.trie = &part{hash: root, node: index.Stub(root)}
	if err := c.expand(c.trie, 0, index.Hash{}); c.shape == nil {
		return err
	}
	return nil
}

// find returns the first difference from view after begin, or nil if what was shown has
// not the shape of a map.
func (c *comparison) find(view *triedb.View) (*difference, error) {
	if c.shape != nil {
		return nil, nil
	}
	c.view = view
	d, err := c.descend()
	if c.shape != nil {
		return nil, nil
	}
	return d, err
}

// descend goes down both maps as long as they have the same branches.
func (c *comparison) descend() (*difference, error) {
	t, depth := c.trie, 0
	guide, mine, err := c.sample(0, index.Hash{}) // a key of the own map, down here
	if err != nil {
		return nil, err
	}
	for {
		if err := c.expand(t, depth, guide); err != nil {
			return nil, err
		}
		var o *index.Node
		if mine {
			if o, err = c.own(depth, guide); err != nil {
				return nil, err
			}
		}
		d, l, _, ok := o.AsBranch()
		if !ok || !t.branch() || int(d) != t.depth {
			return c.apart(t, depth, o, guide)
		}
		side := 0
		if t.sides[0].hash == l.Hash() {
			side = 1
		}
		t, depth = t.sides[side], int(d)+1
		if index.Bit(guide, int(d)) != side {
			if guide, mine, err = c.sample(depth, with(guide, int(d), side)); err != nil {
				return nil, err
			}
		}
	}
}

// own returns the topmost node of the own keys that share their first bits with
// guide, which is one of them; never a stub.
func (c *comparison) own(depth int, guide index.Hash) (*index.Node, error) {
	for {
		n, err := c.view.Subtree(depth, cut(guide, depth), levels)
		if err != nil || !n.IsStub() {
			return n, err
		}
		depth = min(depth+levels, 256)
	}
}

// sample returns a key hash of the own map that begins with these bits, if there
// is one.
func (c *comparison) sample(depth int, prefix index.Hash) (kh index.Hash, ok bool, err error) {
	prefix = cut(prefix, depth)
	n, err := c.view.Subtree(depth, prefix, 0)
	for err == nil && n != nil {
		if kh, _, ok := n.AsLeaf(); ok {
			return kh, true, nil
		}
		depth++
		if n, err = c.view.Subtree(depth, prefix, 0); n == nil && err == nil {
			prefix = with(prefix, depth-1, 1)
			n, err = c.view.Subtree(depth, prefix, 0)
		}
	}
	return index.Hash{}, false, err
}

// expand has the log show what is at a stub, of keys that begin with the first
// bits of guide.
func (c *comparison) expand(t *part, depth int, guide index.Hash) error {
	for ; !t.branch() && t.node.IsStub(); depth = min(depth+levels, 256) {
		if c.asked++; c.asked > maxAsked {
			return fmt.Errorf("%w: it takes too many questions", errWithheld)
		}
		n, err := c.shown.trie(c.ctx, c.size, depth, guide)
		if err != nil && !errors.Is(err, index.ErrShape) {
			return err
		}
		if n.Hash() != t.hash {
			return fmt.Errorf("%w: a part of it, at depth %d, has another hash", errWithheld, depth)
		}
		*t = *newPart(n)
		if c.parts += t.count(); c.parts > maxParts {
			return fmt.Errorf("%w: it has too many parts", errWithheld)
		}
		if err := c.trie.tree().Check(); err != nil {
			c.shape = err
			return err
		}
		if n.IsStub() && depth == 256 {
			return fmt.Errorf("%w: there is a stub where a key ends", errWithheld)
		}
	}
	return nil
}

// apart looks for the difference where one map has another node than the other.
func (c *comparison) apart(t *part, depth int, o *index.Node, guide index.Hash) (*difference, error) {
	var mine []index.Hash
	if kh, _, ok := o.AsLeaf(); ok {
		mine = append(mine, kh)
	}
	if d, _, _, ok := o.AsBranch(); ok {
		for side := range 2 {
			kh, _, err := c.sample(int(d)+1, with(guide, int(d), side))
			if err != nil {
				return nil, err
			}
			mine = append(mine, kh)
		}
	}
	for _, kh := range mine {
		if err := c.follow(kh); err != nil {
			return nil, err
		}
		if d, err := c.at(kh); d != nil || err != nil {
			return d, err
		}
	}
	left := maxExtras
	return c.extra(t, depth, guide, &left)
}

// follow has the log show the way to a key hash.
func (c *comparison) follow(kh index.Hash) error {
	t, depth := c.trie, 0
	for {
		if err := c.expand(t, depth, kh); err != nil {
			return err
		}
		if !t.branch() {
			return nil
		}
		t, depth = t.sides[index.Bit(kh, t.depth)], t.depth+1
	}
}

// at says how the maps differ at a key hash to which the way was shown.
func (c *comparison) at(kh index.Hash) (*difference, error) {
	theirs, there, err := c.trie.tree().Find(kh)
	if err != nil {
		return nil, err
	}
	own, mine, err := c.view.Head(kh)
	switch {
	case err != nil:
		return nil, err
	case mine && there && own != theirs:
		return &difference{kh: kh, list: true}, nil
	case mine && !there:
		return &difference{kh: kh, absent: true}, nil
	case !mine && there:
		return &difference{kh: kh}, nil
	}
	return nil, nil
}

// extra looks at the keys of the log below a node for one that differs.
func (c *comparison) extra(t *part, depth int, guide index.Hash, left *int) (*difference, error) {
	if *left <= 0 {
		return nil, errNoDifference
	}
	if err := c.expand(t, depth, guide); err != nil {
		return nil, err
	}
	if !t.branch() {
		*left--
		kh, _, ok := t.node.AsLeaf()
		if !ok {
			return nil, errNoDifference
		}
		if d, err := c.at(kh); d != nil || err != nil {
			return d, err
		}
		return nil, errNoDifference
	}
	// The own keys, if there are any, are where guide is: what only the log has is first.
	var err error
	mine := index.Bit(guide, t.depth)
	for _, side := range []int{1 - mine, mine} {
		var d *difference
		if d, err = c.extra(t.sides[side], t.depth+1, with(guide, t.depth, side), left); d != nil {
			return d, nil
		}
	}
	return nil, err
}
