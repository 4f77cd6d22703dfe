package rebuild

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// drvStore makes derivations without Nix: an ordinary user's idea of a store.
type drvStore struct {
	t     testing.TB
	root  string
	cache *nix.ModuloCache
	known map[nix.StorePath]*nix.Derivation
}

func newDrvStore(t testing.TB, root string) *drvStore {
	s := &drvStore{t: t, root: root, known: make(map[nix.StorePath]*nix.Derivation)}
	s.cache = nix.NewModuloCache(func(p nix.StorePath) (*nix.Derivation, error) { return s.known[p], nil })
	return s
}

// add makes a derivation that depends on others, whose path is right.
func (s *drvStore) add(name string, inputs ...nix.StorePath) nix.StorePath {
	s.t.Helper()
	var in []string
	slices.SortFunc(inputs, nix.StorePath.Compare)
	for _, p := range inputs {
		in = append(in, `("`+p.String()+`",["out"])`)
	}
	text := func(out string) []byte {
		return []byte(`Derive([("out","` + out + `","","")],[` + strings.Join(in, ",") + `],[],"x86_64-linux","/bin/sh",[],[("name","` + name + `"),("out","` + out + `")])`)
	}
	d, err := nix.ParseDerivation(nix.DefaultStoreDir, name, text("/nix/store/00000000000000000000000000000000-"+name))
	if err != nil {
		s.t.Fatal(err)
	}
	m, err := s.cache.Modulo(d, nix.Merge)
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := nix.OutputPath(nix.DefaultStoreDir, m, name, "out")
	if err != nil {
		s.t.Fatal(err)
	}
	if d, err = nix.ParseDerivation(nix.DefaultStoreDir, name, text(out.String())); err != nil {
		s.t.Fatal(err)
	}
	p := d.DrvPath()
	s.known[p] = d
	return p
}

// write puts derivations into the store.
func (s *drvStore) write(paths ...nix.StorePath) {
	s.t.Helper()
	for _, p := range paths {
		file := filepath.Join(s.root, p.String())
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, s.known[p].Raw, 0o644)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// vouching is a log in which operators ask for work.
type vouching struct {
	t    testing.TB
	l    *logtest.Log
	last map[string]statement.ID
	id   map[string]statement.ID
}

func newVouching(t testing.TB) *vouching {
	return &vouching{t: t, l: logtest.New(t), last: make(map[string]statement.ID), id: make(map[string]statement.ID)}
}

// say adds what the identity key of who says.
func (v *vouching) say(who string, body statement.Body) {
	v.t.Helper()
	var prev *statement.ID
	if id, ok := v.last[who]; ok {
		prev = &id
	}
	s, err := statement.Sign(context.Background(), logtest.Signer(v.t, who+" identity"), body, "", prev)
	if err != nil {
		v.t.Fatal(err)
	}
	v.l.Add(s.Leaf())
	v.last[who] = s.ID()
	if prev == nil {
		v.id[who] = s.ID()
	}
}

func (v *vouching) operator(who string) statement.ID {
	v.t.Helper()
	v.say(who, &statement.Operator{Name: who, Contact: who + "@example.org", HomeLog: v.l.Origin(), Identity: logtest.Signer(v.t, who+" identity").PublicKey()})
	v.addKey(who, who)
	return v.id[who]
}

func (v *vouching) addKey(who, key string) {
	v.t.Helper()
	body, err := statement.ProveKey(context.Background(), logtest.Signer(v.t, key), v.id[who], statement.RoleBuild)
	if err != nil {
		v.t.Fatal(err)
	}
	v.say(who, body)
}

// eval has the build key of who ask for derivations.
func (v *vouching) eval(who string, drvs ...nix.StorePath) statement.ID {
	v.t.Helper()
	slices.SortFunc(drvs, nix.StorePath.Compare)
	leaf := logtest.Leaf(v.t, logtest.Signer(v.t, who), &statement.Eval{
		Name: "jobset", StoreDir: nix.DefaultStoreDir, Digest: statement.PathsDigest(drvs), Count: uint64(len(drvs)), Drvs: drvs, Inputs: []statement.EvalInput{}, Evaluated: 1,
	})
	v.l.Add(leaf)
	s, err := statement.Parse(leaf)
	if err != nil {
		v.t.Fatal(err)
	}
	return s.ID()
}

func (v *vouching) offered(who ...string) (*Offer, error) {
	v.t.Helper()
	v.l.Revise()
	v.l.Publish()
	var ids []statement.ID
	for _, w := range who {
		ids = append(ids, v.id[w])
	}
	return Offered(v.t.Context(), v.l.Client(""), ids)
}

// taker is a Rebuilder that only looks for work.
func taker(t testing.TB, root string) *Rebuilder {
	t.Helper()
	r := &Rebuilder{conf: Config{Work: filepath.Join(root, "work"), Store: root}}
	for _, dir := range []string{doneDir, drvsDir} {
		if err := os.MkdirAll(r.work(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r.drvs = newDrvs(root, r.work(drvsDir))
	return r
}

func names(drvs []nix.StorePath) string {
	var all []string
	for _, p := range drvs {
		all = append(all, drvName(p))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestOnlyWhatSomebodyInWorkFromAskedForIsTaken(t *testing.T) {
	root := t.TempDir()
	s := newDrvStore(t, root)
	lib := s.add("lib")
	app, other, lone := s.add("app", lib), s.add("other", lib), s.add("lone")
	s.write(lib, app, other, lone)
	v := newVouching(t)
	v.operator("alice")
	v.operator("mallory")
	v.eval("alice", app)
	v.eval("mallory", other)
	v.eval("nobody", lone)

	offer, err := v.offered("alice")
	if err != nil {
		t.Fatal(err)
	}
	r := taker(t, root)
	got, err := r.Take(t.Context(), v.l.Client(""), offer, nil, 50)
	if err != nil || names(got) != "app lib" {
		t.Errorf("taken %s: %v", names(got), err)
	}
	if got, err := r.Take(t.Context(), v.l.Client(""), offer, nil, 1); err != nil || names(got) != "app" {
		t.Errorf("the first: %s: %v", names(got), err)
	}
	if got, err := r.Take(t.Context(), v.l.Client(""), offer, []nix.StorePath{lib}, 1); err != nil || names(got) != "lib" {
		t.Errorf("named: %s: %v", names(got), err)
	}
	for _, p := range []nix.StorePath{other, lone} {
		var refused *UnvouchedError
		if _, err := r.Take(t.Context(), v.l.Client(""), offer, []nix.StorePath{p}, 1); !errors.As(err, &refused) || refused.Drv != p {
			t.Errorf("%s: %v", p, err)
		}
	}
	// What is done is no work.
	if err := r.writeRecord(app, &record{Schema: recordSchema, Drv: app.String()}); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Take(t.Context(), v.l.Client(""), offer, nil, 50); err != nil || names(got) != "lib" {
		t.Errorf("left: %s: %v", names(got), err)
	}
	if _, err := Offered(t.Context(), v.l.Client(""), nil); err == nil {
		t.Error("without anybody in work-from there is an offer")
	}
}

func TestWhatDoesNotCountOffersNoWork(t *testing.T) {
	root := t.TempDir()
	s := newDrvStore(t, root)
	app := s.add("app")
	s.write(app)
	for name, spoil := range map[string]func(v *vouching){
		"retracted": func(v *vouching) {
			id := v.eval("alice", app)
			v.say("alice", &statement.Retract{OperatorID: v.id["alice"], Statement: id, Reason: "a mistake"})
		},
		"revoked before": func(v *vouching) {
			v.say("alice", &statement.KeyRevoke{
				OperatorID: v.id["alice"], KeyID: logtest.Signer(t, "alice").PublicKey().ID(), Reason: statement.Compromised,
				Cuts: map[string]uint64{v.l.Origin(): 0}, Elsewhere: statement.Drop,
			})
			v.eval("alice", app)
		},
		"another operator has the key too": func(v *vouching) {
			v.operator("mallory")
			v.addKey("mallory", "alice")
			v.eval("alice", app)
		},
		"signed by the identity key": func(v *vouching) { v.eval("alice identity", app) },
		"of another store": func(v *vouching) {
			p, err := nix.StoreDir("/gnu/store").FromBase(app.Base())
			if err != nil {
				t.Fatal(err)
			}
			drvs := []nix.StorePath{p}
			v.l.Add(logtest.Leaf(t, logtest.Signer(t, "alice"), &statement.Eval{
				Name: "x", StoreDir: "/gnu/store", Digest: statement.PathsDigest(drvs), Count: 1, Drvs: drvs, Inputs: []statement.EvalInput{}, Evaluated: 1,
			}))
		},
		"a list that nobody has": func(v *vouching) { v.l.Add(logtest.Leaf(t, logtest.Signer(t, "alice"), logtest.Closure("x"))) },
	} {
		v := newVouching(t)
		v.operator("alice")
		spoil(v)
		offer, err := v.offered("alice")
		if err != nil {
			t.Fatal(err)
		}
		got, err := taker(t, root).Take(t.Context(), v.l.Client(""), offer, nil, 50)
		if err != nil || len(got) != 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	v := newVouching(t)
	v.operator("alice")
	v.id["bob"] = statement.ID{1}
	if _, err := v.offered("bob"); err == nil || !strings.Contains(err.Error(), "does not know operator") {
		t.Errorf("an operator that is not there: %v", err)
	}
}

// What the store does not have comes from the log, if its text has its path.
func TestDerivationsComeFromBlobsAndAreChecked(t *testing.T) {
	root := t.TempDir()
	s := newDrvStore(t, root)
	lib := s.add("lib")
	app, bad := s.add("app", lib), s.add("bad")
	twin := s.add("bad", lib) // of the same name
	s.write(lib)
	v := newVouching(t)
	v.operator("alice")
	v.eval("alice", app, bad)
	claim := func(p nix.StorePath, text []byte) {
		m, err := s.cache.Modulo(s.known[p], nix.Merge)
		if err != nil {
			t.Fatal(err)
		}
		v.l.Add(logtest.Leaf(t, logtest.Signer(t, "anybody"), &statement.BuildFailed{
			DrvPath: p, DrvHash: sha256.Sum256(text), Modulo: m, System: "x86_64-linux", StoreDir: nix.DefaultStoreDir, Outputs: []string{"out"},
			Reason: statement.ReasonExit, Builder: statement.Builder{Implementation: "nix", Version: "2.8.0"}, BuildID: [16]byte(sha256.New().Sum(text)[:16]),
		}))
	}
	blobs := map[string][]byte{}
	for _, b := range [][]byte{s.known[app].Raw, s.known[lib].Raw, s.known[twin].Raw} {
		h := sha256.Sum256(b)
		blobs["/v1/blob/"+nix.Hash(h).Hex()] = b
	}
	claim(app, []byte("nothing")) // nobody has this text
	claim(app, s.known[lib].Raw)  // the text of another
	claim(app, s.known[app].Raw)  // this is it
	claim(bad, s.known[twin].Raw) // only the text of another
	offer, err := v.offered("alice")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, ok := blobs[r.URL.Path]; ok {
			_, _ = w.Write(b)
			return
		}
		v.l.Handler().ServeHTTP(w, r)
	}))
	defer server.Close()
	c, err := log.NewClient(server.URL, v.l.Policy(), log.Options{Memory: log.NewMemory("")})
	if err != nil {
		t.Fatal(err)
	}
	r := taker(t, root)
	got, err := r.Take(t.Context(), c, offer, nil, 50)
	if err != nil || names(got) != "app lib" {
		t.Errorf("taken %s: %v", names(got), err)
	}
	if b, err := os.ReadFile(r.work(drvsDir, app.Base())); err != nil || string(b) != string(s.known[app].Raw) {
		t.Errorf("kept %q: %v", b, err)
	}
}

func TestOutputsAreComparedWithWhatTheLogProves(t *testing.T) {
	m := newMachine(t)
	m.build("lib")
	w := newWorld(t, m)
	first := w.one("lib")
	v := newVouching(t)
	for name, payload := range w.puts {
		leaf, err := logtest.Signer(t, "another builder").Sign(t.Context(), payload)
		if err != nil {
			t.Fatal(name, err)
		}
		v.l.Add(leaf)
	}
	v.l.Revise()
	v.l.Publish()
	w.o.Claims = Claimed(v.l.Client(""))
	res := w.one("lib")
	if res.Status != Agree || len(res.Outputs) != 2 || !strings.HasPrefix(res.Outputs[0].References[0].From, "key ") || res.Outputs[0].NarHash != first.Outputs[0].NarHash {
		t.Errorf("%+v", res)
	}
	if res := w.one("evil"); res.Status != Missing {
		t.Errorf("what nobody claims: %+v", res)
	}
}
