package nixdb

import (
	"slices"
	"testing"

	"github.com/firn-log/firn/internal/nix"
)

func TestRealisationsOfBothGenerations(t *testing.T) {
	modulo := nix.Hash{1}
	old := openDB(t, makeDB(t, store,
		`create table Realisations (id integer primary key, drvPath text not null, outputName text not null, outputPath integer not null, signatures text)`,
		`insert into Realisations (drvPath, outputName, outputPath) select 'sha256:`+modulo.Hex()+`', 'dev', id from ValidPaths where path like '%-lib-dev'`))
	for name, base := range map[string]string{"full path": pathOf(t, "lib.drv").String(), "base name": pathOf(t, "lib.drv").Base()} {
		newer := openDB(t, makeDB(t, store,
			`create table BuildTraceV3 (id integer primary key, drvPath text not null, outputName text not null, outputPath text not null, signatures text)`,
			`insert into BuildTraceV3 (drvPath, outputName, outputPath) values ('`+base+`', 'dev', '`+pathOf(t, "lib-dev").String()+`')`))
		for what, db := range map[string]*DB{"up to 2.34": old, "from 2.35, " + name: newer} {
			outs, err := db.Realisations(t.Context(), pathOf(t, "lib.drv"), modulo)
			if err != nil || len(outs) != 1 || outs["dev"] != pathOf(t, "lib-dev") {
				t.Errorf("%s: %v, %v", what, outs, err)
			}
			outs, err = db.Realisations(t.Context(), pathOf(t, "app.drv"), nix.Hash{2})
			if err != nil || len(outs) != 0 {
				t.Errorf("%s: another derivation has %v, %v", what, outs, err)
			}
		}
	}
}

// What Nix recorded of a realisation is what it signed: with the realisations that it
// rests on, and with the signatures.
func TestRealisationRecords(t *testing.T) {
	modulo, other := nix.Hash{1}, nix.Hash{2}
	const realised = `insert into Realisations (drvPath, outputName, outputPath, signatures) select `
	old := []string{
		`create table Realisations (id integer primary key, drvPath text not null, outputName text not null, outputPath integer not null, signatures text)`,
		`create table RealisationsRefs (referrer integer not null, realisationReference integer)`,
		realised + `'sha256:` + modulo.Hex() + `', 'dev', id, 'a-1:AA== b-1:BB==' from ValidPaths where path like '%-lib-dev'`,
		realised + `'sha256:` + other.Hex() + `', 'out', id, null from ValidPaths where path like '%-app'`,
		realised + `'sha256:` + other.Hex() + `', 'bin', id, '' from ValidPaths where path like '%-lib-dev'`,
		`insert into RealisationsRefs select r.id, o.id from Realisations r, Realisations o where r.outputName = 'dev' and o.outputName <> 'dev'`,
	}
	dev, drv := pathOf(t, "lib-dev"), pathOf(t, "lib.drv")
	for name, c := range map[string]struct {
		schema []string
		want   nix.Realisation
	}{
		"up to 2.33": {old, nix.Realisation{Form: nix.ByModulo, Modulo: modulo, Output: "dev", OutPath: dev, Sigs: []string{"a-1:AA==", "b-1:BB=="}, Dependent: []nix.DependentRealisation{
			{ID: "sha256:" + other.Hex() + "!bin", OutPath: dev}, {ID: "sha256:" + other.Hex() + "!out", OutPath: pathOf(t, "app")},
		}}},
		"2.34, without dependencies": {slices.Delete(slices.Clone(old[:5]), 1, 2), nix.Realisation{Form: nix.ByModulo, Modulo: modulo, Output: "dev", OutPath: dev, Sigs: []string{"a-1:AA==", "b-1:BB=="}}},
		"from 2.35": {[]string{
			`create table BuildTraceV3 (id integer primary key, drvPath text not null, outputName text not null, outputPath text not null, signatures text)`,
			`insert into BuildTraceV3 (drvPath, outputName, outputPath, signatures) values ('` + drv.Base() + `', 'dev', '` + dev.Base() + `', 'a-1:AA==')`,
		}, nix.Realisation{Form: nix.ByDrvPath, DrvPath: drv, Output: "dev", OutPath: dev, Sigs: []string{"a-1:AA=="}}},
	} {
		got, err := openDB(t, makeDB(t, store, c.schema...)).RealisationRecords(t.Context(), drv, modulo)
		if err != nil || len(got) != 1 || string(got[0].Marshal()) != string(c.want.Marshal()) {
			t.Errorf("%s: %v\n%s\n%s", name, err, got[0].Marshal(), c.want.Marshal())
		}
	}
	bad := append(slices.Clone(old), `update Realisations set drvPath = 'sha256:x' where outputName = 'out'`)
	if _, err := openDB(t, makeDB(t, store, bad...)).RealisationRecords(t.Context(), drv, modulo); err == nil {
		t.Error("a dependency that is none is believed")
	}
}
