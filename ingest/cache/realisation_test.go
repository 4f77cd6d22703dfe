package cache

import (
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/bincache/cachetest"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// realise imports ids.
func (w *world) realise(c *bincache.Client, ids ...string) (*Summary, error) {
	w.t.Helper()
	var parsed []bincache.RealisationID
	for _, text := range ids {
		id, err := bincache.ParseRealisationID(text)
		if err != nil || id.String() != text {
			w.t.Fatalf("%q: %v, %v", text, id, err)
		}
		parsed = append(parsed, id)
	}
	sum := NewSummary(c)
	err := ImportRealisations(w.t.Context(), c, parsed, logtest.Signer(w.t, "importer"), Options{Keys: w.keys, Log: w.to}, sum)
	return sum, err
}

// Both generations, with what the listed key signed, and by nobody knows which Nix.
func TestRealisationsOfBothGenerations(t *testing.T) {
	f, w := cachetest.New(t), newWorld(t)
	drv, out := cachetest.Path(t, "app.drv"), cachetest.Path(t, "app")
	old := &nix.Realisation{Modulo: nix.Hash{1}, Output: "out", OutPath: out, Dependent: []nix.DependentRealisation{{ID: "sha256:" + nix.Hash{2}.Hex() + "!out", OutPath: cachetest.Path(t, "lib")}}}
	newer := &nix.Realisation{Form: nix.ByDrvPath, DrvPath: drv, Output: "out", OutPath: out}
	for _, r := range []*nix.Realisation{old, newer} {
		r.Sign(cachetest.Mine)
		r.Sign(cachetest.Secret("other-1"))
	}
	f.PutFile("realisations/"+old.ID()+".doi", old.Marshal())
	_, value, _ := strings.Cut(string(newer.Marshal()), `"value":`)
	f.PutFile("build-trace-v2/"+drv.Base()+"/out.doi", []byte(strings.TrimSuffix(value, "}")))

	for _, want := range []int{0, 2} { // new, and known
		sum, err := w.realise(open(t, f), old.ID(), newer.ID())
		if err != nil || len(sum.Problems) != 0 || sum.Duplicates != want || sum.Accepted != 2-want || sum.Proven == 0 {
			t.Fatalf("%+v, %v", sum, err)
		}
	}
	all := w.logged(statement.KindRealisation)
	if len(all) != 2 {
		t.Fatalf("%d statements", len(all))
	}
	for i, r := range []*nix.Realisation{old, newer} {
		b := all[i].Body.(*statement.Realisation)
		if b.ID() != r.ID() || string(b.Fingerprint()) != string(r.Fingerprint()) || b.Builder.Implementation != statement.UnknownImplementation || b.VerifyNixSigs() != nil {
			t.Errorf("%+v", b)
		}
		if len(b.NixSigs) != 1 || b.NixSigs[0].KeyName != cachetest.Mine.Name {
			t.Errorf("%+v", b.NixSigs)
		}
	}
}

func TestWrongRealisationsAreNotSent(t *testing.T) {
	drv := cachetest.Path(t, "app.drv")
	id := "sha256:" + nix.Hash{1}.Hex() + "!out"
	signed := func(change func(r *nix.Realisation)) []byte {
		r := &nix.Realisation{Modulo: nix.Hash{1}, Output: "out", OutPath: cachetest.Path(t, "app")}
		r.Sign(cachetest.Mine)
		change(r)
		return r.Marshal()
	}
	for name, c := range map[string]struct {
		file    []byte
		trouble map[Trouble]string
	}{
		"another path than was signed": {signed(func(r *nix.Realisation) { r.OutPath = cachetest.Path(t, "evil") }), map[Trouble]string{Lie: "the signature by " + cachetest.Mine.Name + " is wrong", SetAside: "signed by no listed key"}},
		"another id":                   {signed(func(r *nix.Realisation) { r.Modulo[0]++; r.Sigs = nil; r.Sign(cachetest.Mine) }), map[Trouble]string{Failed: "the cache answered with another one"}},
		"an unlisted key":              {signed(func(r *nix.Realisation) { r.Sigs = nil; r.Sign(cachetest.Secret("other-1")) }), map[Trouble]string{SetAside: "it is signed by no listed key, but by other-1"}},
		"no signature":                 {signed(func(r *nix.Realisation) { r.Sigs = nil }), map[Trouble]string{SetAside: "it is signed by no listed key"}},
		"a web page":                   {[]byte("<!doctype html>"), map[Trouble]string{Failed: "a web page"}},
		"no JSON":                      {[]byte("nix"), map[Trouble]string{Failed: "bad realisation"}},
		"nothing":                      {nil, map[Trouble]string{Failed: "does not have it"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, w := cachetest.New(t), newWorld(t)
			if c.file != nil {
				f.PutFile("realisations/"+id+".doi", c.file)
			}
			sum, err := w.realise(open(t, f), id)
			if err != nil || sum.Accepted != 0 || len(w.logged(statement.KindRealisation)) != 0 {
				t.Errorf("%+v, %v", sum, err)
			}
			wantTroubles(t, sum, c.trouble)
		})
	}
	for _, text := range []string{"", "out", id + "x!", "sha256:12!out", cachetest.Path(t, "app").String() + "!out", drv.String(), drv.String() + "!", drv.String() + "!a/b"} {
		if _, err := bincache.ParseRealisationID(text); err == nil {
			t.Errorf("%q is an id", text)
		}
	}
	// A derivation of another store is none that this cache could know.
	f, w := cachetest.New(t), newWorld(t)
	f.PutFile("build-trace-v2/"+drv.Base()+"/out.doi", []byte(`{"outPath":"`+cachetest.Path(t, "app").Base()+`"}`))
	sum, err := w.realise(open(t, f), "/gnu/store/"+drv.Base()+"!out")
	if err != nil || sum.Accepted != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
	wantTroubles(t, sum, map[Trouble]string{Failed: "it is not in /nix/store, which is the store of the cache"})
	// A wrong signature beside a right one is told, and left out.
	f, w = cachetest.New(t), newWorld(t)
	f.PutFile("realisations/"+id+".doi", signed(func(r *nix.Realisation) {
		other := *r
		other.OutPath, other.Sigs = cachetest.Path(t, "evil"), nil
		other.Sign(cachetest.Mine)
		r.Sigs = append(other.Sigs, r.Sigs...)
	}))
	sum, err = w.realise(open(t, f), id)
	if err != nil || sum.Accepted != 1 || sum.Troubles[Lie] != 1 {
		t.Fatalf("%+v, %v", sum, err)
	}
	if err := w.logged(statement.KindRealisation)[0].Body.(*statement.Realisation).VerifyNixSigs(); err != nil {
		t.Error(err)
	}
}
