package store

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
)

// world is everything that a tracker reads: logs and evaluations.
type world struct {
	logs  map[string][]Entry
	evals [][]evaluation // one list per channel and tier
}

// worldMaker makes a world at random, with everything in it that goes wrong.
type worldMaker struct {
	t      testing.TB
	r      *rand.Rand
	w      *world
	people []*person
	specs  []spec
	said   []*statement.Statement
	lists  map[statement.ID][]byte // blobs of closures, which only logA has
	late   [2]int64                // how many evaluations each tier leaves out at first
}

func makeWorld(t testing.TB, seed uint64) *world {
	m := &worldMaker{t: t, r: rand.New(rand.NewPCG(seed, 7)), w: &world{logs: make(map[string][]Entry)}, lists: make(map[statement.ID][]byte)}
	for i := range 12 {
		s := spec{name: fmt.Sprintf("pkg%d-1.%d", i, i), finished: uint64(1_700_000_000 + m.r.IntN(1_000_000))}
		if i%3 == 0 {
			s.outputs = []string{"dev", "out"}
		}
		s.ca = i%5 == 4
		m.specs = append(m.specs, s)
	}
	for i := range 4 {
		m.people = append(m.people, newPerson(t, fmt.Sprintf("op%d", i)))
	}
	m.late = [][2]int64{{}, {}, {0, 2}, {2, 0}, {1, 2}}[m.r.IntN(5)]
	m.statements()
	m.evaluations()
	return m.w
}

// put enters a statement in one log or in both, and returns it.
func (m *worldMaker) put(s *statement.Statement) *statement.Statement {
	m.said = append(m.said, s)
	in := []string{logA, logB}
	if n := m.r.IntN(4); n > 0 {
		in = in[n%2 : n%2+1]
	}
	for _, origin := range in {
		n := uint64(len(m.w.logs[origin]))
		e := entries(n, s)[0]
		if origin == logA {
			e.List = m.lists[s.ID()]
		}
		if m.r.IntN(10) == 0 { // what does not parse, and a log that repeats itself
			m.w.logs[origin] = append(m.w.logs[origin], Entry{Index: n, Leaf: []byte("no statement")})
			e.Index++
		}
		m.w.logs[origin] = append(m.w.logs[origin], e)
	}
	return s
}

// statements shuffles first statements, key-adds and claims, so that each comes before or after the others.
func (m *worldMaker) statements() {
	var todo []func()
	for i, p := range m.people {
		if i == 3 { // nobody registers the last one
			continue
		}
		todo = append(todo, func() { m.put(p.first) }, func() { m.put(p.add) })
	}
	for range 70 {
		todo = append(todo, m.claim)
	}
	for range 15 {
		todo = append(todo, m.otherClaim)
	}
	for range 4 {
		todo = append(todo, m.closureBeside)
	}
	m.r.Shuffle(len(todo), func(i, j int) { todo[i], todo[j] = todo[j], todo[i] })
	for i, f := range todo {
		f()
		if i > 20 && m.r.IntN(6) == 0 {
			m.upset()
		}
	}
	m.put(m.people[m.r.IntN(3)].closure(m.specs))
}

func (m *worldMaker) claim() {
	p, s := m.people[m.r.IntN(4)], m.specs[m.r.IntN(len(m.specs))]
	if s.what = "same"; m.r.IntN(5) == 0 {
		s.what = fmt.Sprint("other", m.r.IntN(2))
	}
	s.finished += uint64(m.r.IntN(50)) * 86400
	switch m.r.IntN(8) {
	case 0:
		m.put(cacheSig(m.t, fmt.Sprintf("cache%d", m.r.IntN(2)), s))
	case 1:
		m.put(forged(m.t, p.builds(s)))
	case 2:
		m.put(p.diff(s))
	default:
		m.put(p.builds(s))
	}
}

// otherClaim says something about outputs that are content-addressed, or by what they hold.
func (m *worldMaker) otherClaim() {
	p, s := m.people[m.r.IntN(4)], m.specs[m.r.IntN(len(m.specs))]
	s.what, s.finished = fmt.Sprint("other", m.r.IntN(2)), s.finished+uint64(m.r.IntN(50))*86400
	switch body := s.body(m.t); m.r.IntN(4) {
	case 0:
		body.Builder.Implementation = "lix"
		m.put(p.sign(p.build, body, nil))
	case 1:
		m.put(p.realises(s, []string{"nix", "lix", statement.UnknownImplementation}[m.r.IntN(3)]))
	case 2:
		if s.ca {
			o := body.Outputs[0]
			m.put(p.sign(p.build, &statement.PathClaim{StoreDir: body.StoreDir, Path: o.Path, NarHash: o.NarHash, NarSize: o.NarSize + uint64(m.r.IntN(2)), References: o.References, CA: o.CA}, nil))
		}
	default:
		body.Finished = []uint64{0, 253402300799}[m.r.IntN(2)]
		body.Started = 0
		m.put(p.sign(p.build, body, nil))
	}
}

// upset is something that changes what other statements count for.
func (m *worldMaker) upset() {
	p := m.people[m.r.IntN(3)]
	switch m.r.IntN(8) {
	case 6: // a second identity key, which signs things, and goes again in another log
		second := signer(m.t, p.name+" second identity")
		grant, err := statement.ProveKey(m.t.Context(), second, p.id, statement.RoleIdentity)
		if err != nil {
			m.t.Fatal(err)
		}
		prev := m.put(p.next(grant)).ID()
		q := m.people[m.r.IntN(3)]
		stolen, err := statement.ProveKey(m.t.Context(), q.build, p.id, statement.RoleBuild)
		if err != nil {
			m.t.Fatal(err)
		}
		m.put(p.sign(second, stolen, &prev))
		if m.r.IntN(2) == 0 {
			m.put(p.next(&statement.KeyRevoke{OperatorID: p.id, KeyID: second.PublicKey().ID(), Reason: statement.Compromised, Elsewhere: statement.Drop}))
		}
	case 7: // a revocation whose predecessor nobody shows
		hidden := p.sign(p.identity, &statement.Retract{OperatorID: p.id, Statement: statement.ID{3}, Reason: "hidden"}, &p.last).ID()
		m.put(p.sign(p.identity, &statement.KeyRevoke{OperatorID: p.id, KeyID: p.build.PublicKey().ID(), Reason: statement.Rotated, Cuts: map[string]uint64{logB: uint64(m.r.IntN(60))}, Elsewhere: statement.Keep}, &hidden))
	case 0:
		key := p.build.PublicKey().ID()
		i := slices.IndexFunc(m.said, func(s *statement.Statement) bool { return s.Signer == key && m.r.IntN(3) == 0 })
		if i < 0 {
			i = m.r.IntN(len(m.said))
		}
		m.put(p.next(&statement.Retract{OperatorID: p.id, Statement: m.said[i].ID(), Reason: "wrong"}))
	case 1:
		m.put(p.next(&statement.KeyRevoke{OperatorID: p.id, KeyID: p.build.PublicKey().ID(), Reason: statement.Rotated, Cuts: map[string]uint64{logA: uint64(m.r.IntN(60))}, Elsewhere: statement.Keep}))
	case 2:
		key := signer(m.t, fmt.Sprint("new key ", m.r.IntN(1000)))
		m.put(p.addKey(key))
		p.build = key
	case 3: // a key of another operator
		q := m.people[m.r.IntN(3)]
		m.put(p.addKey(q.build))
	case 4:
		if m.r.IntN(3) == 0 { // a fork
			prev := p.last
			m.put(p.next(&statement.Retract{OperatorID: p.id, Statement: statement.ID{1}, Reason: "a"}))
			m.put(p.sign(p.identity, &statement.Retract{OperatorID: p.id, Statement: statement.ID{2}, Reason: "b"}, &prev))
		}
	case 5: // an operator says something new of itself
		id := p.id
		m.put(p.next(&statement.Operator{Name: p.name + "x", Contact: "new", HomeLog: logB, Identity: p.identity.PublicKey(), OperatorID: &id}))
	}
}

// forged is a statement with a signature that does not verify.
func forged(t testing.TB, s *statement.Statement) *statement.Statement {
	t.Helper()
	leaf := slices.Clone(s.Leaf())
	leaf[len(leaf)-40] ^= 1
	f, err := statement.Parse(leaf)
	if err != nil {
		return s
	}
	return f
}

func cacheSig(t testing.TB, name string, s spec) *statement.Statement {
	t.Helper()
	seed := digest(name)
	key := nix.SecretKey{Name: name, Key: ed25519.NewKeyFromSeed(seed[:])}
	o := s.body(t).Outputs[0]
	info := &nix.PathInfo{Path: o.Path, NarHash: o.NarHash, NarSize: o.NarSize}
	st, err := statement.NewCacheSig(info, key.Public(), key.Sign(info.Fingerprint()))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func (p *person) diff(s spec) *statement.Statement {
	o := s.body(p.t).Outputs[0]
	return p.sign(p.build, &statement.Diff{
		StoreDir: nix.DefaultStoreDir, Path: o.Path, A: digest("nar same" + o.Name), B: digest("nar other0" + o.Name),
		Files: []statement.DiffFile{{Name: []byte("bin/x"), What: nix.DiffContent}}, Total: 1, Tool: "test",
	}, nil)
}

func (p *person) closure(specs []spec) *statement.Statement {
	paths := pathsOf(p.t, specs)
	return p.sign(p.build, &statement.Closure{Name: "iso", StoreDir: nix.DefaultStoreDir, Digest: statement.PathsDigest(paths), Count: uint64(len(paths)), Paths: paths}, nil)
}

// closureBeside states a closure whose list is a blob.
func (p *person) closureBeside(specs []spec) (*statement.Statement, []byte) {
	paths := pathsOf(p.t, specs)
	return p.sign(p.build, &statement.Closure{Name: "iso", StoreDir: nix.DefaultStoreDir, Digest: statement.PathsDigest(paths), Count: uint64(len(paths))}, nil), statement.PathsBlob(paths)
}

func (m *worldMaker) closureBeside() {
	s, list := m.people[m.r.IntN(4)].closureBeside(m.specs[:1+m.r.IntN(len(m.specs))])
	m.lists[s.ID()] = list
	m.put(s)
}

func pathsOf(t testing.TB, specs []spec) (paths []nix.StorePath) {
	for _, s := range specs {
		for _, o := range s.body(t).Outputs {
			paths = append(paths, o.Path)
		}
	}
	slices.SortFunc(paths, nix.StorePath.Compare)
	return slices.Compact(paths)
}

// evaluations are two channels whose attributes come and go.
func (m *worldMaker) evaluations() {
	for _, channel := range []string{"stable", "unstable"} {
		var metas, drvs []evaluation
		have := make(map[string]int)
		for seq := int64(1); seq <= 5; seq++ {
			if channel == "stable" && seq == 3 {
				continue // numbers may be left out
			}
			for i := range 8 {
				name := fmt.Sprintf("attr%d", i)
				switch m.r.IntN(4) {
				case 0:
					delete(have, name)
				case 1, 2:
					have[name] = m.r.IntN(len(m.specs))
				}
			}
			me, dr := evaluation{h: header(channel, seq, eval.Meta, true)}, evaluation{h: header(channel, seq, eval.Drvs, true)}
			for i := range 8 {
				name := fmt.Sprintf("attr%d", i)
				n, ok := have[name]
				if !ok {
					continue
				}
				me.attrs = append(me.attrs, m.meta(name, n))
				dr.attrs = append(dr.attrs, m.drv(name, n))
			}
			if seq > m.late[0] {
				metas = append(metas, me)
			}
			if seq > m.late[1] && (seq != 2 || channel != "unstable") { // the slow tier leaves one out
				drvs = append(drvs, dr)
			}
		}
		m.w.evals = append(m.w.evals, m.deltas(metas), m.deltas(drvs))
	}
}

// deltas makes some evaluations ones that hold only what changed.
func (m *worldMaker) deltas(all []evaluation) []evaluation {
	out := slices.Clone(all)
	for i := 1; i < len(all); i++ {
		if m.r.IntN(2) == 0 {
			continue
		}
		before, e := make(map[string]eval.Attribute), evaluation{h: all[i].h}
		e.h.Full, e.h.Base = false, "given"
		for _, a := range all[i-1].attrs {
			before[a.Attr] = a
		}
		for _, a := range all[i].attrs {
			if b, there := before[a.Attr]; !there || !reflect.DeepEqual(a, b) {
				e.attrs = append(e.attrs, a)
			}
			delete(before, a.Attr)
		}
		for name := range before {
			e.attrs = append(e.attrs, eval.Attribute{Attr: name, Gone: true})
		}
		sortAttrs(e.attrs)
		out[i] = e
	}
	return out
}

func (m *worldMaker) meta(name string, n int) eval.Attribute {
	if m.r.IntN(12) == 0 {
		return eval.Attribute{Attr: name, Error: "its metadata does not evaluate"}
	}
	a := eval.Attribute{Attr: name, Pname: fmt.Sprint("pkg", n), Version: fmt.Sprint("1.", n), Description: fmt.Sprintf("Text <b> of the libraries, number w%d", n%3), Homepage: fmt.Sprintf("https://www.host%d.example/", n%2)}
	for i := range n % 3 {
		a.Maintainers = append(a.Maintainers, eval.Maintainer{Login: fmt.Sprintf("who%d", (n+i)%4), Name: fmt.Sprint("Name ", m.r.IntN(5))})
	}
	if n%4 == 0 {
		a.Teams = []string{"team"}
	}
	return a
}

func (m *worldMaker) drv(name string, n int) eval.Attribute {
	if m.r.IntN(8) == 0 {
		return eval.Attribute{Attr: name, Error: "it does not evaluate"}
	}
	s := m.specs[n]
	return eval.Attribute{Attr: name, Drv: s.drv(), System: "x86_64-linux", FOD: n%6 == 5, Outputs: s.paths(m.t)}
}

// replay adds everything in one order and in large pieces.
func (w *world) replay(t testing.TB, db *DB) {
	t.Helper()
	for _, origin := range []string{logA, logB} {
		add(t, db, origin, w.logs[origin])
	}
	for _, list := range w.evals {
		for _, e := range list {
			evaluate(t, db, e)
		}
	}
}

// shuffled adds everything in another order, in pieces of any size, several in one transaction or one in several.
func (w *world) shuffled(t testing.TB, db *DB, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 11))
	logs := map[string][]Entry{logA: w.logs[logA], logB: w.logs[logB]}
	evals := make([][]evaluation, len(w.evals))
	copy(evals, w.evals)
	step := func(tx *Tx) (more bool, err error) {
		ctx := context.Background()
		for range 50 {
			switch n := r.IntN(2 + len(evals)); {
			case n < 2:
				origin := []string{logA, logB}[n]
				if rest := logs[origin]; len(rest) > 0 {
					k := min(len(rest), 1+r.IntN(20))
					logs[origin] = rest[k:]
					return true, tx.AddEntries(ctx, origin, rest[:k])
				}
			case len(evals[n-2]) > 0:
				e := evals[n-2][0]
				evals[n-2] = evals[n-2][1:]
				return true, tx.AddEvaluation(ctx, e.h, e.seq())
			}
		}
		return len(logs[logA])+len(logs[logB]) > 0 || slices.ContainsFunc(evals, func(l []evaluation) bool { return len(l) > 0 }), nil
	}
	for more := true; more; {
		if r.IntN(6) == 0 { // as after a restart
			db.mu.Lock()
			db.state = nil
			db.mu.Unlock()
		}
		write(t, db, func(tx *Tx) (err error) {
			for range 1 + r.IntN(3) {
				if more, err = step(tx); err != nil || !more {
					return err
				}
			}
			return nil
		})
	}
}
