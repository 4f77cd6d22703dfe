package federation

import (
	"cmp"
	"slices"

	"github.com/firn-log/firn/log/statement"
)

// MaxOperatorPeers bounds how many peers of one operator are followed: the newest.
const MaxOperatorPeers = 16

// said is a statement about people and a place where a log holds it.
type said struct {
	*statement.Statement
	id     statement.ID
	leaf   []byte
	origin string
	index  uint64
}

// A chain is what one operator has said, linked by prev. As in
// spec/policy.md#who-speaks-for-an-operator a statement counts if an identity key of
// its moment signed it, and what follows a fork counts for nothing.
type chain struct {
	nodes   map[statement.ID]*link
	root    *link
	keys    map[statement.KeyID]statement.PublicKey
	revoked map[statement.KeyID]bool
	retract map[statement.ID]bool
}

type link struct {
	said
	next     []*link
	identity []statement.KeyID // keys that may sign what follows
}

// newChain links the statements of an operator, in any order. rank orders logs; the
// home log of the operator comes before. What nobody who may speak for the operator
// has signed is left out. It returns nil without the first statement.
func newChain(op statement.ID, all []said, rank map[string]int) *chain {
	c := &chain{
		nodes: make(map[statement.ID]*link), keys: make(map[statement.KeyID]statement.PublicKey),
		revoked: make(map[statement.KeyID]bool), retract: make(map[statement.ID]bool),
	}
	home := ""
	for _, s := range all {
		b, ok := s.Body.(*statement.Operator)
		if c.root != nil || s.id != op || !ok || b.OperatorID != nil || s.Verify(b.Identity) != nil {
			continue
		}
		key := b.Identity.ID()
		c.keys[key], home = b.Identity, b.HomeLog
		c.root = &link{said: s, identity: []statement.KeyID{key}}
		c.nodes[op] = c.root
	}
	if c.root == nil {
		return nil
	}
	place := func(s said) int {
		if s.origin == home {
			return -1
		}
		return rank[s.origin]
	}
	rest := slices.DeleteFunc(slices.Clone(all), func(s said) bool { return s.Prev == nil || statement.OperatorOf(s.Body) != op })
	slices.SortStableFunc(rest, func(a, b said) int { return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a.index, b.index)) })
	for again := true; again; {
		again = false
		rest = slices.DeleteFunc(rest, func(s said) bool {
			parent := c.nodes[*s.Prev]
			if parent == nil {
				return false
			}
			again = true
			c.add(parent, s)
			return true
		})
	}
	return c
}

// add links s behind parent if an identity key of that moment signed it.
func (c *chain) add(parent *link, s said) {
	if c.nodes[s.id] != nil || !slices.Contains(parent.identity, s.Signer) || c.revoked[s.Signer] || s.Verify(c.keys[s.Signer]) != nil {
		return
	}
	n := &link{said: s, identity: parent.identity}
	switch b := s.Body.(type) {
	case *statement.KeyAdd:
		if b.VerifyProof() != nil {
			return
		}
		c.keys[b.Key.ID()] = b.Key
		if b.Role == statement.RoleIdentity {
			n.identity = append(slices.Clone(n.identity), b.Key.ID())
		}
	case *statement.KeyRevoke:
		if slices.Contains(n.identity, b.KeyID) {
			c.revoked[b.KeyID] = true
			n.identity = slices.DeleteFunc(slices.Clone(n.identity), func(k statement.KeyID) bool { return k == b.KeyID })
		}
	case *statement.Retract:
		c.retract[b.Statement] = true
	}
	parent.next = append(parent.next, n)
	c.nodes[s.id] = n
}

// peers returns the peers that the operator says it runs, the newest first, at most
// MaxOperatorPeers, and how many more it names. Of each the newest statement decides: one that is
// retracted, or signed by a key that is no identity key any more, names nobody.
func (c *chain) peers() (peers []*statement.Peer, more int) {
	end := c.root
	trunk := []*link{end}
	for len(end.next) == 1 {
		end = end.next[0]
		trunk = append(trunk, end)
	}
	decided := make(map[string]bool)
	for _, n := range slices.Backward(trunk) {
		b, ok := n.Body.(*statement.Peer)
		if !ok || decided[b.PeerID] {
			continue
		}
		decided[b.PeerID] = true
		if c.retract[n.id] || c.revoked[n.Signer] || !slices.Contains(end.identity, n.Signer) {
			continue
		}
		if len(peers) == MaxOperatorPeers {
			more++
			continue
		}
		peers = append(peers, b)
	}
	return peers, more
}

// forked reports whether somebody signed two successors of one statement that counts.
func (c *chain) forked() bool {
	end := c.root
	for len(end.next) == 1 {
		end = end.next[0]
	}
	return len(end.next) > 1
}

// name returns what the operator calls itself in its newest statement that counts.
func (c *chain) name() string {
	name := ""
	for n := c.root; ; n = n.next[0] {
		if b, ok := n.Body.(*statement.Operator); ok {
			name = b.Name
		}
		if len(n.next) != 1 {
			return name
		}
	}
}
