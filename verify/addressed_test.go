package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

// source is a content-addressed path that comes from no derivation.
func source(t testing.TB, what string) *statement.PathClaim {
	t.Helper()
	b, _ := caBuild(t, "source", what, "nix")
	o := b.Outputs[0]
	return &statement.PathClaim{StoreDir: b.StoreDir, Path: o.Path, NarHash: o.NarHash, NarSize: o.NarSize, CA: o.CA}
}

func infoOfSource(c *statement.PathClaim) *nix.PathInfo {
	return &nix.PathInfo{Path: c.Path, NarHash: c.NarHash, NarSize: c.NarSize, References: c.References, CA: c.CA}
}

func TestPathStatementsCountAsBuilds(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b c")
	c := source(t, "one")
	s := Subject{Info: infoOfSource(c)}
	pol := w.policy(ps, "group g 2 a b c")
	w.put(0, w.sign(ps["a"].build, c, nil))
	w.expect(pol, s, Untrusted, "2 of 3 needed, 1 found")
	w.put(0, w.sign(ps["b"].build, c, nil))
	p := w.expect(pol, s, Trusted, "2 found")
	if len(p.Claims) != 2 || p.Claims[0].Class != Addressed {
		t.Errorf("%+v", p.Claims)
	}
	w.expect(pol, s, Trusted, "2 found") // as remembered
	w.expect(w.policy(ps, "group g 1 a b signed"), s, Untrusted, "0 found")
	other := *c
	other.NarSize++
	w.put(0, w.sign(ps["c"].build, &other, nil))
	if p := w.expect(pol, s, Trusted, "2 found"); len(p.Dissent) != 1 || p.Dissent[0].What != "another size" {
		t.Errorf("%+v", p.Dissent)
	}
}

// The same content may be a source for one and the output of a wrong derivation for another.
func TestPathStatementsDoNotVouchForDerivations(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	mine, key := caBuild(t, "source", "evil", "nix")
	c := source(t, "evil")
	w.put(0, w.sign(ps["a"].build, c, nil))
	w.put(0, w.sign(ps["b"].build, c, nil))
	pol := w.policy(ps, "group g all a b")
	w.expect(pol, Subject{Info: infoOf(mine), Realisations: []string{key}}, Untrusted, "2 of 2 needed, 0 found")
	w.expect(pol, Subject{Info: infoOf(mine)}, Trusted, "2 found")
	good, _ := caBuild(t, "source", "good", "nix")
	w.put(0, w.sign(ps["a"].build, good, nil))
	w.expect(pol, Subject{Info: infoOf(mine), Realisations: []string{key}}, Untrusted, "a claims another path")
}

// What was seen, compared or asked for supports nothing and is no dissent.
func TestObservedDiffAndEvalClaimNothing(t *testing.T) {
	w := newWorld(t)
	ps := w.people("a b")
	s := subject(t, "hello", "hello")
	ps["a"].builds("hello", "hello")
	b := ps["b"].build
	dir := s.Info.Path.Dir()
	modulo := nix.Hash{9}
	for _, body := range []statement.Body{
		&statement.Observed{StoreDir: dir, Path: s.Info.Path, NarHash: nix.Hash{1}, NarSize: 7, Cache: "https://cache.example"},
		&statement.Observed{StoreDir: dir, Path: s.Info.Path, NarHash: s.Info.NarHash, NarSize: s.Info.NarSize, Cache: "https://cache.example"},
		&statement.Diff{StoreDir: dir, Path: s.Info.Path, A: s.Info.NarHash, B: nix.Hash{1}, Total: 1, Tool: "firn"},
		&statement.Realisation{StoreDir: dir, Modulo: &modulo, Output: "out", Path: s.Info.Path, Builder: statement.Builder{Implementation: "nix", Version: "2.35"}},
		&statement.Eval{Name: "e", StoreDir: dir, Digest: s.Info.NarHash, Count: 1},
	} {
		w.put(0, w.sign(b, body, nil))
	}
	p := w.expect(w.policy(ps, "group g all a b"), s, Untrusted, "2 of 2 needed, 1 found")
	if len(p.Claims) != 1 || len(p.Dissent) != 0 {
		t.Errorf("claims %+v, dissent %+v", p.Claims, p.Dissent)
	}
}

// A cache's signature over more references than fit in a leaf is checked with
// those in the store, and without them nobody knows.
func TestCacheSignaturesWithADigestOfReferences(t *testing.T) {
	for _, full := range []bool{false, true} {
		w := newWorld(t)
		w.full = full
		s := subject(t, "hello", "hello")
		for i := range 1500 {
			p, err := s.Info.Path.Dir().FromBase(fmt.Sprintf("%032d-dependency-number-%d", i, i))
			if err != nil {
				t.Fatal(err)
			}
			s.Info.References = append(s.Info.References, p)
		}
		slices.SortFunc(s.Info.References, nix.StorePath.Compare)
		cache := cacheKey("cache.example-1")
		st := cacheSig(t, cache, s.Info)
		if st.Body.(*statement.CacheSig).RefsDigest == nil {
			t.Fatal("the references fit in a leaf")
		}
		w.put(0, st)
		pol := w.parse("operator cache key " + keyID(t, cache).String() + "\ngroup g any cache signed\n")
		w.expect(pol, s, Trusted, "1 found")
		w.expect(pol, s, Trusted, "1 found") // as remembered
		fewer := s
		info := *s.Info
		fewer.Info, info.References = &info, info.References[1:]
		w.state = t.TempDir()
		w.expect(pol, fewer, Inconclusive, "signed other references than those in the store")
		w.expect(pol, fewer, Inconclusive, "signed other references than those in the store") // nothing is remembered of it
		lists := map[nix.Hash][]byte{statement.PathsDigest(s.Info.References): statement.PathsBlob(s.Info.References)}
		w.wrap = func(l Log) Log { return listing{l, lists} }
		w.expect(pol, fewer, Contradicted, "cache claims other references")
		w.wrap = nil
		w.put(0, w.spoiledSig(st))
		w.state = t.TempDir()
		if r := w.verify(pol, s); r.Paths[0].Verdict != Trusted || r.Logs[0].Ignored != 1 {
			t.Errorf("%+v, %d ignored", r.Paths[0].Judgement, r.Logs[0].Ignored)
		}
		// The list is right, and the cache did not sign it with that size.
		w.state = t.TempDir()
		w.wrap = func(l Log) Log { return listing{l, lists} }
		if p := w.expect(pol, fewer, Contradicted, "cache claims other references"); len(p.Claims) != 1 {
			t.Errorf("claims %+v", p.Claims)
		}
	}
}

// listing is a log that has lists of references.
type listing struct {
	Log
	lists map[nix.Hash][]byte
}

func (l listing) Blob(_ context.Context, h nix.Hash, _ int64) ([]byte, error) {
	b, ok := l.lists[h]
	if !ok {
		return nil, errors.New("404")
	}
	return b, nil
}

// spoiledSig is what the cache did not sign: another NAR size.
func (w *world) spoiledSig(st *statement.Statement) *statement.Statement {
	w.t.Helper()
	b := *st.Body.(*statement.CacheSig)
	b.NarSize++
	payload, err := statement.EncodePayload(&b, "", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	leaf := slices.Concat([]byte{0x82, 0x58, byte(len(payload))}, payload, []byte{0x58, 64}, st.Sig)
	if len(payload) > 255 {
		leaf = slices.Concat([]byte{0x82, 0x59, byte(len(payload) >> 8), byte(len(payload))}, payload, []byte{0x58, 64}, st.Sig)
	}
	s, err := statement.Parse(leaf)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}
