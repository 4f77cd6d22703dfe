package archtest

import (
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/testreq"
)

// arrows says which top folders a top folder may import beside itself. What is
// not named may import nothing of the project.
var arrows = map[string][]string{
	"cmd":        {"ingest", "verify", "tracker", "federation", "witness", "bootchain", "log", "internal"},
	"ingest":     {"verify", "log", "internal"},
	"tracker":    {"verify", "log", "internal"},
	"bootchain":  {"verify", "log", "internal"},
	"verify":     {"log", "internal"},
	"federation": {"witness", "log", "internal"},
	"witness":    {"log", "internal"},
	"log":        {"internal"},
	"internal":   {},
	// Beside the arrows: what measures and what shows the programs.
	"bench":  {"ingest", "verify", "tracker", "federation", "witness", "log", "internal"},
	"deploy": {"log", "internal"},
}

// heavy names the only importers of modules that cost much or decide much.
// An empty list means tests only.
var heavy = map[string][]string{
	"github.com/transparency-dev/tessera": {"log/server/store"},
	"modernc.org/sqlite":                  {"internal/nixdb", "tracker/store", "log/server", "witness"},
	"github.com/libp2p":                   {"federation/p2p"},
	"github.com/multiformats":             {"federation/p2p"},
	"github.com/jackc/pgx":                {"tracker/store"},
	"github.com/spf13/cobra":              {"cmd", "internal/cmdline"},
	"github.com/fxamacker/cbor":           {},
	"github.com/pelletier/go-toml":        {"cmd", "log/server", "witness/server", "ingest/send", "internal/tomlfile", "internal/daemon"},
	"github.com/prometheus":               {"cmd", "log/server", "witness", "federation", "internal/daemon"},
	"github.com/klauspost/compress":       {"internal/bincache"},
	"github.com/mikelolasagasti/xz":       {"internal/bincache"},
	"github.com/hanwen/go-fuse":           {"internal/dropfs"},
	"github.com/veraison/go-cose":         {},
	"github.com/google/go-cmp":            {},
	"github.com/chromedp":                 {},
	"golang.org/x/net":                    {},
	"github.com/rogpeppe/go-internal":     {},
	"filippo.io/torchwood":                {"internal/peers"},
	"testing":                             testHelpers,
	module + "/internal/cmdline":          {"cmd", "internal/cmdline"},
}

// testHelpers are packages that only tests may import, and the demo's log that cheats,
// which nobody can.
var testHelpers = []string{"internal/testreq", "internal/dropfs", "internal/bincache/cachetest", "internal/pgtest", "log/logtest", "deploy/demo/cheat"}

// importFault says why the non-test package pkg (from the project's root) may
// not import imported, or "".
func importFault(pkg, imported string) string {
	for mod, importers := range heavy {
		if within(imported, mod) && !slices.ContainsFunc(importers, func(dir string) bool { return within(pkg, dir) }) {
			return fmt.Sprintf("%s is only for %s", mod, strings.Join(append(importers, "tests"), ", "))
		}
	}
	if !within(imported, module) {
		return ""
	}
	to := strings.TrimPrefix(imported, module+"/")
	from, _, _ := strings.Cut(pkg, "/")
	toTop, _, _ := strings.Cut(to, "/")
	allowed, known := arrows[from]
	switch {
	case !known:
		return "the folder " + from + " is not in the import table"
	case toTop == "cmd" || toTop == "bench" || toTop == "deploy":
		return "nobody imports " + toTop
	case from != toTop && !slices.Contains(allowed, toTop):
		return from + " may not import " + toTop
	case serverOf(to) != "" && from != "cmd" && from != "bench" && !within(pkg, serverOf(to)):
		return "a server is only for its program in cmd, and for bench"
	case slices.Contains(testHelpers, to) && !slices.Contains(testHelpers, pkg):
		return to + " is only for tests"
	}
	return ""
}

// serverOf returns the server that pkg is or is a part of, for instance
// "log/server", or "".
func serverOf(pkg string) string {
	for ; pkg != "."; pkg = path.Dir(pkg) {
		if path.Base(pkg) == "server" {
			return pkg
		}
	}
	return ""
}

func TestImportsFollowTheArrows(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		for _, imported := range f.imports {
			if fault := importFault(f.pkg, imported); fault != "" {
				t.Errorf("%s imports %s: %s", f.path, imported, fault)
			}
		}
	}
}

// The table itself must be able to say no.
func TestImportTableRefuses(t *testing.T) {
	tests := []struct{ pkg, imported string }{
		{"internal/nix", module + "/log"},
		{"log", module + "/verify"},
		{"log", module + "/log/server"},
		{"log/policy", module + "/log/server/store"},
		{"verify", module + "/ingest/hook"},
		{"verify", module + "/witness"},
		{"verify/substituter", module + "/witness/server"},
		{"ingest/submit", module + "/log/server"},
		{"federation", module + "/verify"},
		{"verify", module + "/cmd/firn"},
		{"verify", module + "/deploy/demo"},
		{"deploy/demo", module + "/log/logtest"},
		{"newfolder", module + "/log"},
		{"log/statement", "github.com/transparency-dev/tessera"},
		{"log", "modernc.org/sqlite"},
		{"verify", "github.com/spf13/cobra"},
		{"log/statement", "github.com/veraison/go-cose"},
		{"log/serverless", "github.com/transparency-dev/tessera/storage/posix"},
		{"log", "testing"},
		{"log", module + "/internal/testreq"},
		{"verify", module + "/log/logtest"},
		{"log/server", module + "/internal/cmdline"},
		{"log/policy", "filippo.io/torchwood"},
	}
	for _, tt := range tests {
		if importFault(tt.pkg, tt.imported) == "" {
			t.Errorf("%s may import %s", tt.pkg, tt.imported)
		}
	}
	for _, tt := range []struct{ pkg, imported string }{
		{"cmd/firn-log", module + "/log/server"},
		{"log/server/store", "github.com/transparency-dev/tessera/storage/posix"},
		{"log/server", module + "/log/index"},
		{"log/server", module + "/log/server/store"},
		{"log/logtest", module + "/internal/testreq"},
		{"ingest/submit", module + "/verify"},
		{"internal/nix", "encoding/base64"},
	} {
		if fault := importFault(tt.pkg, tt.imported); fault != "" {
			t.Errorf("%s imports %s: %s", tt.pkg, tt.imported, fault)
		}
	}
}

// internal/nix holds formats; what it links, the hook links.
func TestNixFormatsArePure(t *testing.T) {
	forbidden := []string{"net", "os/exec", "database/sql", "encoding/json", "reflect"}
	for _, f := range goFiles(t) {
		if f.test || f.pkg != "internal/nix" {
			continue
		}
		for _, imported := range f.imports {
			foreign := strings.Contains(imported, ".") && imported != module+"/internal/ed25519x"
			if foreign || slices.ContainsFunc(forbidden, func(dir string) bool { return within(imported, dir) }) {
				t.Errorf("%s imports %s; the package has only the standard library and no I/O", f.path, imported)
			}
		}
	}
}

// firn-hook runs as root inside somebody's build; it links next to nothing.
func TestHookLinksLittle(t *testing.T) {
	own := []string{"cmd/firn-hook", "ingest/hook", "internal/nix", "internal/durable", "internal/ed25519x"}
	for _, dep := range deps(t, "./cmd/firn-hook") {
		rest, ours := strings.CutPrefix(dep, module+"/")
		host, _, _ := strings.Cut(dep, "/")
		switch {
		case ours && !slices.Contains(own, rest):
			t.Errorf("firn-hook links %s", dep)
		case !ours && strings.Contains(host, ".") && !within(dep, "golang.org/x/sys"):
			t.Errorf("firn-hook links %s", dep)
		case slices.Contains([]string{"net", "net/http", "crypto/tls", "os/exec", "log/slog"}, dep):
			t.Errorf("firn-hook links %s", dep)
		}
	}
}

// libp2p is a third of all code that is linked anywhere: it stays out of what
// people and witnesses run.
func TestOnlyThePeerLinksLibp2p(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, imported := range f.imports {
			ours := within(f.pkg, "federation/p2p") || within(f.pkg, "cmd/firn-peer") || within(f.pkg, "bench")
			if !ours && !f.test && within(imported, module+"/federation/p2p") {
				t.Errorf("%s imports %s", f.path, imported)
			}
		}
	}
}

// deps returns every package that the named one links.
func deps(t *testing.T, pkg string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", pkg)
	cmd.Dir = testreq.Root()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", pkg, err)
	}
	return strings.Fields(string(out))
}
