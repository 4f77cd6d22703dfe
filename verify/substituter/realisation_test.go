package substituter

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/nixdb"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
	"github.com/firn-log/firn/verify/closure"
)

// caPath is the content-addressed path of a name with a text, and its NAR hash.
func caPath(t testing.TB, name, text string) (nix.StorePath, nix.Hash, string) {
	t.Helper()
	n := info(t, name, text)
	ca := nix.ContentAddress{Method: nix.Recursive, Algo: "sha256", Hash: n.NarHash[:]}
	p, err := nix.FixedOutputPath(storeDir, name, ca, nix.Refs{})
	if err != nil {
		t.Fatal(err)
	}
	return p, n.NarHash, ca.String()
}

// caBuild is a build of the content-addressed derivation of that name by some implementation.
func caBuild(t testing.TB, name, text, implementation string) *statement.Build {
	t.Helper()
	n := info(t, name, text)
	b := buildBody(t, n)
	o := &b.Outputs[0]
	o.Path, o.NarHash, o.CA = caPath(t, name, text)
	b.Builder.Implementation = implementation
	return b
}

// idOf is what Nix calls the output of the derivation of a name, up to 2.34.
func idOf(name string) string { return "sha256:" + modulo(name).Hex() + "!out" }

// realises makes a cache say that the output of a name's derivation is a path.
func (c *cache) realises(name string, p nix.StorePath, keys ...nix.SecretKey) {
	r := &nix.Realisation{Modulo: modulo(name), Output: "out", OutPath: p}
	r.Dependent = []nix.DependentRealisation{{ID: idOf("dependency"), OutPath: pathOf(c.t, "dependency")}}
	for _, k := range keys {
		r.Sign(k)
	}
	c.set("realisations/"+idOf(name)+".doi", r.Marshal())
}

// mapping is the answer to a question about a realisation, which must have that status.
func (w *world) mapping(file string, status int, words ...string) string {
	w.t.Helper()
	got, body, err := w.get(file)
	if err != nil || got != status {
		w.t.Errorf("%s: status %d, want %d: %s%v", file, got, status, body, err)
	}
	for _, text := range words {
		if !strings.Contains(body, text) || strings.Count(body, "\n") != 1 {
			w.t.Errorf("%s: %q, want %q", file, body, text)
		}
	}
	return body
}

// A realisation is passed on if the rule's operators built exactly that from exactly that derivation. What
// nobody judged is left out, and the signature is this machine's.
func TestARealisationThatAgreesIsPassedOn(t *testing.T) {
	w := newWorld(t)
	p, _, _ := caPath(t, "ca", "text")
	w.caches[0].realises("ca", p, cacheKey, secret("other.example-1"))
	w.logBody("a b", caBuild(t, "ca", "text", "nix"))
	w.log.Publish()
	w.start(refuseRule)
	file := "realisations/" + idOf("ca") + ".doi"
	for _, name := range []string{file, strings.Replace(strings.Replace(file, "!", "%21", 1), ":", "%3A", 1)} {
		got, err := nix.ParseRealisation(storeDir, []byte(w.mapping(name, 200)))
		if err != nil || got.ID() != idOf("ca") || got.OutPath != p || len(got.Dependent) != 0 || len(got.Sigs) != 1 || !got.Verify(localKey.Public()) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if c := w.s.Counts(); c.Judged != 1 || c.Realised != 2 || w.caches[0].times("realisations/"+idOf("ca")+".doi") != 1 {
		t.Errorf("%+v", c)
	}
	w.later(11 * time.Minute)
	w.mapping(file, 200)
	if c := w.s.Counts(); c.Judged != 2 {
		t.Errorf("a decision about a realisation counts for ever: %+v", c)
	}
}

// What is not vouched for is as good as none: Nix builds. What is contradicted, or not known because
// something is missing, stops it, as the rule says.
func TestARealisationThatDoesNotAgreeIsNotPassedOn(t *testing.T) {
	const warn = "group two 2 a b c\nrule default need two else warn\n"
	for name, tt := range map[string]struct {
		said   func(w *world)
		lines  string
		status int
		words  string
	}{
		"no statement":               {func(*world) {}, refuseRule, 404, "is to be built here: untrusted, 2 of 3 needed, 0 found"},
		"no statement, else rebuild": {func(*world) {}, rebuildRule, 404, "untrusted, 2 of 3 needed, 0 found"},
		"one statement of two":       {func(w *world) { w.logBody("a", caBuild(t, "ca", "text", "nix")) }, refuseRule, 404, "2 of 3 needed, 1 found"},
		"another path": {func(w *world) {
			w.logBody("a b", caBuild(t, "ca", "other", "nix"))
			w.logBody("c", caBuild(t, "ca", "text", "nix"))
		}, refuseRule, 500, "a claims another path; b claims another path"},
		"another path, else rebuild": {func(w *world) {
			w.logBody("a b", caBuild(t, "ca", "other", "nix"))
			w.logBody("c", caBuild(t, "ca", "text", "nix"))
		}, rebuildRule, 404, "contradicted"},
		"an operator against itself": {func(w *world) {
			w.logBody("a b", caBuild(t, "ca", "text", "nix"))
			w.logBody("b", caBuild(t, "ca", "other", "nix"))
		}, refuseRule, 500, "b contradicts itself"},
		"by another implementation": {func(w *world) { w.logBody("a b", caBuild(t, "ca", "other", "lix")) }, refuseRule, 404, "untrusted, 2 of 3 needed, 0 found"},
		"that of another derivation": {func(w *world) {
			b := caBuild(t, "ca", "text", "nix")
			b.Modulo = modulo("elsewhere")
			w.logBody("a b c", b)
		}, refuseRule, 404, "2 of 3 needed, 0 found"},
		"who does not know by which":    {func(w *world) { w.realised("a b", "ca", "text", statement.UnknownImplementation) }, refuseRule, 404, "0 found"},
		"warned of, and not signed":     {func(*world) {}, warn, 404, "only with a signature by a key that the policy lists"},
		"a rule for fixed content only": {func(*world) {}, "group two 2 a b c\nrule f fod need nothing else allow\nrule default need two else refuse\n", 404, "(rule default"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p, _, _ := caPath(t, "ca", "text")
			w.caches[0].realises("ca", p)
			tt.said(w)
			w.log.Publish()
			w.start(tt.lines)
			w.mapping("realisations/"+idOf("ca")+".doi", tt.status, tt.words, "firn: "+p.Base()+", as what "+idOf("ca")+" gave,")
		})
	}
}

// realised logs that operators got that path by an implementation, without what is in it.
func (w *world) realised(names, name, text, implementation string) {
	p, _, _ := caPath(w.t, name, text)
	m := modulo(name)
	for _, who := range strings.Fields(names) {
		w.log.Add(w.sign(w.people[who].build, &statement.Realisation{
			StoreDir: storeDir, Modulo: &m, Output: "out", Path: p, Builder: statement.Builder{Implementation: implementation, Version: "1"},
		}, nil).Leaf())
	}
}

// A statement of the kind realisation says which path it is, and that is what is asked here.
func TestRealisationStatementsCountForRealisations(t *testing.T) {
	w := newWorld(t)
	p, _, _ := caPath(t, "ca", "text")
	w.caches[0].realises("ca", p)
	w.realised("a", "ca", "text", "nix")
	w.logBody("b", caBuild(t, "ca", "text", "lix"))
	w.log.Publish()
	w.start(refuseRule)
	w.mapping("realisations/"+idOf("ca")+".doi", 200)
}

// Which path it is does not say that its content is good: that is asked of the path.
func TestTheContentOfARealisedPathIsJudgedToo(t *testing.T) {
	w := newWorld(t)
	p, hash, ca := caPath(t, "ca", "text")
	n := &nix.NarInfo{}
	n.Path, n.NarHash, n.NarSize, n.CA = p, hash, uint64(len(narOf(t, "text"))), ca
	w.caches[0].has(n, "text", cacheKey)
	w.caches[0].realises("ca", p, cacheKey)
	w.realised("a b", "ca", "text", "nix")
	w.log.Publish()
	w.start(refuseRule)
	w.mapping("realisations/"+idOf("ca")+".doi", 200)
	w.refused(p, 500, "2 of 3 needed, 0 found")
}

func TestARealisationWhileSomethingIsMissing(t *testing.T) {
	w := newWorld(t)
	p, _, _ := caPath(t, "ca", "text")
	file := "realisations/" + idOf("ca") + ".doi"
	w.start(rebuildRule)
	w.mapping(file, 404, "no upstream of the policy has "+idOf("ca"))
	w.caches[0].realises("ca", p)
	w.log.Lie(func(l *logtest.Lies) { l.Down = true })
	w.mapping(file, 500, "is refused: inconclusive", "log main did not answer")
	w.caches[0].set("realisations/"+idOf("next")+".doi", w.caches[0].files[file]) // about another one
	w.mapping("realisations/"+idOf("next")+".doi", 500, "cannot be judged now", "the cache answered with another one")
	w.caches[0].set("realisations/"+idOf("page")+".doi", []byte("<!doctype html>"))
	w.mapping("realisations/"+idOf("page")+".doi", 500, "cannot be judged now")
	for _, name := range []string{"x.doi", idOf("ca"), "sha256:00!out.doi", "/nix/store/x.drv!out.doi", strings.ReplaceAll(idOf("ca"), "sha256", "sha1") + ".doi", idOf("ca") + "/x.doi"} {
		if status, body, _ := w.get("realisations/" + name); status != 404 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

// A later upstream stands in for one that lies; what is let in all the same is signed by a listed key.
func TestRealisationsOfSeveralUpstreams(t *testing.T) {
	w := newWorld(t)
	w.caches = append(w.caches, newCache(t))
	good, _, _ := caPath(t, "ca", "text")
	bad, _, _ := caPath(t, "ca", "evil")
	w.caches[0].realises("ca", bad, cacheKey)
	w.caches[1].realises("ca", good)
	w.logBody("a b", caBuild(t, "ca", "text", "nix"))
	w.log.Publish()
	w.start(refuseRule)
	file := "realisations/" + idOf("ca") + ".doi"
	if body := w.mapping(file, 200); !strings.Contains(body, good.Base()) {
		t.Error(body)
	}
	pol, text := w.policy("group one 1 c\nrule default need one else warn\n")
	if err := w.s.SetPolicy(pol, text); err != nil {
		t.Fatal(err)
	}
	if body := w.mapping(file, 200); !strings.Contains(body, bad.Base()) {
		t.Error(body)
	}
	if st := w.status(); st.Counts.Decided["warn"] != 1 || len(st.Events) == 0 || st.Events[0].Action != "warn" {
		t.Errorf("%+v", st.Events)
	}
}

// Nix names outputs by their resolved derivation from 2.35 on, and wants only the value. Statements by hash modulo
// are found if that derivation is in the store.
func TestARealisationByItsDerivation(t *testing.T) {
	w := newWorld(t)
	p, _, _ := caPath(t, "ca", "text")
	text := `Derive([("out","","r:sha256","")],[],[],"x86_64-linux","/bin/sh",[],[("out","/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9")])`
	d, err := nix.ParseDerivation(storeDir, "ca", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	m, err := nix.NewModuloCache(nil).Match(d)
	if err != nil {
		t.Fatal(err)
	}
	drv := d.DrvPath()
	r := &nix.Realisation{Form: nix.ByDrvPath, DrvPath: drv, Output: "out", OutPath: p}
	file := "build-trace-v2/" + drv.Base() + "/out.doi"
	w.caches[0].set(file, r.MarshalValue())
	b := caBuild(t, "ca", "text", "nix")
	b.Modulo = m.Hash
	w.logBody("a b", b)
	w.log.Publish()
	w.start(refuseRule)
	w.mapping(file, 404, "2 of 3 needed, 0 found")
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "nix/store"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, drv.String()), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
	w.o.Store = storeAt(t, root)
	w.start(refuseRule)
	got, err := nix.ParseRealisationValue(storeDir, drv, "out", []byte(w.mapping(file, 200)))
	if err != nil || got.OutPath != p || !got.Verify(localKey.Public()) {
		t.Errorf("%+v, %v", got, err)
	}
	// Without statements about the hash, what is said of the derivation itself counts.
	w = newWorld(t)
	w.caches[0].set(file, r.MarshalValue())
	for _, who := range []string{"a", "b"} {
		w.log.Add(w.sign(w.people[who].build, &statement.Realisation{
			StoreDir: storeDir, Drv: &drv, Output: "out", Path: p, Builder: statement.Builder{Implementation: "nix", Version: "2.35"},
		}, nil).Leaf())
	}
	w.log.Publish()
	w.start(refuseRule)
	w.mapping(file, 200)
	for _, name := range []string{"build-trace-v2/x/out.doi", "build-trace-v2/" + drv.Base() + "/o!t.doi", "build-trace-v2/" + p.Base() + "/out.doi"} {
		if status, body, _ := w.get(name); status != http.StatusNotFound || strings.Contains(body, "no upstream") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

// No two statements by fewer operators, about whatever, make a realisation trusted: only those that are about
// the derivation count, one vote an operator.
func TestManyKeysRealiseNothing(t *testing.T) {
	w := newWorld(t)
	p, _, _ := caPath(t, "ca", "text")
	w.caches[0].realises("ca", p, cacheKey)
	for i := range 5 {
		b := caBuild(t, "ca", "text", fmt.Sprint("nix", i))
		b.Started += uint64(i)
		b.Finished += uint64(i)
		w.logBody("a", b)
	}
	w.log.Publish()
	w.start(refuseRule)
	w.mapping("realisations/"+idOf("ca")+".doi", 404, "2 of 3 needed, 1 found")
}

// machineStore is a store of files below a folder whose database knows derivers.
type machineStore struct {
	nixdb.Source // what is not overridden panics
	derivers     map[nix.StorePath][]nix.StorePath
	closures     map[nix.StorePath][]*nix.PathInfo
}

func (m *machineStore) StoreDir() nix.StoreDir { return storeDir }

func (m *machineStore) ValidDerivers(_ context.Context, p nix.StorePath) ([]nix.StorePath, error) {
	return m.derivers[p], nil
}

func (m *machineStore) Closure(_ context.Context, roots []nix.StorePath) ([]*nix.PathInfo, error) {
	if all, ok := m.closures[roots[0]]; ok {
		return all, nil
	}
	return nil, nixdb.ErrNotValid
}

func storeAt(_ testing.TB, root string) *closure.Store {
	return &closure.Store{Source: &machineStore{}, Root: root}
}

// Who says which path an output is gains nothing by a path whose name has a milder rule.
func TestTheNameOfARealisedPathChoosesNoRule(t *testing.T) {
	const lines = "group two 2 a b c\nrule fonts name *fonts* need nothing else allow\nrule one path %s need nothing else allow\nrule default need two else refuse\n"
	w := newWorld(t)
	p, _, _ := caPath(t, "x-fonts", "evil")
	q, _, _ := caPath(t, "ca", "evil")
	w.caches[0].realises("ca", p, cacheKey)
	w.caches[0].realises("other", q, cacheKey)
	w.start(fmt.Sprintf(lines, q))
	w.mapping("realisations/"+idOf("ca")+".doi", 404, "is to be built here: untrusted, 2 of 3 needed, 0 found (rule fonts or ")
	w.mapping("realisations/"+idOf("other")+".doi", 404, "2 of 3 needed, 0 found")
	// By its derivation the name is known, and must be that.
	drv, err := storeDir.FromBase("00000000000000000000000000000000-ca.drv")
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []nix.StorePath{p, q} {
		r := &nix.Realisation{Form: nix.ByDrvPath, DrvPath: drv, Output: "out", OutPath: out}
		r.Sign(cacheKey)
		w.caches[0].set("build-trace-v2/"+drv.Base()+"/out.doi", r.MarshalValue())
		status, words := 500, "which has not the name ca"
		if out == q {
			status, words = 404, "2 of 3 needed, 0 found (rule one or default"
		}
		w.mapping("build-trace-v2/"+drv.Base()+"/out.doi", status, words)
	}
}
