package verify

import (
	"cmp"
	"context"
	"slices"

	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// A History is what one log tells about one operator, by the rules of
// spec/policy.md#who-speaks-for-an-operator: every statement that it lists about
// the operator, with its signature verified and its place in the chain.
type History struct {
	ID         statement.ID
	Profile    *statement.Operator // as last said, before any fork
	Head       statement.ID        // the newest statement before any fork
	Fork       *Fork               // nil if there is none
	Keys       []HistoryKey        // in the order in which they came
	Steps      []Step              // in the order of the log
	Checkpoint *log.Checkpoint
	Incomplete string // why statements may be missing, one clause that names the log; "" if none is
}

// A HistoryKey is a key of an operator, also one that was added after a fork.
type HistoryKey struct {
	Key     statement.PublicKey
	Role    statement.Role
	Revokes []*statement.KeyRevoke
	// Below is the index of this log from which on its claims do not count, because of
	// a revocation or a fork; ^uint64(0) if nothing ends them. It is of no meaning for an
	// identity key, which makes no claims.
	Below uint64
	Use   KeyUse // zero before [History.AddUse]
}

// RevokedFrom returns the first index of the log with that origin from which on
// revocations end the claims of the key, ^uint64(0) if there is none.
func (k *HistoryKey) RevokedFrom(origin string) uint64 { return revokedFrom(k.Revokes, origin) }

// KeyUse is what the index of a log says about a key.
type KeyUse struct {
	Signed int            // statements that name it as their signer
	Last   uint64         // the index of the newest of them, if there is one
	Others []statement.ID // other operators whose key it has proven to be, sorted
}

// A Step is one statement about an operator.
type Step struct {
	Index     uint64
	Statement *statement.Statement
	Leaf      []byte
	// Counts says that the statement acts: it is in the chain, and before a fork or one
	// that acts after a fork too. Why says why not.
	Counts bool
	Why    string
	// Branch is 0 before a fork, and otherwise 1 for what follows from the first of
	// Fork.Successors, 2 from the second, and so on.
	Branch int
}

// ReadHistory asks a log for an operator. It returns nil if the log does not know
// it. An answer that is not proven to be whole is no error: see History.Incomplete.
func ReadHistory(ctx context.Context, c *log.Client, id statement.ID) (*History, error) {
	key := "operator:" + id.String()
	answers, err := c.Lookup(ctx, log.Query{Keys: []string{key}})
	if err != nil {
		return nil, err
	}
	p := make(pool)
	h := &History{ID: id, Checkpoint: answers.Checkpoint, Incomplete: answers.Incomplete}
	for _, f := range answers.Of(key) {
		if f.Leaf == nil || f.Leaf.Statement.Kind.Class() != statement.People {
			continue
		}
		p.add(f.Leaf.Statement, Place{Index: f.Index})
		h.Steps = append(h.Steps, Step{Index: f.Index, Statement: f.Leaf.Statement, Leaf: f.Leaf.Bytes})
	}
	all := make([]found, 0, len(p))
	for _, f := range p {
		all = append(all, *f)
	}
	chain := buildChain(id, all, func(_ string, p Place) (int, uint64) { return 0, p.Index })
	if chain == nil {
		return nil, nil
	}
	h.tell(chain, c.Origin())
	return h, nil
}

// tell fills in what follows from the chain.
func (h *History) tell(c *chain, origin string) {
	trunk, branches := c.trunk()
	h.Profile, h.Head, h.Fork = c.newest(), trunk[len(trunk)-1].id, c.fork()
	branch := make(map[*node]int)
	var mark func(n *node, number int)
	mark = func(n *node, number int) {
		branch[n] = number
		for _, child := range n.children {
			mark(child, number)
		}
	}
	for _, n := range branches {
		mark(n, 1+slices.Index(h.Fork.Successors, n.id))
	}
	seen := make(map[statement.ID]bool)
	for i := range h.Steps {
		s := &h.Steps[i]
		h.place(s, c, branch, seen)
	}
	h.listKeys(c, origin)
}

// place says of a step whether it acts, and on which branch.
func (h *History) place(s *Step, c *chain, branch map[*node]int, seen map[statement.ID]bool) {
	id := s.Statement.ID()
	n := c.nodes[id]
	if n == nil && !c.ahead[id] {
		s.Why = c.refused[id]
		switch {
		case s.Why != "":
		case statement.OperatorOf(s.Statement.Body) != c.id:
			s.Why = "by another operator" // whose keys are not looked at here
		default:
			s.Why = "without a predecessor"
		}
		return
	}
	if seen[id] {
		s.Why = "the same statement again"
		return
	}
	seen[id] = true
	s.Counts = true
	if n == nil || branch[n] == 0 {
		return
	}
	s.Branch = branch[n]
	switch s.Statement.Body.(type) {
	case *statement.KeyRevoke, *statement.Retract:
	default:
		s.Counts, s.Why = false, "it comes after a fork"
	}
}

func (h *History) listKeys(c *chain, origin string) {
	build, identity := c.buildKeys(), c.identityKeys()
	nodes := make([]*node, 0, len(c.nodes))
	for _, n := range c.nodes {
		nodes = append(nodes, n)
	}
	first := func(n *node) uint64 {
		return slices.MinFunc(n.places, func(a, b Place) int { return cmp.Compare(a.Index, b.Index) }).Index
	}
	slices.SortFunc(nodes, func(a, b *node) int { return cmp.Compare(first(a), first(b)) })
	have := make(map[statement.KeyID]bool)
	for _, n := range nodes {
		var key statement.PublicKey
		switch b := n.Body.(type) {
		case *statement.KeyAdd:
			key = b.Key
		case *statement.Operator:
			key = b.Identity
		default:
			continue
		}
		id := key.ID()
		if have[id] || c.keys[id].ID() != id {
			continue // an operator statement does not make an identity key but the first
		}
		have[id] = true
		k := HistoryKey{Key: key, Role: statement.RoleBuild, Revokes: c.revocations(id)}
		switch _, counts := build[id]; {
		case identity[id]:
			k.Role = statement.RoleIdentity
		case counts:
			k.Below = c.liveBelow(id, "", origin)
		}
		h.Keys = append(h.Keys, k)
	}
}

// AddUse asks the log's index how its keys were used, and who else claims them.
func (h *History) AddUse(ctx context.Context, c *log.Client) error {
	keys := make([]statement.KeyID, len(h.Keys))
	for i := range h.Keys {
		keys[i] = h.Keys[i].Key.ID()
	}
	uses, incomplete, err := usesOf(ctx, c, h.ID, keys)
	if err != nil {
		return err
	}
	for i := range h.Keys {
		h.Keys[i].Use = uses[i]
	}
	h.Incomplete = cmp.Or(h.Incomplete, incomplete)
	return nil
}

// usesOf asks how keys of the operator id were used. What a busy key signed is
// counted in the index and not fetched: only what others say of it, and the first
// that it signed, which shows whether it is another operator's identity key.
func usesOf(ctx context.Context, c *log.Client, id statement.ID, keys []statement.KeyID) (uses []KeyUse, incomplete string, err error) {
	if len(keys) == 0 {
		return nil, "", nil
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = "key:" + k.String()
	}
	lists, err := c.Lookup(ctx, log.Query{Keys: names, Signers: []statement.KeyID{}})
	if err != nil {
		return nil, "", err
	}
	uses = make([]KeyUse, len(keys))
	var others []statement.KeyID
	for i, k := range keys {
		u := &uses[i]
		for _, f := range lists.Of(names[i]) {
			if f.Signer != k {
				others = append(others, f.Signer)
				continue
			}
			if u.Signed == 0 {
				e, err := c.Entry(ctx, lists.Checkpoint, f.Index)
				if err != nil {
					return nil, "", err
				}
				if s, err := statement.Parse(e.Leaf); err == nil {
					u.claimed(s, k, id)
				}
			}
			u.Signed, u.Last = u.Signed+1, f.Index
		}
	}
	incomplete = lists.Incomplete
	if len(others) == 0 {
		return uses, incomplete, nil
	}
	slices.SortFunc(others, compareKeys)
	bodies, err := c.Lookup(ctx, log.Query{Keys: names, Signers: slices.Compact(others)})
	if err != nil {
		return nil, "", err
	}
	for i, k := range keys {
		for _, f := range bodies.Of(names[i]) {
			if f.Leaf != nil {
				uses[i].claimed(f.Leaf.Statement, k, id)
			}
		}
	}
	return uses, cmp.Or(incomplete, bodies.Incomplete), nil
}

// claimed adds the operator whose key k is according to s with a proof by k, unless it is id.
func (u *KeyUse) claimed(s *statement.Statement, k statement.KeyID, id statement.ID) {
	var of statement.ID
	switch b := s.Body.(type) {
	case *statement.KeyAdd:
		if b.Key.ID() == k && b.VerifyProof() == nil {
			of = b.OperatorID
		}
	case *statement.Operator:
		if b.OperatorID == nil && b.Identity.ID() == k && s.Verify(b.Identity) == nil {
			of = s.ID()
		}
	}
	if !of.IsZero() && of != id && !slices.Contains(u.Others, of) {
		u.Others = append(u.Others, of)
		slices.SortFunc(u.Others, func(a, b statement.ID) int { return slices.Compare(a[:], b[:]) })
	}
}
