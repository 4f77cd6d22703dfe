package substituter

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/verify/closure"
)

// machineOf is the store of a machine: derivations by what they say, closures by root.
func machineOf(t testing.TB, drvs map[nix.StorePath]string, closures map[nix.StorePath][]nix.StorePath) *closure.Store {
	t.Helper()
	m := &machineStore{derivers: make(map[nix.StorePath][]nix.StorePath), closures: make(map[nix.StorePath][]*nix.PathInfo)}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "nix/store"), 0o755); err != nil {
		t.Fatal(err)
	}
	for out, text := range drvs {
		drv := pathOf(t, out.Name()+".drv")
		m.derivers[out] = []nix.StorePath{drv}
		if text == "" {
			continue // the database names it, and it is not there
		}
		if err := os.WriteFile(filepath.Join(root, drv.String()), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for of, in := range closures {
		m.closures[of] = []*nix.PathInfo{}
		for _, p := range in {
			m.closures[of] = append(m.closures[of], &nix.PathInfo{Path: p})
		}
	}
	return &closure.Store{Source: m, Root: root}
}

// What a cache lets one know about a path, and the store of the machine beside it. What is not known is decided by
// the strictest rule that it may be, and said.
func TestFactsOfWhatComesFromACache(t *testing.T) {
	app := pathOf(t, "app")
	drv := func(system string) string {
		return fmt.Sprintf(`Derive([("out","%s","","")],[],[],"%s","/bin/sh",[],[("out","%[1]s")])`, app, system)
	}
	source := info(t, "source", "text")
	ca := nix.ContentAddress{Method: nix.Recursive, Algo: "sha256", Hash: source.NarHash[:]}
	var err error
	if source.Path, err = nix.FixedOutputPath(storeDir, "source", ca, nix.Refs{}); err != nil {
		t.Fatal(err)
	}
	fixed := fmt.Sprintf(`Derive([("out","%s","r:sha256","%s")],[],[],"x86_64-linux","/bin/sh",[],[("out","%[1]s")])`, source.Path, source.NarHash.Hex())
	root := pathOf(t, "system")
	const groups = "group two 2 a b c\ngroup one 1 a\n"
	const kernel = groups + "rule kernel system x86_64-linux need two else refuse\nrule default need one else refuse\n"
	base := groups + "rule base closure " + root.String() + " need two else refuse\nrule default need one else refuse\n"
	const strict = groups + "rule fixed fod need two else refuse\nrule default need one else refuse\n"
	const sources = groups + "rule fixed fod need nothing else allow\nrule default need two else refuse\n"
	for _, tt := range []struct {
		name, lines string
		store       *closure.Store
		path        nix.StorePath
		lies        func(n *nix.NarInfo)
		refused     string // what the refusal says; "" is served
	}{
		{"system, no store", kernel, nil, app, nil, "2 of 2 needed, 1 found (rule kernel or default;"},
		{"system, no derivation", kernel, machineOf(t, nil, nil), app, nil, "(rule kernel or default;"},
		{"system, the derivation is gone", kernel, machineOf(t, map[nix.StorePath]string{app: ""}, nil), app, nil, "(rule kernel or default;"},
		{"system, what the narinfo says", kernel, machineOf(t, nil, nil), app, func(n *nix.NarInfo) { n.System, n.Deriver = "aarch64-linux", pathOf(t, "app.drv") }, "(rule kernel or default;"},
		{"system, this one", kernel, machineOf(t, map[nix.StorePath]string{app: drv("x86_64-linux")}, nil), app, func(n *nix.NarInfo) { n.System = "aarch64-linux" }, "(rule kernel;"},
		{"system, another", kernel, machineOf(t, map[nix.StorePath]string{app: drv("aarch64-linux")}, nil), app, func(n *nix.NarInfo) { n.System = "x86_64-linux" }, ""},
		{"closure, no store", base, nil, app, nil, "(rule base or default;"},
		{"closure, no root", base, machineOf(t, nil, nil), app, nil, "(rule base or default;"},
		{"closure, in it", base, machineOf(t, nil, map[nix.StorePath][]nix.StorePath{root: {root, app}}), app, nil, "(rule base;"},
		{"closure, not in it", base, machineOf(t, nil, map[nix.StorePath][]nix.StorePath{root: {root}}), app, nil, ""},
		{"fod, no store", strict, nil, app, nil, "(rule fixed or default;"},
		{"fod, no derivation", strict, machineOf(t, nil, nil), app, nil, "(rule fixed or default;"},
		{"fod, a derivation that fixes nothing", strict, machineOf(t, map[nix.StorePath]string{app: drv("x86_64-linux")}, nil), app, nil, ""},
		{"fod, a made-up address", strict, machineOf(t, map[nix.StorePath]string{app: drv("x86_64-linux")}, nil), app, func(n *nix.NarInfo) { n.CA = ca.String() }, ""}, // it is dropped
		{"fod, its address", sources, nil, source.Path, func(n *nix.NarInfo) { n.CA = ca.String() }, ""},
		{"fod, no address", sources, nil, source.Path, nil, "(rule fixed or default;"},
		{"fod, no address, and its derivation", sources, machineOf(t, map[nix.StorePath]string{source.Path: fixed}, nil), source.Path, nil, ""},
		{"fod, its address, another content", sources, machineOf(t, map[nix.StorePath]string{source.Path: fixed}, nil), source.Path, func(n *nix.NarInfo) { n.CA, n.NarHash = ca.String(), nix.Hash{1} }, "(rule fixed or default;"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			n := info(t, tt.path.Name(), "text")
			n.Path = tt.path
			pack(n, narOf(t, "text"))
			if tt.lies != nil {
				tt.lies(n)
			}
			n.Sigs = []string{cacheKey.Sign(n.Fingerprint())}
			w.caches[0].set(n.Path.HashPart()+".narinfo", n.Marshal())
			w.builds("a", info(t, "app", "text"))
			w.o.Store = tt.store
			w.start(tt.lines)
			if tt.refused != "" {
				w.refused(tt.path, http.StatusInternalServerError, tt.refused)
				return
			}
			if got := w.served(n); !strings.HasPrefix(tt.name, "fod, a") && (got.CA != "") != (n.Path == source.Path) {
				t.Errorf("served with the content address %q", got.CA)
			}
		})
	}
}
