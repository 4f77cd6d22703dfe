package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/log"
	"github.com/firn-log/firn/log/statement"
)

// verifyWorld is the program firn-fixture of the scripts. It makes what a
// person meets who built nothing: a store of four paths in $WORK/store, a log at
// $LOG in which four operators claim things about them, and firn.policy. hello
// refers to the others; d lies about libfoo, nobody agrees on random, and only d
// built lonely. The binary cache in $WORK/cache has all four; that in $WORK/poisoned has
// another hello. If $UNBUILT is set, the store has the derivation of hello and not hello.
func verifyWorld() {
	if err := makeVerifyWorld(os.Getenv("WORK"), os.Getenv("LOG"), os.Getenv("ORIGIN")); err != nil {
		fmt.Fprintln(os.Stderr, "firn-fixture:", err)
		os.Exit(1)
	}
}

func makeVerifyWorld(work, logURL, origin string) error {
	f := &verifyFixture{root: filepath.Join(work, "store"), origin: origin}
	for _, name := range []string{"libfoo-1.0", "random-1.0", "lonely-1.0", "hello-2.12.1"} {
		if err := f.addPath(name); err != nil {
			return err
		}
	}
	policy := "log main file log.policy url " + logURL + "\n"
	for _, who := range []string{"a", "b", "c", "d"} {
		id, err := f.addOperator(who)
		if err != nil {
			return err
		}
		policy += fmt.Sprintf("operator %s id %s\n", who, id)
	}
	policy += "group builders 2 a b c d\nrule default need builders else refuse\n"
	if err := f.writeDB(); err != nil {
		return err
	}
	if err := f.writeCaches(work); err != nil {
		return err
	}
	body, err := log.MarshalLeaves(f.leaves)
	if err != nil {
		return err
	}
	resp, err := http.Post(logURL+"/v1/statements", "application/vnd.firn.leaves", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("submitting: %s", resp.Status)
	}
	if err := os.Symlink(f.infos[3].Path.String(), filepath.Join(work, "result")); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(work, "firn.policy"), []byte(policy), 0o644)
}

type verifyFixture struct {
	root, origin string
	infos        []*nix.PathInfo
	builds       []*statement.Build
	leaves       [][]byte
}

// addPath makes a store path that refers to those before it if it is hello.
func (f *verifyFixture) addPath(name string) error {
	modulo := nix.Hash(sha256.Sum256([]byte(name)))
	path, err := nix.OutputPath(nix.DefaultStoreDir, modulo, name, "out")
	if err != nil {
		return err
	}
	drv, err := nix.DefaultStoreDir.FromBase("00000000000000000000000000000000-" + name + ".drv")
	if err != nil {
		return err
	}
	info := &nix.PathInfo{Path: path, References: []nix.StorePath{}}
	if strings.HasPrefix(name, "hello") {
		for _, other := range f.infos {
			info.References = append(info.References, other.Path)
		}
	}
	info.References = sortPaths(info.References)
	file := filepath.Join(f.root, path.String())
	if err := os.MkdirAll(filepath.Join(file, "bin"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(file, "bin", "it"), []byte("content of "+name+"\n"), 0o755); err != nil {
		return err
	}
	if info.NarHash, info.NarSize, err = nix.HashPath(context.Background(), file, nil); err != nil {
		return err
	}
	f.infos = append(f.infos, info)
	f.builds = append(f.builds, &statement.Build{
		DrvPath: drv, Modulo: modulo, System: "x86_64-linux", StoreDir: nix.DefaultStoreDir, How: statement.HowBuilt,
		Outputs: []statement.BuildOutput{{Name: "out", Path: path, NarHash: info.NarHash, NarSize: info.NarSize, References: info.References}},
		Builder: statement.Builder{Implementation: "nix", Version: "2.8.0"}, Started: 1, Finished: 2,
	})
	return nil
}

func sortPaths(ps []nix.StorePath) []nix.StorePath {
	for i := range ps {
		for j := i; j > 0 && ps[j].Compare(ps[j-1]) < 0; j-- {
			ps[j], ps[j-1] = ps[j-1], ps[j]
		}
	}
	return ps
}

func fixtureSigner(what string) (statement.Signer, error) {
	seed := sha256.Sum256([]byte("firn fixture key of " + what))
	return statement.NewEd25519Signer(ed25519.NewKeyFromSeed(seed[:]))
}

// addOperator registers an operator and signs its claims.
func (f *verifyFixture) addOperator(who string) (statement.ID, error) {
	ctx := context.Background()
	identity, err := fixtureSigner(who + " identity")
	if err != nil {
		return statement.ID{}, err
	}
	build, err := fixtureSigner(who + " build")
	if err != nil {
		return statement.ID{}, err
	}
	first, err := statement.Sign(ctx, identity, &statement.Operator{
		Name: who, Contact: who + "@example.org", HomeLog: f.origin, Identity: identity.PublicKey(),
	}, "", nil)
	if err != nil {
		return statement.ID{}, err
	}
	id := first.ID()
	body, err := statement.ProveKey(ctx, build, id, statement.RoleBuild)
	if err != nil {
		return id, err
	}
	added, err := statement.Sign(ctx, identity, body, "", &id)
	if err != nil {
		return id, err
	}
	f.leaves = append(f.leaves, first.Leaf(), added.Leaf())
	for _, b := range f.builds {
		claim := *b
		claim.Outputs = append([]statement.BuildOutput(nil), b.Outputs...)
		name := claim.Outputs[0].Path.Name()
		switch {
		case name == "lonely-1.0" && who != "d":
			continue
		case name == "random-1.0" && who != "a", name == "libfoo-1.0" && who == "d":
			claim.Outputs[0].NarHash = sha256.Sum256([]byte(who))
		}
		s, err := statement.Sign(ctx, build, &claim, "", nil)
		if err != nil {
			return id, err
		}
		f.leaves = append(f.leaves, s.Leaf())
	}
	return id, nil
}

// writeDB writes Nix's database of the store.
func (f *verifyFixture) writeDB() error {
	dir := filepath.Join(f.root, "nix/var/nix/db")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "db.sqlite"))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec(`
create table ValidPaths (id integer primary key autoincrement not null, path text unique not null, hash text not null,
	registrationTime integer not null, deriver text, narSize integer, ultimate integer, sigs text, ca text);
create table Refs (referrer integer not null, reference integer not null, primary key (referrer, reference));
create table DerivationOutputs (drv integer not null, id text not null, path text not null, primary key (drv, id));`); err != nil {
		return err
	}
	ids := make(map[nix.StorePath]int)
	for i, info := range f.infos {
		if i == 3 && os.Getenv("UNBUILT") != "" {
			continue
		}
		ids[info.Path] = i + 1
		if _, err := db.Exec(`insert into ValidPaths values (?, ?, ?, 1, null, ?, null, null, null)`,
			i+1, info.Path.String(), "sha256:"+info.NarHash.Hex(), info.NarSize); err != nil {
			return err
		}
		for _, r := range info.References {
			if _, err := db.Exec(`insert into Refs values (?, ?)`, i+1, ids[r]); err != nil {
				return err
			}
		}
	}
	hello := f.builds[3]
	if _, err := db.Exec(`insert into ValidPaths values (9, ?, 'sha256:0000000000000000000000000000000000000000000000000000000000000000', 1, null, 1, null, null, null)`,
		hello.DrvPath.String()); err != nil {
		return err
	}
	_, err = db.Exec(`insert into DerivationOutputs values (9, 'out', ?)`, hello.Outputs[0].Path.String())
	return err
}
