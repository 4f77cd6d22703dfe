// Package testreq says which real parts a test may count on.
//
// A test that needs Nix, the corpus, FUSE or another part that not every
// machine has asks for it here. Where the part is missing the test is skipped,
// unless FIRN_TEST_REQUIRE (a comma-separated list, or "all") names it: then
// the test fails, so that a machine that is meant to run everything cannot
// skip silently.
package testreq

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// Root returns the absolute path of the project's root folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Required reports whether FIRN_TEST_REQUIRE names part.
func Required(part string) bool {
	parts := strings.Split(os.Getenv("FIRN_TEST_REQUIRE"), ",")
	return slices.Contains(parts, part) || slices.Contains(parts, "all")
}

// Missing skips the test because part is not here, or fails it if
// FIRN_TEST_REQUIRE names part. It does not return.
func Missing(t testing.TB, part, why string) {
	t.Helper()
	if Required(part) {
		t.Fatalf("FIRN_TEST_REQUIRE names %q, which is missing: %s", part, why)
	}
	t.Skipf("%s is missing: %s", part, why)
}

// Command returns the path of a program that belongs to part, for instance
// Command(t, "nix", "nix-store").
func Command(t testing.TB, part, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, part, err.Error())
	}
	return path
}

// Corpus returns the folder of real test data: FIRN_CORPUS, or
// ../shared/corpus seen from the project's root.
func Corpus(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("FIRN_CORPUS")
	if dir == "" {
		dir = filepath.Join(Root(), "..", "shared", "corpus")
	}
	if _, err := os.Stat(dir); err != nil {
		Missing(t, "corpus", err.Error())
	}
	return dir
}

// StoreRoot is t.TempDir for what holds a Nix store: the read-only folders in it
// are made writable at the end, without which only root could remove them.
func StoreRoot(t testing.TB) string {
	root := t.TempDir()
	t.Cleanup(func() {
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return os.Chmod(path, 0o755)
			}
			return nil // removing it says what is wrong
		})
	})
	return root
}
