package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log/logtest"
	"github.com/firn-log/firn/log/statement"
)

// world is a log whose operators build things.
type world struct {
	t testing.TB
	*logtest.Log
	last, id map[string]statement.ID
}

func newWorld(t testing.TB, opts ...logtest.Option) *world {
	return &world{t, logtest.New(t, opts...), make(map[string]statement.ID), make(map[string]statement.ID)}
}

// people adds what the identity key of who says.
func (w *world) people(who string, body statement.Body) {
	w.t.Helper()
	var prev *statement.ID
	if id, ok := w.last[who]; ok {
		prev = &id
	}
	s, err := statement.Sign(context.Background(), logtest.Signer(w.t, who+" identity"), body, "", prev)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Add(s.Leaf())
	w.last[who] = s.ID()
	if prev == nil {
		w.id[who] = s.ID()
	}
}

// register makes an operator with a build key.
func (w *world) register(who string) {
	w.t.Helper()
	w.people(who, &statement.Operator{Name: who, Contact: who + "@example.org", HomeLog: w.Origin(), Identity: logtest.Signer(w.t, who+" identity").PublicKey()})
	body, err := statement.ProveKey(context.Background(), logtest.Signer(w.t, who), w.id[who], statement.RoleBuild)
	if err != nil {
		w.t.Fatal(err)
	}
	w.people(who, body)
}

// made is the i-th of an endless row of made-up outputs.
func made(i int) (modulo nix.Hash, name string, out, drv nix.StorePath) {
	modulo = sha256.Sum256(fmt.Appendf(nil, "modulo %d", i))
	name = fmt.Sprintf("package-%d-1.0", i)
	out, err := nix.OutputPath(nix.DefaultStoreDir, modulo, name, "out")
	if err != nil {
		panic(err)
	}
	drv, err = nix.DefaultStoreDir.FromBase(nix.EncodeBase32(modulo[:20]) + "-" + name + ".drv")
	if err != nil {
		panic(err)
	}
	return modulo, name, out, drv
}

// build is a claim to have built the i-th output.
func build(who string, i int) *statement.Build {
	modulo, _, out, drv := made(i)
	id := sha256.Sum256(fmt.Appendf(nil, "%s %d", who, i))
	return &statement.Build{
		DrvPath: drv, DrvHash: sha256.Sum256(modulo[:]), Modulo: modulo, System: "x86_64-linux", StoreDir: nix.DefaultStoreDir,
		Outputs: []statement.BuildOutput{{Name: "out", Path: out, NarHash: sha256.Sum256(fmt.Appendf(nil, "nar %d", i)), NarSize: uint64(1000 + i), References: []nix.StorePath{}}},
		How:     statement.HowBuilt, Builder: statement.Builder{Implementation: "nix", Version: "2.8.0"}, Started: 1_700_000_000, Finished: 1_700_000_060, BuildID: [16]byte(id[:16]),
	}
}

// builds adds n claims of who.
func (w *world) builds(who string, from, n int) {
	w.t.Helper()
	for i := from; i < from+n; i++ {
		w.Add(logtest.Leaf(w.t, logtest.Signer(w.t, who), build(who, i)))
	}
}

// policyFile writes the policy of the log, with its URL.
func (w *world) policyFile() string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "log.policy")
	if err := os.WriteFile(file, []byte(w.PolicyText()), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return file
}

// secretKey is the key of logtest.Signer(who) as a Nix secret key.
func secretKey(who string) string {
	seed := sha256.Sum256([]byte("firn test key of signer " + who))
	return who[:4] + "-1:" + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed[:]))
}
