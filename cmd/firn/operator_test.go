package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// people builds chains of statements that a careless log takes.
type people struct {
	t *testing.T
	l *logtest.Log
}

func (p people) add(s statement.Signer, body statement.Body, prev *statement.ID) *statement.ID {
	p.t.Helper()
	st, err := statement.Sign(context.Background(), s, body, "", prev)
	if err != nil {
		p.t.Fatal(err)
	}
	p.l.Add(st.Leaf())
	id := st.ID()
	return &id
}

func (p people) operator(s statement.Signer, name string) *statement.ID {
	p.t.Helper()
	return p.add(s, &statement.Operator{Name: name, Contact: name, HomeLog: p.l.Origin(), Identity: s.PublicKey()}, nil)
}

// show runs firn operator show --json, which must succeed.
func (p people) show(id string) (h historyJSON) {
	p.t.Helper()
	code, out, words := p.run(id)
	if code != exitOK {
		p.t.Fatalf("status %d\n%s", code, words)
	}
	if err := json.Unmarshal([]byte(out), &h); err != nil {
		p.t.Fatal(err)
	}
	return h
}

func (p people) prove(s statement.Signer, op statement.ID, role statement.Role) *statement.KeyAdd {
	p.t.Helper()
	b, err := statement.ProveKey(context.Background(), s, op, role)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p people) run(id string) (code int, stdout, stderr string) { return p.tells(id, "--json") }

// tells runs firn operator show.
func (p people) tells(id string, flags ...string) (code int, stdout, stderr string) {
	p.t.Helper()
	policy := filepath.Join(p.t.TempDir(), "log.policy")
	if err := os.WriteFile(policy, []byte(p.l.PolicyText()), 0o600); err != nil {
		p.t.Fatal(err)
	}
	var out, words bytes.Buffer
	a := &app{Stdin: &bytes.Buffer{}, Stdout: &out, Stderr: &words, Getenv: func(string) string { return "" }}
	args := []string{"operator", "show", id, "--log", p.l.URL(), "--log-policy", policy, "--state", p.t.TempDir()}
	code = run(context.Background(), a, append(args, flags...))
	return code, out.String(), words.String()
}

func key(t *testing.T, name string) statement.Signer { return logtest.Signer(t, name) }

func TestOperatorShowSeesAFork(t *testing.T) {
	p := people{t, logtest.New(t)}
	alice := key(t, "alice")
	op := p.operator(alice, "alice")
	p.add(alice, &statement.Vouch{OperatorID: *op, For: statement.ID{1}}, op)
	p.add(alice, &statement.Vouch{OperatorID: *op, For: statement.ID{2}}, op)
	p.l.Publish()
	h := p.show(op.String())
	if !h.Forked || h.Head != op.String() || h.ForkAfter != op.String() || len(h.Branches) != 2 || len(h.Statements) != 3 {
		t.Fatalf("%+v", h)
	}
	for _, s := range h.Statements[1:] {
		if s.Counts || s.Branch == 0 || h.Branches[s.Branch-1] != s.ID || s.Prev != op.String() || s.Why != "it comes after a fork" {
			t.Errorf("%+v", s)
		}
	}
	if h.Statements[1].Branch == h.Statements[2].Branch {
		t.Error("both are on one branch")
	}
	if _, out, words := p.tells(op.String()); !strings.Contains(out, "[branch 1]") || !strings.Contains(out, "[branch 2]") || !strings.Contains(words, "from there on nothing of this operator counts, but revocations act") {
		t.Errorf("%s\n%s", out, words)
	}
}

// A revocation after a fork acts on whatever branch it is.
func TestOperatorShowSeesRevocationsOnBranches(t *testing.T) {
	p := people{t, logtest.New(t)}
	alice, build, thief := key(t, "alice"), key(t, "build"), key(t, "thief")
	op := p.operator(alice, "alice")
	head := p.add(alice, p.prove(build, *op, statement.RoleBuild), op)
	p.l.Add(logtest.Leaf(t, build, logtest.Closure("before")))
	p.add(alice, p.prove(thief, *op, statement.RoleBuild), head)
	p.add(alice, &statement.KeyRevoke{OperatorID: *op, KeyID: build.PublicKey().ID(), Reason: statement.Compromised, Cuts: map[string]uint64{p.l.Origin(): 1}, Elsewhere: statement.Drop}, head)
	p.l.Publish()
	h := p.show(op.String())
	last := h.Statements[len(h.Statements)-1]
	if !h.Forked || !last.Counts || last.Branch == 0 || len(h.Keys) != 3 || h.Keys[1].Revoked != "compromised" || h.Keys[1].Below != 1 || h.Keys[2].Below != 0 {
		t.Errorf("%+v", h)
	}
}

// Two operators have a key: that is shown, and the key counts for neither. How much a
// key signed is shown too.
func TestOperatorShowSeesAKeyOfTwoOperators(t *testing.T) {
	p := people{t, logtest.New(t)}
	alice, bob, build, own := key(t, "alice"), key(t, "bob"), key(t, "build"), key(t, "own")
	op, other := p.operator(alice, "alice"), p.operator(bob, "bob")
	head := p.add(alice, p.prove(build, *op, statement.RoleBuild), op)
	p.add(alice, p.prove(own, *op, statement.RoleBuild), head)
	for _, name := range []string{"one", "two"} {
		p.l.Add(logtest.Leaf(t, build, logtest.Closure(name)))
	}
	// That Bob says so without a proof by the key means nothing.
	unproven := p.prove(key(t, "spare"), *other, statement.RoleBuild)
	unproven.Key = own.PublicKey()
	p.add(bob, unproven, other)
	p.add(bob, p.prove(build, *other, statement.RoleBuild), other)
	p.l.Publish()
	for of, not := range map[string]string{op.String(): other.String(), other.String(): op.String()} {
		h := p.show(of)
		shared := 0
		for _, k := range h.Keys {
			if len(k.Shared) > 0 {
				shared++
				if k.ID != build.PublicKey().ID().String() || !slices.Equal(k.Shared, []string{not}) || k.Signed != 2 || k.LastUse != 5 {
					t.Errorf("%+v", k)
				}
			}
		}
		if shared != 1 {
			t.Errorf("%d keys of %s are shared: %+v", shared, of, h.Keys)
		}
		_, out, words := p.tells(of)
		if !strings.Contains(out, "signed 2 statements, the newest at 5  claimed by two operators: counts for neither") || !strings.Contains(words, "has also proven to be one of the operator "+not) {
			t.Errorf("%s\n%s", out, words)
		}
	}
}

// What a stranger, a build key or a revoked key signs does not count, however
// the log came to take it, and a key without its own proof is nobody's.
func TestOperatorShowBelievesIdentityKeysOnly(t *testing.T) {
	p := people{t, logtest.New(t)}
	alice, build, mallory, spare := key(t, "alice"), key(t, "build"), key(t, "mallory"), key(t, "spare")
	ctx := context.Background()
	op := p.operator(alice, "alice")
	prove := func(s statement.Signer, role statement.Role) *statement.KeyAdd { return p.prove(s, *op, role) }
	head := p.add(alice, prove(build, statement.RoleBuild), op)
	p.add(build, &statement.Vouch{OperatorID: *op, For: statement.ID{1}}, head)
	p.add(mallory, prove(spare, statement.RoleIdentity), head)
	forged, err := statement.Sign(ctx, alice, &statement.Vouch{OperatorID: *op, For: statement.ID{3}}, "", head)
	if err != nil {
		t.Fatal(err)
	}
	leaf := forged.Leaf()
	leaf[len(leaf)-1] ^= 1
	p.l.Add(leaf)
	stolen := prove(spare, statement.RoleBuild)
	stolen.Key = mallory.PublicKey()
	p.add(alice, stolen, head)
	head = p.add(alice, prove(spare, statement.RoleIdentity), head)
	head = p.add(spare, &statement.KeyRevoke{OperatorID: *op, KeyID: alice.PublicKey().ID(), Reason: statement.Compromised, Cuts: map[string]uint64{}, Elsewhere: statement.Drop}, head)
	p.add(alice, &statement.Vouch{OperatorID: *op, For: statement.ID{2}}, head)
	p.l.Publish()

	h := p.show(spare.PublicKey().ID().String())
	if h.Operator != op.String() || h.Forked || h.Head != head.String() {
		t.Errorf("%+v", h)
	}
	var counts []bool
	for _, s := range h.Statements {
		counts = append(counts, s.Counts)
	}
	if want := []bool{true, true, false, false, false, false, true, true, false}; !slices.Equal(counts, want) {
		t.Errorf("counts %v, want %v: %+v", counts, want, h.Statements)
	}
	var keys []string
	for _, k := range h.Keys {
		keys = append(keys, k.ID)
	}
	want := []string{alice.PublicKey().ID().String(), build.PublicKey().ID().String(), spare.PublicKey().ID().String()}
	if !slices.Equal(keys, want) || h.Keys[0].Revoked != "compromised" {
		t.Errorf("keys %v, want %v", h.Keys, want)
	}
	if code, _, words := p.run(mallory.PublicKey().ID().String()); code != exitFailed || !strings.Contains(words, "knows no operator") {
		t.Errorf("a key that never proved itself belongs to an operator: %d %s", code, words)
	}
}
