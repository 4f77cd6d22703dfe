package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/tracker/eval"
	"github.com/firn-log/firn/verify"
)

// oracle computes what a tracker shows from the world itself, slowly and by the words of
// spec/tracker.md, with nothing of the code that keeps the database up to date.
type oracle struct {
	w    *world
	o    Options
	reg  *verify.Register
	live map[statement.ID]string // for whom a statement counts
	all  map[statement.ID]*statement.Statement
}

func newOracle(w *world, o Options) *oracle {
	or := &oracle{w: w, o: o, reg: verify.NewRegister(o.Policy), live: make(map[statement.ID]string), all: make(map[statement.ID]*statement.Statement)}
	for origin, es := range w.logs {
		or.reg.AddLog(origin)
		for _, e := range es {
			if e.Statement != nil && e.Statement.Kind.Class() == statement.People {
				or.reg.Add(e.Statement, origin, e.Index)
			}
		}
	}
	or.reg.Update()
	for origin, es := range w.logs {
		for _, e := range es {
			if e.Statement == nil {
				continue
			}
			id := e.Statement.ID()
			or.all[id] = e.Statement
			key, ok := or.reg.Key(e.Statement.Signer)
			if e.Statement.SignerKey != nil {
				key, ok = *e.Statement.SignerKey, true
			}
			if ok && e.Statement.Verify(key) == nil {
				if by := or.reg.Live(e.Statement.Signer, id, origin, e.Index); by != "" {
					or.live[id] = by
				}
			}
		}
	}
	return or
}

// says is what one operator says of an output.
type says struct {
	by    string
	class verify.Class
	about verify.Fingerprint
	impl  string
}

// claims returns what counts about an output: a path, or an output of a derivation.
func (or *oracle) claims(path, drv, output string) (all []says) {
	for id, s := range or.all {
		by := or.live[id]
		if by == "" {
			continue
		}
		switch b := s.Body.(type) {
		case *statement.Build:
			for _, o := range b.Outputs {
				fp := verify.Fingerprint{Path: o.Path, NarHash: o.NarHash, NarSize: o.NarSize, References: [32]byte(statement.PathsDigest(o.References))}
				if path != "" && o.Path.Base() == path {
					all = append(all, says{by, verify.Built, fp, ""})
				}
				if path == "" && o.CA != "" && b.DrvPath.Base() == drv && o.Name == output {
					all = append(all, says{by, verify.Built, fp, b.Builder.Implementation})
				}
			}
		case *statement.Realisation:
			if path == "" && b.Drv != nil && b.Drv.Base() == drv && b.Output == output && b.Builder.Implementation != statement.UnknownImplementation {
				all = append(all, says{by, verify.Realised, verify.Fingerprint{Path: b.Path}, b.Builder.Implementation})
			}
		case *statement.PathClaim:
			if path != "" && b.Path.Base() == path {
				fp := verify.Fingerprint{Path: b.Path, NarHash: b.NarHash, NarSize: b.NarSize, References: [32]byte(statement.PathsDigest(b.References))}
				all = append(all, says{by, verify.Addressed, fp, ""})
			}
		case *statement.CacheSig:
			if path != "" && b.Path.Base() == path {
				fp := verify.Fingerprint{Path: b.Path, NarHash: b.NarHash, NarSize: b.NarSize, References: [32]byte(statement.PathsDigest(b.References))}
				all = append(all, says{by, verify.Signed, fp, ""})
			}
		}
	}
	return all
}

// sayTooMuch are the operators that contradict themselves by how much they claim.
func sayTooMuch(claims []says) map[string]bool {
	said := make(map[string]map[says]bool)
	much := make(map[string]bool)
	for _, c := range claims {
		if said[c.by] == nil {
			said[c.by] = make(map[says]bool)
		}
		said[c.by][c] = true
		if len(said[c.by]) > 16 {
			much[c.by] = true
		}
	}
	return much
}

// state is spec/tracker.md#states.
func (or *oracle) state(claims []says, random, fod bool, path, system string, real bool) State {
	much := sayTooMuch(claims)
	claims = slices.DeleteFunc(slices.Clone(claims), func(c says) bool { return much[c.by] })
	built := make(map[verify.Fingerprint]map[string]bool)
	for _, c := range claims {
		if c.class == verify.Realised {
			continue
		}
		if built[c.about] == nil {
			built[c.about] = make(map[string]bool)
		}
		if c.class == verify.Built {
			built[c.about][c.by] = true
		}
	}
	for _, ops := range built {
		if random && !fod && len(ops) > 1 {
			return Copying
		}
	}
	if len(much) > 0 {
		return Differ
	}
	for i, a := range claims { // each with each, by the words of the specification
		for _, b := range claims[:i] {
			path, content := a.about.Path == b.about.Path, a.about == b.about || a.class == verify.Realised || b.class == verify.Realised
			if path && !content || !path && a.impl == b.impl {
				return Differ
			}
		}
	}
	for fp, ops := range built {
		if or.o.Policy == nil && len(ops) > 1 {
			return Agree
		}
		if or.o.Policy != nil {
			p, _ := nix.DefaultStoreDir.FromBase(path)
			rule := or.o.Policy.RuleFor(verify.Facts{Path: p, System: system, SystemKnown: true, FOD: fod, FODKnown: true})
			c := verify.Case{Rule: rule, About: fp, Output: real}
			for _, s := range claims {
				c.Claims = append(c.Claims, verify.Claim{Operator: s.by, Class: s.class, About: s.about, Implementation: s.impl})
			}
			if verify.Judge(c).Verdict == verify.Trusted {
				return Agree
			}
		}
	}
	return Missing
}

// randoms are the outputs that any evaluation has under an attribute that is random by construction.
func (or *oracle) random(path, drv string) bool {
	for _, list := range or.w.evals {
		for _, e := range list {
			for _, a := range e.attrs {
				if slices.Contains(or.o.Random, a.Attr) && (a.Drv == drv || path != "" && slices.Contains(slices.Collect(maps.Values(a.Outputs)), path)) {
					return true
				}
			}
		}
	}
	return false
}

// counts is what the derivation of an attribute comes to.
func (or *oracle) counts(a eval.Attribute) (c counts, worst State) {
	if a.Error != "" {
		c[countErrors] = 1
		return c, 0
	}
	for name, path := range a.Outputs {
		s := or.state(or.claims(path, a.Drv, name), or.random(path, a.Drv), a.FOD, path, a.System, path == "")
		c.output(s, a.FOD, 1)
		worst = max(worst, s)
	}
	return c, worst
}

// at returns the evaluation of a channel and tier that holds at seq, nil before the first.
func (or *oracle) at(channel string, tier eval.Tier, seq int64) map[string]eval.Attribute {
	var found map[string]eval.Attribute
	for _, list := range or.w.evals {
		for _, e := range list {
			if e.h.Channel == channel && e.h.Tier == tier && e.h.Seq <= seq {
				if found = maps.Clone(found); e.h.Full {
					found = make(map[string]eval.Attribute)
				}
				for _, a := range e.attrs {
					if found[a.Attr] = a; a.Gone {
						delete(found, a.Attr)
					}
				}
			}
		}
	}
	return found
}

func (or *oracle) maintains(a eval.Attribute, who string) bool {
	return slices.ContainsFunc(a.Maintainers, func(m eval.Maintainer) bool { return m.Login == who })
}

// Every state, sum, trend and change is what a slow computation from the logs and evaluations gives.
func TestPagesShowWhatTheLogsAndEvaluationsComeTo(t *testing.T) {
	for seed := range uint64(8) {
		w := makeWorld(t, seed)
		for _, o := range []Options{{Random: []string{"attr7"}}, {Policy: testPolicy(t), PolicyName: "test", Random: []string{"attr6"}}} {
			db := openSQLite(t, o)
			w.shuffled(t, db, seed)
			or := newOracle(w, o)
			for _, channel := range []string{"stable", "unstable"} {
				or.checkRows(t, db, channel)
				or.checkTrend(t, db, "channel", channel, channel)
				for i := range 4 {
					or.checkTrend(t, db, "maintainer", fmt.Sprint("who", i), channel)
				}
				or.checkChanges(t, db, channel)
			}
			if t.Failed() {
				t.Fatalf("world %d, policy %q", seed, o.PolicyName)
			}
		}
	}
}

func (or *oracle) checkRows(t *testing.T, db *DB, channel string) {
	t.Helper()
	metas, drvs := or.at(channel, eval.Meta, 99), or.at(channel, eval.Drvs, 99)
	l, err := db.Attributes(context.Background(), Filter{Channel: channel}, Page{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for n := range metas {
		names[n] = true
	}
	for n := range drvs {
		names[n] = true
	}
	var got []string
	var sum counts
	for _, r := range l.Rows {
		got = append(got, r.Attr)
		c, worst := counts{}, State(0)
		if a, ok := drvs[r.Attr]; ok {
			c, worst = or.counts(a)
		}
		sum.add(&c, 1)
		if c.view() != r.Counts || worst != r.State || metas[r.Attr].Version != r.Version {
			t.Errorf("%s %s: %+v, want %+v, state %d, version %s", channel, r.Attr, r, c.view(), worst, metas[r.Attr].Version)
		}
	}
	if want := slices.Sorted(maps.Keys(names)); !slices.Equal(got, want) {
		t.Errorf("%s has %v, want %v", channel, got, want)
	}
	v, err := db.Channel(context.Background(), channel)
	if err != nil || v.Counts != sum.view() || v.Attrs != int64(len(got)) {
		t.Errorf("%s: %+v, %v; want %+v", channel, v, err, sum.view())
	}
}

func (or *oracle) checkTrend(t *testing.T, db *DB, kind, key, channel string) {
	t.Helper()
	points, err := db.Trend(context.Background(), kind, key, channel)
	if err != nil {
		return // nobody of that name
	}
	now := or.at(channel, eval.Meta, 99)
	for _, p := range points {
		var want counts
		for name, a := range or.at(channel, eval.Drvs, p.Seq) {
			if kind == "channel" || or.maintains(now[name], key) {
				c, _ := or.counts(a)
				want.add(&c, 1)
			}
		}
		if p.Counts != want.view() {
			t.Errorf("%s %s in %s at %d: %+v, want %+v", kind, key, channel, p.Seq, p.Counts, want.view())
		}
	}
}

// checkChanges compares the states before and after each evaluation but the first.
func (or *oracle) checkChanges(t *testing.T, db *DB, channel string) {
	t.Helper()
	for seq := int64(2); seq <= 5; seq++ {
		want := make(map[string][2]State)
		after := or.at(channel, eval.Drvs, seq)
		before := or.at(channel, eval.Drvs, seq-1)
		if before == nil || !or.has(channel, eval.Drvs, seq) {
			continue
		}
		for _, m := range []map[string]eval.Attribute{before, after} {
			for name := range m {
				var s [2]State
				if a, ok := before[name]; ok {
					_, s[0] = or.counts(a)
				}
				if a, ok := after[name]; ok {
					_, s[1] = or.counts(a)
				}
				if s[0] != s[1] {
					want[name] = s
				}
			}
		}
		l, err := db.Changes(context.Background(), channel, seq, false, Page{Limit: 500})
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string][2]State)
		for _, c := range l.Rows {
			if c.From != c.To {
				got[c.Attr] = [2]State{c.From, c.To}
			}
			if c.Worse != (c.From > 0 && c.To > c.From) {
				t.Errorf("%+v", c)
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("changes of %s at %d: %v, want %v", channel, seq, got, want)
		}
	}
}

func (or *oracle) has(channel string, tier eval.Tier, seq int64) bool {
	for _, list := range or.w.evals {
		for _, e := range list {
			if e.h.Channel == channel && e.h.Tier == tier && e.h.Seq == seq {
				return true
			}
		}
	}
	return false
}
