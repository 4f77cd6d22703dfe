package nixdb

import (
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
