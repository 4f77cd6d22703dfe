package verify

import (
	"bytes"
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"slices"

	"github.com/firn-log/firn/log/statement"
)

// found is a statement and every place where the logs of the policy hold it.
type found struct {
	*statement.Statement
	id     statement.ID
	places []Place
	// others are leaves with the same id and another signature: the id does
	// not cover it, and one log's copy must not spoil that of another.
	others []*statement.Statement
	memo   *memo // nil: nothing is remembered
}

// memo is what came of verifying a statement. Whose signature it is follows from the statement.
type memo struct {
	done, proven bool
	err, proof   error
}

// Verify verifies the signature of any copy.
func (f found) Verify(key statement.PublicKey) error {
	if f.memo == nil {
		return f.verify(key)
	}
	if !f.memo.done {
		f.memo.done, f.memo.err = true, f.verify(key)
	}
	return f.memo.err
}

// verifyProof verifies the proof of the key that f adds.
func (f found) verifyProof(add *statement.KeyAdd) error {
	if f.memo == nil {
		return add.VerifyProof()
	}
	if !f.memo.proven {
		f.memo.proven, f.memo.proof = true, add.VerifyProof()
	}
	return f.memo.proof
}

func (f found) verify(key statement.PublicKey) error {
	err := f.Statement.Verify(key)
	for _, s := range f.others {
		if err == nil {
			break
		}
		err = s.Verify(key)
	}
	return err
}

// pool collects statements by id.
type pool map[statement.ID]*found

func (p pool) add(s *statement.Statement, at Place) {
	id := s.ID()
	f := p[id]
	switch {
	case f == nil:
		p[id] = &found{Statement: s, id: id, places: []Place{at}}
		return
	case !bytes.Equal(f.Sig, s.Sig):
		f.others, f.memo = append(f.others, s), nil
	}
	if !slices.Contains(f.places, at) {
		f.places = append(f.places, at)
	}
}

// chain is the people statements of one operator, linked by prev
// (spec/policy.md#who-speaks-for-an-operator). It is a tree because somebody
// may sign two successors of one statement; where that happens is a fork.
type chain struct {
	id      statement.ID
	nodes   map[statement.ID]*node
	root    *node
	keys    map[statement.KeyID]statement.PublicKey // every key with a proof, on any branch, and the first identity
	revoked map[statement.KeyID]bool                // identity keys that may not go on
	revokes []*statement.KeyRevoke
	retract map[statement.ID]bool
	ahead   map[statement.ID]bool   // revocations that act without their predecessor
	refused map[statement.ID]string // why a statement is no part of it, one clause
	linked  *linked                 // nil while statements are being linked
}

// linked is what follows from a chain that is linked: it is asked for each key again.
type linked struct {
	trunk, branches []*node
	identity        map[statement.KeyID]bool
	revokes         map[statement.KeyID][]*statement.KeyRevoke
	forks           map[string]uint64 // by log, if it holds a statement around the fork
}

type node struct {
	found
	parent   *node
	children []*node
	identity *identities // keys that may sign the next statement
}

// identities are the identity keys at one point of a chain, as the last change and
// those before it, which branches share.
type identities struct {
	key    statement.KeyID
	in     bool
	before *identities
}

func (s *identities) has(k statement.KeyID) bool {
	for ; s != nil; s = s.before {
		if s.key == k {
			return s.in
		}
	}
	return false
}

// Fork is two statements by one operator that name the same predecessor.
type Fork struct {
	Operator   statement.ID
	Prev       statement.ID
	Successors []statement.ID // at least two, sorted
}

func (f *Fork) String() string {
	return fmt.Sprintf("statements %s and %s both follow %s", short(f.Successors[0]), short(f.Successors[1]), short(f.Prev))
}

func short(id [32]byte) string { return fmt.Sprintf("%x", id[:6]) }

// buildChain links what the logs hold of operator id. rank orders the places:
// the home log first, then the logs of the policy in their order; a statement
// stands at its first place. Statements that nobody who may speak for the
// operator signed are left out, so that strangers cannot make a fork.
func buildChain(id statement.ID, people []found, rank func(home string, p Place) (int, uint64)) *chain {
	c := &chain{
		id:      id,
		nodes:   make(map[statement.ID]*node),
		keys:    make(map[statement.KeyID]statement.PublicKey),
		revoked: make(map[statement.KeyID]bool),
		retract: make(map[statement.ID]bool),
		ahead:   make(map[statement.ID]bool),
		refused: make(map[statement.ID]string),
	}
	var rest []found
	for _, f := range people {
		if f.id == id {
			c.plant(f)
		} else if f.Prev != nil && statement.OperatorOf(f.Body) == id {
			rest = append(rest, f)
		}
	}
	if c.root == nil {
		return nil
	}
	home := c.home()
	slices.SortFunc(rest, func(a, b found) int {
		return cmp.Or(comparePlaces(a, b, func(p Place) (int, uint64) { return rank(home, p) }), slices.Compare(a.id[:], b.id[:]))
	})
	rest = c.link(rest)
	for _, f := range rest {
		c.revokeAhead(f)
	}
	c.settle()
	return c
}

// link adds statements below what they follow, and returns those that follow nothing here. They are gone
// through in order, again and again while any of them finds its place, but each is looked at only once what it
// follows is there.
func (c *chain) link(rest []found) (left []found) {
	after := make(map[statement.ID][]int)
	for i, f := range rest {
		after[*f.Prev] = append(after[*f.Prev], i)
	}
	linked := make([]bool, len(rest))
	due := roundHeap{}
	for _, i := range after[c.id] {
		due = append(due, round{0, i})
	}
	heap.Init(&due)
	for len(due) > 0 {
		at := heap.Pop(&due).(round)
		f := rest[at.i]
		linked[at.i] = true
		c.grow(c.nodes[*f.Prev], f)
		if c.nodes[f.id] == nil {
			continue
		}
		for _, i := range after[f.id] {
			next := round{at.n, i}
			if i < at.i {
				next.n++ // it was passed over in this round
			}
			heap.Push(&due, next)
		}
	}
	for i, f := range rest {
		if !linked[i] {
			left = append(left, f)
		}
	}
	return left
}

// round is when a statement is linked: in which round, and at which place in it.
type round struct{ n, i int }

type roundHeap []round

func (h roundHeap) Len() int { return len(h) }
func (h roundHeap) Less(a, b int) bool {
	return cmp.Or(cmp.Compare(h[a].n, h[b].n), cmp.Compare(h[a].i, h[b].i)) < 0
}
func (h roundHeap) Swap(a, b int) { h[a], h[b] = h[b], h[a] }
func (h *roundHeap) Push(x any)   { *h = append(*h, x.(round)) }
func (h *roundHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// settle computes what is asked for each key.
func (c *chain) settle() {
	s := &linked{identity: c.identityKeys(), revokes: make(map[statement.KeyID][]*statement.KeyRevoke)}
	s.trunk, s.branches = c.trunk()
	for _, r := range c.revokes {
		s.revokes[r.KeyID] = append(s.revokes[r.KeyID], r)
	}
	if s.branches != nil {
		s.forks = placesOf(s.trunk[len(s.trunk)-1:])
		maps.Copy(s.forks, placesOf(s.branches))
	}
	c.linked = s
}

// placesOf returns the first index of any of the statements in each log that holds one.
func placesOf(ns []*node) map[string]uint64 {
	first := make(map[string]uint64)
	for _, n := range ns {
		for _, p := range n.places {
			if at, there := first[p.Log]; !there || p.Index < at {
				first[p.Log] = p.Index
			}
		}
	}
	return first
}

// revokeAhead lets a revocation act whose predecessor no log has shown: it does
// not wait until whoever keeps that back lets go of it. Whose key it is must
// be known for certain, so it is no part of the chain otherwise.
func (c *chain) revokeAhead(f found) {
	b, ok := f.Body.(*statement.KeyRevoke)
	if !ok || !c.identityKeys()[f.Signer] || c.revoked[f.Signer] || f.Verify(c.keys[f.Signer]) != nil {
		c.refused[f.id] = "what it follows is no part of the operator's chain here"
		return
	}
	c.ahead[f.id] = true
	c.revokes = append(c.revokes, b)
}

func comparePlaces(a, b found, rank func(Place) (int, uint64)) int {
	first := func(f found) (int, uint64) {
		r, i := rank(f.places[0])
		for _, p := range f.places[1:] {
			if pr, pi := rank(p); pr < r || pr == r && pi < i {
				r, i = pr, pi
			}
		}
		return r, i
	}
	ar, ai := first(a)
	br, bi := first(b)
	return cmp.Or(cmp.Compare(ar, br), cmp.Compare(ai, bi))
}

// plant makes the operator's first statement the root.
func (c *chain) plant(f found) {
	body, ok := f.Body.(*statement.Operator)
	if !ok || body.OperatorID != nil || f.Prev != nil || f.Verify(body.Identity) != nil {
		return
	}
	key := body.Identity.ID()
	c.keys[key] = body.Identity
	c.root = &node{found: f, identity: &identities{key: key, in: true}}
	c.nodes[f.id] = c.root
}

// grow adds f below parent if an identity key of that moment signed it.
func (c *chain) grow(parent *node, f found) {
	if why := c.refusal(parent, f); why != "" {
		c.refused[f.id] = why
		return
	}
	n := &node{found: f, parent: parent, identity: parent.identity}
	switch b := f.Body.(type) {
	case *statement.KeyAdd:
		c.keys[b.Key.ID()] = b.Key
		if b.Role == statement.RoleIdentity {
			n.identity = &identities{b.Key.ID(), true, parent.identity}
		}
	case *statement.KeyRevoke:
		c.revokes = append(c.revokes, b)
		if parent.identity.has(b.KeyID) {
			c.revoked[b.KeyID] = true
			n.identity = &identities{b.KeyID, false, parent.identity}
		}
	case *statement.Retract:
		c.retract[b.Statement] = true
	}
	parent.children = append(parent.children, n)
	c.nodes[f.id] = n
}

// refusal says why f may not stand below parent, in one clause; "" if it may.
func (c *chain) refusal(parent *node, f found) string {
	switch {
	case c.revoked[f.Signer]:
		return "signed by a revoked key"
	case !parent.identity.has(f.Signer):
		return "not signed by an identity key of the operator"
	}
	if err := f.Verify(c.keys[f.Signer]); err != nil {
		return err.Error()
	}
	if add, ok := f.Body.(*statement.KeyAdd); ok {
		if err := f.verifyProof(add); err != nil {
			return err.Error()
		}
	}
	return ""
}

// trunk returns the statements that count, from the first to the last one
// before any fork, and the fork.
func (c *chain) trunk() ([]*node, []*node) {
	if c.linked != nil {
		return c.linked.trunk, c.linked.branches
	}
	trunk := []*node{c.root}
	for n := c.root; len(n.children) > 0; {
		if len(n.children) > 1 {
			return trunk, n.children
		}
		n = n.children[0]
		trunk = append(trunk, n)
	}
	return trunk, nil
}

func (c *chain) fork() *Fork {
	trunk, branches := c.trunk()
	if branches == nil {
		return nil
	}
	f := &Fork{Operator: c.id, Prev: trunk[len(trunk)-1].id}
	for _, n := range branches {
		f.Successors = append(f.Successors, n.id)
	}
	slices.SortFunc(f.Successors, func(a, b statement.ID) int { return slices.Compare(a[:], b[:]) })
	return f
}

// newest returns the newest operator statement that counts.
func (c *chain) newest() *statement.Operator {
	trunk, _ := c.trunk()
	for _, n := range slices.Backward(trunk) {
		if b, ok := n.Body.(*statement.Operator); ok {
			return b
		}
	}
	return nil
}

// home returns the origin of the operator's home log. It needs the first
// statement only, before the others are linked.
func (c *chain) home() string { return c.newest().HomeLog }

// buildKeys returns the keys that may make claims, and identityKeys those that
// ever could speak for the operator: a key that is both makes no claims.
func (c *chain) buildKeys() map[statement.KeyID]statement.PublicKey {
	trunk, _ := c.trunk()
	keys := make(map[statement.KeyID]statement.PublicKey)
	for _, n := range trunk {
		if b, ok := n.Body.(*statement.KeyAdd); ok && b.Role == statement.RoleBuild {
			keys[b.Key.ID()] = b.Key
		}
	}
	for k := range c.identityKeys() {
		delete(keys, k)
	}
	return keys
}

func (c *chain) identityKeys() map[statement.KeyID]bool {
	if c.linked != nil {
		return c.linked.identity
	}
	keys := map[statement.KeyID]bool{c.root.Signer: true}
	for _, n := range c.nodes {
		if b, ok := n.Body.(*statement.KeyAdd); ok && b.Role == statement.RoleIdentity {
			keys[b.Key.ID()] = true
		}
	}
	return keys
}

// liveBelow returns the first index of a log at which claims of key no longer
// count, or ^uint64(0) if nothing ends them.
func (c *chain) liveBelow(key statement.KeyID, log, origin string) uint64 {
	return min(revokedFrom(c.revocations(key), origin), c.forkIn(log))
}

func (c *chain) revocations(key statement.KeyID) []*statement.KeyRevoke {
	return c.linked.revokes[key]
}

// revokedFrom returns the first index of the log with that origin at which claims
// do not count because of any of the revocations, ^uint64(0) if there is none.
func revokedFrom(revokes []*statement.KeyRevoke, origin string) uint64 {
	limit := ^uint64(0)
	for _, r := range revokes {
		if cut, named := r.Cuts[origin]; named {
			limit = min(limit, cut)
		} else if r.Elsewhere == statement.Drop {
			limit = 0
		}
	}
	return limit
}

// forkIn returns the index of a log from which on the operator has no votes
// because its statements fork: that of the first successor, or, where the log
// holds none, of the statement that they follow. Where it holds neither nothing
// shows which claims came before the fork, and none counts.
func (c *chain) forkIn(log string) uint64 {
	if c.linked.branches == nil {
		return ^uint64(0)
	}
	return c.linked.forks[log]
}
