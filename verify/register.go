package verify

import (
	"cmp"
	"maps"
	"slices"

	"github.com/firn-log/firn/log/statement"
)

// A Register says who speaks for whom while logs are read from their start, by the
// rules of spec/policy.md#who-speaks-for-an-operator. It is for whoever keeps up with
// whole logs: what it answers is a function of the policy and of the people statements that it
// was given, in any order. It is not safe for concurrent use.
type Register struct {
	given  *Policy // nil: every operator that is registered counts
	pol    *Policy
	people map[statement.ID]pool // by operator
	chains map[statement.ID]*chain
	dirty  map[statement.ID]bool
	dir    *directory
	owners map[statement.KeyID][]statement.ID // operators in whose chain a key is, sorted
	public map[statement.KeyID]statement.PublicKey
}

// NewRegister returns an empty register. With a policy its operators count, in its logs;
// without one every registered operator does, under the text of its id, in every log.
func NewRegister(pol *Policy) *Register {
	r := &Register{
		given:  pol,
		pol:    pol,
		people: make(map[statement.ID]pool),
		chains: make(map[statement.ID]*chain),
		dirty:  make(map[statement.ID]bool),
		owners: make(map[statement.KeyID][]statement.ID),
		public: make(map[statement.KeyID]statement.PublicKey),
	}
	if pol == nil {
		r.pol = &Policy{}
	}
	r.dir = newDirectoryOf(r.pol, nil)
	return r
}

// AddLog makes a log known. It comes before what the log holds.
func (r *Register) AddLog(origin string) {
	if r.given != nil || r.logName(origin) != "" {
		return
	}
	logs := append(slices.Clone(r.pol.Logs), &LogRef{Name: origin, Origin: origin})
	slices.SortFunc(logs, func(a, b *LogRef) int { return cmp.Compare(a.Origin, b.Origin) })
	r.pol = &Policy{Logs: logs, Operators: r.pol.Operators}
	r.dir = newDirectoryOf(r.pol, r.chains)
	for id := range r.people {
		r.dirty[id] = true
	}
}

func (r *Register) logName(origin string) string {
	for _, l := range r.pol.Logs {
		if l.Origin == origin {
			return l.Name
		}
	}
	return ""
}

// Add adds a people statement at a place. What it changes is seen after Update. It
// reports whether the statement makes a public key known that was not.
func (r *Register) Add(s *statement.Statement, origin string, index uint64) (key statement.KeyID, news bool) {
	var pub statement.PublicKey
	switch b := s.Body.(type) {
	case *statement.KeyAdd:
		pub = b.Key
	case *statement.Operator:
		pub = b.Identity
	}
	if !pub.IsZero() {
		if _, known := r.public[pub.ID()]; !known {
			r.public[pub.ID()], key, news = pub, pub.ID(), true
		}
	}
	name, of := r.logName(origin), statement.OperatorOf(s.Body)
	if of.IsZero() && s.Kind == statement.KindOperator {
		of = s.ID()
	}
	if name == "" || of.IsZero() {
		return key, news
	}
	if r.people[of] == nil {
		r.people[of] = make(pool)
	}
	r.people[of].add(s, Place{Log: name, Index: index})
	r.dirty[of] = true
	return key, news
}

// News is whose claims count otherwise since the last Update.
type News struct {
	Operators  []statement.ID    // whose statements are new, or who share a key with one of them
	Keys       []statement.KeyID // all of whose claims may count otherwise
	Statements []statement.ID    // that were retracted, or are no longer
}

// Update links what was added. Its cost is that of the operators of whom there is something new.
func (r *Register) Update() News {
	if len(r.dirty) == 0 {
		return News{}
	}
	var n News
	var touched []statement.ID
	before := r.dir
	retracted := make(map[statement.ID]map[statement.ID]bool)
	for id := range r.dirty {
		n.Operators = append(n.Operators, id)
		if c := r.chains[id]; c != nil {
			retracted[id] = c.retract
		}
		all := make([]found, 0, len(r.people[id]))
		for _, f := range r.people[id] {
			if f.memo == nil {
				f.memo = &memo{}
			}
			all = append(all, *f)
		}
		if c := buildChain(id, all, r.dir.rank); c != nil {
			touched = append(touched, r.own(id, r.chains[id], c)...)
			r.chains[id] = c
		}
	}
	r.dirty = make(map[statement.ID]bool)
	if r.given == nil {
		r.pol = &Policy{Logs: r.pol.Logs}
		for id := range r.chains {
			r.pol.Operators = append(r.pol.Operators, &Operator{Name: id.String(), ID: &id})
		}
		slices.SortFunc(r.pol.Operators, func(a, b *Operator) int { return cmp.Compare(a.Name, b.Name) })
	}
	r.dir = newDirectoryOf(r.pol, r.chains)
	n.Keys = r.dir.movedSince(before)
	for _, id := range n.Operators {
		if c := r.chains[id]; c != nil {
			n.Statements = append(n.Statements, differing(retracted[id], c.retract)...)
		}
	}
	n.Operators = append(n.Operators, touched...)
	slices.SortFunc(n.Operators, compareIDs)
	n.Operators = slices.Compact(n.Operators)
	slices.SortFunc(n.Statements, compareIDs)
	return n
}

func compareIDs(a, b statement.ID) int { return slices.Compare(a[:], b[:]) }

// own notes whose keys those of a chain are, and returns the others who have, or
// had, one of them too: what is said of their keys may be something else now.
func (r *Register) own(id statement.ID, before, now *chain) (touched []statement.ID) {
	gone := make(map[statement.KeyID]bool)
	if before != nil {
		for k := range before.keys {
			gone[k] = true
		}
	}
	for k := range now.keys {
		if gone[k] {
			delete(gone, k)
			continue
		}
		touched = append(touched, r.owners[k]...)
		at, _ := slices.BinarySearchFunc(r.owners[k], id, compareIDs)
		r.owners[k] = slices.Insert(slices.Clone(r.owners[k]), at, id)
	}
	for k := range gone {
		r.owners[k] = slices.DeleteFunc(slices.Clone(r.owners[k]), func(o statement.ID) bool { return o == id })
		touched = append(touched, r.owners[k]...)
	}
	return touched
}

func differing(a, b map[statement.ID]bool) (ids []statement.ID) {
	for id := range a {
		if !b[id] {
			ids = append(ids, id)
		}
	}
	for id := range b {
		if !a[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// movedSince returns the keys that vote for somebody else than before, or up to other indexes.
func (d *directory) movedSince(before *directory) []statement.KeyID {
	all := maps.Clone(d.operators)
	maps.Copy(all, before.operators)
	var moved []statement.KeyID
	for k := range all {
		if d.operators[k] != before.operators[k] || !d.sameLimits(before, k) {
			moved = append(moved, k)
		}
	}
	slices.SortFunc(moved, compareKeys)
	return moved
}

func (d *directory) sameLimits(before *directory, k statement.KeyID) bool {
	// A key of the same operator whose people statements are linked now is another key.
	if (d.chains[k] == nil) != (before.chains[k] == nil) || len(d.pol.Logs) != len(before.pol.Logs) {
		return false
	}
	for _, l := range d.pol.Logs {
		at := keyAndLog{k, l.Name}
		if d.limits[at] != before.limits[at] {
			return false
		}
	}
	return true
}

// Live reports for whom a claim counts at a place: the name of an operator of the policy,
// or "".
func (r *Register) Live(key statement.KeyID, id statement.ID, origin string, index uint64) string {
	name := r.logName(origin)
	if name == "" {
		return ""
	}
	return r.dir.live(key, id, Place{Log: name, Index: index})
}

// Why says in one clause why a claim does not count at a place; "" if it does.
func (r *Register) Why(key statement.KeyID, id statement.ID, origin string, index uint64) string {
	name := r.logName(origin)
	c := r.dir.chains[key]
	switch {
	case name == "":
		return "the policy does not name its log"
	case r.Live(key, id, origin, index) != "":
		return ""
	case r.dir.operators[key] == "" && len(r.dir.owners[key]) > 1:
		return "its key belongs to two operators"
	case r.dir.operators[key] == "" && len(r.Owners(key)) > 0 && r.given != nil:
		return "its operator is not in the policy, or this key may make no claims"
	case r.dir.operators[key] == "" && len(r.Owners(key)) > 0:
		return "this key of its operator may make no claims"
	case r.dir.operators[key] == "":
		return "nobody registered its key"
	case c.retract[id]:
		return "its operator retracted it"
	case index >= revokedFrom(c.revocations(key), r.dir.origins[name]):
		return "its key is revoked"
	}
	return "its operator's statements fork"
}

// Owners returns the operators whose key it has proven to be, sorted.
func (r *Register) Owners(key statement.KeyID) []statement.ID { return r.owners[key] }

// Key returns the public key with that id, if a people statement has shown it.
func (r *Register) Key(id statement.KeyID) (statement.PublicKey, bool) {
	k, ok := r.public[id]
	return k, ok
}

// Keys returns every public key that people statements have shown.
func (r *Register) Keys() map[statement.KeyID]statement.PublicKey { return maps.Clone(r.public) }

// Policy returns the policy whose operators count: the one that was given, or
// the one that every registered operator is in by now.
func (r *Register) Policy() *Policy { return r.pol }

// Registered is an operator as the logs show it.
type Registered struct {
	ID      statement.ID
	Profile *statement.Operator // as last said, before any fork
	Fork    *Fork               // nil if there is none
	Keys    []RegisteredKey     // sorted by key id
}

// RegisteredKey is a key of an operator.
type RegisteredKey struct {
	Key       statement.KeyID
	Role      statement.Role
	CacheName string
	State     string // "live", or why its claims do not all count, one clause
}

// Registered returns an operator; nil if the logs do not show its first statement.
func (r *Register) Registered(id statement.ID) *Registered {
	c := r.chains[id]
	if c == nil {
		return nil
	}
	out := &Registered{ID: id, Profile: c.newest(), Fork: c.fork()}
	build, identity := c.buildKeys(), c.identityKeys()
	names := make(map[statement.KeyID]string)
	for _, n := range c.nodes {
		if b, ok := n.Body.(*statement.KeyAdd); ok && b.CacheName != "" {
			if k := b.Key.ID(); names[k] == "" || b.CacheName < names[k] {
				names[k] = b.CacheName
			}
		}
	}
	for k := range c.keys {
		rk := RegisteredKey{Key: k, Role: statement.RoleBuild, CacheName: names[k], State: "live"}
		_, counts := build[k]
		switch revokes := c.revocations(k); {
		case identity[k]:
			rk.Role = statement.RoleIdentity
			if c.revoked[k] {
				rk.State = "revoked"
			}
		case !counts:
			rk.State = "added after a fork"
		case len(revokes) > 0:
			rk.State = "revoked: " + string(strictestReason(revokes))
		case len(r.dir.owners[k]) > 1:
			rk.State = "belongs to two operators and counts for neither"
		}
		out.Keys = append(out.Keys, rk)
	}
	slices.SortFunc(out.Keys, func(a, b RegisteredKey) int { return compareKeys(a.Key, b.Key) })
	return out
}

func strictestReason(revokes []*statement.KeyRevoke) statement.RevokeReason {
	reason := revokes[0].Reason
	for _, r := range revokes {
		if r.Reason == statement.Compromised || reason != statement.Compromised && r.Reason < reason {
			reason = r.Reason
		}
	}
	return reason
}

// MatchGlob reports whether name is as a glob of policies says (spec/policy.md#rules).
func MatchGlob(glob, name string) bool { return matchGlob(glob, name) }
