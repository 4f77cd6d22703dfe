package cache

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firn-log/firn/internal/bincache"
	"github.com/firn-log/firn/internal/nix"
	"github.com/firn-log/firn/internal/testreq"
	"github.com/firn-log/firn/log/statement"
)

// A cache that Nix wrote and signed is imported whole, in every compression.
func TestCacheMadeByNix(t *testing.T) {
	for _, name := range []string{"nix", "nix-store"} {
		testreq.Command(t, "nix", name)
	}
	root := testreq.StoreRoot(t)
	run := func(t *testing.T, args ...string) string {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "HOME="+root, "NIX_CONFIG=experimental-features = nix-command\nsubstituters =\nsandbox = false\nbuild-users-group =\n")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, stderr.String())
		}
		return strings.TrimSpace(string(out))
	}
	store := "local?root=" + filepath.Join(root, "store")
	keyFile := filepath.Join(root, "key")
	run(t, "nix-store", "--generate-binary-cache-key", "made-by-nix-1", keyFile, keyFile+".pub")
	// lib is text, and app refers to it.
	lib := run(t, "nix-instantiate", "--store", store, "--eval", "--read-write-mode", "--json", "-E", `builtins.toFile "lib" "a library"`)
	lib = strings.Trim(lib, `"`)
	expr := `builtins.toFile "app" "uses ${builtins.toFile "lib" "a library"}"`
	app := strings.Trim(run(t, "nix-instantiate", "--store", store, "--eval", "--read-write-mode", "--json", "-E", expr), `"`)
	pub, err := os.ReadFile(keyFile + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParseKeys([]string{string(pub)})
	if err != nil {
		t.Fatal(err)
	}
	appPath, err := nix.ParseStorePath(app)
	if err != nil {
		t.Fatal(err)
	}
	for _, compression := range []string{"xz", "bzip2", "zstd", "none"} {
		t.Run(compression, func(t *testing.T) {
			dir := filepath.Join(root, "cache-"+compression)
			run(t, "nix", "copy", "--from", store, "--to", "file://"+dir+"?compression="+compression+"&secret-key="+keyFile, app)
			c, err := bincache.Open(t.Context(), "file://"+dir, bincache.ClientOptions{})
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t)
			sum, err := w.runRoots(c, Options{Keys: keys, CheckNars: true}, Roots{Paths: []nix.StorePath{appPath}})
			if err != nil || sum.Paths != 2 || len(sum.Problems) != 0 {
				t.Fatalf("%+v, %v", sum, err)
			}
			var got []string
			for _, s := range w.logged(statement.KindCacheSig) {
				got = append(got, s.Body.(*statement.CacheSig).Path.String())
			}
			if len(got) != 2 || got[0] != app || got[1] != lib {
				t.Errorf("logged %v, want %s and %s", got, app, lib)
			}
		})
	}
}
