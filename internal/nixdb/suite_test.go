package nixdb

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/firn-log/firn/internal/nix"
)

// row is one path of a synthetic store.
type row struct {
	name     string
	refs     []string
	deriver  string
	ultimate bool
	sigs, ca string
}

const testDir = nix.StoreDir("/some/other/store")

// pathOf makes a store path whose hash part follows from its name.
func pathOf(t testing.TB, name string) nix.StorePath {
	t.Helper()
	sum := sha256.Sum256([]byte(name))
	p, err := testDir.FromBase(nix.EncodeBase32(sum[:20]) + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func hashOf(name string) nix.Hash { return sha256.Sum256([]byte("nar of " + name)) }

// store is a small store with a cycle through itself, shared references and a
// path that nobody refers to.
var store = []row{
	{name: "app.drv", refs: []string{"lib.drv", "source"}, ca: "text:sha256:0000000000000000000000000000000000000000000000000000"},
	{name: "lib.drv", refs: []string{"source"}},
	{name: "source", ca: "fixed:r:sha256:0000000000000000000000000000000000000000000000000000"},
	{name: "lib", refs: []string{"lib"}, deriver: "lib.drv", ultimate: true},
	{name: "lib-dev", refs: []string{"lib"}, deriver: "lib.drv", sigs: "k:AA k2:BB"},
	{name: "app", refs: []string{"app", "lib", "lib-dev"}, deriver: "app.drv", ultimate: true},
	{name: "alone", deriver: "gone.drv"},
}

const schemaText = `
create table ValidPaths (id integer primary key autoincrement not null, path text unique not null, hash text not null,
	registrationTime integer not null, deriver text, narSize integer, ultimate integer, sigs text, ca text);
create table Refs (referrer integer not null, reference integer not null, primary key (referrer, reference));
create index IndexReferrer on Refs(referrer);
create table DerivationOutputs (drv integer not null, id text not null, path text not null, primary key (drv, id));
`

// makeDB writes a database with rows, running extra statements at its end, and
// returns its path. It is left in WAL mode as Nix has it.
func makeDB(t testing.TB, rows []row, extra ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db.sqlite")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	exec := func(text string, args ...any) {
		t.Helper()
		if _, err := db.Exec(text, args...); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	exec(`pragma journal_mode = wal`)
	exec(schemaText)
	ids := make(map[string]int)
	for i, r := range rows {
		ids[r.name] = i + 1
		null := func(s string) any {
			if s == "" {
				return nil
			}
			return s
		}
		var ultimate any // Nix writes null for false
		if r.ultimate {
			ultimate = 1
		}
		deriver := r.deriver
		if deriver != "" {
			deriver = pathOf(t, deriver).String()
		}
		exec(`insert into ValidPaths values (?, ?, ?, 1, ?, ?, ?, ?, ?)`, i+1, pathOf(t, r.name).String(),
			"sha256:"+hashOf(r.name).Hex(), null(deriver), len(r.name), ultimate, null(r.sigs), null(r.ca))
	}
	for _, r := range rows {
		for _, ref := range r.refs {
			exec(`insert into Refs values (?, ?)`, ids[r.name], ids[ref])
		}
	}
	exec(`insert into DerivationOutputs select id, 'out', ? from ValidPaths where path = ?`, pathOf(t, "lib").String(), pathOf(t, "lib.drv").String())
	exec(`insert into DerivationOutputs select id, 'dev', ? from ValidPaths where path = ?`, pathOf(t, "lib-dev").String(), pathOf(t, "lib.drv").String())
	for _, text := range extra {
		exec(text)
	}
	return path
}

func makeDump(t testing.TB, rows []row) string {
	var b bytes.Buffer
	for _, r := range rows {
		deriver := ""
		if r.deriver != "" {
			deriver = pathOf(t, r.deriver).String()
		}
		fmt.Fprintf(&b, "%s\n%s\n%d\n%s\n%d\n", pathOf(t, r.name), hashOf(r.name).Hex(), len(r.name), deriver, len(r.refs))
		for _, ref := range r.refs {
			fmt.Fprintln(&b, pathOf(t, ref))
		}
	}
	return b.String()
}

func openDB(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(path, testDir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func openDump(t testing.TB, text string) *Dump {
	t.Helper()
	d, err := ParseDump(bytes.NewReader([]byte(text)), testDir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestSource is the suite that every Source runs.
func TestSource(t *testing.T) {
	dbPath := makeDB(t, store)
	sources := map[string]Source{
		"sqlite": openDB(t, dbPath),
		"dump":   openDump(t, makeDump(t, store)),
	}
	copied := copyOf(t, dbPath)
	asNobody(t, func() { sources["immutable"] = openDB(t, copied) })
	if sources["immutable"].(*DB).still == nil {
		t.Error("a database whose log cannot be made is not read as immutable")
	}
	if !sources["sqlite"].Records().Ultimate || sources["dump"].Records().Ultimate {
		t.Error("wrong Records")
	}
	for name, src := range sources {
		t.Run(name, func(t *testing.T) {
			t.Run("facts of a path", func(t *testing.T) { testFacts(t, src) })
			t.Run("closures", func(t *testing.T) { testClosures(t, src) })
			t.Run("derivers", func(t *testing.T) { testDerivers(t, src) })
			t.Run("outputs", func(t *testing.T) { testOutputs(t, src) })
		})
	}
}

func testFacts(t *testing.T, src Source) {
	has := src.Records()
	if src.StoreDir() != testDir {
		t.Errorf("store dir %q", src.StoreDir())
	}
	for _, r := range store {
		info, err := src.PathInfo(t.Context(), pathOf(t, r.name))
		if err != nil {
			t.Errorf("%s: %v", r.name, err)
			continue
		}
		if info.Path != pathOf(t, r.name) || info.NarHash != hashOf(r.name) || info.NarSize != uint64(len(r.name)) {
			t.Errorf("%s: got %+v", r.name, info)
		}
		if !slices.Equal(info.References, paths(t, r.refs...)) {
			t.Errorf("%s: references %v, want %v", r.name, info.References, r.refs)
		}
		if (r.deriver == "") != info.Deriver.IsZero() || r.deriver != "" && info.Deriver != pathOf(t, r.deriver) {
			t.Errorf("%s: deriver %v, want %q", r.name, info.Deriver, r.deriver)
		}
		if info.Ultimate != (r.ultimate && has.Ultimate) || has.CA && info.CA != r.ca || !has.CA && info.CA != "" {
			t.Errorf("%s: ultimate %v, ca %q", r.name, info.Ultimate, info.CA)
		}
	}
	if info, err := src.PathInfo(t.Context(), pathOf(t, "lib-dev")); has.Sigs && (err != nil || !slices.Equal(info.Sigs, []string{"k:AA", "k2:BB"})) {
		t.Errorf("signatures: %+v, %v", info, err)
	}
	if _, err := src.PathInfo(t.Context(), pathOf(t, "missing")); !errors.Is(err, ErrNotValid) {
		t.Errorf("a path that is not there: %v, want ErrNotValid", err)
	}
}

// paths returns the paths of names, sorted.
func paths(t testing.TB, names ...string) []nix.StorePath {
	var ps []nix.StorePath
	for _, n := range names {
		ps = append(ps, pathOf(t, n))
	}
	sortPaths(ps)
	return ps
}

func testClosures(t *testing.T, src Source) {
	for _, c := range []struct{ roots, want []string }{
		{[]string{"app"}, []string{"app", "lib", "lib-dev"}},
		{[]string{"app.drv"}, []string{"app.drv", "lib.drv", "source"}},
		{[]string{"lib", "source", "lib"}, []string{"lib", "source"}},
		{nil, nil},
	} {
		infos, err := src.Closure(t.Context(), paths(t, c.roots...))
		if err != nil {
			t.Errorf("%v: %v", c.roots, err)
		}
		var got []nix.StorePath
		for _, info := range infos {
			got = append(got, info.Path)
			one, err := src.PathInfo(t.Context(), info.Path)
			if err != nil || one.Fingerprint() != info.Fingerprint() || one.Ultimate != info.Ultimate {
				t.Errorf("closure says %+v, PathInfo says %+v (%v)", info, one, err)
			}
		}
		if !slices.Equal(got, paths(t, c.want...)) {
			t.Errorf("closure of %v: got %v, want %v", c.roots, got, c.want)
		}
	}
	if _, err := src.Closure(t.Context(), paths(t, "app", "missing")); !errors.Is(err, ErrNotValid) {
		t.Errorf("a root that is not there: %v, want ErrNotValid", err)
	}
}

func testDerivers(t *testing.T, src Source) {
	for name, want := range map[string][]string{"lib": {"lib.drv"}, "app": {"app.drv"}, "alone": nil, "source": nil, "missing": nil} {
		got, err := src.ValidDerivers(t.Context(), pathOf(t, name))
		if err != nil || !slices.Equal(got, paths(t, want...)) {
			t.Errorf("derivers of %s: %v, %v; want %v", name, got, err, want)
		}
	}
}

func testOutputs(t *testing.T, src Source) {
	outs, err := src.DerivationOutputs(t.Context(), pathOf(t, "lib.drv"))
	real, err2 := src.Realisations(t.Context(), pathOf(t, "lib.drv"), nix.Hash{})
	if !src.Records().Outputs {
		if !errors.Is(err, ErrNotRecorded) || !errors.Is(err2, ErrNotRecorded) {
			t.Errorf("got %v and %v, want ErrNotRecorded", err, err2)
		}
		return
	}
	if err != nil || len(outs) != 2 || outs["out"] != pathOf(t, "lib") || outs["dev"] != pathOf(t, "lib-dev") {
		t.Errorf("outputs %v, %v", outs, err)
	}
	if err2 != nil || len(real) != 0 {
		t.Errorf("realisations %v, %v; want none", real, err2)
	}
	if outs, err := src.DerivationOutputs(t.Context(), pathOf(t, "missing.drv")); err != nil || len(outs) != 0 {
		t.Errorf("outputs of a missing derivation: %v, %v", outs, err)
	}
}
