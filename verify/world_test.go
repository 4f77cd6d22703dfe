package verify

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// world is some logs, the people who write into them, and somebody who asks.
type world struct {
	t     testing.TB
	logs  []*logtest.Log // the first is called log0, and so on
	state string
	now   func() time.Time
	lines []string // log lines of the policy; empty means every log is required
	full  bool
	files map[string]string // index policies by name
	wrap  func(Log) Log     // changes the log that is asked; nil does not
}

func newWorld(t testing.TB, logs ...*logtest.Log) *world {
	t.Helper()
	if len(logs) == 0 {
		logs = []*logtest.Log{logtest.New(t)}
	}
	return &world{t: t, logs: logs, state: t.TempDir()}
}

// person is an operator with one identity key and one build key.
type person struct {
	w               *world
	name            string
	identity, build statement.Signer
	id              statement.ID
	last            statement.ID // its newest people statement
}

func signer(t testing.TB, what string) statement.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte("firn test key " + what))
	s, err := statement.NewEd25519Signer(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// person registers an operator with a build key in log0, its home.
func (w *world) person(name string) *person {
	w.t.Helper()
	p := w.stranger(name)
	p.id = p.say(&statement.Operator{
		Name: name, Contact: name + "@example.org", HomeLog: w.logs[0].Origin(), Identity: p.identity.PublicKey(),
	}).ID()
	p.addKey(p.build, statement.RoleBuild)
	return p
}

func (w *world) stranger(name string) *person {
	return &person{w: w, name: name, identity: signer(w.t, name+" identity"), build: signer(w.t, name+" build")}
}

func (w *world) people(names string) map[string]*person {
	w.t.Helper()
	all := make(map[string]*person)
	for _, n := range strings.Fields(names) {
		all[n] = w.person(n)
	}
	return all
}

// sign makes a statement without logging it.
func (w *world) sign(s statement.Signer, body statement.Body, prev *statement.ID) *statement.Statement {
	w.t.Helper()
	st, err := statement.Sign(context.Background(), s, body, "", prev)
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// put logs a statement.
func (w *world) put(n int, s *statement.Statement) uint64 {
	at := w.logs[n].Add(s.Leaf())
	w.logs[n].Publish()
	return at
}

// say chains a people statement and logs it in log0.
func (p *person) say(body statement.Body) *statement.Statement {
	p.w.t.Helper()
	s := p.next(body)
	p.w.put(0, s)
	p.last = s.ID()
	return s
}

// next signs what would follow the newest people statement.
func (p *person) next(body statement.Body) *statement.Statement {
	p.w.t.Helper()
	var prev *statement.ID
	if !p.last.IsZero() {
		prev = &p.last
	}
	return p.w.sign(p.identity, body, prev)
}

func (p *person) addKey(s statement.Signer, role statement.Role) *statement.Statement {
	p.w.t.Helper()
	return p.say(p.proven(s, role))
}

func (p *person) proven(s statement.Signer, role statement.Role) *statement.KeyAdd {
	p.w.t.Helper()
	body, err := statement.ProveKey(context.Background(), s, p.id, role)
	if err != nil {
		p.w.t.Fatal(err)
	}
	return body
}

func (p *person) revoke(key statement.KeyID, cuts map[string]uint64, elsewhere statement.Elsewhere) *statement.KeyRevoke {
	return &statement.KeyRevoke{OperatorID: p.id, KeyID: key, Reason: statement.Rotated, Cuts: cuts, Elsewhere: elsewhere}
}

// subject is a path whose content is called what.
func subject(t testing.TB, name, what string) Subject {
	t.Helper()
	b := buildOf(t, name, what)
	o := b.Outputs[0]
	return Subject{Info: &nix.PathInfo{Path: o.Path, NarHash: o.NarHash, NarSize: o.NarSize, References: o.References}}
}

// buildOf is a build of name's only output with a content called what.
func buildOf(t testing.TB, name, what string) *statement.Build {
	t.Helper()
	dir := nix.DefaultStoreDir
	modulo := nix.Hash(sha256.Sum256([]byte("modulo of " + name)))
	out, err := nix.OutputPath(dir, modulo, name, "out")
	if err != nil {
		t.Fatal(err)
	}
	drv, err := dir.FromBase("00000000000000000000000000000000-" + name + ".drv")
	if err != nil {
		t.Fatal(err)
	}
	return &statement.Build{
		DrvPath: drv, DrvHash: nix.Hash{1}, Modulo: modulo, System: "x86_64-linux", StoreDir: dir,
		Outputs: []statement.BuildOutput{{
			Name: "out", Path: out, NarHash: sha256.Sum256([]byte("content " + what)), NarSize: 1000,
			References: []nix.StorePath{out},
		}},
		How: statement.HowBuilt, Builder: statement.Builder{Implementation: "nix", Version: "2.8.0", Sandbox: true},
		Started: 1_700_000_000, Finished: 1_700_000_001,
	}
}

// builds claims in log0 that name came out as what.
func (p *person) builds(name, what string) *statement.Statement {
	p.w.t.Helper()
	return p.buildsIn(0, name, what)
}

func (p *person) buildsIn(log int, name, what string) *statement.Statement {
	p.w.t.Helper()
	s := p.w.sign(p.build, buildOf(p.w.t, name, what), nil)
	p.w.put(log, s)
	return s
}

// policy is "need of who" with everybody by id, and completeness off.
func (w *world) policy(people map[string]*person, lines ...string) *Policy {
	w.t.Helper()
	var names []string
	for n := range people {
		names = append(names, n)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "operator %s id %s\n", n, people[n].id)
	}
	return w.parse(b.String() + strings.Join(lines, "\n") + "\n")
}

// parse puts the log lines and the default rule, for the last group, around text.
func (w *world) parse(text string) *Policy {
	w.t.Helper()
	logs := w.lines
	if logs == nil {
		for range w.logs {
			logs = append(logs, "required")
		}
	}
	head := ""
	for i := range w.logs {
		head += fmt.Sprintf("log log%d file %d url %s %s\n", i, i, w.logs[i].URL(), logs[i])
	}
	last := ""
	for l := range strings.Lines(text) {
		if f := strings.Fields(l); len(f) > 1 && f[0] == "group" {
			last = f[1]
		}
	}
	if !strings.Contains(text, "completeness proven") {
		head += "completeness off\n"
	}
	text = head + strings.ReplaceAll(text, "completeness proven\n", "") + "rule default need " + last + "\n"
	pol, err := ParsePolicy("firn.policy", []byte(text), func(file string) ([]byte, error) {
		if text, ok := w.files[file]; ok {
			return []byte(text), nil
		}
		var n int
		_, err := fmt.Sscan(file, &n)
		return []byte(w.logs[n].PolicyText()), err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return pol
}

func (w *world) options() Options {
	o := Options{StateDir: w.state, Full: w.full, Now: w.now}
	if w.wrap != nil {
		mem := log.NewMemory(w.state)
		o.Open = func(ref *LogRef) (Log, error) {
			l, err := log.NewClient(ref.URL, ref.Policy, log.Options{Memory: mem, Now: w.now})
			return w.wrap(l), err
		}
	}
	return o
}

func (w *world) verify(pol *Policy, subjects ...Subject) *Report {
	w.t.Helper()
	r, err := Verify(context.Background(), pol, subjects, w.options())
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// expect verifies one path and compares verdict and reason.
func (w *world) expect(pol *Policy, s Subject, verdict Verdict, reason string) *PathReport {
	w.t.Helper()
	r := w.verify(pol, s)
	p := &r.Paths[0]
	if p.Verdict != verdict || !strings.Contains(p.Reason, reason) {
		w.t.Errorf("%s: %v (%s), want %v (…%s…)\nclaims %+v\nlogs %+v", s.Info.Path.Name(), p.Verdict, p.Reason, verdict, reason, p.Claims, r.Logs)
		for _, o := range r.Operators {
			w.t.Logf("%+v", *o)
		}
	}
	return p
}

// spoiled is a leaf whose signature does not verify.
func spoiled(t testing.TB, s *statement.Statement) []byte {
	t.Helper()
	i := bytes.LastIndex(s.Leaf(), s.Sig)
	if i < 0 {
		t.Fatal("the leaf does not hold its signature")
	}
	leaf := bytes.Clone(s.Leaf())
	leaf[i+3] ^= 1
	return leaf
}

var _ Log = (*log.Client)(nil)
