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

func (p people) run(id string) (code int, stdout, stderr string) {
	p.t.Helper()
	policy := filepath.Join(p.t.TempDir(), "log.policy")
	if err := os.WriteFile(policy, []byte(p.l.PolicyText()), 0o600); err != nil {
		p.t.Fatal(err)
	}
	var out, words bytes.Buffer
	a := &app{Stdin: &bytes.Buffer{}, Stdout: &out, Stderr: &words, Getenv: func(string) string { return "" }}
	args := []string{"operator", "show", id, "--json", "--log", p.l.URL(), "--log-policy", policy, "--state", p.t.TempDir()}
	code = run(context.Background(), a, args)
	return code, out.String(), words.String()
}

func key(t *testing.T, name string) statement.Signer { return logtest.Signer(t, name) }

func TestOperatorShowSeesAFork(t *testing.T) {
	p := people{t, logtest.New(t)}
	alice := key(t, "alice")
	op := p.operator(alice, "alice")
	first := p.add(alice, &statement.Vouch{OperatorID: *op, For: statement.ID{1}}, op)
	p.add(alice, &statement.Vouch{OperatorID: *op, For: statement.ID{2}}, op)
	p.l.Publish()
	h := p.show(op.String())
	if !h.Forked || h.Head != first.String() || len(h.Statements) != 3 || h.Statements[2].Counts {
		t.Errorf("%+v", h)
	}
}

// What a stranger, a build key or a revoked key signs does not count, however
// the log came to take it, and a key without its own proof is nobody's.
func TestOperatorShowBelievesIdentityKeysOnly(t *testing.T) {
	p := people{t, logtest.New(t)}
	alice, build, mallory, spare := key(t, "alice"), key(t, "build"), key(t, "mallory"), key(t, "spare")
	ctx := context.Background()
	op := p.operator(alice, "alice")
	prove := func(s statement.Signer, role statement.Role) *statement.KeyAdd {
		t.Helper()
		b, err := statement.ProveKey(ctx, s, *op, role)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
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
