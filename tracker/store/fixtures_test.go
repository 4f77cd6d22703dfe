package store

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/statement"
)

const (
	logA = "log-a.example/00000000"
	logB = "log-b.example/00000000"
)

func digest(text string) nix.Hash { return sha256.Sum256([]byte(text)) }

func signer(t testing.TB, name string) statement.Signer {
	t.Helper()
	seed := digest("signer " + name)
	s, err := statement.NewEd25519Signer(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// person is an operator with one build key, who says things in an order.
type person struct {
	t               testing.TB
	name            string
	identity, build statement.Signer
	id, last        statement.ID
	first, add      *statement.Statement
}

func newPerson(t testing.TB, name string) *person {
	t.Helper()
	p := &person{t: t, name: name, identity: signer(t, name+" identity"), build: signer(t, name+" build")}
	p.first = p.sign(p.identity, &statement.Operator{Name: name, Contact: name + "@example.org", URL: "https://example.org/" + name, HomeLog: logA, Identity: p.identity.PublicKey()}, nil)
	p.id, p.last = p.first.ID(), p.first.ID()
	p.add = p.addKey(p.build)
	return p
}

func (p *person) sign(s statement.Signer, body statement.Body, prev *statement.ID) *statement.Statement {
	p.t.Helper()
	st, err := statement.Sign(context.Background(), s, body, "", prev)
	if err != nil {
		p.t.Fatal(err)
	}
	return st
}

// next is the next people statement.
func (p *person) next(body statement.Body) *statement.Statement {
	p.t.Helper()
	prev := p.last
	s := p.sign(p.identity, body, &prev)
	p.last = s.ID()
	return s
}

func (p *person) addKey(k statement.Signer) *statement.Statement {
	p.t.Helper()
	add, err := statement.ProveKey(context.Background(), k, p.id, statement.RoleBuild)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.next(add)
}

// spec is a build for tests: its outputs' contents follow from what.
type spec struct {
	name, what string
	outputs    []string // "out" if nil
	finished   uint64
	ca         bool
}

func (s spec) modulo() nix.Hash { return digest("modulo " + s.name) }

func (s spec) drv() string {
	m := s.modulo()
	return nix.EncodeBase32(m[:20]) + "-" + s.name + ".drv"
}

func (s spec) names() []string {
	if s.outputs == nil {
		return []string{"out"}
	}
	return s.outputs
}

// paths are the outputs by name, as an evaluation has them.
func (s spec) paths(t testing.TB) map[string]string {
	t.Helper()
	paths := make(map[string]string)
	for _, o := range s.names() {
		p, err := nix.OutputPath(nix.DefaultStoreDir, s.modulo(), s.name, o)
		if err != nil {
			t.Fatal(err)
		}
		if paths[o] = p.Base(); s.ca {
			paths[o] = ""
		}
	}
	return paths
}

func (s spec) body(t testing.TB) *statement.Build {
	t.Helper()
	drv, err := nix.DefaultStoreDir.FromBase(s.drv())
	if err != nil {
		t.Fatal(err)
	}
	m := s.modulo()
	b := &statement.Build{
		DrvPath: drv, DrvHash: digest(s.drv()), Modulo: m, System: "x86_64-linux", StoreDir: nix.DefaultStoreDir,
		How: statement.HowBuilt, Builder: statement.Builder{Implementation: "nix", Version: "2.30", Sandbox: true},
		Started: s.finished, Finished: s.finished,
	}
	names := slices.Sorted(slices.Values(s.names()))
	for _, o := range names {
		out := statement.BuildOutput{Name: o, NarHash: digest("nar " + s.what + o), NarSize: 1000, References: []nix.StorePath{}}
		if s.ca {
			ca := nix.ContentAddress{Method: nix.Recursive, Algo: "sha256", Hash: out.NarHash[:]}
			out.CA = ca.String()
			name := s.name
			if o != "out" {
				name += "-" + o
			}
			out.Path, err = nix.FixedOutputPath(b.StoreDir, name, ca, nix.Refs{})
		} else {
			out.Path, err = nix.OutputPath(b.StoreDir, m, s.name, o)
		}
		if err != nil {
			t.Fatal(err)
		}
		b.Outputs = append(b.Outputs, out)
	}
	return b
}

// builds is a claim by the build key.
func (p *person) builds(s spec) *statement.Statement {
	p.t.Helper()
	b := s.body(p.t)
	id := digest(fmt.Sprint(p.name, s))
	copy(b.BuildID[:], id[:])
	return p.sign(p.build, b, nil)
}

// entries makes entries of statements; index is that of the first. Their signatures are not verified yet.
func entries(index uint64, all ...*statement.Statement) []Entry {
	var out []Entry
	for i, s := range all {
		out = append(out, Entry{Index: index + uint64(i), Leaf: s.Leaf(), Statement: s})
	}
	return out
}

func openSQLite(t testing.TB, o Options) *DB {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "tracker.db"), o)
}

func openAt(t testing.TB, dsn string, o Options) *DB {
	t.Helper()
	db, err := Open(t.Context(), dsn, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func dump(t testing.TB, db *DB) string {
	t.Helper()
	var b bytes.Buffer
	if err := db.Dump(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func write(t testing.TB, db *DB, f func(*Tx) error) {
	t.Helper()
	if err := db.Write(context.Background(), f); err != nil {
		t.Fatal(err)
	}
}

func add(t testing.TB, db *DB, origin string, es []Entry) {
	t.Helper()
	write(t, db, func(tx *Tx) error { return tx.AddEntries(context.Background(), origin, es) })
}
