package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/firn-log/firn/log/statement"
)

// Standing is what the logs of the policy say about one of its operators.
type Standing struct {
	Name       string // in the policy
	Registered string // the name the operator gave itself, "" if it is not registered
	Home       string // origin of its home log, "" if unknown
	Keys       []statement.KeyID
	Fork       *Fork
	Notes      []string // sentences: what limits its votes, and why

	homes []string // origins of the home logs of everybody whose keys it uses
}

// directory is who may speak for whom (spec/policy.md#who-speaks-for-an-operator).
type directory struct {
	pol       *Policy
	standing  map[string]*Standing
	operators map[statement.KeyID]string              // policy name of the operator a key votes for
	chains    map[statement.KeyID]*chain              // whose people statements end or retract its claims
	public    map[statement.KeyID]statement.PublicKey // as far as known
	limits    map[keyAndLog]uint64
	origins   map[string]string // name of a log in the policy → origin
	ids       map[statement.ID]*Operator
	owners    map[statement.KeyID][]*chain // of the operators that matter, whose key it is
}

type keyAndLog struct {
	key statement.KeyID
	log string
}

// newDirectory resolves the operators of pol from every people statement that
// its logs hold about them.
func newDirectory(pol *Policy, people pool) *directory {
	d := emptyDirectory(pol)
	d.fill(d.allChains(people))
	return d
}

// newDirectoryOf is newDirectory for statements that are linked already.
func newDirectoryOf(pol *Policy, chains map[statement.ID]*chain) *directory {
	d := emptyDirectory(pol)
	d.fill(chains)
	return d
}

func emptyDirectory(pol *Policy) *directory {
	d := &directory{
		pol:       pol,
		standing:  make(map[string]*Standing),
		operators: make(map[statement.KeyID]string),
		chains:    make(map[statement.KeyID]*chain),
		public:    make(map[statement.KeyID]statement.PublicKey),
		limits:    make(map[keyAndLog]uint64),
		origins:   make(map[string]string),
		ids:       make(map[statement.ID]*Operator),
		owners:    make(map[statement.KeyID][]*chain),
	}
	for _, r := range pol.Logs {
		d.origins[r.Name] = r.Origin
	}
	for _, o := range pol.Operators {
		if o.ID != nil {
			d.ids[*o.ID] = o
		}
	}
	return d
}

func (d *directory) fill(chains map[statement.ID]*chain) {
	pol, owners := d.pol, d.owners
	named := make(map[statement.KeyID]*Operator) // by `key` lines
	for _, o := range pol.Operators {
		for _, k := range o.Keys {
			named[k] = o
		}
	}
	for _, c := range chains {
		listed := d.operatorWithID(c.id) != nil
		for k, pub := range c.keys {
			// Whoever else uses a key is asked about only for keys that the
			// policy names: it must not matter how much of a log was read.
			if listed || named[k] != nil {
				owners[k] = append(owners[k], c)
				d.public[k] = pub
			}
		}
	}
	votes := make(map[statement.ID]string)
	for _, o := range pol.Operators {
		st := &Standing{Name: o.Name}
		d.standing[o.Name] = st
		if o.ID != nil {
			d.byID(o, st, chains[*o.ID], owners, named)
		} else {
			d.byKey(o, st, owners, votes)
		}
		slices.SortFunc(st.Keys, compareKeys)
		slices.Sort(st.Notes)
	}
}

// allChains links the statements of every operator that any of them speaks for.
func (d *directory) allChains(people pool) map[statement.ID]*chain {
	by := make(map[statement.ID][]found)
	for id, f := range people {
		of := statement.OperatorOf(f.Body)
		if of.IsZero() && f.Kind == statement.KindOperator {
			of = id
		}
		if !of.IsZero() {
			by[of] = append(by[of], *f)
		}
	}
	chains := make(map[statement.ID]*chain)
	for id, fs := range by {
		if c := buildChain(id, fs, d.rank); c != nil {
			chains[id] = c
		}
	}
	return chains
}

// rank orders places: home log first, then the order of the policy.
func (d *directory) rank(home string, p Place) (int, uint64) {
	for i, r := range d.pol.Logs {
		if r.Name != p.Log {
			continue
		}
		if r.Origin == home {
			return -1, p.Index
		}
		return i, p.Index
	}
	return len(d.pol.Logs), p.Index
}

func (d *directory) byID(o *Operator, st *Standing, c *chain, owners map[statement.KeyID][]*chain, named map[statement.KeyID]*Operator) {
	if c == nil {
		return
	}
	d.describe(st, c)
	for k, pub := range c.buildKeys() {
		switch other := named[k]; {
		case len(owners[k]) > 1:
			st.Notes = append(st.Notes, fmt.Sprintf("key %s belongs to two operators and counts for neither", short(k)))
		case other != nil:
			st.Notes = append(st.Notes, fmt.Sprintf("key %s is also named by operator %s of the policy and counts for neither", short(k), other.Name))
		default:
			d.enter(o, st, k, c)
			d.public[k] = pub
		}
	}
}

// byKey resolves a `key` line. votes says as whom an operator of the logs votes
// already: two lines for one operator do not give it two votes.
func (d *directory) byKey(o *Operator, st *Standing, owners map[statement.KeyID][]*chain, votes map[statement.ID]string) {
	for _, k := range o.Keys {
		var c *chain
		switch own := owners[k]; len(own) {
		case 0: // a key without an operator, for instance that of a cache
		case 1:
			c = own[0]
		default:
			st.Notes = append(st.Notes, fmt.Sprintf("key %s belongs to two operators and counts for neither", short(k)))
			continue
		}
		if c != nil {
			if c.identityKeys()[k] {
				st.Notes = append(st.Notes, fmt.Sprintf("key %s is an identity key and makes no claims; name a build key", short(k)))
				continue
			}
			if other := d.operatorWithID(c.id); other != nil {
				st.Notes = append(st.Notes, fmt.Sprintf("key %s also belongs to operator %s of the policy and counts for neither", short(k), other.Name))
				continue
			}
			if first, voted := votes[c.id]; voted && first != o.Name {
				st.Notes = append(st.Notes, fmt.Sprintf("key %s belongs to the operator that already votes as %s and does not count again", short(k), first))
				continue
			}
			votes[c.id] = o.Name
			d.describe(st, c)
		}
		d.enter(o, st, k, c)
	}
}

func (d *directory) operatorWithID(id statement.ID) *Operator {
	return d.ids[id]
}

func (d *directory) describe(st *Standing, c *chain) {
	body := c.newest()
	st.Registered, st.Home = body.Name, body.HomeLog
	if !slices.Contains(st.homes, body.HomeLog) {
		st.homes = append(st.homes, body.HomeLog)
	}
	if f := c.fork(); f != nil {
		st.Fork = f
		st.Notes = append(st.Notes, fmt.Sprintf("its people statements fork (%s): its claims stop counting there", f))
	}
}

func (d *directory) enter(o *Operator, st *Standing, k statement.KeyID, c *chain) {
	d.operators[k] = o.Name
	st.Keys = append(st.Keys, k)
	if c == nil {
		return
	}
	d.chains[k] = c
	for _, r := range d.pol.Logs {
		limit := c.liveBelow(k, r.Name, r.Origin)
		d.limits[keyAndLog{k, r.Name}] = limit
	}
	for _, r := range c.revocations(k) {
		st.Notes = append(st.Notes, fmt.Sprintf("key %s is revoked (%s)", short(k), r.Reason))
	}
}

// signers returns every key that may vote, sorted.
func (d *directory) signers() []statement.KeyID {
	keys := make([]statement.KeyID, 0, len(d.operators))
	for k := range d.operators {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

// live reports for whom a claim counts at a place, or "".
func (d *directory) live(key statement.KeyID, id statement.ID, at Place) string {
	name, votes := d.operators[key]
	if !votes {
		return ""
	}
	if c := d.chains[key]; c != nil && (c.retract[id] || at.Index >= d.limits[keyAndLog{key, at.Log}]) {
		return ""
	}
	return name
}

// known returns the public key with that id.
func (d *directory) known(key statement.KeyID) (statement.PublicKey, bool) {
	pub, ok := d.public[key]
	return pub, ok
}

// Words is the standing in one line for people.
func (s *Standing) Words() string {
	words := s.Name
	if s.Registered != "" && s.Registered != s.Name {
		words += " (" + s.Registered + ")"
	}
	if len(s.Notes) > 0 {
		words += ": " + strings.Join(s.Notes, "; ")
	}
	return words
}
