package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify"
)

// state is what the writer knows of the database beside it. It is read at the
// start and after a transaction that failed.
type state struct {
	ids      map[string]int64 // the last surrogate id given out, by table
	logs     map[string]*logState
	origins  map[int64]string
	reg      *verify.Register
	ops      map[[32]byte]int64 // by operator id, or the first key of one named by keys
	voters   map[string]int64   // operators that may count, by the name that verify gives them
	names    map[int64]string   // the reverse
	channels map[string]*channel
	signers  *cache[statement.KeyID, int64]
	outs     *cache[outKey, int64]
	people   *cache[int64, []int64] // of a meta
	persons  *cache[personKey, personRow]
	verdicts *cache[string, bool]
}

type logState struct {
	id   int64
	next uint64
}

// A cache remembers at least the n newest of its entries, and at most twice as many.
type cache[K comparable, V any] struct {
	n        int
	own      func(K) K // returns a key that keeps nothing else in memory; nil if every key is one
	now, old map[K]V
}

func newCache[K comparable, V any](n int, own func(K) K) *cache[K, V] {
	return &cache[K, V]{n: n, own: own, now: make(map[K]V)}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	v, ok := c.now[k]
	if !ok {
		if v, ok = c.old[k]; ok {
			c.put(k, v)
		}
	}
	return v, ok
}

func (c *cache[K, V]) put(k K, v V) {
	if len(c.now) >= c.n {
		c.old, c.now = c.now, make(map[K]V)
	}
	if c.own != nil {
		k = c.own(k)
	}
	c.now[k] = v
}

// id gives out the next surrogate id of a table.
func (s *state) id(table string) int64 {
	s.ids[table]++
	return s.ids[table]
}

// load reads the writer's state.
func (db *DB) load(ctx context.Context) error {
	s := &state{
		ids:      make(map[string]int64),
		logs:     make(map[string]*logState),
		origins:  make(map[int64]string),
		reg:      verify.NewRegister(db.opts.Policy),
		ops:      make(map[[32]byte]int64),
		voters:   make(map[string]int64),
		names:    make(map[int64]string),
		channels: make(map[string]*channel),
		signers:  newCache[statement.KeyID, int64](20_000, nil),
		outs:     newCache[outKey, int64](40_000, outKey.own),
		people:   newCache[int64, []int64](20_000, nil),
		persons:  newCache[personKey, personRow](20_000, nil),
		verdicts: newCache[string, bool](20_000, nil),
	}
	db.state = s
	tx := db.newTx()
	for _, table := range []string{"log", "signer", "stmt", "operator", "output", "channel", "attr", "meta", "person", "drv"} {
		var max sql.NullInt64
		if _, err := tx.one(ctx, "SELECT MAX(id) FROM "+table, nil, &max); err != nil {
			return fmt.Errorf("reading the state of the database: %w", err)
		}
		s.ids[table] = max.Int64
	}
	if err := tx.loadRows(ctx); err != nil {
		return fmt.Errorf("reading the state of the database: %w", err)
	}
	s.reg.Update()
	s.nameVoters(db.opts.Policy)
	db.regMu.Lock()
	db.reg = s.reg
	db.regMu.Unlock()
	return nil
}

func (tx *Tx) loadRows(ctx context.Context) error {
	s := tx.state
	err := tx.each(ctx, "SELECT id, origin, next FROM log ORDER BY id", nil, func(r *sql.Rows) error {
		l, origin := &logState{}, ""
		if err := r.Scan(&l.id, &origin, &l.next); err != nil {
			return err
		}
		s.logs[origin], s.origins[l.id] = l, origin
		s.reg.AddLog(origin)
		return nil
	})
	if err != nil {
		return err
	}
	err = tx.each(ctx, "SELECT id, ident FROM operator", nil, func(r *sql.Rows) error {
		var id int64
		var ident []byte
		if err := r.Scan(&id, &ident); err != nil {
			return err
		}
		s.ops[[32]byte(ident)] = id
		return nil
	})
	if err != nil {
		return err
	}
	err = tx.each(ctx, "SELECT id, name, meta_seq, drv_seq, meta_first, drv_first FROM channel", nil, func(r *sql.Rows) error {
		c := &channel{}
		if err := r.Scan(&c.id, &c.name, &c.seq[meta], &c.seq[drvs], &c.first[meta], &c.first[drvs]); err != nil {
			return err
		}
		s.channels[c.name] = c
		return nil
	})
	if err != nil {
		return err
	}
	for _, kind := range peopleKinds {
		if err := tx.loadPeople(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

// peopleKinds are the kinds of statements that say who speaks for whom.
var peopleKinds = []statement.Kind{statement.KindOperator, statement.KindKeyAdd, statement.KindKeyRevoke, statement.KindRetract, statement.KindVouch, statement.KindPeer}

// loadPeople gives the register the people statements of one kind.
func (tx *Tx) loadPeople(ctx context.Context, kind statement.Kind) error {
	q := "SELECT s.leaf, p.log, p.idx, c.leaf FROM stmt s JOIN place p ON p.stmt = s.id LEFT JOIN copy c ON c.stmt = p.stmt AND c.log = p.log AND c.idx = p.idx WHERE s.kind = $1 AND s.kind IN " + peopleList
	return tx.each(ctx, q, []any{string(kind)}, func(r *sql.Rows) error {
		var leaf, other []byte
		var log int64
		var index uint64
		if err := r.Scan(&leaf, &log, &index, &other); err != nil {
			return err
		}
		if other != nil {
			leaf = other
		}
		st, err := statement.Parse(slices.Clone(leaf))
		if err != nil {
			return fmt.Errorf("a statement in the database does not parse: %w", err)
		}
		tx.reg.Add(st, tx.origins[log], index)
		return nil
	})
}

// peopleList is peopleKinds in SQL, as the index on them has it.
const peopleList = "('operator', 'key-add', 'key-revoke', 'retract', 'vouch', 'peer')"

// nameVoters learns how verify calls the operators that may count.
func (s *state) nameVoters(given *verify.Policy) {
	if given == nil {
		for ident, id := range s.ops {
			name := hex.EncodeToString(ident[:])
			s.voters[name], s.names[id] = id, name
		}
		return
	}
	for _, o := range given.Operators {
		if id := s.ops[identOf(o)]; id > 0 {
			s.voters[o.Name], s.names[id] = id, o.Name
		}
	}
}

// identOf is by what the tracker knows an operator of a policy: its id, or its first key.
func identOf(o *verify.Operator) [32]byte {
	if o.ID != nil {
		return *o.ID
	}
	return o.Keys[0]
}

// digest says what of the configuration decides what a database holds.
func (o *Options) digest() string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	enc.Encode([]any{"tracker", schemaVersion, o.PolicyName, o.Random})
	if p := o.Policy; p != nil {
		for _, l := range p.Logs {
			enc.Encode([]any{"log", l.Name, l.Origin})
		}
		for _, op := range p.Operators {
			enc.Encode([]any{"operator", op.Name, op.ID, op.Keys, op.Attributes})
		}
		for _, r := range p.Rules {
			enc.Encode([]any{"rule", r.Name, r.Conditions, groupText(r.Need)})
		}
		for _, v := range p.Vetoes {
			enc.Encode([]any{"veto", groupText(v.Group)})
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func groupText(g *verify.Group) string {
	if g == nil {
		return "nothing"
	}
	var members []string
	for _, m := range g.Members {
		if m.Operator != nil {
			members = append(members, m.Operator.Name)
		} else {
			members = append(members, "("+groupText(m.Group)+")")
		}
	}
	return fmt.Sprintf("%d of %s signed %t distinct %q %d", g.K, strings.Join(members, " "), g.Signed, g.Distinct, g.Values)
}
