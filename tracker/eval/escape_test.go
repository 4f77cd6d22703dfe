package eval

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firn-log/firn/internal/testreq"
)

// A tree reads itself and nothing else: not through links, not by fetching, and not what is in the
// environment of the program.
func TestATreeReadsNothingElse(t *testing.T) {
	testreq.Command(t, "nix", "nix-instantiate")
	const secret = "s3cr3t"
	t.Setenv("FIRN_TEST_SECRET", secret)
	outside, dir := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(outside, "file"), secret)
	write(filepath.Join(outside, "file.nix"), `"`+secret+`"`)
	for name, to := range map[string]string{"folder": outside, "link": filepath.Join(outside, "file"), "link.nix": filepath.Join(outside, "file.nix"), "self": "."} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "own"), "its own")
	tries := map[string]string{
		"environment": `builtins.getEnv "FIRN_TEST_SECRET"`,
		"exists":      `if builtins.pathExists (out + "/file") then "s3cr3t is there" else ""`,
		"fetches":     `builtins.readFile (builtins.fetchurl ("file://" + out + "/file"))`,
		"fetchesTree": `builtins.readFile ((builtins.fetchTree { type = "path"; path = out; }) + "/file")`,
		"finds":       `builtins.readFile (builtins.findFile [ { prefix = ""; path = out; } ] "file")`,
		"folder":      `builtins.readFile ./folder/file`,
		"hashes":      `"s3cr3t " + builtins.hashFile "sha256" (out + "/file")`,
		"imports":     `import ./link.nix`,
		"lists":       `builtins.concatStringsSep " " ([ "s3cr3t" ] ++ builtins.attrNames (builtins.readDir out))`,
		"listsLink":   `builtins.concatStringsSep " " ([ "s3cr3t" ] ++ builtins.attrNames (builtins.readDir ./folder))`,
		"loads":       `"s3cr3t " + builtins.path { path = out; name = "x"; }`,
		"own":         `builtins.readFile ./own`,
		"ownLink":     `builtins.readFile ./self/own`,
		"reads":       `builtins.readFile (out + "/file")`,
		"readsLink":   `builtins.readFile ./link`,
		"scoped":      `builtins.scopedImport { } (out + "/file.nix")`,
		"search":      `builtins.readFile <firn-tree/folder/file>`,
		"up":          `builtins.readFile (toString ./. + "/..` + strings.TrimPrefix(outside, filepath.Dir(dir)) + `/file")`,
	}
	quoted, err := json.Marshal(outside)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("let out = " + string(quoted) + "; probe = name: text: { type = \"derivation\"; inherit name; meta.description = text; }; in {\n")
	for name, expr := range tries {
		b.WriteString("  " + name + " = probe \"" + name + "\" (" + expr + ");\n")
	}
	b.WriteString("}\n")
	write(filepath.Join(dir, "default.nix"), b.String())
	r, err := Evaluate(t.Context(), Meta, Options{Tree: dir, System: testSystem, Workers: 2, Memory: 512 << 20, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for name := range tries {
		a, ok := r.Attrs[name]
		own := strings.HasPrefix(name, "own")
		switch {
		case !ok:
			t.Errorf("%s is missing", name)
		case strings.Contains(a.Description, secret):
			t.Errorf("%s got %q", name, a.Description)
		case own && a.Description != "its own":
			t.Errorf("%s: %+v", name, a)
		}
	}
}
